"""Reading and writing points, each call cut into requests that a server takes in time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from qdrant_client import models

from search_app.stores.qdrant_collections import Layout
from search_app.stores.qdrant_connection import QdrantConnection
from search_app.stores.qdrant_payload import (
    DENSE,
    READ,
    field_bytes,
    field_payload,
    point_of,
    structs,
    vector_of,
)
from search_app.types import Matrix, Point

Item = TypeVar("Item")

_REQUEST_BYTES = 8 * 2**20
"""Most of one request, estimated; a server takes 32 MB unless told otherwise."""

_FLOAT_BYTES = 24
"""A float32 written as JSON, comma included."""

_TERM_BYTES = _FLOAT_BYTES + 11
"""A term's id and weight."""

_POINT_BYTES = 512
"""What surrounds the vectors and the fields: five ids and the names of keys."""

_ID_BYTES = 40
_PAGE = 1000
"""Points in one answer, or ids in one request."""

_ORDERING = models.WriteOrdering.MEDIUM
"""One replica orders the writes of all: else two writers may leave replicas that differ."""


async def write_points(
    connection: QdrantConnection,
    layout: Layout,
    points: Sequence[Point],
    matrix: Matrix,
    encoded: Sequence[bytes],
) -> None:
    """Write points, row i of the matrix and fields i belonging to point i."""
    for part in _parts(layout, points, encoded):
        sent = structs(points[part], matrix[part], encoded[part], halved=layout.halved)
        async with connection.client() as client:
            await client.upsert(layout.name, points=sent, wait=True, ordering=_ORDERING)


def _parts(layout: Layout, points: Sequence[Point], encoded: Sequence[bytes]) -> Iterator[slice]:
    start = size = 0
    vectors = 2 if layout.halved else 1
    for number, (point, fields) in enumerate(zip(points, encoded, strict=True)):
        more = vectors * _FLOAT_BYTES * layout.dimensions + _POINT_BYTES + field_bytes(fields)
        if point.terms is not None:
            more += _TERM_BYTES * len(point.terms.ids)
        if number > start and (size + more > _REQUEST_BYTES or number - start == _PAGE):
            yield slice(start, number)
            start, size = number, 0
        size += more
    if len(encoded) > start:
        yield slice(start, len(encoded))


async def replace_fields(
    connection: QdrantConnection, layout: Layout, encoded: Mapping[UUID, bytes]
) -> None:
    """Set the filter fields, given as JSON, of the points that are there."""
    holders: defaultdict[bytes, list[str]] = defaultdict(list)
    for chunk_id, fields in encoded.items():
        holders[fields].append(str(chunk_id))
    for group in _groups(holders):
        operations: list[models.UpdateOperation] = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload=dict(field_payload(fields)),
                    # By filter: ids that are not there are passed over, without a race.
                    filter=models.Filter(must=[models.HasIdCondition(has_id=list(ids))]),
                )
            )
            for fields, ids in group
        ]
        async with connection.client() as client:
            await client.batch_update_points(layout.name, operations, wait=True, ordering=_ORDERING)


def _groups(
    holders: Mapping[bytes, Sequence[str]],
) -> Iterator[list[tuple[bytes, Sequence[str]]]]:
    group: list[tuple[bytes, Sequence[str]]] = []
    size = 0
    for fields, ids in holders.items():
        for some in cut(ids, _PAGE):
            more = _ID_BYTES * len(some) + _POINT_BYTES + field_bytes(fields)
            if group and size + more > _REQUEST_BYTES:
                yield group
                group, size = [], 0
            group.append((fields, some))
            size += more
    if group:
        yield group


async def remove_points(
    connection: QdrantConnection, layout: Layout, chunk_ids: Sequence[UUID]
) -> None:
    """Delete the given points."""
    for some in cut(chunk_ids, _PAGE):
        selected = models.PointIdsList(points=[str(chunk_id) for chunk_id in some])
        async with connection.client() as client:
            await client.delete(
                layout.name, points_selector=selected, wait=True, ordering=_ORDERING
            )


async def points_by_id(
    connection: QdrantConnection, layout: Layout, chunk_ids: Sequence[UUID]
) -> list[Point]:
    """Read the given points with their dense vectors, in id order."""
    found: list[Point] = []
    for some in cut(sorted({str(chunk_id) for chunk_id in chunk_ids}), _PAGE):
        async with connection.client() as client:
            records = await client.retrieve(
                layout.name, ids=list(some), with_payload=READ, with_vectors=[DENSE]
            )
        found += map(point_of, records)
    return sorted(found, key=lambda point: point.chunk_id.bytes)


async def vectors_by_id(
    connection: QdrantConnection, layout: Layout, chunk_ids: Sequence[UUID], name: str
) -> dict[UUID, Any]:
    """Read one vector of each of the given points, as Qdrant gives it."""
    found: dict[UUID, Any] = {}
    for some in cut([str(chunk_id) for chunk_id in chunk_ids], _PAGE):
        async with connection.client() as client:
            records = await client.retrieve(
                layout.name, ids=list(some), with_payload=False, with_vectors=[name]
            )
        found |= {UUID(str(record.id)): vector_of(record, name) for record in records}
    return found


async def points_after(
    connection: QdrantConnection, layout: Layout, after: UUID | None, *, limit: int, vectors: bool
) -> list[Point]:
    """Read the next points in id order; Qdrant orders UUIDs by their bytes, as Python does."""
    found: list[Point] = []
    while len(found) < limit:
        last = found[-1].chunk_id if found else after
        if last is not None and last.int == 2**128 - 1:
            break
        # Where to begin is inclusive, and need not be there.
        offset = None if last is None else str(UUID(int=last.int + 1))
        page = min(_PAGE, limit - len(found))
        wanted = [DENSE] if vectors else False
        async with connection.client() as client:
            records, _ = await client.scroll(
                layout.name, offset=offset, limit=page, with_payload=READ, with_vectors=wanted
            )
        found += map(point_of, records)
        if len(records) < page:
            break
    return found


def cut(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into parts of at most this size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
