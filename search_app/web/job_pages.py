"""The pages of queued work: what waits, what runs and how far it is, what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app import jobs
from search_app.catalog import runs
from search_app.catalog.engine import transaction
from search_app.errors import NotFoundError
from search_app.jobs import Job
from search_app.types import Failure
from search_app.web.collection_view import named_url
from search_app.web.deps import ServicesDep, page_number
from search_app.web.forms import PostedFormDep
from search_app.web.places import place_of
from search_app.web.rendering import render

JOBS_ON_A_PAGE = 50
ARGUMENTS_SHOWN = 20
FAILURES_SHOWN = 50

_COUNTS = ("added", "updated", "unchanged", "skipped", "removed", "failed")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class ShownJob:
    """A job with its address, how far it is and how long it took or has taken.

    ``read`` of the ``found`` sources are read; None until they are counted. ``left`` is how long it
    may take yet.
    """

    job: Job
    url: str
    collection_url: str
    counted: Sequence[tuple[str, int]]
    read: int | None
    found: int | None
    took: timedelta | None
    left: timedelta | None


@router.api_route("/jobs", methods=["GET", "HEAD"])
async def jobs_page(
    request: Request, services: ServicesDep, collection: str = "", page: str = "1"
) -> Response:
    """List jobs, newest first."""
    number = page_number(page)
    found = await jobs.listing(
        services.engine,
        collection=collection or None,
        limit=JOBS_ON_A_PAGE + 1,
        offset=(number - 1) * JOBS_ON_A_PAGE,
    )
    shown = [shown_job(job) for job in found[:JOBS_ON_A_PAGE]]

    def at(page: int) -> str:
        pairs = [("collection", collection), ("page", str(page) if page > 1 else "")]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"/jobs?{query}" if query else "/jobs"

    return render(
        request,
        "jobs.html",
        jobs=shown,
        moving=any(not entry.job.ended for entry in shown),
        collection=collection,
        collection_url=named_url(collection),
        alive=await jobs.worker_alive(services.engine),
        here=at(number),
        earlier=at(number - 1) if number > 1 else None,
        later=at(number + 1) if len(found) > JOBS_ON_A_PAGE else None,
    )


@router.api_route("/jobs/{job_id}", methods=["GET", "HEAD"])
async def job_page(request: Request, services: ServicesDep, job_id: str) -> Response:
    """Show a job and what failed in it."""
    settings = services.settings
    job = await jobs.get(services.engine, _number(job_id))
    failures: list[Failure] = []
    if job.run_id is not None and job.failures:
        async with transaction(services.engine) as connection:
            failures = await runs.errors(connection, job.run_id, limit=FAILURES_SHOWN)
    return render(
        request,
        "job.html",
        shown=shown_job(job),
        job=job,
        changeable=jobs.may_change(job),
        arguments=[place_of(settings, text) for text in job.arguments[:ARGUMENTS_SHOWN]],
        failures=[(failure, place_of(settings, failure.source)) for failure in failures],
        alive=await jobs.worker_alive(services.engine),
    )


@router.post("/jobs/{job_id}/cancel")
async def cancel_job(services: ServicesDep, job_id: str, form: PostedFormDep) -> Response:
    """Take a job out of the queue, or stop it."""
    del form  # its token was what mattered
    job = await jobs.cancel(services.engine, _number(job_id))
    return RedirectResponse(job_url(job), status_code=303)


@router.post("/jobs/{job_id}/retry")
async def retry_job(services: ServicesDep, job_id: str, form: PostedFormDep) -> Response:
    """Ask anew for what a job did that has ended."""
    del form  # likewise
    job = await jobs.repeat(services.engine, _number(job_id))
    return RedirectResponse(job_url(job), status_code=303)


def job_url(job: Job) -> str:
    """Give the address of a job's page."""
    return f"/jobs/{job.id}"


def shown_job(job: Job) -> ShownJob:
    """Prepare a job for a page."""
    ended = job.finished_at or datetime.now(UTC)
    return ShownJob(
        job=job,
        url=job_url(job),
        collection_url=named_url(job.collection),
        counted=_counted(job.counts.get("documents", {})),
        read=job.progress.get("sources_read"),
        found=job.progress.get("sources_found"),
        took=ended - job.started_at if job.started_at else None,
        left=None if job.seconds_left is None else timedelta(seconds=round(job.seconds_left)),
    )


def _counted(documents: Mapping[str, int]) -> list[tuple[str, int]]:
    """Give the counts of documents that are not nothing, in the order of what happens."""
    return [(name, documents[name]) for name in _COUNTS if documents.get(name)]


def _number(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 19:  # noqa: PLR2004 - digits of a 64-bit number
        return int(text)
    raise NotFoundError(f"no job {text[:50]!r}")
