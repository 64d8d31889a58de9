"""Connections to the catalog, and the one place that translates its driver's errors."""

import asyncio
import random
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any, TypeVar

import psycopg
import sqlalchemy.exc
from sqlalchemy import event, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from search_app.catalog.visibility import narrow
from search_app.errors import CatalogError, CatalogUnavailableError, ConfigurationError

CONNECT_TIMEOUT_S = 10

# Disk full, out of memory; deadlocks, and keys that another one has just inserted.
_NO_ROOM = ("53100", "53200")
_COLLISIONS = ("40001", "40P01", "23505")

_ATTEMPTS = 10
_PAUSE_S = 0.05

T = TypeVar("T")


def create_engine(database_url: str, *, pool_size: int = 10) -> AsyncEngine:
    """Make the engine for a ``postgresql://`` address; connects at first use, not here.

    Raises:
        ConfigurationError: the address cannot be read; it is not repeated, since it may hold a
            password.
    """
    try:
        url = make_url(database_url)
    except sqlalchemy.exc.ArgumentError as exc:
        raise ConfigurationError(
            "DATABASE_URL cannot be read; write postgresql://user:password@host:5432/name"
        ) from exc
    engine = create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "unmoved"},
    )
    event.listen(engine.sync_engine, "checkout", _refuse_lost)
    event.listen(engine.sync_engine, "before_cursor_execute", narrow, retval=True)
    return engine


def _refuse_lost(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool replace a connection that the server has closed.

    A restarted server must not cost the next user an error. An idle connection rarely has
    anything to say: only one with something to read, as after a close, is worth a ping.
    """
    driver = connection.driver_connection
    if not driver.closed and not _readable(driver.pgconn.socket):
        return
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as exc:
        raise sqlalchemy.exc.DisconnectionError from exc


def _readable(descriptor: int) -> bool:
    # Not select.select, which knows no descriptor above 1023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


@asynccontextmanager
async def catalog_errors() -> AsyncIterator[None]:
    """Turn the driver's exceptions into CatalogError.

    Raises:
        CatalogUnavailableError: the server cannot be reached or went away.
        CatalogError: it refused; names its reason in one line.
    """
    try:
        yield
    except sqlalchemy.exc.TimeoutError as exc:
        raise CatalogUnavailableError(
            "the database has no free connection; too many requests at once, try again"
        ) from exc
    except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error) as exc:
        if _connection_lost(exc):
            raise CatalogUnavailableError(
                f"the database cannot be reached: {_reason(exc)}"
            ) from exc
        if _sqlstate(exc).startswith(_NO_ROOM):
            raise CatalogError(
                f"the database is out of room: {_reason(exc)}; make some, then start again: "
                "what is in stays in"
            ) from exc
        raise CatalogError(f"the database refused: {_reason(exc)}") from exc


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that commits at the end and rolls back on any exception.

    Raises:
        CatalogError: see ``catalog_errors``.
    """
    async with catalog_errors(), engine.begin() as connection:
        yield connection


async def retried(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do some work in a transaction, and in a new one if it collided with what others did.

    Raises:
        CatalogError: see ``catalog_errors``.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            async with transaction(engine) as connection:
                return await work(connection)
        except CatalogError as exc:
            if not _collided(exc):
                raise
            await asyncio.sleep(random.uniform(0, _PAUSE_S))  # noqa: S311 - no secret
    async with transaction(engine) as connection:
        return await work(connection)


def _collided(exc: CatalogError) -> bool:
    """Say whether two waited for each other, or both inserted what was not there before."""
    return exc.__cause__ is not None and _sqlstate(exc.__cause__) in _COLLISIONS


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection whose statements each stand for themselves: no BEGIN, no COMMIT.

    Raises:
        CatalogError: see ``catalog_errors``.
    """
    async with catalog_errors(), engine.connect() as connection:
        yield await connection.execution_options(isolation_level="AUTOCOMMIT")


async def ping(engine: AsyncEngine) -> None:
    """Return if the database answers.

    Raises:
        CatalogUnavailableError: it does not.
    """
    async with reading(engine) as connection:
        await connection.execute(text("SELECT 1"))


def _connection_lost(exc: BaseException) -> bool:
    cause = getattr(exc, "orig", None) or exc
    if isinstance(cause, psycopg.InterfaceError):
        return True
    if not isinstance(cause, psycopg.OperationalError):
        return False
    # OperationalError also covers a full disk or a lock time-out, which are answers. A broken
    # connection has no state, or one of class 08 (connection) or 57P (shutdown, crash).
    return cause.sqlstate is None or cause.sqlstate.startswith(("08", "57P"))


def _sqlstate(exc: BaseException) -> str:
    cause = getattr(exc, "orig", None) or exc
    return getattr(cause, "sqlstate", None) or ""


def _reason(exc: BaseException) -> str:
    cause = getattr(exc, "orig", None) or exc
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
