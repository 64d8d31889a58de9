"""Copying points from one index into another inside the database, without their leaving it."""

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Table,
    Uuid,
    all_,
    and_,
    delete,
    exists,
    insert,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.stores.base import Taken
from search_app.stores.pgvector_tables import Layout


async def transfer(
    connection: AsyncConnection, source: Layout, target: Layout, taken: Taken
) -> None:
    """Copy points with their terms, in the open transaction, in the place of any that are there."""
    for theirs, ours in zip(source.tables, target.tables, strict=True):
        wanted = _wanted(theirs, taken)
        same = ours.c.chunk_id == theirs.c.chunk_id
        await connection.execute(
            delete(ours).where(_wanted(ours, taken)).where(exists().where(same))
        )
        names = [column.name for column in ours.c]
        own = literal(taken.index_id, theirs.c.chunk_id.type)
        rows = select(*(own if name == "index_id" else theirs.c[name] for name in names))
        # In the order of the key: better for it, and how all writers lock.
        rows = rows.where(wanted).order_by(theirs.c.chunk_id)
        await connection.execute(insert(ours).from_select(names, rows))


def _wanted(table: Table, taken: Taken) -> ColumnElement[bool]:
    conditions = [table.c.chunk_id <= taken.last]
    if taken.after is not None:
        conditions.append(table.c.chunk_id > taken.after)
    if taken.besides:
        besides = literal(list(taken.besides), ARRAY(Uuid))
        conditions.append(table.c.chunk_id != all_(besides))
    return and_(*conditions)
