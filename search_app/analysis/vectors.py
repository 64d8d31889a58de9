"""The vectors of an index in memory, with what is known of their documents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import analyses, serving
from search_app.catalog.engine import reading
from search_app.catalog.serving import Serving
from search_app.errors import InvalidInputError
from search_app.filters import SUGGESTED, Filter, field_values, passes
from search_app.stores.base import VectorStore
from search_app.types import JSON, Matrix, Vector

MOST = 100_000
"""Vectors that are held at once: 154 MB at 384 dimensions; of more, a sample is drawn."""

PAGE = 2_000
LONGEST_SHOWN = 60
"""Characters of a field's name that an error shows."""

Places = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorSet:
    """Unit vectors of passages of one index, in the order of their ids.

    ``vectors`` is (n, d) float32. ``document_of[i]`` is the place of passage i's document in
    ``document_ids`` and ``fields``, which are as filters.py describes them. ``available`` counts
    the passages there are: more than n where a sample was drawn by ``seed``. ``broken`` counts
    vectors left out because they are zero or not finite.
    """

    target: Serving
    chunk_ids: Sequence[UUID]
    document_of: Places
    document_ids: Sequence[UUID]
    fields: Sequence[Mapping[str, JSON]]
    vectors: Matrix
    available: int
    seed: int
    broken: int = 0

    def __len__(self) -> int:
        return len(self.chunk_ids)

    @property
    def sampled(self) -> bool:
        """Whether these are not all passages of the index."""
        return len(self) + self.broken < self.available

    @cached_property
    def places(self) -> Mapping[UUID, int]:
        """The row of each passage."""
        return {chunk_id: row for row, chunk_id in enumerate(self.chunk_ids)}

    def rows_of(self, chunk_ids: Sequence[UUID]) -> Matrix:
        """Give the vectors of passages that serve as examples.

        Raises:
            InvalidInputError: one is not in this index, whose vectors compare with no other's.
        """
        for chunk_id in chunk_ids:
            if chunk_id not in self.places:
                raise InvalidInputError(
                    f"passage {chunk_id} is not in index {str(self.target.index.id)[:8]} of "
                    f"collection {self.target.collection.name!r}; examples must be of the index "
                    "that is analysed, since vectors of two models cannot be compared"
                )
        return self.vectors[[self.places[chunk_id] for chunk_id in chunk_ids]]

    def values(self, field: str) -> list[JSON]:
        """Give the value of a field for each document; None where it has none, or several.

        Raises:
            InvalidInputError: no document has it; names the fields that some have.
        """
        found = [field_values(fields, field) for fields in self.fields]
        if not any(found):
            raise InvalidInputError(
                f"no document of collection {self.target.collection.name!r} has the field "
                f"{field[:LONGEST_SHOWN]!r}; {self._known()}"
            )
        return [values[0] if len(values) == 1 else None for values in found]

    def _known(self) -> str:
        names = {
            f"{part}.{name}"
            for fields in self.fields
            for part in ("meta", SUGGESTED)
            for name in fields.get(part) or {}
        } | {name for fields in self.fields for name in fields if name not in ("meta", SUGGESTED)}
        shown = [name[:LONGEST_SHOWN] for name in sorted(names)[:20]]
        return f"there are {', '.join(shown)}" if shown else "there are none at all"

    def passing(self, given: Filter | None) -> "VectorSet":
        """Give the passages of documents that pass a filter."""
        if given is None:
            return self
        kept = np.array([passes(fields, given) for fields in self.fields], bool)
        return self.taken(np.flatnonzero(kept[self.document_of]))

    def taken(self, rows: Places) -> "VectorSet":
        """Give some of the passages, with the documents that they are of."""
        documents, document_of = np.unique(self.document_of[rows], return_inverse=True)
        return replace(
            self,
            chunk_ids=[self.chunk_ids[row] for row in rows.tolist()],
            document_of=document_of.astype(np.intp),
            document_ids=[self.document_ids[place] for place in documents.tolist()],
            fields=[self.fields[place] for place in documents.tolist()],
            vectors=self.vectors[rows],
            available=len(rows),
            broken=0,
        )

    def document_vectors(self) -> Matrix:
        """Give the mean of each document's passages, brought to length 1, (documents, d).

        A document whose passages cancel out keeps a vector of zeros.
        """
        sums = np.zeros((len(self.document_ids), self.vectors.shape[1]), np.float32)
        np.add.at(sums, self.document_of, self.vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        means: Matrix = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
        return means


async def load(
    engine: AsyncEngine,
    store: Callable[[str], VectorStore],
    *,
    collection: str,
    index: str | None = None,
    most: int = MOST,
    seed: int = 0,
) -> VectorSet:
    """Read the vectors of live passages of an index; of more than ``most``, a sample.

    The sample is drawn before anything is read, so that memory stays bounded.

    Raises:
        InvalidInputError: the index cannot answer for the collection.
        NotFoundError: no such collection or index, or nothing was ever ingested into it.
        StoreError: the store does not answer.
        CatalogError: the catalog does not answer.
    """
    async with reading(engine) as connection:
        target = await serving.serving(connection, collection, b"", index=index)
    source = store(target.index.store)
    total = await source.count(target.index.id)
    chosen = _drawn(total, most, seed)
    rows = _Rows(min(total, most), target.version.identity.dimensions)
    after, seen = None, 0
    while points := await source.scan(target.index.id, after=after, limit=PAGE, vectors=True):
        after = points[-1].chunk_id
        if chosen is not None:
            wanted = chosen[(chosen >= seen) & (chosen < seen + len(points))] - seen
            seen += len(points)
            points = [points[place] for place in wanted.tolist()]
        async with reading(engine) as connection:
            live = await analyses.live_among(connection, [point.chunk_id for point in points])
        for point in points:
            if point.chunk_id in live and point.vector is not None:
                rows.add(point.chunk_id, point.document_id, point.fields, point.vector)
    return VectorSet(
        target=target,
        chunk_ids=rows.chunk_ids,
        document_of=np.array(rows.document_of, np.intp),
        document_ids=list(rows.documents),
        fields=rows.fields,
        vectors=rows.vectors[: len(rows.chunk_ids)],
        available=total if chosen is not None else len(rows.chunk_ids) + rows.broken,
        seed=seed,
        broken=rows.broken,
    )


def _drawn(total: int, most: int, seed: int) -> Places | None:
    if total <= most:
        return None
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False))


class _Rows:
    """Takes points one by one into one block of memory, which grows only if the index does."""

    def __init__(self, expected: int, dimensions: int) -> None:
        self.vectors: Matrix = np.empty((expected, dimensions), np.float32)
        self.chunk_ids: list[UUID] = []
        self.document_of: list[int] = []
        self.documents: dict[UUID, int] = {}
        self.fields: list[Mapping[str, JSON]] = []
        self.broken = 0

    def add(
        self, chunk_id: UUID, document_id: UUID, fields: Mapping[str, JSON], vector: Vector
    ) -> None:
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0:
            self.broken += 1
            return
        row = len(self.chunk_ids)
        if row == len(self.vectors):
            more = np.empty((PAGE, self.vectors.shape[1]), np.float32)
            self.vectors = np.concatenate([self.vectors, more])
        self.vectors[row] = vector
        self.chunk_ids.append(chunk_id)
        if document_id not in self.documents:
            self.documents[document_id] = len(self.documents)
            self.fields.append(fields)
        self.document_of.append(self.documents[document_id])
