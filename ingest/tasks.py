"""The tasks that queued jobs name, done by the same functions as the commands."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol
from uuid import UUID

import structlog
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job

from ingest import pipeline
from ingest.analysing.asking import analyse as analysed
from ingest.analysing.common import Done
from ingest.deletion import Deleted, delete_collection
from ingest.nightly import check_for_job
from ingest.pipeline import IngestRequest
from ingest.reindex import ReindexReport, ReindexRequest
from ingest.reindex import reindex as build_index
from ingest.report import IngestReport, ending
from ingest.sharing import Assignment, Helped, help_with
from ingest.types import LoadOptions
from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog.engine import reading, transaction
from search_app.errors import (
    CatalogUnavailableError,
    CheckUnderWayError,
    EmbedderUnavailableError,
    StoreUnavailableError,
    UnmovedError,
)
from search_app.jobs.checked import Checked
from search_app.jobs.types import (
    ANALYSE,
    CHECK,
    DELETE,
    INGEST,
    MOST_ATTEMPTS,
    PART,
    QUEUE,
    REINDEX,
    REMOVE,
    RETRY,
)
from search_app.jobs.upkeep import forget_failure, note_failure
from search_app.stages import stage, watched
from search_app.types import JSON, RunStatus

PASSING = (
    CatalogUnavailableError,
    CheckUnderWayError,
    EmbedderUnavailableError,
    StoreUnavailableError,
)
"""Errors that waiting may mend; any other fails the job at once."""

Outcome = IngestReport | Deleted | Helped | ReindexReport | Checked | Done

FIRST_PAUSE_S = 5
LONGEST_PAUSE_S = 300

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Event:
    """What became of a job: started, succeeded, failed, postponed, interrupted or cancelled.

    Besides, it may have been taken over from a worker that died, or be due by a schedule.
    """

    event: str
    job: int
    kind: str
    collection: str
    reason: str | None = None
    counts: Mapping[str, JSON] = field(default_factory=dict)


class Tell(Protocol):
    """Is told of every job; returns at once."""

    def __call__(self, event: Event) -> None:
        """Take note of it."""


class JobFailedError(UnmovedError):
    """The run of a job came to its end and counts as failed."""


class _Again(BaseRetryStrategy):
    """Which jobs go back into the queue, and when they are due again."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Decide about a job that ended with an exception."""
        if isinstance(exception, asyncio.CancelledError):
            # Stopped with its worker; the next one goes on from the states in the catalog.
            return RetryDecision()
        pause = pause_before_retry(exception, job.attempts)
        return None if pause is None else RetryDecision(retry_in={"seconds": pause})


def pause_before_retry(error: BaseException, attempts: int) -> int | None:
    """Give the seconds until a job that failed is tried again; None: it is not."""
    if not isinstance(error, PASSING) or attempts + 1 >= MOST_ATTEMPTS:
        return None
    return int(min(FIRST_PAUSE_S * 2**attempts, LONGEST_PAUSE_S))


def make_app(services: Services, tell: Tell) -> App:
    """Make the application that a worker runs: every task, over a small pool of its own."""
    url = services.engine.url.set(drivername="postgresql")
    app = App(
        connector=PsycopgConnector(
            conninfo=url.render_as_string(hide_password=False),
            kwargs={"application_name": "unmoved worker", "connect_timeout": 10},
            min_size=1,
            max_size=2,
        )
    )

    plain = LoadOptions(max_file_mb=services.settings.max_file_mb)

    @app.task(name=INGEST, queue=QUEUE, retry=_Again(), pass_context=True)
    async def ingest(
        context: JobContext,
        /,
        *,
        collection: str,
        arguments: Sequence[str],
        force: bool,
        prune: bool,
        **given: JSON,
    ) -> None:
        request = IngestRequest(
            arguments=arguments,
            collection=collection,
            force=force,
            prune=prune,
            embedder=given.get("embedder"),
            store=given.get("store"),
            precision=given.get("precision"),
            budget=given.get("budget"),
            # Whoever asks through a page or the API cannot know how a table was read before.
            as_before="load" not in given,
            load=plain.with_kept(given.get("load", {})),
        )
        job = context.job
        work = pipeline.ingest(services, request, job_id=job.id, queue=job.queue)
        await _do(services, context, tell, work)

    @app.task(name=PART, queue=QUEUE, retry=_Again(), pass_context=True)
    async def part(
        context: JobContext,
        *,
        run: str,
        collection: str,
        load: JSON,
        force: bool,
        as_before: bool,
        embedder: str | None,
    ) -> None:
        assignment = Assignment(
            run_id=UUID(run),
            collection=collection,
            queue=context.job.queue,
            load=plain.with_kept(load),
            force=force,
            as_before=as_before,
            embedder=embedder,
        )
        await _do(services, context, tell, _help(services, assignment, context))

    @app.task(name=REMOVE, queue=QUEUE, retry=_Again(), pass_context=True)
    async def remove(context: JobContext, *, collection: str, arguments: Sequence[str]) -> None:
        work = pipeline.remove(
            services, sources=arguments, collection=collection, job_id=context.job.id
        )
        await _do(services, context, tell, work)

    @app.task(name=RETRY, queue=QUEUE, retry=_Again(), pass_context=True)
    async def retry(context: JobContext, *, collection: str) -> None:
        job = context.job
        work = pipeline.retry(
            services, collection=collection, load=plain, job_id=job.id, queue=job.queue
        )
        await _do(services, context, tell, work)

    @app.task(name=REINDEX, queue=QUEUE, retry=_Again(), pass_context=True)
    async def reindex(
        context: JobContext, /, *, collection: str, force: bool, **given: JSON
    ) -> None:
        request = ReindexRequest(collection=collection, force=force, **given)
        work = build_index(services, request, job_id=context.job.id)
        await _do(services, context, tell, work)

    @app.task(name=DELETE, queue=QUEUE, retry=_Again(), pass_context=True)
    async def delete(context: JobContext, *, collection: str) -> None:
        work = delete_collection(services, collection, waiting=lambda: None, job_id=context.job.id)
        await _do(services, context, tell, work)

    @app.task(name=CHECK, queue=QUEUE, retry=_Again(), pass_context=True)
    async def check(context: JobContext, *, collection: str) -> None:
        job = context.job
        work = check_for_job(services, collection, job_id=job.id or 0, attempts=job.attempts)
        await _do(services, context, tell, work)

    @app.task(name=ANALYSE, queue=QUEUE, retry=_Again(), pass_context=True)
    async def analyse(
        context: JobContext, *, collection: str, arguments: Sequence[str], options: JSON
    ) -> None:
        work = analysed(services, collection, arguments[0], options, job_id=context.job.id)
        await _do(services, context, tell, work)

    # Hardly ever due. But only with a periodic task does procrastinate watch over all that its
    # worker does, and end it when the connection is lost.
    @app.periodic(cron="0 0 29 2 *")
    @app.task(name="nothing")
    async def nothing(timestamp: int) -> None:
        """Do nothing."""

    return app


async def _help(services: Services, assignment: Assignment, context: JobContext) -> Helped:
    queues = context.worker_queues or [assignment.queue]

    async def others_wait() -> bool:
        return await jobs.others_wait(services.engine, list(queues))

    helped = await help_with(services, assignment, others_wait)
    if helped.parts_left:
        # Whoever gave way to other work comes back after it.
        await jobs.ask_for_help(
            services.engine, assignment.as_json(), queue=assignment.queue, helpers=1
        )
    else:
        await jobs.cancel_help(services.engine, assignment.run_id)
    return helped


async def _do(
    services: Services,
    context: JobContext,
    tell: Tell,
    work: Awaitable[Outcome],
) -> None:
    """Do the work of a job, and keep and tell how it went."""
    job = context.job
    job_id = job.id or 0

    def told(event: str, reason: str | None = None, **counts: JSON) -> None:
        collection = str(job.task_kwargs["collection"])
        tell(
            Event(
                event=event,
                job=job_id,
                kind=job.task_name,
                collection=collection,
                reason=reason,
                counts=counts,
            )
        )

    told("started")
    try:
        cause = await _cause(services, job_id)
        with stage(f"job {job.task_name}", cause=cause, job_id=job_id, attempt=job.attempts + 1):
            report = await work
            counts = _checked(report)
    except asyncio.CancelledError:
        if context.abort_reason() is AbortReason.USER_REQUEST:
            told("cancelled")
            raise JobAborted from None
        told("interrupted")
        raise
    except UnmovedError as exc:
        pause = pause_before_retry(exc, job.attempts)
        reason = str(exc) if pause is None else f"{exc}; tried again in {pause} s"
        told("failed" if pause is None else "postponed", reason)
        await _note(services, job_id, reason)
        raise
    except Exception as exc:
        # A fault of ours: the log has it whole, the user at least its name.
        log.exception("job failed", job=job_id, kind=job.task_name)
        reason = f"an error of the program, {type(exc).__name__}: {exc}; the worker's log has more"
        told("failed", reason)
        await _note(services, job_id, reason)
        raise
    told("succeeded", **counts)
    async with transaction(services.engine) as connection:
        await forget_failure(connection, job_id)


async def _cause(services: Services, job_id: int) -> str | None:
    """Look up what caused a job, where somebody traces what it does."""
    if not watched():
        return None
    try:
        async with reading(services.engine) as connection:
            return await jobs.cause_of(connection, job_id)
    except UnmovedError as exc:
        # The job itself will say so; its trace begins without a link.
        log.warning("what caused a job is not known", job=job_id, reason=str(exc))
        return None


def _checked(report: Outcome) -> dict[str, JSON]:
    """Give the counts of a run that did something.

    Raises:
        JobFailedError: every source of it failed, an index is not complete, or a budget is
            reached.
    """
    if isinstance(report, IngestReport | ReindexReport) and report.stopped is not None:
        raise JobFailedError(report.stopped)
    if isinstance(report, ReindexReport):
        if not report.complete:
            raise JobFailedError(
                f"index {str(report.index_id)[:8]} lacks {report.missing:,} passages and "
                f"{report.uncut:,} documents: {report.errors[0].reason if report.errors else ''}"
            )
        return {"chunks": {"embedded": report.embedded, "reused": report.copied}}
    if isinstance(report, Checked):
        return {"check": str(report.check_id), "verdict": report.verdict}
    if isinstance(report, Done):
        return {"analysis": str(report.id)}
    if isinstance(report, Deleted):
        return {"documents": {"removed": report.documents}}
    if isinstance(report, Helped):
        # Whether the run went well is for whoever has its job to say.
        return report.counts.as_json()
    status, reason = ending(report.documents, report.errors)
    if status is RunStatus.FAILED:
        raise JobFailedError(reason or "the run failed")
    return {"documents": asdict(report.documents), "chunks": asdict(report.chunks)}


async def _note(services: Services, job_id: int, reason: str) -> None:
    try:
        async with transaction(services.engine) as connection:
            await note_failure(connection, job_id, reason)
    except UnmovedError as exc:
        # The catalog may be what failed; the error under way goes on, and was told.
        log.warning("the reason of a failed job could not be kept", job=job_id, reason=str(exc))
