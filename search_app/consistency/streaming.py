"""One pass over all stored vectors of an index, for everything that wants to see them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from search_app.consistency.ranking import Nearest
from search_app.stores.base import VectorStore
from search_app.types import Matrix, Point

PAGE = 2_000
"""Vectors looked at together: 3 MB at 384 dimensions."""

Watch = Callable[[Sequence[UUID], Matrix], None]
"""Sees ids and vectors as they pass."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """For each row that was asked about, the nearest stored vectors, best first."""

    ids: Sequence[Sequence[UUID]]
    scores: Matrix
    vectors: int


async def neighbours(
    store: VectorStore, index_id: UUID, rows: Matrix, depth: int, watch: Watch
) -> Neighbours:
    """Read every stored vector once; find the nearest of each row by exact search.

    Args:
        store: where the index is.
        index_id: its id.
        rows: unit vectors (n, d).
        depth: how many neighbours of each.
        watch: sees all vectors as they pass.

    Raises:
        StoreError: the store does not answer.
    """
    nearest = Nearest(rows, depth)
    # Ids as bytes: 16 of them each, whatever else is kept of a vector.
    ids: list[bytes] = []
    after = None
    while points := await store.scan(index_id, after=after, limit=PAGE, vectors=True):
        after = points[-1].chunk_id
        vectors = _stacked(points)
        ids += [point.chunk_id.bytes for point in points]
        watch([point.chunk_id for point in points], vectors)
        # What is broken has no neighbours; the others keep their places.
        nearest.add(np.where(np.isfinite(vectors), vectors, np.float32(0)))
    positions, scores = nearest.best()
    return Neighbours(
        ids=[[UUID(bytes=ids[place]) for place in row] for row in positions.tolist()],
        scores=scores,
        vectors=nearest.seen,
    )


def _stacked(points: Sequence[Point]) -> Matrix:
    vectors = [point.vector for point in points if point.vector is not None]
    if len(vectors) != len(points):
        raise ValueError("the store left out vectors that were asked for")
    return np.stack(vectors)
