"""Locks that end with the connection, so that a killed process leaves none behind.

A collection has two. Whoever changes it holds the first alone: one run at a time. A run that many
workers share has helpers; each holds the second together with the others, for as long as it works.
Whoever gets the first waits until nobody has the second: helpers of a run whose process died may
be at work still. They are told to stop by the record of their run, which is marked as interrupted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid5

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog import runs
from search_app.catalog.engine import catalog_errors, transaction
from search_app.errors import CatalogUnavailableError
from search_app.types import Collection

POLL_S = 0.3


class WritingLock:
    """The lock of a run on its collection; it lives as long as its connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Take the connection that holds the lock."""
        self._connection = connection
        # Used from several tasks, and a connection says one thing at a time.
        self._speaking = asyncio.Lock()

    async def check(self) -> None:
        """Return if the lock is still held.

        Raises:
            CatalogUnavailableError: the connection was lost, and another run may be writing.
        """
        async with self._speaking, catalog_errors():
            await self._connection.execute(text("SELECT 1"))


class SupersededError(CatalogUnavailableError):
    """The run that is helped has ended, or another one began; nothing more may be written."""


class HelpingLock(WritingLock):
    """The lock of a helper; while it is held, no other run begins to write."""

    def __init__(self, connection: AsyncConnection, run_id: UUID) -> None:
        """Take the connection that holds the lock, and the run that is helped."""
        super().__init__(connection)
        self._run_id = run_id

    async def check(self) -> None:
        """Return if the lock is still held and the run goes on.

        Raises:
            SupersededError: the run has ended or was interrupted.
            CatalogUnavailableError: the connection was lost, and another run may be writing.
        """
        async with self._speaking, catalog_errors():
            goes_on = await runs.goes_on(self._connection, self._run_id)
        if not goes_on:
            raise SupersededError(f"run {self._run_id} was ended by somebody else")

    async def show_presence(self, helper: UUID) -> None:
        """Let others see that a helper is alive, for as long as the connection lasts."""
        async with self._speaking, catalog_errors():
            await self._connection.execute(_LOCK, {"key": _key(helper)})


@asynccontextmanager
async def writing(
    engine: AsyncEngine, collection: Collection, waiting: Callable[[], None]
) -> AsyncIterator["WritingLock"]:
    """Be the only run that writes to a collection; calls ``waiting`` once if another one is.

    Runs of the collection that never ended are marked as interrupted, and their helpers waited for.

    Raises:
        CatalogError: the database cannot be reached.
    """
    async with _connection(engine) as connection:
        await _wait_for(connection, _key(collection.id), waiting, wish=_wish_key(collection))
        async with transaction(engine) as noting:
            await runs.mark_interrupted(noting, collection)
        await _wait_for(connection, _helpers_key(collection), lambda: None)
        async with catalog_errors():
            await connection.execute(_UNLOCK, {"key": _helpers_key(collection)})
        yield WritingLock(connection)


@asynccontextmanager
async def building(
    engine: AsyncEngine, collection: Collection, waiting: Callable[[], None]
) -> AsyncIterator["WritingLock"]:
    """Be the only run that builds an index of a collection beside the one that answers.

    Raises:
        CatalogError: the database cannot be reached.
    """
    async with _connection(engine) as connection:
        await _wait_for(connection, _builders_key(collection), waiting)
        yield WritingLock(connection)


@asynccontextmanager
async def helping(
    engine: AsyncEngine, collection: Collection, run_id: UUID
) -> AsyncIterator[HelpingLock]:
    """Work beside others on a run of a collection.

    Raises:
        SupersededError: the run has ended.
        CatalogError: the database cannot be reached.
    """
    async with _connection(engine) as connection:
        await _wait_for(connection, _helpers_key(collection), lambda: None, shared=True)
        lock = HelpingLock(connection, run_id)
        # Only now: whoever ended the run before waits for those who hold the lock.
        await lock.check()
        yield lock


@asynccontextmanager
async def _connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection for locks, and close it for good."""
    async with catalog_errors():
        connection = await engine.connect()
    try:
        async with catalog_errors():
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            # A run may embed for long between two words to the lock's connection.
            await connection.execute(text("SET idle_session_timeout = 0"))
            # A machine that lost its power or its network says no goodbye.
            await connection.execute(_NOTICE_SILENCE)
        yield connection
    finally:
        # Closing for good, not back to the pool: that gives the locks up whatever state the
        # connection is in.
        await connection.invalidate()
        await connection.close()


async def is_present(engine: AsyncEngine, helper: UUID) -> bool:
    """Say whether a helper is alive, by the lock that shows its presence."""
    async with transaction(engine) as connection:
        return not await connection.scalar(_TRY_IN_TRANSACTION, {"key": _key(helper)})


async def try_to_write(connection: AsyncConnection, collection: Collection) -> bool:
    """Be the only one that writes to a collection until the transaction ends, if nobody is."""
    for key in (_key(collection.id), _helpers_key(collection)):
        if not await connection.scalar(_TRY_IN_TRANSACTION, {"key": key}):
            return False
    return True


async def give_way(engine: AsyncEngine, collection: Collection) -> None:
    """Return once no run waits to write: for those who write again and again, a little each time.

    Raises:
        CatalogError: the database cannot be reached.
    """
    wanted = await _is_wanted(engine, collection)
    while wanted:
        await asyncio.sleep(POLL_S)
        wanted = await _is_wanted(engine, collection)


async def _is_wanted(engine: AsyncEngine, collection: Collection) -> bool:
    async with transaction(engine) as connection:
        return not await connection.scalar(_TRY_IN_TRANSACTION, {"key": _wish_key(collection)})


async def _wait_for(
    connection: AsyncConnection,
    key: int,
    waiting: Callable[[], None],
    *,
    shared: bool = False,
    wish: int | None = None,
) -> None:
    """Take a lock for as long as the connection lasts; calls ``waiting`` if another one has it.

    While it is waited for, ``wish`` is held, which others may see. Asks again and again rather than
    waiting inside the server: a statement that waits holds a snapshot, and building an index
    concurrently waits for all of those.
    """
    told = False
    async with catalog_errors():
        while not await connection.scalar(_TRY_SHARED if shared else _TRY, {"key": key}):
            if not told:
                waiting()
                told = True
                if wish is not None:
                    await connection.execute(_LOCK_SHARED, {"key": wish})
            await asyncio.sleep(POLL_S)
        if told and wish is not None:
            await connection.execute(_UNLOCK_SHARED, {"key": wish})


_TRY = text("SELECT pg_try_advisory_lock(:key)")
_LOCK = text("SELECT pg_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_LOCK_SHARED = text("SELECT pg_advisory_lock_shared(:key)")
_UNLOCK_SHARED = text("SELECT pg_advisory_unlock_shared(:key)")
_TRY_SHARED = text("SELECT pg_try_advisory_lock_shared(:key)")
_TRY_IN_TRANSACTION = text("SELECT pg_try_advisory_xact_lock(:key)")
# Without effect over a socket of the same machine.
_NOTICE_SILENCE = text(
    "SELECT set_config('tcp_keepalives_idle', '15', false), "
    "set_config('tcp_keepalives_interval', '5', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)


def _key(identity: UUID) -> int:
    # Advisory locks take 64 bits; two that share them only wait for each other.
    return identity.int >> 64 & 0x7FFF_FFFF_FFFF_FFFF


def _helpers_key(collection: Collection) -> int:
    return -_key(collection.id) - 1


def _builders_key(collection: Collection) -> int:
    return _key(uuid5(collection.id, "building"))


def _wish_key(collection: Collection) -> int:
    return _key(uuid5(collection.id, "wish to write"))
