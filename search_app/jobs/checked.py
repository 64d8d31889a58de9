"""Which check a queued job ended with."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A check that was made, and what it came to."""

    check_id: UUID
    verdict: str


async def made_since_asked(connection: AsyncConnection, job_id: int) -> Checked | None:
    """Give the newest check of the job's collection that ended after the job was asked for."""
    row = (await connection.execute(_SINCE, {"job_id": job_id})).one_or_none()
    return None if row is None else Checked(check_id=row.id, verdict=row.verdict)


async def note(connection: AsyncConnection, job_id: int, check_id: UUID) -> None:
    """Keep which check a job ended with."""
    await connection.execute(_NOTE, {"job_id": job_id, "check_id": check_id})


_SINCE = text(
    """
    SELECT checks.id, checks.verdict FROM procrastinate_jobs AS jobs
    JOIN collections ON collections.name = jobs.args->>'collection'
    JOIN indexes ON indexes.collection_id = collections.id AND indexes.state = 'active'
    JOIN checks ON checks.index_id = indexes.id
    WHERE jobs.id = :job_id
    AND checks.created_at
        + make_interval(secs => CAST(checks.report->>'seconds' AS double precision)) > (
            SELECT min(at) FROM procrastinate_events AS events
            WHERE events.job_id = jobs.id AND events.type = 'deferred'
        )
    ORDER BY checks.created_at DESC, checks.id LIMIT 1
    """
)

_NOTE = text(
    "INSERT INTO check_jobs (job_id, check_id) VALUES (:job_id, :check_id) "
    "ON CONFLICT (job_id) DO UPDATE SET check_id = excluded.check_id"
)
