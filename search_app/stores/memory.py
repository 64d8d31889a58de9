"""Vectors in this process's memory: always exact, gone at its end. For tests and small trials."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np

from search_app.errors import StoreRefusedError
from search_app.filters import Filter, passes
from search_app.stores.base import StoreSize, VectorStore
from search_app.stores.points import (
    check_distinct,
    check_k,
    check_terms,
    check_vector,
    encoded_fields,
    inner_products,
    stacked,
)
from search_app.types import (
    JSON,
    Ids,
    Matrix,
    Point,
    Precision,
    Scored,
    Sparse,
    TermQuery,
    Vector,
)

_BLOCK = 4096
"""Rows scored at a time; bounds the memory of a search, not its result."""


class MemoryStore(VectorStore):
    """Keeps everything in numpy arrays and plain values."""

    name = "memory"
    precisions = (Precision.FLOAT32,)

    def __init__(self) -> None:
        self._spaces: dict[UUID, _Space] = {}

    async def create(
        self, index_id: UUID, dimensions: int, precision: Precision | None = None
    ) -> None:
        """Make room for an index."""
        self.check_precision(precision or Precision.FLOAT32)
        if dimensions < 1:
            raise StoreRefusedError(f"an index cannot have {dimensions} dimensions")
        space = self._spaces.setdefault(index_id, _Space(dimensions))
        if space.dimensions != dimensions:
            raise StoreRefusedError(
                f"index {index_id} has {space.dimensions} dimensions, not {dimensions}; "
                "drop it first or make a new one"
            )

    async def drop(self, index_id: UUID) -> None:
        """Remove an index and all its points."""
        self._spaces.pop(index_id, None)

    async def upsert(self, index_id: UUID, points: Sequence[Point]) -> None:
        """Write points by chunk id, replacing any that are there."""
        if points:
            space = self._space(index_id)
            check_distinct(points)
            check_terms(points)
            matrix = stacked(points, index_id, space.dimensions)
            space.write(points, matrix, [encoded_fields(point.fields) for point in points])

    async def update_fields(
        self, index_id: UUID, fields: Mapping[UUID, Mapping[str, JSON]]
    ) -> None:
        """Replace the filter fields of the given chunks."""
        space = self._space(index_id)
        encoded = {chunk_id: encoded_fields(value) for chunk_id, value in fields.items()}
        for chunk_id, value in encoded.items():
            slot = space.slots.get(chunk_id)
            if slot is not None:
                space.points[slot] = _kept(space.points[slot], value)

    async def delete(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> None:
        """Remove the given chunks."""
        self._space(index_id).remove(chunk_ids)

    async def search(
        self,
        index_id: UUID,
        vector: Vector,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the port's word
        exact: bool = False,  # noqa: ARG002 - every search here is
        vectors: bool = False,
    ) -> list[Scored]:
        """Find the k nearest points that pass the filter."""
        check_k(k)
        space = self._space(index_id)
        check_vector(vector, space.dimensions)
        slots = [slot for slot, point in enumerate(space.points) if _passes(point, filter)]
        scores = _scores(space.matrix, slots, vector)
        # Everything that ties with the k-th stays in, until ids decide.
        least = np.partition(scores, -k)[-k] if len(slots) > k else -np.inf
        found = [
            Scored(
                chunk_id=space.points[slot].chunk_id,
                run_id=space.points[slot].run_id,
                score=float(score),
                vector=space.matrix[slot].copy() if vectors else None,
            )
            for slot, score in zip(slots, scores, strict=True)
            if score >= least
        ]
        return sorted(found, key=lambda scored: (-scored.score, scored.chunk_id.bytes))[:k]

    async def search_terms(
        self,
        index_id: UUID,
        query: TermQuery,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the port's word
        exact: bool = False,  # noqa: ARG002 - every search here is
    ) -> list[Scored]:
        """Find the k points that score highest by their terms."""
        check_k(k)
        scored = [
            Scored(chunk_id=point.chunk_id, run_id=point.run_id, score=_term_score(point, query))
            for point in self._space(index_id).points
            if _shares_term(point, query.ids) and _passes(point, filter)
        ]
        return sorted(scored, key=lambda each: (-each.score, each.chunk_id.bytes))[:k]

    async def documents_with(
        self,
        index_id: UUID,
        term_ids: Sequence[int],
        *,
        filter: Filter | None = None,  # noqa: A002
    ) -> set[UUID]:
        """Name the documents with a point that passes and has any of the terms."""
        wanted = np.unique(np.array(term_ids, np.int32))
        return {
            point.document_id
            for point in self._space(index_id).points
            if _shares_term(point, wanted) and _passes(point, filter)
        }

    async def fetch(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> list[Point]:
        """Get points with their vectors, in id order."""
        space = self._space(index_id)
        present = sorted({key for key in chunk_ids if key in space.slots}, key=_order)
        return [space.read(key, vectors=True) for key in present]

    async def scan(
        self, index_id: UUID, *, after: UUID | None = None, limit: int = 1000, vectors: bool = False
    ) -> list[Point]:
        """Get the next points in ascending id order."""
        space = self._space(index_id)
        start = 0 if after is None else bisect_right(space.order(), after.bytes, key=_order)
        return [space.read(key, vectors=vectors) for key in space.order()[start : start + limit]]

    async def count(self, index_id: UUID, filter: Filter | None = None) -> int:  # noqa: A002
        """Count the points that pass the filter."""
        return sum(_passes(point, filter) for point in self._space(index_id).points)

    async def optimize(self, index_id: UUID) -> None:
        """Do nothing: every search is exact."""
        self._space(index_id)

    async def size(self, index_id: UUID) -> StoreSize:
        """Count the bytes of the vectors, without the room kept for more."""
        space = self._space(index_id)
        taken = 4 * space.dimensions * len(space.points)
        return StoreSize(searched=taken, whole=taken, measured=True)

    async def ping(self) -> None:
        """Return: memory is always there."""

    def _space(self, index_id: UUID) -> "_Space":
        space = self._spaces.get(index_id)
        if space is None:
            raise StoreRefusedError(f"the memory store has no index {index_id}; create it first")
        return space


class _Space:
    """One index: row i of the matrix belongs to ``points[i]``, which carries no vector."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.matrix: Matrix = np.empty((0, dimensions), np.float32)
        self.points: list[Point] = []
        self.slots: dict[UUID, int] = {}
        self._order: list[UUID] | None = []

    def write(self, points: Sequence[Point], matrix: Matrix, fields: Sequence[bytes]) -> None:
        self._reserve(len(self.points) + len(points))
        for point, vector, encoded in zip(points, matrix, fields, strict=True):
            slot = self.slots.setdefault(point.chunk_id, len(self.points))
            if slot == len(self.points):
                self.points.append(point)
                self._order = None
            self.points[slot] = _kept(point, encoded)
            self.matrix[slot] = vector

    def remove(self, chunk_ids: Sequence[UUID]) -> None:
        for chunk_id in chunk_ids:
            slot = self.slots.pop(chunk_id, None)
            if slot is None:
                continue
            # The last row moves into the gap, so that rows stay dense.
            last = self.points.pop()
            if last.chunk_id != chunk_id:
                self.points[slot], self.slots[last.chunk_id] = last, slot
                self.matrix[slot] = self.matrix[len(self.points)]
            self._order = None

    def read(self, chunk_id: UUID, *, vectors: bool) -> Point:
        slot = self.slots[chunk_id]
        point = self.points[slot]
        return replace(
            point,
            fields=json.loads(json.dumps(point.fields)),
            terms=None,
            vector=self.matrix[slot].copy() if vectors else None,
        )

    def order(self) -> list[UUID]:
        if self._order is None:
            self._order = sorted(self.slots, key=_order)
        return self._order

    def _reserve(self, rows: int) -> None:
        if rows > len(self.matrix):
            grown = np.empty((max(rows, 2 * len(self.matrix)), self.dimensions), np.float32)
            grown[: len(self.points)] = self.matrix[: len(self.points)]
            self.matrix = grown


def _kept(point: Point, encoded: bytes) -> Point:
    terms = point.terms
    if terms is not None:
        terms = Sparse(ids=terms.ids.copy(), weights=terms.weights.copy())
    return replace(point, fields=json.loads(encoded), vector=None, terms=terms)


def _passes(point: Point, wanted: Filter | None) -> bool:
    return passes(point.fields, wanted) and (wanted is None or point.chunk_id not in wanted.besides)


def _shares_term(point: Point, ids: Ids) -> bool:
    return point.terms is not None and bool(np.isin(ids, point.terms.ids).any())


def _term_score(point: Point, query: TermQuery) -> float:
    if point.terms is None:
        return 0.0
    _, asked, had = np.intersect1d(
        query.ids, point.terms.ids, assume_unique=True, return_indices=True
    )
    return float(np.float32((query.weights[asked] * point.terms.weights[had]).sum()))


def _order(chunk_id: UUID) -> bytes:
    return chunk_id.bytes


def _scores(matrix: Matrix, slots: Sequence[int], vector: Vector) -> Vector:
    blocks = [
        inner_products(matrix[slots[start : start + _BLOCK]], vector)
        for start in range(0, len(slots), _BLOCK)
    ]
    return np.concatenate([*blocks, np.empty(0, np.float32)])
