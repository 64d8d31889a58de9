"""What every store checks before it writes or searches, so that all refuse the same things."""

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np

from search_app.bm25 import HIGHEST_WEIGHT
from search_app.errors import StoreRefusedError
from search_app.lexical import TERM_IDS
from search_app.stores.base import MAX_K
from search_app.types import JSON, Matrix, Point, Sparse, Vector

MOST_TERMS = 16_000
"""Most different terms of one point, many times those of a chunk: pgvector's ``sparsevec`` ends."""

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def check_k(k: int) -> None:
    """Raise ValueError unless ``k`` is 1 to MAX_K."""
    if not 1 <= k <= MAX_K:
        raise ValueError(f"k is {k}; it must be 1 to {MAX_K}")


def check_vector(vector: Vector, dimensions: int) -> None:
    """Check one vector, shape (d,).

    Raises:
        StoreRefusedError: not float32, of other dimensions, or not finite.
    """
    if vector.dtype != np.float32 or vector.shape != (dimensions,):
        raise StoreRefusedError(
            f"a vector of shape {vector.shape} and type {vector.dtype} does not fit this index: "
            f"it keeps {dimensions} dimensions of float32"
        )
    if not np.isfinite(vector).all():
        raise StoreRefusedError("a vector holds NaN or infinity; embed the text again")


def check_distinct(points: Sequence[Point]) -> None:
    """Check that no id is given twice.

    Raises:
        StoreRefusedError: one is, and which of the two vectors was meant cannot be told.
    """
    if len({point.chunk_id.int for point in points}) != len(points):
        raise StoreRefusedError("a chunk id was given twice in one write; give each id once")


def stacked(points: Sequence[Point], index_id: UUID, dimensions: int) -> Matrix:
    """Check points and stack their vectors, (n, d) float32.

    Raises:
        StoreRefusedError: a vector that is missing or does not fit, or a point that says it
            belongs to another index.
    """
    vectors = [_vector(point, index_id, dimensions) for point in points]
    matrix = np.concatenate(vectors).reshape(len(vectors), dimensions)
    if not np.isfinite(matrix).all():
        for vector in vectors:
            check_vector(vector, dimensions)
    return matrix


def _vector(point: Point, index_id: UUID, dimensions: int) -> Vector:
    if point.index_id is not index_id and point.index_id != index_id:
        raise StoreRefusedError(
            f"chunk {point.chunk_id} belongs to index {point.index_id}, not {index_id}"
        )
    vector = point.vector
    if vector is None:
        raise StoreRefusedError(f"chunk {point.chunk_id} came without a vector")
    if vector.dtype != np.float32 or vector.shape != (dimensions,):
        check_vector(vector, dimensions)
    return vector


def encoded_fields(fields: Mapping[str, JSON]) -> bytes:
    """Encode filter fields as JSON in UTF-8.

    Raises:
        StoreRefusedError: not JSON, or text that no database can hold (NUL, half a surrogate pair).
    """
    try:
        encoded = _JSON.encode(fields).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise StoreRefusedError(f"filter fields cannot be written as JSON: {exc}") from exc
    # The escape may also be six harmless characters after a backslash; only then look closer.
    if b"\\u0000" in encoded and _holds_nul(json.loads(encoded)):
        raise StoreRefusedError("filter fields hold the character NUL; remove it")
    return encoded


def _holds_nul(value: JSON) -> bool:
    match value:
        case str():
            return "\x00" in value
        case list():
            return any(map(_holds_nul, value))
        case dict():
            return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    return False


def check_terms(points: Sequence[Point]) -> None:
    """Check the terms of points that have any.

    Raises:
        StoreRefusedError: ids that do not ascend or are out of range, weights that are not
            positive or above HIGHEST_WEIGHT, or more than MOST_TERMS of them.
    """
    for point in points:
        if point.terms is None:
            continue
        if not _terms_fit(point.terms):
            raise StoreRefusedError(
                f"the terms of chunk {point.chunk_id} are not ascending ids with weights above 0 "
                f"and up to {HIGHEST_WEIGHT}"
            )
        if len(point.terms.ids) > MOST_TERMS:
            raise StoreRefusedError(
                f"chunk {point.chunk_id} has {len(point.terms.ids)} terms; "
                f"a store takes {MOST_TERMS}: cut the document into smaller chunks"
            )


def _terms_fit(terms: Sparse) -> bool:
    ids, weights = terms.ids, terms.weights
    if ids.shape != weights.shape or ids.ndim != 1:
        return False
    if ids.dtype != np.int32 or weights.dtype != np.float32:
        return False
    if not len(ids):
        return True
    in_range = ids[0] >= 0 and ids[-1] < TERM_IDS
    # False where a weight is NaN, which compares as nothing.
    positive = ((weights > 0) & (weights <= np.float32(HIGHEST_WEIGHT))).all()
    return bool(in_range and (ids[1:] > ids[:-1]).all() and positive)


def inner_products(matrix: Matrix, vector: Vector) -> Vector:
    """Score rows, (n, d) and (d,) to (n,) float32, so that equal rows score equal to the last bit.

    A BLAS product sums a row differently at the edge of a block, which would break ties at random.
    Summed in float64 and rounded once; never -0.0.
    """
    sums = (matrix * vector.astype(np.float64)).sum(axis=1) + 0.0
    scores: Vector = sums.astype(np.float32)
    return scores
