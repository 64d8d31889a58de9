"""One ranking from two: by scores brought to the same scale, or by ranks.

The default follows what was measured over Japanese and English sets (docs, "Measurements"): scores
of each list scaled to 0…1 and added with fixed weights beat either list alone on all of them, while
adding reciprocal ranks with equal weights loses to keyword search alone where that is strong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from search_app.types import Scored

Method = Literal["minmax", "rrf"]

DENSE_WEIGHT = 0.4
"""Share of the semantic score in a fused one."""

DEPTH = 100
"""Hits of each list that are fused; deeper ones come after them."""

MOST_RANK = 1 << 30
"""No hit has such a rank."""

RRF_K = 60
"""Damps the first ranks in reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""


@dataclass(frozen=True, kw_only=True)
class Fused:
    """A chunk in the fused list; ``parts`` has the score in each list that found it.

    ``ranks`` has its rank there, from 1.
    """

    chunk_id: UUID
    run_id: UUID
    score: float
    parts: Mapping[str, float]
    ranks: Mapping[str, int]


def fuse(
    lists: Mapping[str, Sequence[Scored]],
    *,
    weights: Mapping[str, float],
    method: Method = "minmax",
    depth: int = DEPTH,
) -> list[Fused]:
    """Merge lists, each best first, into one, best first, equal scores by chunk id.

    A chunk that a list has not found, or not among its first ``depth``, gets nothing from it. What
    is deeper in all lists comes last, by its best rank. So deeper lists go on where shallower ones
    ended, and change nothing before.
    """
    found: dict[UUID, _Place] = {}
    for name, scoreds in lists.items():
        weight = weights[name]
        ranked = enumerate(zip(scoreds, _shares(scoreds, method, depth), strict=True), start=1)
        for rank, (scored, share) in ranked:
            # Looked up once: the hash of a UUID is worked out anew every time.
            place = found.get(scored.chunk_id)
            if place is None:
                place = found[scored.chunk_id] = _Place(scored)
            place.ranks[name] = rank
            place.parts[name] = scored.score
            place.total += weight * share
            place.best = min(place.best, rank)
    order = sorted(
        found.values(),
        key=lambda place: (-place.total, place.best if place.best > depth else 0, place.key),
    )
    return [
        Fused(
            chunk_id=place.scored.chunk_id,
            run_id=place.scored.run_id,
            score=place.total,
            parts=place.parts,
            ranks=place.ranks,
        )
        for place in order
    ]


class _Place:
    """What the lists say of one chunk, while they are read."""

    __slots__ = ("best", "key", "parts", "ranks", "scored", "total")

    def __init__(self, scored: Scored) -> None:
        self.scored = scored
        self.key = scored.chunk_id.bytes
        self.total = 0.0
        self.best = MOST_RANK
        self.parts: dict[str, float] = {}
        self.ranks: dict[str, int] = {}


def coverage(best: float, mass: float) -> float:
    """Say how much of a query its best passage by words has, from 0 to 1, the root of the share.

    A passage of average length that has every term once has all of it.

    Questions in other words than the documents' have lists by words too, of passages that share
    little with them; scaled to 0...1 such a list would look like any other. Measured on the golden
    sets, this keeps what hybrid search gains and loses less where words mislead.

    Args:
        best: the highest BM25 score.
        mass: of the query, as of ``TermQuery``; 0 counts as covered.
    """
    return float(min(1.0, max(0.0, best) / mass) ** 0.5) if mass > 0 else 1.0


def _shares(found: Sequence[Scored], method: Method, depth: int) -> list[float]:
    """Bring the first scores of one list to a scale that others have too; the rest is worth 0."""
    first = found[:depth]
    rest = [0.0] * (len(found) - len(first))
    if method == "rrf":
        return [1 / (RRF_K + rank) for rank in range(1, len(first) + 1)] + rest
    if not first:
        return []
    high, low = first[0].score, first[-1].score
    # One hit, or hits that all score alike, are all the best there is.
    return [(each.score - low) / (high - low) if high > low else 1.0 for each in first] + rest
