"""How jobs stand."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog.engine import transaction
from search_app.errors import NotFoundError
from search_app.jobs.types import KINDS, PART, SILENT_S, Job, JobStatus, lock_of

_LARGEST_ID = 2**63 - 1


async def get(engine: AsyncEngine, job_id: int) -> Job:
    """Get a job by its id.

    Raises:
        NotFoundError: there is none; those that ended long ago are forgotten.
    """
    async with transaction(engine) as connection:
        return await find(connection, job_id)


async def listing(
    engine: AsyncEngine, *, collection: str | None = None, limit: int = 50, offset: int = 0
) -> list[Job]:
    """List jobs, newest first."""
    async with transaction(engine) as connection:
        rows = await connection.execute(
            _LISTING,
            {**_CONSTANTS, "collection": collection, "limit": limit, "offset": offset},
        )
        return [_job(row) for row in rows]


async def waiting(connection: AsyncConnection, collection: str) -> int:
    """Count the jobs that wait for a collection."""
    return (await connection.scalar(_COUNT_WAITING, {"lock": lock_of(collection)})) or 0


async def others_wait(engine: AsyncEngine, queues: Sequence[str]) -> bool:
    """Say whether any job that is no help waits in the queues and could be begun at once."""
    async with transaction(engine) as connection:
        values = {"queues": list(queues), "part": PART}
        return bool(await connection.scalar(_OTHERS_WAIT, values))


async def worker_alive(engine: AsyncEngine) -> bool:
    """Say whether any worker gave a sign of life lately."""
    async with transaction(engine) as connection:
        return bool(await connection.scalar(_ALIVE, {"silent": SILENT_S}))


async def find(connection: AsyncConnection, job_id: int) -> Job:
    """Get a job by its id, over a connection.

    Raises:
        NotFoundError: there is none.
    """
    row = None
    if 0 < job_id <= _LARGEST_ID:
        rows = await connection.execute(_ONE, {**_CONSTANTS, "id": job_id})
        row = rows.one_or_none()
    if row is None:
        raise NotFoundError(f"no job {job_id}; jobs that ended long ago are forgotten")
    return _job(row)


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        queue=row.queue_name,
        collection=row.args["collection"],
        arguments=row.args.get("arguments", []),
        force=row.args.get("force", False),
        prune=row.args.get("prune", False),
        status=JobStatus(row.status),
        attempts=row.attempts,
        run_id=row.run_id,
        counts=row.counts or {},
        progress=row.progress or {},
        failures=row.failures,
        workers=row.workers,
        run_seconds=row.run_seconds,
        reason=row.reason,
        check_id=row.check_id,
        verdict=row.verdict,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


_CONSTANTS = {"kinds": list(KINDS), "silent": SILENT_S}

_ALIVE = text(
    "SELECT EXISTS (SELECT FROM procrastinate_workers "
    "WHERE last_heartbeat > now() - make_interval(secs => :silent))"
)

_OTHERS_WAIT = text(
    "SELECT EXISTS (SELECT FROM procrastinate_jobs AS jobs WHERE status = 'todo' "
    "AND queue_name = ANY(CAST(:queues AS text[])) AND task_name <> :part "
    "AND coalesce(scheduled_at, now()) <= now() AND NOT EXISTS ("
    "SELECT FROM procrastinate_jobs AS others WHERE others.lock = jobs.lock "
    "AND others.status = 'doing'))"
)

_COUNT_WAITING = text(
    "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo' AND lock = :lock"
)

# A job whose worker is dead waits for another one to take it over, whatever its row says.
_JOBS = """
    SELECT jobs.id, jobs.task_name AS kind, jobs.queue_name, jobs.args, jobs.attempts,
        CASE
            WHEN jobs.status = 'todo' THEN 'waiting'
            WHEN jobs.status = 'doing' AND workers.id IS NULL THEN 'waiting'
            WHEN jobs.status = 'doing' THEN 'running'
            WHEN jobs.status IN ('succeeded', 'failed') THEN CAST(jobs.status AS text)
            ELSE 'cancelled'
        END AS status,
        latest.id AS run_id, latest.counts, latest.progress, latest.run_seconds,
        CASE WHEN latest.id IS NULL THEN 0 ELSE
            (SELECT count(*) FROM run_errors WHERE run_errors.run_id = latest.id)
        END AS failures,
        CASE WHEN latest.id IS NULL THEN 0 ELSE greatest(1,
            (SELECT count(*) FROM runs AS parts WHERE parts.part_of = latest.id
             AND (latest.status <> 'running' OR parts.status = 'running')))
        END AS workers,
        job_failures.reason, checks.id AS check_id, checks.verdict, times.*
    FROM procrastinate_jobs AS jobs
    LEFT JOIN procrastinate_workers AS workers ON workers.id = jobs.worker_id
        AND workers.last_heartbeat > now() - make_interval(secs => :silent)
    LEFT JOIN job_failures ON job_failures.job_id = jobs.id
    LEFT JOIN check_jobs ON check_jobs.job_id = jobs.id
    LEFT JOIN checks ON checks.id = check_jobs.check_id
    LEFT JOIN LATERAL (
        SELECT runs.id, runs.counts, runs.progress, runs.status,
            CAST(extract(epoch FROM coalesce(runs.finished_at, now()) - runs.started_at)
                AS double precision) AS run_seconds
        FROM runs WHERE runs.job_id = jobs.id
        ORDER BY runs.started_at DESC LIMIT 1
    ) AS latest ON true
    LEFT JOIN LATERAL (
        SELECT min(at) FILTER (WHERE type = 'deferred') AS created_at,
            max(at) FILTER (WHERE type = 'started') AS started_at,
            max(at) FILTER (WHERE type IN ('succeeded', 'failed', 'cancelled', 'aborted'))
                AS finished_at
        FROM procrastinate_events WHERE procrastinate_events.job_id = jobs.id
    ) AS times ON true
    WHERE jobs.task_name = ANY(CAST(:kinds AS text[]))
"""

_ONE = text(_JOBS + " AND jobs.id = :id")

_LISTING = text(
    _JOBS
    + " AND (CAST(:collection AS text) IS NULL OR jobs.args->>'collection' = :collection)"
    + " ORDER BY jobs.id DESC LIMIT :limit OFFSET :offset"
)
