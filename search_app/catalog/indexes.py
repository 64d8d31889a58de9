"""Indexes: which vector spaces a collection has, which one answers, and what became of each.

Whatever changes the state of an index says so in its events, in the same transaction.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import RowMapping, Text, cast, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import collections, index_events, indexes
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Chunking, Collection, Index, IndexState, Precision

CREATED, READY, ACTIVATED, LEFT, RETIRED = "created", "ready", "activated", "left", "retired"
CLEARED = "cleared"
"""What an event says became of an index.

``left``: another one answers in its place; ``cleared``: nothing is left of a retired one.
"""


@dataclass(frozen=True, kw_only=True)
class IndexEvent:
    """Something that became of an index, and why where that was told."""

    index_id: UUID
    event: str
    reason: str | None
    created_at: datetime


def from_row(row: RowMapping) -> Index:
    """Read an index from a row that has the table's columns, alone or among others."""
    return Index(
        id=row[indexes.c.id],
        collection_id=row[indexes.c.collection_id],
        model_version_id=row[indexes.c.model_version_id],
        chunking=Chunking(**row[indexes.c.chunking]),
        store=row[indexes.c.store],
        precision=Precision(row[indexes.c.precision]),
        state=IndexState(row[indexes.c.state]),
        created_at=row[indexes.c.created_at],
    )


async def create(
    connection: AsyncConnection,
    *,
    collection: Collection,
    model_version_id: UUID,
    chunking: Chunking,
    store: str,
    precision: Precision,
    state: IndexState,
) -> Index:
    """Record a new index; the store makes room for it separately."""
    rows = await connection.execute(
        insert(indexes)
        .values(
            id=uuid4(),
            collection_id=collection.id,
            model_version_id=model_version_id,
            chunking=asdict(chunking),
            store=store,
            precision=precision.value,
            state=state.value,
        )
        .returning(*indexes.c)
    )
    index = from_row(rows.mappings().one())
    await _note(connection, index.id, CREATED, None)
    return index


async def live(connection: AsyncConnection, collection: Collection) -> list[Index]:
    """List the indexes that ingest writes to: all that are not retired, oldest first."""
    rows = await connection.execute(
        select(*indexes.c)
        .where(indexes.c.collection_id == collection.id)
        .where(indexes.c.state != IndexState.RETIRED.value)
        .order_by(indexes.c.created_at, indexes.c.id)
    )
    return [from_row(row) for row in rows.mappings()]


async def every(connection: AsyncConnection, collection: Collection) -> list[Index]:
    """List all indexes of a collection, retired ones too, oldest first."""
    rows = await connection.execute(
        select(*indexes.c)
        .where(indexes.c.collection_id == collection.id)
        .order_by(indexes.c.created_at, indexes.c.id)
    )
    return [from_row(row) for row in rows.mappings()]


async def active(connection: AsyncConnection, collection: Collection) -> Index:
    """Get the index that answers searches.

    Raises:
        NotFoundError: nothing has been ingested into the collection yet.
    """
    rows = await connection.execute(
        select(*indexes.c)
        .where(indexes.c.collection_id == collection.id)
        .where(indexes.c.state == IndexState.ACTIVE.value)
    )
    row = rows.mappings().one_or_none()
    if row is None:
        raise NotFoundError(
            f"collection {collection.name!r} has no active index; ingest something into it first"
        )
    return from_row(row)


async def get(connection: AsyncConnection, index_id: UUID) -> Index:
    """Get an index by id.

    Raises:
        NotFoundError: there is none.
    """
    rows = await connection.execute(select(*indexes.c).where(indexes.c.id == index_id))
    row = rows.mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"no index {index_id}; ingest indexes lists them")
    return from_row(row)


async def collection_of(connection: AsyncConnection, index: Index) -> Collection:
    """Get the collection of an index.

    Raises:
        NotFoundError: it is being deleted.
    """
    rows = await connection.execute(
        select(collections.c.id, collections.c.name)
        .where(collections.c.id == index.collection_id)
        .where(collections.c.state == "live")
    )
    row = rows.one_or_none()
    if row is None:
        raise NotFoundError(f"the collection of index {str(index.id)[:8]} is being deleted")
    return Collection(id=row.id, name=row.name)


_IN_IDS = frozenset("0123456789abcdef-")


async def find(connection: AsyncConnection, text: str) -> Index:
    """Get an index by its id, or by as much of its beginning as names one only.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: the text is too short to tell indexes apart.
    """
    beginning = text.strip().lower()
    if not beginning or set(beginning) - _IN_IDS:
        raise NotFoundError(f"no index {text[:50]!r}; ingest indexes lists them")
    rows = await connection.execute(
        select(*indexes.c)
        .where(cast(indexes.c.id, Text).startswith(beginning, autoescape=True))
        .limit(2)
    )
    found = rows.mappings().all()
    if not found:
        raise NotFoundError(f"no index {text[:50]!r}; ingest indexes lists them")
    if len(found) > 1:
        raise InvalidInputError(f"several indexes begin with {text!r}; write more of the id")
    return from_row(found[0])


async def make_ready(connection: AsyncConnection, index_id: UUID) -> Index:
    """Say that an index is filled; one that was so before stays as it is."""
    index = await locked(connection, index_id)
    if index.state is not IndexState.BUILDING:
        return index
    return await _change(connection, index_id, IndexState.READY, READY, None)


async def activate(
    connection: AsyncConnection, index_id: UUID, *, reason: str | None = None
) -> Index:
    """Let an index answer the searches of its collection; the one that did so far stands by.

    Whether it is fit to answer is for the caller to know. Two at once are done one after the
    other; an index that is active stays so.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: it is retired.
    """
    index = await locked(connection, index_id)
    if index.state is IndexState.ACTIVE:
        return index
    if index.state is IndexState.RETIRED:
        raise InvalidInputError(
            f"index {str(index_id)[:8]} is retired, its vectors are gone; build one anew with "
            "ingest reindex"
        )
    rows = await connection.execute(
        select(indexes.c.id)
        .where(indexes.c.collection_id == index.collection_id)
        .where(indexes.c.state == IndexState.ACTIVE.value)
    )
    for left in rows.scalars().all():
        await _change(connection, left, IndexState.STANDBY, LEFT, reason)
    return await _change(connection, index_id, IndexState.ACTIVE, ACTIVATED, reason)


async def last_left(connection: AsyncConnection, collection: Collection) -> Index | None:
    """Get the index that answered before the one that does now, if there is one and it is kept."""
    rows = await connection.execute(
        select(*indexes.c)
        .join(index_events, index_events.c.index_id == indexes.c.id)
        .where(indexes.c.collection_id == collection.id)
        .where(indexes.c.state == IndexState.STANDBY.value)
        .where(index_events.c.event == LEFT)
        .order_by(index_events.c.id.desc())
        .limit(1)
    )
    row = rows.mappings().one_or_none()
    return None if row is None else from_row(row)


async def retire(
    connection: AsyncConnection, index_id: UUID, *, reason: str | None = None
) -> Index:
    """Say that an index is no longer kept; one that was retired before stays as it is.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: it answers searches.
    """
    index = await locked(connection, index_id)
    if index.state is IndexState.RETIRED:
        return index
    if index.state is IndexState.ACTIVE:
        raise InvalidInputError(
            f"index {str(index_id)[:8]} is active and answers searches; activate another one first"
        )
    return await _change(connection, index_id, IndexState.RETIRED, RETIRED, reason)


async def note_cleared(connection: AsyncConnection, index_id: UUID) -> None:
    """Note that the vectors and records of a retired index are gone."""
    await _note(connection, index_id, CLEARED, None)


async def to_clear(connection: AsyncConnection) -> list[Index]:
    """List retired indexes of which something may be left."""
    cleared = (
        select(index_events.c.id)
        .where(index_events.c.index_id == indexes.c.id)
        .where(index_events.c.event == CLEARED)
        .exists()
    )
    rows = await connection.execute(
        select(*indexes.c)
        .where(indexes.c.state == IndexState.RETIRED.value)
        .where(~cleared)
        .order_by(indexes.c.created_at, indexes.c.id)
    )
    return [from_row(row) for row in rows.mappings()]


async def left_for(connection: AsyncConnection, days: int) -> list[Index]:
    """List indexes that stand by and were left so many days ago or longer."""
    left = (
        select(func.max(index_events.c.created_at))
        .where(index_events.c.index_id == indexes.c.id)
        .where(index_events.c.event == LEFT)
        .scalar_subquery()
    )
    rows = await connection.execute(
        select(*indexes.c)
        .where(indexes.c.state == IndexState.STANDBY.value)
        .where(left < func.now() - func.make_interval(0, 0, 0, days))
        .order_by(indexes.c.created_at, indexes.c.id)
    )
    return [from_row(row) for row in rows.mappings()]


async def events(connection: AsyncConnection, collection: Collection) -> list[IndexEvent]:
    """List what became of the indexes of a collection, in order."""
    rows = await connection.execute(
        select(*index_events.c)
        .join(indexes, indexes.c.id == index_events.c.index_id)
        .where(indexes.c.collection_id == collection.id)
        .order_by(index_events.c.id)
    )
    return [
        IndexEvent(
            index_id=row.index_id, event=row.event, reason=row.reason, created_at=row.created_at
        )
        for row in rows
    ]


async def locked(connection: AsyncConnection, index_id: UUID) -> Index:
    """Read an index, with none of its collection changing its state until the transaction ends.

    Locks the collection's row, and not against references to it, which every search and every
    ingest adds.

    Raises:
        NotFoundError: there is no such index.
    """
    await connection.execute(
        select(collections.c.id)
        .join(indexes, indexes.c.collection_id == collections.c.id)
        .where(indexes.c.id == index_id)
        .with_for_update(key_share=True, of=collections)
    )
    return await get(connection, index_id)


async def _change(
    connection: AsyncConnection, index_id: UUID, state: IndexState, event: str, reason: str | None
) -> Index:
    values: dict[str, Any] = {"state": state.value}
    if state is IndexState.ACTIVE:
        values["activated_at"] = func.now()
    rows = await connection.execute(
        update(indexes).where(indexes.c.id == index_id).values(values).returning(*indexes.c)
    )
    await _note(connection, index_id, event, reason)
    return from_row(rows.mappings().one())


async def _note(
    connection: AsyncConnection, index_id: UUID, event: str, reason: str | None
) -> None:
    await connection.execute(
        insert(index_events).values(index_id=index_id, event=event, reason=reason)
    )
