"""Why a hit stands where it stands: its place in each list, and what was made of both."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_app.fusion import DEPTH
from search_app.ranking import BM25, DENSE, LISTS
from search_app.types import Hit, SearchResult


@dataclass(frozen=True, kw_only=True)
class Step:
    """One score on the way to a hit's place: ``dense``, ``bm25``, ``fused`` or ``rerank``.

    ``rank`` is its rank in the list of that name; ``score`` is None where the list does not
    have it among its first ``depth``.
    """

    name: str
    score: float | None
    rank: int | None = None
    depth: int = DEPTH


_MISSING = {"not_semantic": DENSE, "not_keyword": BM25, "no_words": BM25}
"""The list that could not be asked for, by the kind of notice that says so."""


def breakdown(hit: Hit, result: SearchResult) -> list[Step]:
    """List the scores of a hit in the order in which they were made; the last one decides."""
    steps = [
        Step(name=name, score=hit.scores.get(name), rank=hit.ranks.get(name))
        for name in _lists(result)
    ]
    steps += [
        Step(name=name, score=hit.scores[name])
        for name in ("fused", "rerank")
        if name in hit.scores
    ]
    return steps


def _lists(result: SearchResult) -> Sequence[str]:
    """Give the names of the lists that were asked for."""
    missing = {_MISSING.get(notice.kind) for notice in result.notices}
    return [name for name in LISTS[result.mode] if name not in missing]
