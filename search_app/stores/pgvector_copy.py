"""Points as PostgreSQL's binary COPY stream.

Formats: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Binary Format);
``uuid_send``, ``jsonb_send`` (version byte, then text) and pgvector's ``vector_send`` (int16
dimensions, int16 unused, then big-endian float32). Writing it here takes a whole block of vectors
through numpy at once, where the driver would convert value by value.
"""

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from search_app.stores.points import encoded_fields
from search_app.types import Matrix, Point, Vector

COLUMNS = (
    "chunk_id",
    "document_id",
    "run_id",
    "index_id",
    "model_version_id",
    "fields",
    "embedding",
)
"""The order in which columns are streamed."""

_BLOCK = 500
"""Points encoded between two sends: about 1 MB at 384 dimensions."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_FIRST_ID = struct.pack(">hi", len(COLUMNS), 16)
_NEXT_ID = struct.pack(">i", 16)
_JSONB_VERSION = b"\x01"


def copy_stream(points: Sequence[Point], matrix: Matrix) -> Iterator[bytes]:
    """Encode points in blocks; row i of the matrix is the vector of ``points[i]``.

    Raises:
        StoreRefusedError: fields that cannot be stored.
    """
    yield _HEADER
    for start in range(0, len(points), _BLOCK):
        yield _block(points[start : start + _BLOCK], matrix[start : start + _BLOCK])
    yield _TRAILER


def received_vector(sent: bytes) -> Vector:
    """Decode what ``vector_send`` gives."""
    return np.frombuffer(sent, ">f4", offset=4).astype(np.float32)


def _block(points: Sequence[Point], matrix: Matrix) -> bytes:
    width = 4 * matrix.shape[1]
    vectors = matrix.astype(">f4").tobytes()
    vector_header = struct.pack(">ihh", 4 + width, matrix.shape[1], 0)
    return b"".join(
        b"".join(
            (
                _identifiers(point),
                _fields(point),
                vector_header,
                vectors[row * width : (row + 1) * width],
            )
        )
        for row, point in enumerate(points)
    )


def _identifiers(point: Point) -> bytes:
    first, *rest = (
        point.chunk_id.bytes,
        point.document_id.bytes,
        point.run_id.bytes,
        point.index_id.bytes,
        point.model_version_id.bytes,
    )
    return _FIRST_ID + first + b"".join(_NEXT_ID + value for value in rest)


def _fields(point: Point) -> bytes:
    encoded = encoded_fields(point.fields)
    return struct.pack(">i", 1 + len(encoded)) + _JSONB_VERSION + encoded
