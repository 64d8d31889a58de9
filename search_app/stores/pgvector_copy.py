"""Points as PostgreSQL's binary COPY stream.

Formats: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Binary Format);
``uuid_send``, ``jsonb_send`` (version byte, then text) and pgvector's ``vector_send`` (int16
dimensions, int16 unused, then big-endian float32). Writing it here takes a whole block of vectors
through numpy at once, where the driver would convert value by value.
"""

import struct
from collections.abc import Iterator, Sequence
from uuid import UUID

import numpy as np

from search_app.stores.points import encoded_fields, stacked
from search_app.types import Point, Vector

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


def received_vector(sent: bytes) -> Vector:
    """Decode what ``vector_send`` gives."""
    return np.frombuffer(sent, ">f4", offset=4).astype(np.float32)


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
