"""The statements that read and write points, each for any number of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Delete,
    Row,
    Select,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.stores.pgvector_copy import COLUMNS, received_vector
from search_app.types import Point

_PLAIN = COLUMNS[:-1]
"""Every column but the vector."""


async def stream(connection: AsyncConnection, table: Table, blocks: Iterable[bytes]) -> None:
    """Send a binary COPY stream into a table, inside the open transaction."""
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise TypeError(f"the pgvector store needs an engine on psycopg 3, not {type(driver)}")
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(str(table.schema), table.name),
        sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
    )
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for block in blocks:
            await copy.write(block)


async def remove(connection: AsyncConnection, table: Table, chunk_ids: Sequence[UUID]) -> None:
    """Delete the given points."""
    await connection.execute(_delete(table), {"ids": list(chunk_ids)})


async def replace_fields(
    connection: AsyncConnection, table: Table, encoded: Mapping[UUID, str]
) -> None:
    """Set the filter fields, given as JSON, of the points that are there."""
    given = func.unnest(_ids(), bindparam("texts", type_=ARRAY(Text)))
    rows = given.table_valued("chunk_id", "text").render_derived()
    statement = (
        update(table)
        .values(fields=cast(rows.c.text, JSONB))
        .where(table.c.chunk_id == rows.c.chunk_id)
    )
    await connection.execute(statement, {"ids": list(encoded), "texts": list(encoded.values())})


async def points_by_id(
    connection: AsyncConnection, table: Table, chunk_ids: Sequence[UUID]
) -> list[Point]:
    """Read the given points with their vectors, in id order."""
    statement = _points(table, vectors=True).where(table.c.chunk_id == any_(_ids()))
    return _read(
        (await connection.execute(statement, {"ids": list(chunk_ids)})).all(), vectors=True
    )


async def points_after(
    connection: AsyncConnection, table: Table, after: UUID | None, *, limit: int, vectors: bool
) -> list[Point]:
    """Read the next points in id order; PostgreSQL and Python order UUIDs alike, by bytes."""
    statement = _points(table, vectors=vectors).limit(limit)
    if after is not None:
        statement = statement.where(table.c.chunk_id > after)
    return _read((await connection.execute(statement)).all(), vectors=vectors)


def _delete(table: Table) -> Delete:
    return delete(table).where(table.c.chunk_id == any_(_ids()))


def _ids() -> ColumnElement[Any]:
    return bindparam("ids", type_=ARRAY(Uuid))


def _points(table: Table, *, vectors: bool) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [table.c[name] for name in _PLAIN]
    if vectors:
        # Bytes, not the text form: bit for bit without parsing, and several times quicker.
        columns.append(func.vector_send(table.c.embedding).label("sent"))
    return select(*columns).order_by(table.c.chunk_id)


def _read(rows: Sequence[Row[Any]], *, vectors: bool) -> list[Point]:
    return [
        Point(
            chunk_id=row.chunk_id,
            document_id=row.document_id,
            run_id=row.run_id,
            index_id=row.index_id,
            model_version_id=row.model_version_id,
            fields=row.fields,
            vector=received_vector(row.sent) if vectors else None,
        )
        for row in rows
    ]
