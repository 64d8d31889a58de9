"""Parts of a run: sources that were shared out, who has which, and what all of them come to.

A run that many workers share has a row in ``runs`` for each of them, too, which names it in
``part_of``. Those rows keep what their workers did; ``gathered`` sums them up for the run itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.bulk import insert_rows
from search_app.catalog.tables import run_parts, runs
from search_app.types import JSON, Collection, RunStatus


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some sources of a run, as whoever shared them out described them."""

    number: int
    sources: Sequence[Mapping[str, JSON]]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How many parts of a run are free to be taken, and how many are under way."""

    free: int
    under_way: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one worker did of a run: counts and progress as its own run has them."""

    counts: Mapping[str, JSON]
    progress: Mapping[str, JSON]


async def add(connection: AsyncConnection, run_id: UUID, parts: Sequence[Part]) -> None:
    """Share out parts of a run."""
    rows = [
        {"run_id": run_id, "number": part.number, "sources": [dict(one) for one in part.sources]}
        for part in parts
    ]
    await insert_rows(connection, run_parts, rows, "DO NOTHING")


_CLAIM = text("""
    UPDATE run_parts SET claimed_by = :claimer
    WHERE run_id = :run_id AND number = (
        SELECT number FROM run_parts
        WHERE run_id = :run_id AND NOT done AND claimed_by IS NULL
        ORDER BY number LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING number, sources
""")


async def claim(connection: AsyncConnection, run_id: UUID, claimer: UUID) -> Part | None:
    """Take the next part that nobody has; None where there is none."""
    row = (await connection.execute(_CLAIM, {"run_id": run_id, "claimer": claimer})).one_or_none()
    return None if row is None else Part(number=row.number, sources=row.sources)


async def finish(connection: AsyncConnection, run_id: UUID, numbers: Sequence[int]) -> None:
    """Note that all sources of parts are in, or failed."""
    await connection.execute(
        update(run_parts)
        .where(run_parts.c.run_id == run_id)
        .where(run_parts.c.number == func.any(list(numbers)))
        .values(done=True)
    )


async def standing(connection: AsyncConnection, run_id: UUID) -> Standing:
    """Count the parts that are not done."""
    claimed = func.count(run_parts.c.claimed_by)
    row = (
        await connection.execute(
            select(func.count().label("all"), claimed.label("claimed"))
            .where(run_parts.c.run_id == run_id)
            .where(~run_parts.c.done)
        )
    ).one()
    return Standing(free=row.all - row.claimed, under_way=row.claimed)


async def claimers(connection: AsyncConnection, run_id: UUID) -> list[UUID]:
    """Name who has parts that are not done."""
    statement = (
        select(run_parts.c.claimed_by)
        .where(run_parts.c.run_id == run_id)
        .where(~run_parts.c.done)
        .where(run_parts.c.claimed_by.is_not(None))
        .distinct()
    )
    return [found for found in await connection.scalars(statement) if found is not None]


async def release(connection: AsyncConnection, run_id: UUID, claimer: UUID) -> None:
    """Let others have the parts that somebody left undone; no run of theirs goes on."""
    await connection.execute(
        update(run_parts)
        .where(run_parts.c.run_id == run_id)
        .where(run_parts.c.claimed_by == claimer)
        .where(~run_parts.c.done)
        .values(claimed_by=None)
    )
    await connection.execute(
        update(runs)
        .where(runs.c.id == claimer)
        .where(runs.c.status == RunStatus.RUNNING.value)
        .values(
            status=RunStatus.INTERRUPTED.value,
            reason="its process ended; others go on with its part",
            finished_at=func.now(),
        )
    )


async def forget(connection: AsyncConnection, run_id: UUID) -> None:
    """Forget what was shared out; the runs of the workers stay."""
    await connection.execute(delete(run_parts).where(run_parts.c.run_id == run_id))


async def forget_ended(connection: AsyncConnection, collection: Collection) -> None:
    """Forget what runs of a collection shared out that have ended or were interrupted."""
    ended = (
        select(runs.c.id)
        .where(runs.c.collection_id == collection.id)
        .where(runs.c.status != RunStatus.RUNNING.value)
    )
    await connection.execute(delete(run_parts).where(run_parts.c.run_id.in_(ended)))


async def family(connection: AsyncConnection, run_id: UUID) -> set[UUID]:
    """Name the runs of all workers that took part in a run."""
    return set(await connection.scalars(select(runs.c.id).where(runs.c.part_of == run_id)))


async def shares(connection: AsyncConnection, run_id: UUID) -> list[Share]:
    """Read what every worker that took part did so far."""
    rows = await connection.execute(
        select(runs.c.counts, runs.c.progress).where(runs.c.part_of == run_id)
    )
    return [Share(counts=row.counts, progress=row.progress or {}) for row in rows]


# Above the run's own failures, which its coordinator numbers from 0.
_FIRST_GATHERED = 1_000_000_000

_GATHER = text("""
    WITH moved AS (
        DELETE FROM run_errors USING runs
        WHERE runs.id = run_errors.run_id AND runs.part_of = :run_id
        RETURNING run_errors.source, run_errors.reason, runs.started_at, run_errors.ordinal
    ), new AS (
        SELECT source, reason, min(started_at) AS started_at, min(ordinal) AS ordinal
        FROM moved
        -- What a worker that died had noted is noted again by whoever went on with its part.
        WHERE NOT EXISTS (
            SELECT FROM run_errors AS known WHERE known.run_id = :run_id
            AND known.source = moved.source AND known.reason = moved.reason
        )
        GROUP BY source, reason
    )
    INSERT INTO run_errors (run_id, ordinal, source, reason)
    SELECT :run_id, greatest(:first, coalesce(
            (SELECT max(ordinal) + 1 FROM run_errors WHERE run_id = :run_id), 0
        )) + row_number() OVER (ORDER BY started_at, ordinal) - 1, source, reason
    FROM new
""")

_GATHERED = text("SELECT count(*) FROM run_errors WHERE run_id = :run_id AND ordinal >= :first")


async def gather_errors(connection: AsyncConnection, run_id: UUID) -> int:
    """Move the failures that workers noted to the run itself; give how many it has from them.

    Only the coordinator of the run may do so.
    """
    values = {"run_id": run_id, "first": _FIRST_GATHERED}
    await connection.execute(_GATHER, values)
    return (await connection.scalar(_GATHERED, values)) or 0
