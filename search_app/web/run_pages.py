"""The pages of runs."""

from collections.abc import Mapping
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from search_app.catalog import runs
from search_app.catalog.engine import transaction
from search_app.run_differences import compare_runs, flattened, model_of
from search_app.types import JSON, Run
from search_app.web.deps import ServicesDep, page_id, page_number
from search_app.web.rendering import render

RUNS_ON_A_PAGE = 50
FAILURES_ON_A_PAGE = 100
DOCUMENTS_ON_A_PAGE = 100

router = APIRouter(include_in_schema=False)


@router.api_route("/runs", methods=["GET", "HEAD"])
async def runs_page(request: Request, services: ServicesDep, page: str = "1") -> Response:
    """List the runs, newest first."""
    number = page_number(page)
    async with transaction(services.engine) as connection:
        found = await runs.listing(
            connection, limit=RUNS_ON_A_PAGE + 1, offset=(number - 1) * RUNS_ON_A_PAGE
        )
    return render(
        request,
        "runs.html",
        runs=found[:RUNS_ON_A_PAGE],
        number=number,
        more=len(found) > RUNS_ON_A_PAGE,
        lasted=lasted,
    )


@router.api_route("/runs/diff", methods=["GET", "HEAD"])
async def differences_page(
    request: Request, services: ServicesDep, a: str = "", b: str = "", page: str = "1"
) -> Response:
    """Show two runs beside each other; registered before the page of a run, whose id it is not."""
    number = page_number(page)
    async with transaction(services.engine) as connection:
        one, other = [await runs.get(connection, page_id(text, "run")) for text in (a, b)]
        found = await compare_runs(
            connection,
            one,
            other,
            limit=DOCUMENTS_ON_A_PAGE + 1,
            offset=(number - 1) * DOCUMENTS_ON_A_PAGE,
        )
    documents = found.documents or ()
    return render(
        request,
        "run_diff.html",
        found=found,
        documents=documents[:DOCUMENTS_ON_A_PAGE],
        more=len(documents) > DOCUMENTS_ON_A_PAGE,
        number=number,
    )


@router.api_route("/runs/{run_id}", methods=["GET", "HEAD"])
async def run_page(
    request: Request, services: ServicesDep, run_id: str, page: str = "1"
) -> Response:
    """Show a run and what failed in it."""
    number = page_number(page)
    async with transaction(services.engine) as connection:
        run = await runs.get(connection, page_id(run_id, "run"))
        failures = await runs.errors(
            connection,
            run.id,
            limit=FAILURES_ON_A_PAGE,
            offset=(number - 1) * FAILURES_ON_A_PAGE,
        )
        parts = await runs.parts(connection, run.id)
        earlier = await runs.before(connection, run)
        model = await model_of(connection, run)
    return render(
        request,
        "run.html",
        run=run,
        earlier=earlier,
        model=model,
        failures=failures,
        parts=[(part, lasted(part)) for part in parts],
        first=(number - 1) * FAILURES_ON_A_PAGE,
        number=number,
        more=number * FAILURES_ON_A_PAGE < run.errors,
        lasted=lasted(run),
        counts=_tallies(run.counts),
        sent=run.counts.get("sent"),
        currency=run.counts.get("currency", ""),
        configuration=list(flattened(run.configuration)),
    )


def lasted(run: Run) -> object:
    """Give how long a run took, or has taken so far."""
    return (run.finished_at or datetime.now(UTC)) - run.started_at


_ORDER = ("documents", "chunks", "added", "updated", "embedded", "reused", "unchanged", "removed")


def _tallies(counts: Mapping[str, JSON]) -> list[tuple[str, list[tuple[str, JSON]]]]:
    """Put counts in the order of what happens; the database keeps them in one of its own."""

    def ordered(entries: Mapping[str, JSON]) -> list[tuple[str, JSON]]:
        return sorted(
            entries.items(),
            key=lambda entry: _ORDER.index(entry[0]) if entry[0] in _ORDER else len(_ORDER),
        )

    return [
        (noun, ordered(counted))
        for noun, counted in ordered(counts)
        # What was sent has words of its own.
        if isinstance(counted, dict) and noun != "sent"
    ]
