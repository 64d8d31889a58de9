"""Many rows in one statement: all of them as one JSON array, which the server takes apart.

Faster than one statement a row, and, unlike a VALUES list, the same statement for any number of
rows, so that it is prepared once. An array for each column would do that too, but every quote and
backslash in it is escaped on its own, which for texts took ten times as long as all the rest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Table, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection


def from_rows(statement: str, table: Table, names: Iterable[str]) -> TextClause:
    """Make a statement that has ``:given`` where it is to read rows, bound by ``rows_bound``.

    They are called ``given`` there, and have the columns of ``table`` with these names.
    """
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
    columns = ", ".join(f"{name} {table.c[name].type.compile(dialect)}" for name in names)
    rows = f"json_to_recordset(CAST(:rows AS json)) AS given ({columns})"
    return text(statement.replace(":given", rows))


def rows_bound(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Bind rows to a statement of ``from_rows``; what is JSON in the table is given as it is."""
    return {"rows": json.dumps(rows, ensure_ascii=False, default=_written)}


async def insert_rows(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    on_conflict: str,
) -> None:
    """Insert rows that all have the same columns; ``on_conflict`` is the SQL after ON CONFLICT."""
    if rows:
        statement = _insert(table, tuple(rows[0]), on_conflict)
        await connection.execute(statement, rows_bound(rows))


@lru_cache(maxsize=32)
def _insert(table: Table, names: tuple[str, ...], on_conflict: str) -> TextClause:
    columns = ", ".join(names)
    # Every part is a name from our own tables; the values are bound.
    insert = f"INSERT INTO {table.name} ({columns}) SELECT * FROM :given ON CONFLICT {on_conflict}"  # noqa: S608
    return from_rows(insert, table, names)


def _written(value: object) -> str:
    """Write what JSON has no form of as PostgreSQL reads it."""
    match value:
        case UUID():
            return str(value)
        case bytes():
            return f"\\x{value.hex()}"
    raise TypeError(f"a {type(value).__name__} cannot be written")
