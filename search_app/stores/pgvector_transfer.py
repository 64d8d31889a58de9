"""Copying points from one index into another inside the database, without their leaving it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Table, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.stores.pgvector_rows import remove
from search_app.stores.pgvector_tables import Layout


async def transfer(
    connection: AsyncConnection,
    source: Layout,
    target: Layout,
    index_id: UUID,
    chunk_ids: Sequence[UUID],
) -> None:
    """Copy points with their terms, in the open transaction, in the place of any that are there."""
    for theirs, ours in zip(source.tables, target.tables, strict=True):
        await remove(connection, ours, chunk_ids)
        await _transfer(connection, theirs, ours, index_id, chunk_ids)


async def _transfer(
    connection: AsyncConnection,
    theirs: Table,
    ours: Table,
    index_id: UUID,
    chunk_ids: Sequence[UUID],
) -> None:
    names = [column.name for column in ours.c]
    taken = select(
        *(
            literal(index_id, ours.c.index_id.type) if name == "index_id" else theirs.c[name]
            for name in names
        )
    ).where(theirs.c.chunk_id == func.any(list(chunk_ids)))
    # In the order of the key: better for it, and how all writers lock.
    statement = insert(ours).from_select(names, taken.order_by(theirs.c.chunk_id))
    await connection.execute(statement)
