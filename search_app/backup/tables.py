"""Tables out of and into files by PostgreSQL's own binary COPY, whatever tables there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.backup.manifest import TableFile, Writer, blocks_of
from search_app.errors import BackupError

LOCK_S = 10
"""Seconds that a restore waits for whoever uses a table."""

_OF_MIGRATIONS = "alembic_version"

_TABLES = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY c.relname
"""
_REFERENCES = """
    SELECT c.relname, t.relname
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_class t ON t.oid = k.confrelid
    WHERE k.contype = 'f' AND c.relnamespace = 'public'::regnamespace AND k.conrelid <> k.confrelid
"""
_SEQUENCES = """
    SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = 'public'
"""

Driver = psycopg.AsyncConnection[tuple[object, ...]]


@dataclass(frozen=True, kw_only=True)
class TableShape:
    """A table and its columns, those left out that the database computes itself."""

    name: str
    columns: Sequence[str]


async def driver_of(connection: AsyncConnection) -> Driver:
    """Get the driver's own connection, in the transaction that is open on it."""
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise TypeError(f"a backup needs an engine on psycopg 3, not {type(driver)}")
    return driver


async def tables_of(driver: Driver) -> list[TableShape]:
    """List the tables of the catalog and of the queue, those first that others refer to."""
    rows = await (await driver.execute(_TABLES)).fetchall()
    columns = {str(name): list(map(str, names)) for name, names in rows}  # type: ignore[call-overload] # an array of texts
    needs: dict[str, set[str]] = {name: set() for name in columns if name != _OF_MIGRATIONS}
    for name, target in await (await driver.execute(_REFERENCES)).fetchall():
        needs[str(name)].add(str(target))
    return [
        TableShape(name=name, columns=columns[name])
        for name in TopologicalSorter(
            {name: sorted(needs[name]) for name in sorted(needs)}
        ).static_order()
    ]


async def sequences_of(driver: Driver) -> dict[str, int]:
    """Give the last value of every sequence; 0 of one that was never asked."""
    rows = await (await driver.execute(_SEQUENCES)).fetchall()
    return {str(name): int(str(value)) for name, value in rows}


async def copy_out(driver: Driver, table: TableShape, folder: Path) -> TableFile:
    """Write the rows of a table, as the open transaction sees them, into a file."""
    statement = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT BINARY)").format(
        sql.Identifier("public", table.name), _columns(table.columns)
    )
    with Writer(folder, f"catalog/{table.name}.copy") as file:
        async with driver.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                async for block in copy:
                    file.write(block)
            rows = cursor.rowcount
        return TableFile(table=table.name, columns=table.columns, rows=rows, file=file.finish())


async def is_filled(driver: Driver, tables: Sequence[TableShape]) -> bool:
    """Say whether anything is in the tables but what the server itself keeps there."""
    for table in tables:
        statement = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(
            sql.Identifier("public", table.name)
        )
        row = await (await driver.execute(statement)).fetchone()
        # Workers that only wait leave rows of their own, and take nothing of anybody.
        if row is not None and row[0] and not table.name.startswith("procrastinate_worker"):
            return True
    return False


async def empty(driver: Driver, tables: Sequence[TableShape]) -> None:
    """Remove all rows, and keep everybody else out until the transaction ends.

    Raises:
        BackupError: somebody uses them.
    """
    await driver.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'".encode())
    names = sql.SQL(", ").join(sql.Identifier("public", table.name) for table in tables)
    try:
        await driver.execute(sql.SQL("TRUNCATE {}").format(names))
    except psycopg.errors.LockNotAvailable as exc:
        raise BackupError(
            "somebody uses the database; stop servers, workers and ingests, then restore again"
        ) from exc


async def copy_in(driver: Driver, table: TableFile, folder: Path) -> None:
    """Write the rows of a file into a table, without setting off what new rows set off.

    Raises:
        BackupError: it does not take them, or not all of them.
    """
    name = sql.Identifier("public", table.table)
    place = folder / table.file.path
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        name, _columns(table.columns)
    )
    await driver.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
    try:
        async with driver.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                for block in blocks_of(place):
                    await copy.write(block)
            rows = cursor.rowcount
    except psycopg.Error as exc:
        reason = str(exc).strip().splitlines()[0]
        raise BackupError(f"{place} cannot be restored: {reason}") from exc
    await driver.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(name))
    if rows != table.rows:
        raise BackupError(f"{place} is damaged: {rows:,} rows instead of {table.rows:,}")


async def set_sequences(driver: Driver, values: Mapping[str, int]) -> None:
    """Let sequences go on after the values that were given out."""
    for name, value in values.items():
        if value > 0:
            await driver.execute("SELECT setval(%s::regclass, %s)", (f"public.{name}", value))


def _columns(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
