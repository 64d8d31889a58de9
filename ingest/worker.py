"""Doing queued jobs until told to stop, through restarts of the database."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
import structlog
from procrastinate.exceptions import ProcrastinateException

from ingest import retiring
from ingest.tasks import Event, Tell, make_app
from search_app.alerts.telling import keep_telling
from search_app.bootstrap import Services, open_services
from search_app.catalog import alerts, answers, queries, trail
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.errors import CatalogError
from search_app.jobs import schedules
from search_app.jobs.nightly import enqueue_checks, nightly_of
from search_app.jobs.types import QUEUE, SILENT_S, JobStatus
from search_app.jobs.upkeep import forget_old, take_over

HEARTBEAT_S = 5.0
POLL_S = 1.0
"""How long a job may wait that was not announced: one whose lock became free, or is due again."""

FORGOTTEN_AT_ONCE = 5_000
"""Searches deleted in one transaction, so that none is a long one."""

CONNECTIONS_OF_A_JOB = 3
"""Two for its locks, and one for what it writes."""

_UPKEEP_S = 5.0
_FORGET_S = 3600.0
_TIDY_S = 30.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_WELL_S = 60.0
"""Seconds after which a worker counts as well, and the next pause is short again."""

log = structlog.get_logger()


class _QueueLostError(Exception):
    """The worker ended without having been told to."""


@dataclass(frozen=True, kw_only=True)
class Duty:
    """What a worker is there for: jobs of these queues, so many at once."""

    queues: Sequence[str] = (QUEUE,)
    concurrency: int = 1


async def work(settings: Settings, duty: Duty, *, ready: Callable[[], None], tell: Tell) -> None:
    """Do jobs until the task is cancelled; then interrupt those under way, which another goes on.

    ``ready`` is called every time that the queue is reached.

    Raises:
        ConfigurationError, CatalogError: at the start only. Later it is tried again and again.
    """
    _quieten()
    pause = _FIRST_PAUSE_S
    reached = False
    while True:
        began = time.monotonic()
        try:
            connections = max(10, 5 + CONNECTIONS_OF_A_JOB * duty.concurrency)
            async with open_services(settings, connections=connections) as services:
                reached = True
                await _serve(services, duty, ready, tell)
        except asyncio.CancelledError:
            return
        except (CatalogError, ProcrastinateException, psycopg.Error, _QueueLostError) as exc:
            if not reached:
                raise
            if time.monotonic() - began > _WELL_S:
                pause = _FIRST_PAUSE_S
            reason = str(exc) or str(exc.__cause__)
            log.warning("the queue was lost", reason=reason, again_in_s=pause)
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            return
        pause = min(2 * pause, _LONGEST_PAUSE_S)


async def _serve(services: Services, duty: Duty, ready: Callable[[], None], tell: Tell) -> None:
    app = make_app(services, tell)
    async with app.open_async():
        await _upkeep(services, tell)
        tasks = {
            asyncio.create_task(
                app.run_worker_async(
                    queues=list(duty.queues),
                    concurrency=duty.concurrency,
                    fetch_job_polling_interval=POLL_S,
                    abort_job_polling_interval=POLL_S,
                    update_heartbeat_interval=HEARTBEAT_S,
                    stalled_worker_timeout=SILENT_S,
                    # An ingest can be gone on with at any point, so none is waited for.
                    shutdown_graceful_timeout=0,
                    install_signal_handlers=False,
                )
            ),
            asyncio.create_task(_keep_up(services, tell)),
            asyncio.create_task(keep_telling(services)),
        }
        ready()
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()
        raise _QueueLostError("the connection to the queue was lost")


async def _keep_up(services: Services, tell: Tell) -> None:
    forgotten = 0.0
    tidied = 0.0
    while True:
        before = time.time()
        await asyncio.sleep(_UPKEEP_S)
        if time.time() - before > SILENT_S:
            # The machine slept: nobody has given a sign of life, and nobody is dead for that.
            continue
        await _upkeep(services, tell)
        if time.monotonic() - tidied > _TIDY_S:
            await retiring.tidy_up(services)
            tidied = time.monotonic()
        if time.monotonic() - forgotten > _FORGET_S:
            async with transaction(services.engine) as connection:
                await forget_old(connection)
                await alerts.forget_old(connection)
            await forget_searches(services)
            await forget_changes(services)
            forgotten = time.monotonic()


async def forget_changes(services: Services) -> int:
    """Delete what the log of changes has from before the settings want it, and say how much."""
    days = services.settings.audit_days
    if not days:
        return 0
    async with transaction(services.engine) as connection:
        return await trail.forget(connection, days)


async def forget_searches(services: Services) -> int:
    """Delete the searches and answers older than the settings want; say how many searches."""
    days = services.settings.query_log_days
    deleted = 0
    for forget in (answers.forget_old, queries.forget_old):
        deleted, gone = 0, FORGOTTEN_AT_ONCE if days else 0
        while gone == FORGOTTEN_AT_ONCE:
            async with transaction(services.engine) as connection:
                gone = await forget(connection, days=days, most=FORGOTTEN_AT_ONCE)
            deleted += gone
    return deleted


async def _upkeep(services: Services, tell: Tell) -> None:
    """Take over the jobs of workers that died, and ask for what is due."""
    async with transaction(services.engine) as connection:
        taken = await take_over(connection)
    for job in taken:
        event = "failed" if job.status is JobStatus.FAILED else "taken over"
        tell(
            Event(
                event=event,
                job=job.id,
                kind=job.kind,
                collection=job.collection,
                reason="its worker died",
            )
        )

    nightly = nightly_of(services.settings)
    checks = await enqueue_checks(services.engine, nightly) if nightly else []
    for due in [*await schedules.enqueue_due(services.engine), *checks]:
        tell(Event(event="due", job=due.id, kind=due.kind, collection=due.collection))


def _quieten() -> None:
    """Leave the telling to this package: procrastinate logs every failed job with a traceback."""
    logger = logging.getLogger("procrastinate")
    logger.setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
