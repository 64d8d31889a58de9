"""The pages of checks: how all active indexes stand, and what one check found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import addressing, checks, nights
from search_app.catalog.engine import reading
from search_app.catalog.nights import Standing
from search_app.consistency import keeping
from search_app.jobs import Job
from search_app.jobs.types import CHECK
from search_app.reports.loading import load
from search_app.reports.plots import Plot
from search_app.reports.view import MOST_NIGHTS, history, view_of
from search_app.web.check_sign import Signs, oldest, state_of_standing
from search_app.web.deps import ServicesDep, page_number
from search_app.web.forms import PostedFormDep
from search_app.web.job_pages import job_url
from search_app.web.rendering import render
from search_app.web.translation import language_of
from search_app.words import Words

CHECKS_ON_A_PAGE = 50
PLOTTED = 3
"""Most collections whose plots stand on one page; of more, one has to be chosen."""

_JOBS_LOOKED_AT = 200

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An active index as the page shows it.

    ``state`` is what its newest check stands for; ``overdue`` that there was one, too long ago.
    ``job`` is a check that waits in the queue or runs.
    """

    standing: Standing
    state: str
    overdue: bool
    job: Job | None
    plots: Sequence[Plot]


@router.api_route("/checks", methods=["GET", "HEAD"])
async def checks_page(
    request: Request, services: ServicesDep, collection: str = "", page: str = "1"
) -> Response:
    """Show how the active indexes stand, and the history of checks."""
    number = page_number(page)
    async with reading(services.engine) as connection:
        if collection:
            collection = (await addressing.at(connection, collection)).name
        found = await nights.listing(
            connection,
            collection=collection or None,
            limit=CHECKS_ON_A_PAGE + 1,
            offset=(number - 1) * CHECKS_ON_A_PAGE,
        )
        standings = await nights.standings(connection)
    chosen = [each for each in standings if collection in ("", each.collection)]
    return render(
        request,
        "checks.html",
        shown=await _shown(services, chosen, Words(language_of(request))),
        names=[each.collection for each in standings],
        checks=found[:CHECKS_ON_A_PAGE],
        collection=collection,
        number=number,
        more=len(found) > CHECKS_ON_A_PAGE,
        address=lambda wanted: _address(collection, wanted),
        unplotted=len(chosen) > PLOTTED,
    )


@router.post("/checks")
async def ask(services: ServicesDep, form: PostedFormDep) -> Response:
    """Ask for a check."""
    async with reading(services.engine) as connection:
        name = (await addressing.at(connection, form.text("collection"))).name
    job = await jobs.enqueue_check(services.engine, collection=name)
    return RedirectResponse(job_url(job), status_code=303)


@router.api_route("/checks/{check}", methods=["GET", "HEAD"])
async def check_page(request: Request, services: ServicesDep, check: str) -> Response:
    """Show what a check found."""
    kept = await load(services.engine, check)
    return render(
        request,
        "check.html",
        view=view_of(kept.check.report, kept.nights, Words(language_of(request))),
        check=kept.check,
        is_latest=kept.is_latest,
        acceptable=kept.is_latest and await _acceptable(services, check),
        linked=True,
    )


@router.api_route("/checks/{check}/accept", methods=["GET", "HEAD"])
async def accept_page(request: Request, services: ServicesDep, check: str) -> Response:
    """Ask whether a check shall be accepted, and say what that does."""
    kept = await load(services.engine, check)
    acceptable = kept.is_latest and await _acceptable(services, check)
    return render(request, "check_accept.html", check=kept.check, acceptable=acceptable)


@router.post("/checks/{check}/accept")
async def accept(
    request: Request, services: ServicesDep, check: str, form: PostedFormDep
) -> Response:
    """Take what a check saw as the baseline."""
    del form  # its token was what mattered
    accepted = await keeping.accept(services.engine, check)
    signs: Signs = request.app.state.signs
    signs.forget()
    return RedirectResponse(f"/checks/{accepted.id}", status_code=303)


async def _acceptable(services: Services, beginning: str) -> bool:
    """Say whether a check compared anything that could be accepted, and was not accepted yet."""
    async with reading(services.engine) as connection:
        check = await checks.find(connection, beginning)
        return check.accepted_at is None and bool(await checks.sends_of(connection, check.id))


async def _shown(
    services: Services, standings: Sequence[Standing], words: Words
) -> Sequence[Shown]:
    since = oldest(services.settings, datetime.now(UTC))
    asked = await _asked(services)
    shown = []
    for standing in standings:
        state = state_of_standing(standing, since)
        plots: Sequence[Plot] = []
        if len(standings) <= PLOTTED and standing.night is not None:
            async with reading(services.engine) as connection:
                before = await nights.listing(
                    connection, index_id=standing.index_id, limit=MOST_NIGHTS
                )
            plots = history(before, words)
        shown.append(
            Shown(
                standing=standing,
                state=state,
                overdue=state == "unknown" and standing.night is not None,
                job=asked.get(standing.collection),
                plots=plots,
            )
        )
    return shown


async def _asked(services: Services) -> Mapping[str, Job]:
    """Give checks that wait or run, by collection."""
    found = await jobs.listing(services.engine, limit=_JOBS_LOOKED_AT)
    return {job.collection: job for job in found if job.kind == CHECK and not job.ended}


def _address(collection: str, page: int) -> str:
    pairs = [("collection", collection), ("page", "" if page == 1 else str(page))]
    query = urlencode([(name, value) for name, value in pairs if value])
    return f"/checks?{query}" if query else "/checks"
