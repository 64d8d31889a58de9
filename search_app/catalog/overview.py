"""Cheap looks at the catalog, for pages that are shown at every search."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import collections, runs
from search_app.types import JSON, Collection


async def collection_names(connection: AsyncConnection) -> list[Collection]:
    """List all collections by name, counting nothing."""
    rows = await connection.execute(
        select(collections.c.id, collections.c.name)
        .where(collections.c.state == "live")
        .order_by(collections.c.name)
    )
    return [Collection(id=row.id, name=row.name) for row in rows]


async def latest_change(connection: AsyncConnection, collection: Collection) -> JSON:
    """Give a value that differs once documents were written, removed, excluded or labelled.

    Runs do the first two, and record their counts as they go; the others touch the collection.
    """
    touched = select(collections.c.touched_at).where(collections.c.id == collection.id)
    statement = (
        select(runs.c.id, runs.c.status, runs.c.counts, touched.scalar_subquery().label("touched"))
        .where(runs.c.collection_id == collection.id)
        .order_by(runs.c.started_at.desc(), runs.c.id)
        .limit(1)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else [str(row.id), row.status, row.counts, str(row.touched)]
