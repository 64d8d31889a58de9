"""Locks that end with the connection, so that a killed process leaves none behind."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog.engine import catalog_errors
from search_app.types import Collection


@asynccontextmanager
async def writing(
    engine: AsyncEngine, collection: Collection, waiting: Callable[[], None]
) -> AsyncIterator[None]:
    """Be the only run that writes to a collection; calls ``waiting`` once if another one is.

    Raises:
        CatalogError: the database cannot be reached.
    """
    # Advisory locks take 64 bits; two collections that share them only wait for each other.
    key = {"key": collection.id.int >> 64 & 0x7FFF_FFFF_FFFF_FFFF}
    async with catalog_errors():
        connection = await engine.connect()
    try:
        async with catalog_errors():
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            locked = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key)
            if not locked:
                waiting()
                await connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
        yield
    finally:
        # Closing for good, not back to the pool: that is what gives the lock up, whatever state
        # the connection is in.
        await connection.invalidate()
        await connection.close()
