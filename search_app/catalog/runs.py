"""Runs: what was executed, with what, and how it ended."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, Select, Text, cast, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import collections, run_errors, runs
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import JSON, Collection, Failure, Run, RunStatus

REINDEX = "reindex"
"""The kind of runs that build an index beside the one that answers."""


async def start(
    connection: AsyncConnection,
    *,
    kind: str,
    collection: Collection,
    configuration: Mapping[str, JSON],
    code_version: str,
    library_versions: Mapping[str, str],
    job_id: int | None = None,
    part_of: UUID | None = None,
) -> UUID:
    """Record a run that begins now on this host, and give its id.

    ``part_of`` names the run of which this one is a worker's share.
    """
    run_id = uuid4()
    await connection.execute(
        insert(runs).values(
            id=run_id,
            kind=kind,
            collection_id=collection.id,
            status=RunStatus.RUNNING.value,
            configuration=dict(configuration),
            code_version=code_version,
            library_versions=dict(library_versions),
            host=platform.node(),
            process_id=os.getpid(),
            job_id=job_id,
            part_of=part_of,
        )
    )
    return run_id


async def set_index(connection: AsyncConnection, run_id: UUID, index_id: UUID) -> None:
    """Record which index the run writes to, once that is known."""
    await connection.execute(update(runs).where(runs.c.id == run_id).values(index_id=index_id))


async def set_counts(connection: AsyncConnection, run_id: UUID, counts: Mapping[str, JSON]) -> None:
    """Record how far the run is."""
    await connection.execute(update(runs).where(runs.c.id == run_id).values(counts=dict(counts)))


async def set_progress(
    connection: AsyncConnection, run_id: UUID, progress: Mapping[str, JSON]
) -> None:
    """Record what the run has read and planned, which its counts do not say."""
    await connection.execute(
        update(runs).where(runs.c.id == run_id).values(progress=dict(progress))
    )


async def finish(
    connection: AsyncConnection,
    run_id: UUID,
    *,
    status: RunStatus,
    counts: Mapping[str, JSON],
    reason: str | None = None,
) -> None:
    """Record how the run ended."""
    await connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(status=status.value, counts=dict(counts), reason=reason, finished_at=func.now())
    )


async def built_afresh(connection: AsyncConnection, index_id: UUID) -> bool:
    """Say whether an index was to have only vectors that were embedded for it or since."""
    statement = (
        select(runs.c.id)
        .where(runs.c.kind == REINDEX)
        .where(runs.c.index_id == index_id)
        .where(runs.c.configuration["fresh"].as_boolean())
        .limit(1)
    )
    return (await connection.execute(statement)).first() is not None


async def goes_on(connection: AsyncConnection, run_id: UUID) -> bool:
    """Say whether a run neither ended nor was marked as interrupted."""
    statement = select(runs.c.status).where(runs.c.id == run_id)
    return await connection.scalar(statement) == RunStatus.RUNNING.value


async def mark_interrupted(connection: AsyncConnection, collection: Collection) -> int:
    """Mark runs of the collection that never ended; the caller holds the collection's lock.

    Whoever holds that lock knows that no run of the collection is alive, but for one that builds
    an index, which holds it for moments only.
    """
    return await _interrupt(connection, collection, runs.c.kind != REINDEX)


async def mark_builders_interrupted(connection: AsyncConnection, collection: Collection) -> int:
    """Mark runs that were building an index and never ended; the caller is the only one to."""
    return await _interrupt(connection, collection, runs.c.kind == REINDEX)


async def _interrupt(
    connection: AsyncConnection, collection: Collection, kinds: ColumnElement[bool]
) -> int:
    result = await connection.execute(
        update(runs)
        .where(runs.c.collection_id == collection.id)
        .where(runs.c.status == RunStatus.RUNNING.value)
        .where(kinds)
        .values(
            status=RunStatus.INTERRUPTED.value,
            reason="its process ended before the run did",
            finished_at=func.now(),
        )
    )
    return result.rowcount


async def add_errors(
    connection: AsyncConnection, run_id: UUID, first: int, failures: Sequence[Failure]
) -> None:
    """Record failures, numbered on from ``first``."""
    if failures:
        await connection.execute(
            insert(run_errors),
            [
                {
                    "run_id": run_id,
                    "ordinal": first + offset,
                    "source": failure.source,
                    "reason": failure.reason,
                }
                for offset, failure in enumerate(failures)
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast runs were: tokens sent in a second, reading and writing included; over how many."""

    tokens_a_second: float
    runs: int


# Short runs say more of starting than of embedding, and others of what they did besides.
_PACE = text("""
    SELECT count(*) AS runs, sum(tokens) AS tokens, sum(seconds) AS seconds FROM (
        SELECT (runs.counts #>> '{sent,tokens}')::bigint AS tokens,
            extract(epoch FROM finished_at - started_at)::float8 AS seconds
        FROM runs JOIN indexes ON indexes.id = runs.index_id
        JOIN model_versions ON model_versions.id = indexes.model_version_id
        WHERE model_versions.spec = :spec AND runs.status IN ('succeeded', 'partial')
            AND runs.part_of IS NULL AND finished_at > started_at
            AND (runs.counts #>> '{chunks,embedded}')::bigint
                >= (runs.counts #>> '{chunks,reused}')::bigint
            AND (runs.counts #>> '{sent,tokens}')::bigint >= :fewest
        ORDER BY started_at DESC LIMIT :latest
    ) AS latest
""")
_FEWEST_TOKENS = 20_000
_LATEST_RUNS = 5


async def pace(connection: AsyncConnection, spec: str) -> Pace | None:
    """Say how fast the latest runs with an embedder were; None where none was measured."""
    values = {"spec": spec, "fewest": _FEWEST_TOKENS, "latest": _LATEST_RUNS}
    row = (await connection.execute(_PACE, values)).one()
    if not row.runs or not row.seconds:
        return None
    return Pace(tokens_a_second=float(row.tokens) / row.seconds, runs=row.runs)


_IN_IDS = frozenset("0123456789abcdef-")

# The collection may be deleted since.
_collection_name = func.coalesce(collections.c.name, runs.c.configuration["collection"].astext, "")


def _select() -> Select[Any]:
    failed = (
        select(func.count())
        .where(run_errors.c.run_id == runs.c.id)
        .scalar_subquery()
        .label("errors")
    )
    return select(*runs.c, _collection_name.label("collection"), failed).outerjoin(
        collections, collections.c.id == runs.c.collection_id
    )


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        kind=row.kind,
        collection=row.collection,
        index_id=row.index_id,
        job_id=row.job_id,
        status=RunStatus(row.status),
        configuration=row.configuration,
        code_version=row.code_version,
        library_versions=row.library_versions,
        host=row.host,
        process_id=row.process_id,
        counts=row.counts,
        progress=row.progress or {},
        reason=row.reason,
        errors=row.errors,
        started_at=row.started_at,
        finished_at=row.finished_at,
        part_of=row.part_of,
    )


async def listing(
    connection: AsyncConnection, *, collection: str | None = None, limit: int = 50, offset: int = 0
) -> list[Run]:
    """List runs, newest first; not the shares that workers had in them."""
    statement = (
        _select()
        .where(runs.c.part_of.is_(None))
        .order_by(runs.c.started_at.desc(), runs.c.id)
        .limit(limit)
        .offset(offset)
    )
    if collection is not None:
        statement = statement.where(_collection_name == collection)
    return [_run(row) for row in await connection.execute(statement)]


async def parts(connection: AsyncConnection, run_id: UUID) -> list[Run]:
    """List the shares that workers had in a run, as they began."""
    statement = _select().where(runs.c.part_of == run_id).order_by(runs.c.started_at, runs.c.id)
    return [_run(row) for row in await connection.execute(statement)]


async def before(connection: AsyncConnection, run: Run) -> Run | None:
    """Get the run of the same collection that began before a run, if there was one."""
    statement = (
        _select()
        .where(runs.c.part_of.is_(None))
        .where(_collection_name == run.collection)
        .where(runs.c.started_at < run.started_at)
        .order_by(runs.c.started_at.desc(), runs.c.id)
        .limit(1)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _run(row)


async def get(connection: AsyncConnection, run_id: UUID) -> Run:
    """Get a run by id.

    Raises:
        NotFoundError: there is none.
    """
    row = (await connection.execute(_select().where(runs.c.id == run_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"no run {run_id}")
    return _run(row)


async def find(connection: AsyncConnection, text: str) -> Run:
    """Get a run by its id, or by as much of its beginning as names one only.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: the text is too short to tell runs apart.
    """
    beginning = text.strip().lower()
    if not beginning or set(beginning) - _IN_IDS:
        raise NotFoundError(f"no run {text[:50]!r}; ingest runs lists them")
    statement = (
        _select().where(cast(runs.c.id, Text).startswith(beginning, autoescape=True)).limit(2)
    )
    found = (await connection.execute(statement)).all()
    if not found:
        raise NotFoundError(f"no run {text[:50]!r}; ingest runs lists them")
    if len(found) > 1:
        raise InvalidInputError(f"several runs begin with {text!r}; write more of the id")
    return _run(found[0])


async def errors(
    connection: AsyncConnection, run_id: UUID, *, limit: int = 1000, offset: int = 0
) -> list[Failure]:
    """List the sources that failed in a run, in the order met."""
    statement = (
        select(run_errors.c.source, run_errors.c.reason)
        .where(run_errors.c.run_id == run_id)
        .order_by(run_errors.c.ordinal)
        .limit(limit)
        .offset(offset)
    )
    rows = await connection.execute(statement)
    return [Failure(source=row.source, reason=row.reason) for row in rows]
