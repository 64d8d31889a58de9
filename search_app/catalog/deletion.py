"""Collections on their way out: ``deleting`` from the first step on, so that nobody sees them."""

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import collections
from search_app.catalog.tables import collections as collection_table
from search_app.catalog.tables import documents, indexes, run_errors, runs
from search_app.types import Collection, IndexState


async def find(connection: AsyncConnection, name: str) -> Collection:
    """Find a collection by its name, one whose deletion was begun included.

    Raises:
        NotFoundError: there is none; names those there are.
    """
    collections.check_name(name)
    statement = select(collection_table.c.id).where(collection_table.c.name == name)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return await collections.get(connection, name)
    return Collection(id=row.id, name=name)


async def is_empty(connection: AsyncConnection, collection: Collection) -> bool:
    """Say whether a collection has no document in any state."""
    found = select(documents.c.id).where(documents.c.collection_id == collection.id).limit(1)
    return (await connection.scalar(found)) is None


async def begin(connection: AsyncConnection, collection: Collection) -> None:
    """Hide a collection; should the rest be cut short, deleting it again goes on."""
    await connection.execute(
        update(collection_table)
        .where(collection_table.c.id == collection.id)
        .values(state="deleting")
    )
    await connection.execute(
        update(indexes)
        .where(indexes.c.collection_id == collection.id)
        .values(state=IndexState.RETIRED.value)
    )


async def delete_documents(connection: AsyncConnection, collection: Collection, limit: int) -> int:
    """Delete some documents with their chunks and vector records, and say how many."""
    some = select(documents.c.id).where(documents.c.collection_id == collection.id).limit(limit)
    result = await connection.execute(delete(documents).where(documents.c.id.in_(some)))
    return result.rowcount


async def finish(connection: AsyncConnection, collection: Collection) -> None:
    """Delete what is left, but for the runs, which stay."""
    await connection.execute(delete(collection_table).where(collection_table.c.id == collection.id))


async def forget_failures(connection: AsyncConnection, collection: Collection) -> None:
    """Delete what the runs of a collection say of single files."""
    own = select(runs.c.id).where(runs.c.collection_id == collection.id)
    await connection.execute(delete(run_errors).where(run_errors.c.run_id.in_(own)))
