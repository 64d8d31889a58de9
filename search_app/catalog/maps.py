"""Maps as they are kept: where passages lie, those that are gone or excluded left out.

What is painted is read packed, one row for all points: a hundred thousand rows take many times as
long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    Text,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.exclusions import WHOLE
from search_app.catalog.tables import (
    analyses,
    analysis_members,
    chunks,
    documents,
    exclusions,
    map_points,
)
from search_app.types import Matrix

Places = NDArray[np.int32]
"""The numbers of points on a map, (n,)."""

ABSENT = "null"
"""What stands for a value that a document does not have, as JSON is written."""

_SEPARATOR = "\x01"
"""JSON as PostgreSQL writes it has no control characters."""

_SAMPLE = 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """The points of a map that can be seen, in the order of their numbers.

    ``places`` are their numbers, ``xy`` is (n, 2) float32, ``ids`` has 16 bytes of each passage's
    id, (n, 16) uint8; ``values`` are texts of JSON, ``ABSENT`` where there is none.
    """

    places: Places
    xy: Matrix
    ids: NDArray[np.uint8]
    values: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a map."""

    place: int
    chunk_id: UUID
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """How many points a map has that can be seen, and how many there are of excluded passages.

    Those that are gone are known only by how many the map was made of.
    """

    shown: int
    excluded: int


_ADD = text("""
    INSERT INTO map_points (analysis_id, place, chunk_id, x, y)
    SELECT CAST(:analysis_id AS uuid), point.nth - 1, point.chunk_id, point.x, point.y FROM unnest(
        CAST(:ids AS uuid[]), CAST(:xs AS real[]), CAST(:ys AS real[])
    ) WITH ORDINALITY AS point (chunk_id, x, y, nth)
    -- One may have been removed meanwhile.
    WHERE EXISTS (SELECT FROM chunks WHERE chunks.id = point.chunk_id)
""")


async def add_points(
    connection: AsyncConnection, analysis_id: UUID, chunk_ids: Sequence[UUID], places: Matrix
) -> None:
    """Keep where passages lie, (n, 2), in the order that numbers them."""
    values = {"ids": list(chunk_ids), "xs": places[:, 0].tolist(), "ys": places[:, 1].tolist()}
    await connection.execute(_ADD, {"analysis_id": analysis_id, **values})


async def points(
    connection: AsyncConnection,
    analysis_id: UUID,
    *,
    field: str | None = None,
    clusters: UUID | None = None,
) -> Points:
    """Read all points with the values of a field, or with the clusters of a clustering."""
    columns: list[ColumnElement[Any]] = [
        _packed(func.int4send(map_points.c.place)),
        _packed(func.float4send(map_points.c.x)),
        _packed(func.float4send(map_points.c.y)),
        _packed(func.uuid_send(map_points.c.chunk_id)),
    ]
    if clusters is not None:
        columns.append(_texts(cast(analysis_members.c.cluster, Text)))
    elif field is not None:
        columns.append(_texts(cast(_value(field), Text)))
    statement = _shown(analysis_id, *columns)
    if clusters is not None:
        statement = statement.outerjoin(
            analysis_members,
            (analysis_members.c.chunk_id == map_points.c.chunk_id)
            & (analysis_members.c.analysis_id == clusters),
        )
    numbers, xs, ys, ids, *texts = (await connection.execute(statement)).one()
    if numbers is None:
        return Points(
            places=np.empty(0, np.int32),
            xy=np.empty((0, 2), np.float32),
            ids=np.empty((0, 16), np.uint8),
            values=(),
        )
    places = np.frombuffer(numbers, ">i4").astype(np.int32)
    # The aggregates of one statement take the rows in one order, whichever that is.
    order = np.argsort(places)
    xy = np.column_stack([np.frombuffer(each, ">f4") for each in (xs, ys)]).astype(np.float32)
    values = texts[0].split(_SEPARATOR) if texts else [ABSENT] * len(places)
    return Points(
        places=places[order],
        xy=xy[order],
        ids=np.frombuffer(ids, np.uint8).reshape(-1, 16)[order],
        values=[values[row] for row in order.tolist()],
    )


async def numbers(connection: AsyncConnection, analysis_id: UUID) -> Numbers:
    """Count the points of a map."""
    excluded = or_(*_EXCLUSIONS)
    statement = _there(
        analysis_id,
        func.count().filter(~excluded).label("shown"),
        func.count().filter(excluded).label("excluded"),
    )
    row = (await connection.execute(statement)).one()
    return Numbers(shown=row.shown, excluded=row.excluded)


async def listing(
    connection: AsyncConnection, analysis_id: UUID, *, limit: int, offset: int
) -> list[Point]:
    """List points in the order of their numbers."""
    statement = _shown(analysis_id, *_POINT).order_by(map_points.c.place)
    rows = await connection.execute(statement.limit(limit).offset(offset))
    return [_point(row) for row in rows]


async def of_chunks(
    connection: AsyncConnection, analysis_id: UUID, chunk_ids: Sequence[UUID]
) -> dict[UUID, Point]:
    """Give the points of passages; those that are not on the map, gone or excluded are left out."""
    statement = _shown(analysis_id, *_POINT).where(
        map_points.c.chunk_id == func.any(list(chunk_ids))
    )
    return {row.chunk_id: _point(row) for row in await connection.execute(statement)}


async def fields_of(connection: AsyncConnection, analysis_id: UUID) -> list[str]:
    """Name the metadata that documents have, by a sample that is always the same."""
    sample = (
        select(documents.c.fields["meta"].label("meta"))
        .where(documents.c.state == "indexed")
        .where(
            documents.c.collection_id.in_(
                select(analyses.c.collection_id).where(analyses.c.id == analysis_id)
            )
        )
        .order_by(documents.c.id)
        .limit(_SAMPLE)
    )
    metas = list(await connection.scalars(sample))
    return sorted({f"meta.{name}" for meta in metas for name in meta or {}})


_POINT = (map_points.c.place, map_points.c.chunk_id, map_points.c.x, map_points.c.y)


def _point(row: Any) -> Point:
    return Point(place=row.place, chunk_id=row.chunk_id, x=row.x, y=row.y)


_EXCLUSIONS = tuple(
    exists().where(exclusions.c.document_id == chunks.c.document_id, exclusions.c.text_hash == what)
    for what in (literal(WHOLE, LargeBinary), chunks.c.text_hash)
)


def _shown(analysis_id: UUID, *columns: ColumnElement[Any]) -> Select[Any]:
    # Each by itself, so that it is joined and not asked for every point.
    return _there(analysis_id, *columns).where(*(~each for each in _EXCLUSIONS))


def _there(analysis_id: UUID, *columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*columns)
        .select_from(map_points)
        .join(chunks, chunks.c.id == map_points.c.chunk_id)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(map_points.c.analysis_id == analysis_id)
        .where(chunks.c.state == "live", documents.c.state == "indexed")
    )


def _packed(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.string_agg(value, cast(b"", LargeBinary), type_=LargeBinary)


def _texts(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.string_agg(func.coalesce(value, ABSENT), _SEPARATOR)


def _value(field: str) -> ColumnElement[Any]:
    value: ColumnElement[Any] = documents.c.fields
    for name in field.split(".", 1):
        value = value[name]
    return value
