"""Indexes: which vector spaces a collection has, and which one answers."""

from dataclasses import asdict
from uuid import UUID, uuid4

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import indexes
from search_app.errors import NotFoundError
from search_app.types import Chunking, Collection, Index, IndexState


def from_row(row: RowMapping) -> Index:
    """Read an index from a row that has the table's columns, alone or among others."""
    return Index(
        id=row[indexes.c.id],
        collection_id=row[indexes.c.collection_id],
        model_version_id=row[indexes.c.model_version_id],
        chunking=Chunking(**row[indexes.c.chunking]),
        store=row[indexes.c.store],
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
            state=state.value,
        )
        .returning(*indexes.c)
    )
    return from_row(rows.mappings().one())


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


async def activate(connection: AsyncConnection, index_id: UUID) -> Index:
    """Let an index answer the searches of its collection; no other one may be active."""
    rows = await connection.execute(
        update(indexes)
        .where(indexes.c.id == index_id)
        .values(state=IndexState.ACTIVE.value, activated_at=func.now())
        .returning(*indexes.c)
    )
    return from_row(rows.mappings().one())
