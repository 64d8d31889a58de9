"""The port of vector stores: points in, nearest points out. A store never sees a text."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from search_app.errors import InvalidInputError, StoreRefusedError
from search_app.filters import Filter
from search_app.types import JSON, Point, Precision, Scored, TermQuery, Vector

MAX_K = 1000
"""Most neighbours one search may ask for; the product pages within them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """Points as columns, for whoever compares very many and needs no values of them.

    Place i of each is one point: ``chunk_ids`` 16 bytes, ascending; ``owners`` the 64 bytes of the
    ids of its document, index, model version and run; ``fields`` their JSON; ``digests`` SHA-256
    of the vector's float32 bytes, little-endian.
    """

    chunk_ids: Sequence[bytes]
    owners: Sequence[bytes]
    fields: Sequence[str]
    digests: Sequence[bytes]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Points that an index takes over from another one: those of a stretch of ids.

    The stretch begins behind ``after``, or with the first one, and ends with ``last``; ``besides``
    are left out.
    """

    source_id: UUID
    index_id: UUID
    after: UUID | None
    last: UUID
    besides: Sequence[UUID] = ()


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Which points are in which group: the point at place i in the group ``groups[i]``.

    A point may be in several groups; twice in the same one, it counts twice.
    """

    chunk_ids: Sequence[UUID]
    groups: Sequence[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mean:
    """The mean of the vectors of ``number`` points, ``(d,) float64``, good to float32."""

    vector: NDArray[np.float64]
    number: int


@dataclass(frozen=True, kw_only=True)
class StoreSize:
    """Bytes that an index takes.

    ``searched`` is what a search by meaning goes through, which has to stay in memory to be quick:
    the graph and the vectors in it, or all vectors where there is no graph. ``whole`` are all
    vectors, the exact ones included, with what the store keeps in the same place; terms are not
    counted. ``measured`` is false where the store does not tell, and they are worked out.
    """

    searched: int
    whole: int
    measured: bool


class VectorStore(ABC):
    """Keeps the unit vectors of any number of indexes, bit for bit, and searches them.

    Every call names its index. Every call is safe to repeat: writing twice is writing once,
    deleting what is not there is nothing. Similarity is the inner product.

    Every method raises StoreUnavailableError when the store cannot be reached and
    StoreRefusedError when it says no: an index that was not created, a wrong dimension, a vector
    that is not finite float32, a point of another index, an id twice in one call, fields that no
    JSON can hold. Nothing of a refused call is written.
    """

    name: str
    """How a user names this store, e.g. ``pgvector``."""

    precisions: Sequence[Precision]
    """What numbers it can search by; the first unless told otherwise."""

    @abstractmethod
    async def create(
        self, index_id: UUID, dimensions: int, precision: Precision | None = None
    ) -> None:
        """Make room for an index. Again with the same dimensions: nothing; with others: refused.

        Likewise with ``precision``; None stands for what is there, or else the store's first.
        Whatever it is, vectors are kept and scored as float32: by it only candidates are found.
        """

    @abstractmethod
    async def drop(self, index_id: UUID) -> None:
        """Remove an index and all its points."""

    @abstractmethod
    async def upsert(self, index_id: UUID, points: Sequence[Point]) -> None:
        """Write points by chunk id, replacing any that are there; all of them or none.

        What is replaced loses its terms too, also where the new point has none.

        A store without transactions may have written a part where the call ends as unavailable;
        writing the same again completes it.

        Every point has a finite vector of the index's dimensions; its float32 bytes are kept.
        Ids are distinct within one call.
        """

    @abstractmethod
    async def update_fields(
        self, index_id: UUID, fields: Mapping[UUID, Mapping[str, JSON]]
    ) -> None:
        """Replace the filter fields of the given chunks; absent ids are passed over."""

    @abstractmethod
    async def delete(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> None:
        """Remove the given chunks; an empty sequence removes nothing."""

    @abstractmethod
    async def search(
        self,
        index_id: UUID,
        vector: Vector,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the field's word
        exact: bool = False,
        vectors: bool = False,
    ) -> list[Scored]:
        """Find the k nearest points that pass the filter, best first, equal scores by chunk id.

        With ``vectors``, each comes with its own, which saves whoever needs them a second reading.

        ``k`` is 1 to MAX_K, anything else a ValueError. The result is shorter than k only when
        fewer points pass the filter, approximate search included. Scores are exact inner products
        of the stored float32 vectors either way; ``exact`` also promises that no nearer point was
        missed.
        """

    @abstractmethod
    async def search_terms(
        self,
        index_id: UUID,
        query: TermQuery,
        *,
        k: int,
        filter: Filter | None = None,  # noqa: A002 - the field's word
        exact: bool = False,
    ) -> list[Scored]:
        """Find the k points that pass the filter and score highest by their terms, best first.

        Only points that share a term with the query are found; scores are inner products of the
        query's weights and the points' (float32 arithmetic, so that stores may differ in the last
        bits), equal scores are ordered by chunk id. ``k`` is 1 to MAX_K, anything else a
        ValueError. The result is shorter than k only when fewer points pass the filter and share a
        term. Without ``exact``, candidates may be limited to points with one of the query's rarer
        terms as long as that yields k; ``exact`` promises that no higher score was missed.
        """

    @abstractmethod
    async def documents_with(
        self,
        index_id: UUID,
        term_ids: Sequence[int],
        *,
        filter: Filter | None = None,  # noqa: A002
    ) -> set[UUID]:
        """Name the documents that have a point which passes the filter and has any of the terms."""

    @abstractmethod
    async def fetch(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> list[Point]:
        """Get points with their vectors; those that are not there are left out, order is by id."""

    async def vectors(self, index_id: UUID, chunk_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Get the vectors of points and nothing else; those that are not there are left out."""
        points = await self.fetch(index_id, chunk_ids)
        return {point.chunk_id: point.vector for point in points if point.vector is not None}

    async def means(self, index_id: UUID, membership: Membership) -> dict[int, Mean]:
        """Give the mean vector of each group; points that are not there are left out.

        A group without a point has none. Callers stream: one call takes some thousand points.
        """
        vectors = await self.vectors(index_id, list(dict.fromkeys(membership.chunk_ids)))
        return means_of(vectors, membership)

    @abstractmethod
    async def scan(
        self, index_id: UUID, *, after: UUID | None = None, limit: int = 1000, vectors: bool = False
    ) -> list[Point]:
        """Get the next ``limit`` points in ascending id order, those with an id above ``after``.

        An empty list means the end.
        """

    async def survey(
        self, index_id: UUID, *, after: UUID | None = None, limit: int = 1000
    ) -> Survey:
        """Get the next ``limit`` points as ``scan`` does, but only what tells them apart."""
        points = await self.scan(index_id, after=after, limit=limit, vectors=True)
        return Survey(
            chunk_ids=[point.chunk_id.bytes for point in points],
            owners=[owners_of(point) for point in points],
            fields=[json.dumps(point.fields, ensure_ascii=False) for point in points],
            digests=[digest_of(point) for point in points],
        )

    async def copy(self, _taken: Taken, /) -> bool:
        """Copy points with their terms from another index here, unless reading them is as quick.

        Both indexes are of one model and weight terms alike. What is there already is replaced.

        Returns:
            Whether it was done; if not, nothing was, and the caller reads and writes.
        """
        return False

    @abstractmethod
    async def count(self, index_id: UUID, filter: Filter | None = None) -> int:  # noqa: A002
        """Count the points that pass the filter."""

    @abstractmethod
    async def optimize(self, index_id: UUID) -> None:
        """Bring the approximate-search structure up to date, where it is not kept so all along.

        May take minutes and waits for older transactions: the caller holds none open.
        """

    @abstractmethod
    async def size(self, index_id: UUID) -> StoreSize:
        """Say how much an index takes, as far as it has been brought up to date."""

    @abstractmethod
    async def ping(self) -> None:
        """Return if the store answers."""

    async def aclose(self) -> None:
        """Release what the store opened itself."""
        return

    def check_precision(self, precision: Precision) -> None:
        """See that the store can search by such numbers.

        Raises:
            StoreRefusedError: it cannot.
        """
        if precision not in self.precisions:
            others = " or ".join(self.precisions)
            raise StoreRefusedError(
                f"{self.name} cannot search {precision} vectors, it has {others}; take one of "
                "these, or another store (docs, Stores, says what each has)"
            )


def means_of(vectors: Mapping[UUID, Vector], membership: Membership) -> dict[int, Mean]:
    """Work out the mean of the vectors of each group, added up as float64."""
    rows: dict[int, list[Vector]] = {}
    for chunk_id, group in zip(membership.chunk_ids, membership.groups, strict=True):
        if chunk_id in vectors:
            rows.setdefault(group, []).append(vectors[chunk_id])
    return {
        group: Mean(vector=np.stack(some).mean(axis=0, dtype=np.float64), number=len(some))
        for group, some in rows.items()
    }


def read_precision(text: str) -> Precision:
    """Read what numbers an index shall search by.

    Raises:
        InvalidInputError: there are none of that name.
    """
    if text not in tuple(Precision):
        raise InvalidInputError(
            f"precision {text[:40]!r} is not known; write {', '.join(Precision)}"
        )
    return Precision(text)


def owners_of(point: Point) -> bytes:
    """Give the ids of a point's document, index, model version and run, 64 bytes."""
    owners = (point.document_id, point.index_id, point.model_version_id, point.run_id)
    return b"".join(owner.bytes for owner in owners)


def digest_of(point: Point) -> bytes:
    """Give SHA-256 of the float32 bytes of a point's vector; of none, that of no bytes."""
    vector = point.vector
    return sha256(b"" if vector is None else vector.astype("<f4", copy=False).tobytes()).digest()
