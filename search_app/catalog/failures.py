"""Sources that are failed now, with reason, time and run; and how many share a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import collections, sources
from search_app.types import Collection


@dataclass(frozen=True, kw_only=True)
class FailedSource:
    """A source that could not be read, or not whole, when a run last met it."""

    id: UUID
    collection: Collection
    source: str
    reason: str
    run_id: UUID | None
    failed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ReasonGroup:
    """Failures of one collection that share their reason, and when the latest of them was."""

    collection: Collection
    reason: str
    sources: int
    latest_at: datetime


async def listing(
    connection: AsyncConnection,
    *,
    collection: Collection | None = None,
    reason: str | None = None,
    limit: int,
    offset: int = 0,
) -> list[FailedSource]:
    """List failed sources by collection and uri."""
    statement = (
        _failed(collection, reason)
        .add_columns(
            sources.c.id,
            sources.c.uri,
            sources.c.seen_run_id,
            sources.c.updated_at,
        )
        .order_by(collections.c.name, sources.c.uri)
        .limit(limit)
        .offset(offset)
    )
    return [_source(row) for row in await connection.execute(statement)]


async def count(
    connection: AsyncConnection, *, collection: Collection | None = None, reason: str | None = None
) -> int:
    """Count failed sources."""
    statement = select(func.count()).select_from(_failed(collection, reason).subquery())
    return (await connection.scalar(statement)) or 0


async def reasons(
    connection: AsyncConnection,
    *,
    collection: Collection | None = None,
    limit: int,
    offset: int = 0,
) -> Sequence[ReasonGroup]:
    """Group failures by collection and reason, the commonest first."""
    failed = _failed(collection, None).add_columns(sources.c.updated_at).subquery()
    number = func.count().label("number")
    statement = (
        select(
            failed.c.collection_id,
            failed.c.name,
            failed.c.reason,
            number,
            func.max(failed.c.updated_at).label("latest_at"),
        )
        .group_by(failed.c.collection_id, failed.c.name, failed.c.reason)
        .order_by(number.desc(), failed.c.name, failed.c.reason)
        .limit(limit)
        .offset(offset)
    )
    return [
        ReasonGroup(
            collection=Collection(id=row.collection_id, name=row.name),
            reason=row.reason,
            sources=row.number,
            latest_at=row.latest_at,
        )
        for row in await connection.execute(statement)
    ]


async def by_collection(connection: AsyncConnection) -> list[tuple[Collection, int]]:
    """Count failed sources of every collection that has any, by name."""
    failed = _failed(None, None).subquery()
    statement = (
        select(failed.c.collection_id, failed.c.name, func.count().label("number"))
        .group_by(failed.c.collection_id, failed.c.name)
        .order_by(failed.c.name)
    )
    return [
        (Collection(id=row.collection_id, name=row.name), row.number)
        for row in await connection.execute(statement)
    ]


async def examples(
    connection: AsyncConnection, groups: Sequence[ReasonGroup], each: int
) -> dict[tuple[UUID, str], list[FailedSource]]:
    """Give the first sources of each group by uri, under the group's collection and reason."""
    place = func.row_number().over(
        partition_by=(sources.c.collection_id, sources.c.reason), order_by=sources.c.uri
    )
    failed = (
        _failed(None, None)
        .add_columns(
            sources.c.id,
            sources.c.uri,
            sources.c.seen_run_id,
            sources.c.updated_at,
            place.label("place"),
        )
        .where(sources.c.collection_id == func.any([group.collection.id for group in groups]))
        .subquery()
    )
    statement = (
        select(*failed.c)
        .where(failed.c.place <= each)
        .where(failed.c.reason == func.any([group.reason for group in groups]))
        .order_by(failed.c.uri)
    )
    found: dict[tuple[UUID, str], list[FailedSource]] = {}
    for row in await connection.execute(statement):
        found.setdefault((row.collection_id, row.reason), []).append(_source(row))
    return found


def _source(row: Any) -> FailedSource:
    return FailedSource(
        id=row.id,
        collection=Collection(id=row.collection_id, name=row.name),
        source=row.uri,
        reason=row.reason,
        run_id=row.seen_run_id,
        failed_at=row.updated_at,
    )


def _failed(collection: Collection | None, reason: str | None) -> Select[Any]:
    told = func.coalesce(sources.c.reason, "").label("reason")
    statement = (
        select(sources.c.collection_id, collections.c.name, told)
        .join(collections, collections.c.id == sources.c.collection_id)
        .where(collections.c.state == "live")
        .where(sources.c.state == "failed")
    )
    if collection is not None:
        statement = statement.where(sources.c.collection_id == collection.id)
    if reason is not None:
        statement = statement.where(func.coalesce(sources.c.reason, "") == reason)
    return statement
