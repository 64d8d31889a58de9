"""What workers do for the queue besides its jobs: reasons, jobs of dead workers, old jobs."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.jobs.types import KINDS, MOST_ATTEMPTS, PART, SILENT_S, JobStatus

_OURS = [*KINDS, PART]

KEPT_DAYS = 30
"""Days that a job which has ended is remembered; its run is remembered for good."""


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """A job whose worker died, and what became of it: it waits again, or it was given up."""

    id: int
    kind: str
    collection: str
    status: JobStatus


async def note_failure(connection: AsyncConnection, job_id: int, reason: str) -> None:
    """Keep why a job failed or waits to be tried again; the latest reason counts."""
    await connection.execute(_NOTE, {"job_id": job_id, "reason": reason})


async def forget_failure(connection: AsyncConnection, job_id: int) -> None:
    """Forget why a job failed before: it went well in the end."""
    await connection.execute(_FORGET, {"job_id": job_id})


async def take_over(connection: AsyncConnection) -> Sequence[TakenOver]:
    """Put jobs whose workers died back into the queue; give up those that it happened to often."""
    rows = await connection.execute(
        _TAKE_OVER, {"kinds": _OURS, "silent": SILENT_S, "most": MOST_ATTEMPTS}
    )
    taken = [
        TakenOver(
            id=row.id,
            kind=row.task_name,
            collection=row.args["collection"],
            status=_STATUSES[row.status],
        )
        for row in rows
    ]
    for job in taken:
        if job.status is JobStatus.FAILED:
            reason = (
                f"begun {MOST_ATTEMPTS} times and never ended: its worker died or was stopped "
                "each time; the worker's log and the machine's memory may say why"
            )
            await note_failure(connection, job.id, reason)
    return taken


async def forget_old(connection: AsyncConnection) -> None:
    """Delete jobs that ended long ago, and what was kept of them."""
    await connection.execute(_DELETE_OLD, {"kinds": _OURS, "days": KEPT_DAYS})
    await connection.execute(_FORGET_LOST)
    await connection.execute(_FORGET_LOST_COLLECTIONS)
    await connection.execute(_FORGET_LOST_CAUSES)


_STATUSES = {
    "todo": JobStatus.WAITING,
    "failed": JobStatus.FAILED,
    "aborted": JobStatus.CANCELLED,
}

_NOTE = text(
    "INSERT INTO job_failures (job_id, reason) VALUES (:job_id, :reason) "
    "ON CONFLICT (job_id) DO UPDATE SET reason = excluded.reason, created_at = now()"
)

_FORGET = text("DELETE FROM job_failures WHERE job_id = :job_id")

# Locked one by one and looked at again, so that of two workers only one takes a job over.
_TAKE_OVER = text(
    """
    WITH stalled AS (
        SELECT jobs.id FROM procrastinate_jobs AS jobs
        WHERE jobs.status = 'doing' AND jobs.task_name = ANY(CAST(:kinds AS text[]))
        AND NOT EXISTS (
            SELECT FROM procrastinate_workers AS workers WHERE workers.id = jobs.worker_id
            AND workers.last_heartbeat > now() - make_interval(secs => :silent)
        )
        FOR UPDATE OF jobs SKIP LOCKED
    )
    UPDATE procrastinate_jobs AS jobs SET attempts = attempts + 1, worker_id = NULL,
        status = CAST(
            CASE
                WHEN abort_requested THEN 'aborted'
                WHEN attempts + 1 >= :most THEN 'failed'
                ELSE 'todo'
            END AS procrastinate_job_status
        )
    FROM stalled WHERE jobs.id = stalled.id
    RETURNING jobs.id, jobs.task_name, jobs.args, jobs.status
    """
)

_DELETE_OLD = text(
    """
    DELETE FROM procrastinate_jobs WHERE task_name = ANY(CAST(:kinds AS text[]))
        AND status NOT IN ('todo', 'doing') AND NOT EXISTS (
            SELECT FROM procrastinate_events AS events WHERE events.job_id = procrastinate_jobs.id
            AND events.at > now() - make_interval(days => :days)
        )
    """
)

_FORGET_LOST = text(
    "DELETE FROM job_failures WHERE NOT EXISTS "
    "(SELECT FROM procrastinate_jobs WHERE procrastinate_jobs.id = job_failures.job_id)"
)

_FORGET_LOST_COLLECTIONS = text(
    "DELETE FROM job_collections WHERE NOT EXISTS "
    "(SELECT FROM procrastinate_jobs WHERE procrastinate_jobs.id = job_collections.job_id)"
)

_FORGET_LOST_CAUSES = text(
    "DELETE FROM job_causes WHERE NOT EXISTS "
    "(SELECT FROM procrastinate_jobs WHERE procrastinate_jobs.id = job_causes.job_id)"
)
