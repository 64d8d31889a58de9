"""Locks that end with the connection, so that a killed process leaves none behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog.engine import catalog_errors
from search_app.types import Collection

POLL_S = 0.3


class WritingLock:
    """The lock of a run on its collection; it lives as long as its connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Take the connection that holds the lock."""
        self._connection = connection

    async def check(self) -> None:
        """Return if the lock is still held.

        Raises:
            CatalogUnavailableError: the connection was lost, and another run may be writing.
        """
        async with catalog_errors():
            await self._connection.execute(text("SELECT 1"))


@asynccontextmanager
async def writing(
    engine: AsyncEngine, collection: Collection, waiting: Callable[[], None]
) -> AsyncIterator["WritingLock"]:
    """Be the only run that writes to a collection; calls ``waiting`` once if another one is.

    Raises:
        CatalogError: the database cannot be reached.
    """
    async with catalog_errors():
        connection = await engine.connect()
    try:
        async with catalog_errors():
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            # Asking again and again rather than waiting inside the server: a statement that waits
            # holds a snapshot, and building an index concurrently waits for all of those.
            if not await _try(connection, collection):
                waiting()
                while not await _try(connection, collection):  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(POLL_S)
            # A run may embed for long between two words to the lock's connection.
            await connection.execute(text("SET idle_session_timeout = 0"))
        yield WritingLock(connection)
    finally:
        # Closing for good, not back to the pool: that gives the lock up whatever state the
        # connection is in.
        await connection.invalidate()
        await connection.close()


async def try_to_write(connection: AsyncConnection, collection: Collection) -> bool:
    """Be the only one that writes to a collection until the transaction ends, if nobody is."""
    statement = text("SELECT pg_try_advisory_xact_lock(:key)")
    return bool(await connection.scalar(statement, {"key": _key(collection)}))


async def _try(connection: AsyncConnection, collection: Collection) -> bool:
    statement = text("SELECT pg_try_advisory_lock(:key)")
    return bool(await connection.scalar(statement, {"key": _key(collection)}))


def _key(collection: Collection) -> int:
    # Advisory locks take 64 bits; two collections that share them only wait for each other.
    return collection.id.int >> 64 & 0x7FFF_FFFF_FFFF_FFFF
