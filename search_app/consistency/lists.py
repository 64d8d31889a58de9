"""Layer 2: do reference queries still find what they found?

Tonight's vectors and those of the reference go over the same stored vectors, so a document that
came or went changes both lists alike, and only the query side can move one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from search_app.catalog.references import Reference, Sends
from search_app.consistency.asking import Asker
from search_app.consistency.hypotheses import Trial
from search_app.consistency.ranking import (
    Pair,
    beyond_tolerance,
    differ,
    first_k,
    kendall_tau_b,
    material_change,
    tolerance_of,
)
from search_app.identity import distance
from search_app.list_measures import overlap, rbo
from search_app.stores.base import VectorStore
from search_app.types import Matrix, Vector

SENDS = 5
"""Sends of a reference query, and of one whose list differs at the first of tonight."""

PAGE = 1_000
"""Vectors fetched together."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A reference query and what tonight gave for it; the second send only where it was repeated.

    ``candidates`` are the documents near any of the sends, ``vectors`` theirs (m, d).
    """

    reference: Reference
    tonight: Sends
    repeat: Vector | None = None
    candidates: Sequence[UUID] = ()
    vectors: Matrix = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def before(self) -> Matrix:
        """Give the scores of the candidates in the reference sends (sends, m)."""
        return self.reference.sends @ self.vectors.T

    def after(self) -> Matrix:
        """Give the scores of the candidates in tonight's sends (sends, m)."""
        return self.tonight @ self.vectors.T


@dataclass(frozen=True, kw_only=True)
class Alike:
    """How alike two lists are; they decide nothing. ``tau`` is None where one has ties alone."""

    overlap: float
    tau: float | None
    rbo: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What became of one list.

    ``against`` compares with the reference, ``within`` with the second send of tonight.
    ``distance`` is 1 - cos to the first reference send, ``noise`` the largest between tonight's
    sends, None where there was one. ``unsteady`` is None where the query was not repeated.
    ``nearest`` is the least 1 - cos between any send of the reference and any of tonight,
    ``spread`` the largest between two of one time.
    """

    asked: Asked
    pair: Pair | None
    near_tie: bool
    unsteady: bool | None
    distance: float
    noise: float | None
    nearest: float
    spread: float
    against: Alike
    within: Alike | None


async def ask_once(asker: Asker, references: Sequence[Reference], repeats: int) -> list[Asked]:
    """Send every query alone, and the first ``repeats`` of them once more after all others."""
    first = [await asker.alone(reference.text, reference.kind) for reference in references]
    again = [await asker.alone(each.text, each.kind) for each in references[:repeats]]
    return [
        Asked(
            reference=reference,
            tonight=vector[None],
            repeat=again[place] if place < len(again) else None,
        )
        for place, (reference, vector) in enumerate(zip(references, first, strict=True))
    ]


async def with_candidates(
    asked: Sequence[Asked], near: Sequence[Sequence[UUID]], store: VectorStore, index_id: UUID
) -> list[Asked]:
    """Load the documents near each query.

    Args:
        asked: what was asked.
        near: for each row of ``rows_of(asked)``, the documents nearest to it.
        store: where the index is.
        index_id: its id.
    """
    found, row = [], 0
    for each in asked:
        rows = len(_sends(each))
        found.append((each, sorted({one for some in near[row : row + rows] for one in some})))
        row += rows
    return await _loaded(found, store, index_id)


def rows_of(asked: Sequence[Asked], dimensions: int) -> Matrix:
    """Give all sends of all queries, one after the other (rows, d)."""
    rows = [_sends(each) for each in asked]
    return np.concatenate(rows) if rows else np.empty((0, dimensions), np.float32)


def _sends(asked: Asked) -> Matrix:
    rows = [asked.reference.sends, asked.tonight]
    if asked.repeat is not None:
        rows.append(asked.repeat[None])
    return np.concatenate(rows)


async def _loaded(
    found: Sequence[tuple[Asked, list[UUID]]], store: VectorStore, index_id: UUID
) -> list[Asked]:
    """Fetch the vectors of candidates; one that went meanwhile is none."""
    wanted = sorted({chunk_id for _, near in found for chunk_id in near})
    vectors: dict[UUID, Vector] = {}
    for start in range(0, len(wanted), PAGE):
        for point in await store.fetch(index_id, wanted[start : start + PAGE]):
            if point.vector is not None:
                vectors[point.chunk_id] = point.vector
    loaded = []
    for each, near in found:
        there = [chunk_id for chunk_id in near if chunk_id in vectors]
        rows = np.stack([vectors[chunk_id] for chunk_id in there]) if there else each.vectors
        loaded.append(
            Asked(
                reference=each.reference,
                tonight=each.tonight,
                repeat=each.repeat,
                candidates=there,
                vectors=rows,
            )
        )
    return loaded


def differing(asked: Sequence[Asked], k: int, tolerance: float) -> list[int]:
    """Name the places of queries that may have changed materially, by the first send of tonight.

    What differs by near-ties alone cannot have, whatever more sends would give.
    """
    return [
        place
        for place, each in enumerate(asked)
        if each.candidates
        and material_change(each.before(), each.after()[:1], k, tolerance) is not None
    ]


async def ask_again(asker: Asker, asked: Sequence[Asked], places: Sequence[int]) -> list[Asked]:
    """Send the queries at these places until each has as many sends as a reference has."""
    again = list(asked)
    for place in places:
        each = asked[place]
        missing = SENDS - len(each.tonight)
        more = await asker.each([each.reference.text] * missing, each.reference.kind)
        again[place] = Asked(
            reference=each.reference,
            tonight=np.concatenate([each.tonight, more]),
            repeat=each.repeat,
            candidates=each.candidates,
            vectors=each.vectors,
        )
    return again


def usual_tolerance(asked: Sequence[Asked], k: int) -> float:
    """Give the gap of a near-tie, from the reference lists."""
    rows = [np.sort(each.before()[0])[::-1][:k] for each in asked if len(each.candidates) >= k]
    return tolerance_of(np.stack(rows), k) if rows else 0.0


def compared(asked: Sequence[Asked], k: int, tolerance: float) -> list[Compared]:
    """Compare the list of each query with its reference, and with itself where it was repeated."""
    return [_compared(each, k, tolerance) for each in asked if each.candidates]


def _compared(asked: Asked, k: int, tolerance: float) -> Compared:
    before, after = asked.before(), asked.after()
    unsteady, within = None, None
    if asked.repeat is not None:
        again = asked.vectors @ asked.repeat
        unsteady = beyond_tolerance(after[0], again, k, tolerance)
        within = _alike(after[0], again, k)
    pair = material_change(before, after, k, tolerance) if len(asked.tonight) > 1 else None
    return Compared(
        asked=asked,
        pair=pair,
        near_tie=pair is None and differ(before[0], after[0], k),
        unsteady=unsteady,
        distance=distance(asked.reference.sends[0], asked.tonight[0]),
        noise=_noise(asked),
        nearest=float(_apart(asked.reference.sends, asked.tonight).min()),
        spread=max(
            float(_apart(sends, sends).max()) for sends in (asked.reference.sends, asked.tonight)
        ),
        against=_alike(before[0], after[0], k),
        within=within,
    )


def _noise(asked: Asked) -> float | None:
    sends = list(asked.tonight) + ([asked.repeat] if asked.repeat is not None else [])
    return max((distance(sends[0], other) for other in sends[1:]), default=None)


def _apart(one: Matrix, other: Matrix) -> NDArray[np.float64]:
    """Give 1 - cos between all rows of one and all of the other."""
    differences = one[:, None].astype(np.float64) - other[None].astype(np.float64)
    apart: NDArray[np.float64] = np.einsum("ijd,ijd->ij", differences, differences) / 2
    return apart


def _alike(one: Vector, other: Vector, k: int) -> Alike:
    left, right = first_k(one, k), first_k(other, k)
    both = np.union1d(left, right)
    return Alike(
        overlap=overlap(left.tolist(), right.tolist()),
        tau=kendall_tau_b(one[both], other[both]),
        rbo=rbo(left.tolist(), right.tolist()),
    )


def trials(compared: Sequence[Compared]) -> list[Trial]:
    """Give the queries as texts that hypotheses may be tried on."""
    return [
        Trial(
            text=each.asked.reference.text,
            kind=each.asked.reference.kind,
            stored=each.asked.reference.sends[0],
            fresh=each.asked.tonight[0],
            within=each.spread,
        )
        for each in compared
    ]


def best_of(asked: Asked, scores: Vector, k: int) -> Mapping[UUID, float]:
    """Give the k best candidates with their scores, best first."""
    return {asked.candidates[place]: float(scores[place]) for place in first_k(scores, k).tolist()}
