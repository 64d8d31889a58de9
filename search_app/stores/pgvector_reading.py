"""Reading through the driver itself: one round trip, one transaction, binary answers."""

from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

Parameters = Mapping[str, Any]
Sent = tuple[str, Parameters]
"""A statement as the driver takes it, and its parameters."""

Rows = list[tuple[Any, ...]]


async def driver_of(connection: AsyncConnection) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """Get the driver's own connection, in whatever transaction is open on it."""
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise TypeError(f"the pgvector store needs an engine on psycopg 3, not {type(driver)}")
    return driver


async def rows_of_last(connection: AsyncConnection, *statements: Sent) -> Rows:
    """Run statements and give the rows of the last one.

    On a connection in autocommit mode, all that a pipeline sends is one round trip and one
    implicit transaction, so that settings made ``LOCAL`` in it hold for the rest of it.
    """
    driver = await driver_of(connection)
    async with driver.pipeline():
        for statement, parameters in statements:
            cursor = driver.cursor(binary=True)
            await cursor.execute(statement.encode(), parameters)
    return await cursor.fetchall()
