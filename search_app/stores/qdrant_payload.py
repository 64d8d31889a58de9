"""What a point carries in Qdrant, and reading it back.

It has a dense vector; where an index is searched as float16, the same once more, which Qdrant
rounds; and a sparse one of its terms, if it has any. In the payload,
``fields`` is the JSON of the filter fields as one text, since Qdrant's own values would change some
of it on the way (long integers, 1.0 against 1). What filters ask for is derived from it: ``terms``
for equality, ``order`` for comparisons. ``slice`` is a number made of the id, by which what would
be too much for one answer is asked for in parts.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
from qdrant_client import models

from search_app.errors import StoreRefusedError
from search_app.filters import Scalar
from search_app.stores.qdrant_order import held_scalars, order_entries, order_key
from search_app.types import JSON, Matrix, Point

DENSE = "dense"
HALF = "half"
SPARSE = "sparse"
"""The names of the vectors."""

TERMS = "terms"
ORDER = "order"
FIELDS = "fields"
SLICE = "slice"

SLICES = 256
"""Each has about as many points as any other: ids of chunks are hashes."""

_IDS = ("document_id", "index_id", "model_version_id", "run_id")
READ = [*_IDS, FIELDS]
"""Payload keys that make up a point; the derived ones stay where they are."""

_UNORDERED = frozenset({"language", "source", "folder", "type", "symbol", "symbol_kind"})
"""Fields that are hardly ever compared in order: they can be, but without an index of their own."""

_LONGEST_TERM = 256


def term(field: str, value: Scalar) -> str:
    """Write field and value as one text; equal for equal values, 1 and 1.0 included."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    written = json.dumps([field, value], ensure_ascii=False)
    if len(written) <= _LONGEST_TERM:
        return written
    return f"sha256:{sha256(written.encode()).hexdigest()}"


@lru_cache(maxsize=128)
def field_payload(encoded: bytes) -> Mapping[str, JSON]:
    """Make the part of a payload that comes from filter fields; chunks of a document share it."""
    held = list(held_scalars(json.loads(encoded)))
    return {
        FIELDS: encoded.decode(),
        TERMS: sorted({term(field, value) for field, value in held}),
        ORDER: order_entries(held),
    }


@lru_cache(maxsize=128)
def field_bytes(encoded: bytes) -> int:
    """Measure the payload that comes from filter fields, as JSON in a request."""
    return len(json.dumps(field_payload(encoded)))


@lru_cache(maxsize=128)
def ordered_keys(encoded: bytes) -> frozenset[str]:
    """Name the payload keys that comparisons look at first and that are worth an index."""
    return frozenset(
        f"{ORDER}.{order_key(field, value, ())}"
        for field, value in held_scalars(json.loads(encoded))
        if not isinstance(value, bool) and field not in _UNORDERED
    )


def structs(
    points: Sequence[Point], matrix: Matrix, encoded: Sequence[bytes], *, halved: bool
) -> list[models.PointStruct]:
    """Write points as the client sends them; row i of the matrix belongs to point i."""
    names = (DENSE, HALF) if halved else (DENSE,)
    return [
        models.PointStruct(
            id=str(point.chunk_id),
            vector=_vectors(dict.fromkeys(names, vector), point),
            payload={
                SLICE: point.chunk_id.int % SLICES,
                "document_id": str(point.document_id),
                "index_id": str(point.index_id),
                "model_version_id": str(point.model_version_id),
                "run_id": str(point.run_id),
                **field_payload(fields),
            },
        )
        for point, vector, fields in zip(points, matrix.tolist(), encoded, strict=True)
    ]


def _vectors(dense: Mapping[str, list[float]], point: Point) -> dict[str, Any]:
    """Name the vectors of a point; one that is left out is removed where the point was there."""
    terms = point.terms
    if terms is None or not len(terms.ids):
        return {**dense}
    sparse = models.SparseVector(indices=terms.ids.tolist(), values=terms.weights.tolist())
    return {**dense, SPARSE: sparse}


def vector_of(record: models.Record | models.ScoredPoint, name: str) -> Any:
    """Get one of the vectors of a point as Qdrant gave it; None where it gave none of that name."""
    return record.vector.get(name) if isinstance(record.vector, dict) else None


def point_of(record: models.Record) -> Point:
    """Read a point.

    Raises:
        StoreRefusedError: it was written by something else.
    """
    payload, vector = record.payload or {}, vector_of(record, DENSE)
    try:
        document_id, index_id, model_version_id, run_id = (UUID(payload[name]) for name in _IDS)
        fields: dict[str, Any] = json.loads(payload[FIELDS])
        return Point(
            chunk_id=UUID(str(record.id)),
            document_id=document_id,
            index_id=index_id,
            model_version_id=model_version_id,
            run_id=run_id,
            fields=fields,
            vector=None if vector is None else np.array(vector, np.float32),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise StoreRefusedError(
            f"qdrant: point {record.id} is not one that was written here; drop the index and "
            "ingest again"
        ) from exc
