"""Indexes: which vector spaces a collection has, and which one answers."""

from dataclasses import asdict
from uuid import UUID, uuid4

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import indexes
from search_app.errors import NotFoundError
from search_app.types import Chunking, Collection, Index, IndexState


def _index(row: Row[tuple[object, ...]]) -> Index:
    return Index(
        id=row.id,
        collection_id=row.collection_id,
        model_version_id=row.model_version_id,
        chunking=Chunking(**row.chunking),
        store=row.store,
        state=IndexState(row.state),
        created_at=row.created_at,
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
    row = await connection.execute(
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
    return _index(row.one())


async def live(connection: AsyncConnection, collection: Collection) -> list[Index]:
    """List the indexes that ingest writes to: all that are not retired, oldest first."""
    rows = await connection.execute(
        select(*indexes.c)
        .where(indexes.c.collection_id == collection.id)
        .where(indexes.c.state != IndexState.RETIRED.value)
        .order_by(indexes.c.created_at, indexes.c.id)
    )
    return [_index(row) for row in rows]


async def active(connection: AsyncConnection, collection: Collection) -> Index:
    """Get the index that answers searches.

    Raises:
        NotFoundError: nothing has been ingested into the collection yet.
    """
    row = (
        await connection.execute(
            select(*indexes.c)
            .where(indexes.c.collection_id == collection.id)
            .where(indexes.c.state == IndexState.ACTIVE.value)
        )
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            f"collection {collection.name!r} has no active index; ingest something into it first"
        )
    return _index(row)


async def set_state(connection: AsyncConnection, index_id: UUID, state: IndexState) -> None:
    """Move an index to another state of its life."""
    await connection.execute(
        update(indexes).where(indexes.c.id == index_id).values(state=state.value)
    )
