"""The statements that read and write points, each for any number of them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import sql
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Delete,
    Dialect,
    Integer,
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

from search_app.filters import Filter
from search_app.jsonb import filter_clause
from search_app.stores.base import Mean, Membership, Survey
from search_app.stores.pgvector_copy import COLUMNS, received_vector, received_vectors
from search_app.stores.pgvector_reading import driver_of, rows_of_last
from search_app.types import Point, Vector

_PLAIN = COLUMNS[:-1]
"""Every column but the vector."""

_OWNERS = ("document_id", "index_id", "model_version_id", "run_id")
"""Whose a point is, in the order of ``Survey.owners``."""


async def stream(
    connection: AsyncConnection, table: Table, columns: Sequence[str], blocks: Iterable[bytes]
) -> None:
    """Send a binary COPY stream into a table, inside the open transaction."""
    driver = await driver_of(connection)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(str(table.schema), table.name),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
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
    return await _read(connection, statement, ids=list(chunk_ids))


async def vectors_by_id(
    connection: AsyncConnection, table: Table, chunk_ids: Sequence[UUID]
) -> dict[UUID, Vector]:
    """Read the vectors of the given points."""
    statement = _vectors(table, connection.dialect)
    rows = await rows_of_last(connection, (statement, {"ids": list(chunk_ids)}))
    return {chunk_id: received_vector(sent) for chunk_id, sent in rows}


async def means_by_group(
    connection: AsyncConnection, table: Table, membership: Membership
) -> dict[int, Mean]:
    """Have the server work out the means, which it adds up as float64: no vector leaves it."""
    given = {"ids": list(membership.chunk_ids), "groups": list(membership.groups)}
    rows = await rows_of_last(connection, (_means(table, connection.dialect), given))
    return {
        group: Mean(vector=received_vector(sent).astype(np.float64), number=number)
        for group, number, sent in rows
    }


async def points_after(
    connection: AsyncConnection, table: Table, after: UUID | None, *, limit: int, vectors: bool
) -> list[Point]:
    """Read the next points in id order; PostgreSQL and Python order UUIDs alike, by bytes."""
    statement = _points(table, vectors=vectors).limit(limit)
    if after is not None:
        statement = statement.where(table.c.chunk_id > after)
    return await _read(connection, statement)


async def points_surveyed(
    connection: AsyncConnection, table: Table, after: UUID | None, *, limit: int
) -> Survey:
    """Read the next points as columns: ids and vectors stay bytes all the way."""
    owners: list[ColumnElement[Any]] = [func.uuid_send(table.c[name]) for name in _OWNERS]
    statement = (
        select(
            func.uuid_send(table.c.chunk_id),
            reduce(lambda ids, other: ids.op("||")(other), owners),
            cast(table.c.fields, Text),
            func.vector_send(table.c.embedding),
        )
        .order_by(table.c.chunk_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(table.c.chunk_id > after)
    compiled = statement.compile(dialect=connection.dialect)
    rows = await rows_of_last(connection, (str(compiled), compiled.construct_params()))
    if not rows:
        return Survey(chunk_ids=(), owners=(), fields=(), digests=())
    chunk_ids, ids, fields, sent = zip(*rows, strict=True)
    digests = await asyncio.to_thread(_digests, sent)
    return Survey(chunk_ids=chunk_ids, owners=ids, fields=fields, digests=digests)


def _digests(sent: Sequence[bytes]) -> list[bytes]:
    vectors = received_vectors(sent)
    width, everything = vectors.strides[0], memoryview(vectors.data).cast("B")
    return [
        sha256(everything[start : start + width]).digest()
        for start in range(0, len(everything), width)
    ]


async def number_of_points(
    connection: AsyncConnection, table: Table, condition: Filter | None
) -> int:
    """Count the points that pass."""
    statement = select(func.count()).select_from(table)
    if condition is not None:
        statement = statement.where(filter_clause(table.c.fields, condition))
        if condition.besides:
            statement = statement.where(table.c.chunk_id.not_in(list(condition.besides)))
    return (await connection.execute(statement)).scalar_one()


# Writing a statement takes longer than many a reading.
@lru_cache(maxsize=64)
def _vectors(table: Table, dialect: Dialect) -> str:
    sent = func.vector_send(table.c.embedding)
    statement = select(table.c.chunk_id, sent).where(table.c.chunk_id == any_(_ids()))
    return str(statement.compile(dialect=dialect))


@lru_cache(maxsize=64)
def _means(table: Table, dialect: Dialect) -> str:
    given = func.unnest(_ids(), bindparam("groups", type_=ARRAY(Integer)))
    member = given.table_valued("chunk_id", "group").render_derived()
    mean = func.vector_send(func.avg(table.c.embedding))
    statement = (
        select(member.c.group, func.count(), mean)
        .join(table, table.c.chunk_id == member.c.chunk_id)
        .group_by(member.c.group)
    )
    return str(statement.compile(dialect=dialect))


def _delete(table: Table) -> Delete:
    return delete(table).where(table.c.chunk_id == any_(_ids()))


def _ids() -> ColumnElement[Any]:
    return bindparam("ids", type_=ARRAY(Uuid))


def _points(table: Table, *, vectors: bool) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [table.c[name] for name in _PLAIN]
    if vectors:
        # Bytes, not the text form: bit for bit without parsing, and several times quicker.
        columns.append(func.vector_send(table.c.embedding))
    return select(*columns).order_by(table.c.chunk_id)


async def _read(
    connection: AsyncConnection, statement: Select[Any], **given: object
) -> list[Point]:
    compiled = statement.compile(dialect=connection.dialect)
    rows = await rows_of_last(connection, (str(compiled), compiled.construct_params(given)))
    return [
        Point(
            chunk_id=chunk_id,
            document_id=document_id,
            run_id=run_id,
            index_id=index_id,
            model_version_id=model_version_id,
            fields=fields,
            vector=received_vector(sent[0]) if sent else None,
        )
        for chunk_id, document_id, run_id, index_id, model_version_id, fields, *sent in rows
    ]
