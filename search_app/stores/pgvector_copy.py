"""Points as PostgreSQL's binary COPY stream.

Formats: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Binary Format);
``uuid_send``, ``jsonb_send`` (version byte, then text), ``array_send`` (int32 number of dimensions,
int32 flags, type of the elements, then length and lower bound of the one dimension; each element
after its length), pgvector's ``vector_send`` (int16 dimensions, int16 unused, then big-endian
float32) and ``sparsevec_send`` (int32 dimensions, int32 number of elements, int32 unused, then
int32 indices from 0, then float32). Writing it here takes a whole block of vectors through numpy at
once, where the driver would convert value by value.
"""

import struct
from collections.abc import Iterator, Sequence
from uuid import UUID

import numpy as np

from search_app.lexical import TERM_IDS
from search_app.stores.points import encoded_fields, stacked
from search_app.types import Matrix, Point, Sparse, Vector

COLUMNS = (
    "chunk_id",
    "document_id",
    "run_id",
    "index_id",
    "model_version_id",
    "fields",
    "embedding",
)
"""The order in which columns of points are streamed."""

TERM_COLUMNS = ("chunk_id", "document_id", "run_id", "fields", "terms", "weights")
"""The order in which columns of terms are streamed."""

_BLOCK = 500
"""Points encoded between two sends: about 1 MB at 384 dimensions."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_FIRST_ID = struct.pack(">hi", len(COLUMNS), 16)
_FIRST_ID_OF_TERMS = struct.pack(">hi", len(TERM_COLUMNS), 16)
_NEXT_ID = struct.pack(">i", 16)
_INTEGER = 23
"""The type ``integer`` by its number in ``pg_type``, the same in every database."""

_ARRAY = struct.Struct(">iiiiii")
_SPARSE = struct.Struct(">iiii")
_JSONB = struct.Struct(">ib")
_JSONB_VERSION = 1


def copy_stream(points: Sequence[Point], index_id: UUID, dimensions: int) -> Iterator[bytes]:
    """Check and encode points block by block, while the server takes in the block before.

    Raises:
        StoreRefusedError: a vector or fields that cannot be stored.
    """
    yield _HEADER
    fields = _EncodedFields()
    for start in range(0, len(points), _BLOCK):
        yield _block(points[start : start + _BLOCK], index_id, dimensions, fields)
    yield _TRAILER


def terms_stream(points: Sequence[Point]) -> Iterator[bytes]:
    """Encode the terms of points, all of which have some, block by block."""
    yield _HEADER
    fields = _EncodedFields()
    for start in range(0, len(points), _BLOCK):
        rows = points[start : start + _BLOCK]
        yield b"".join(part for point in rows for part in _terms_row(point, fields))
    yield _TRAILER


def received_vector(sent: bytes) -> Vector:
    """Decode what ``vector_send`` gives."""
    return np.frombuffer(sent, ">f4", offset=4).astype(np.float32)


def received_vectors(sent: Sequence[bytes]) -> Matrix:
    """Decode many of them, all of one length, as rows of one table."""
    table = np.frombuffer(b"".join(sent), ">f4").reshape(len(sent), -1)
    return np.ascontiguousarray(table[:, 1:], "<f4")


class _EncodedFields(dict[int, bytes]):
    """Fields by identity: the chunks of a document mostly share one mapping."""

    def of(self, point: Point) -> bytes:
        key = id(point.fields)
        if key not in self:
            encoded = encoded_fields(point.fields)
            self[key] = _JSONB.pack(1 + len(encoded), _JSONB_VERSION) + encoded
        return self[key]


def _block(
    points: Sequence[Point], index_id: UUID, dimensions: int, fields: _EncodedFields
) -> bytes:
    width = 4 * dimensions
    vectors = memoryview(stacked(points, index_id, dimensions).astype(">f4").tobytes())
    vector_header = struct.pack(">ihh", 4 + width, dimensions, 0)
    parts: list[bytes | memoryview] = []
    for row, point in enumerate(points):
        parts += (
            _FIRST_ID,
            point.chunk_id.bytes,
            _NEXT_ID,
            point.document_id.bytes,
            _NEXT_ID,
            point.run_id.bytes,
            _NEXT_ID,
            point.index_id.bytes,
            _NEXT_ID,
            point.model_version_id.bytes,
            fields.of(point),
            vector_header,
            vectors[row * width : (row + 1) * width],
        )
    return b"".join(parts)


def _terms_row(point: Point, fields: _EncodedFields) -> Iterator[bytes]:
    if point.terms is not None:
        yield _FIRST_ID_OF_TERMS
        yield point.chunk_id.bytes
        yield _NEXT_ID
        yield point.document_id.bytes
        yield _NEXT_ID
        yield point.run_id.bytes
        yield fields.of(point)
        yield from _terms(point.terms)


def _terms(terms: Sparse) -> Iterator[bytes]:
    number = len(terms.ids)
    yield _ARRAY.pack(20 + 8 * number, 1, 0, _INTEGER, number, 1)
    elements = np.empty((number, 2), ">i4")
    elements[:, 0], elements[:, 1] = 4, terms.ids
    yield elements.tobytes()
    yield _SPARSE.pack(12 + 8 * number, TERM_IDS, number, 0)
    yield terms.ids.astype(">i4").tobytes()
    yield terms.weights.astype(">f4").tobytes()
