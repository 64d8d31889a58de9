"""From a store's lists to the hits of a search: fuse, keep what is live and asked for, rerank."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import chunks
from search_app.catalog.chunks import Passage
from search_app.catalog.engine import reading
from search_app.duplicates import near_duplicates
from search_app.fusion import DENSE_WEIGHT, DEPTH, Fused, Method, coverage, fuse
from search_app.question import Question
from search_app.rerankers.base import Reranker
from search_app.types import Mode, Scored

DENSE = "dense"
BM25 = "bm25"
LISTS: Mapping[Mode, Sequence[str]] = {
    "hybrid": (DENSE, BM25),
    "semantic": (DENSE,),
    "keyword": (BM25,),
}
"""The lists that each mode asks the store for."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How searches are ranked unless they say otherwise; ``rerank_depth`` hits are reranked."""

    mode: Mode = "hybrid"
    method: Method = "minmax"
    dense_weight: float = DENSE_WEIGHT
    rerank_depth: int = 50


@dataclass(frozen=True, kw_only=True)
class Found:
    """A live passage at its place among the hits; ``score`` is the one that put it there.

    ``within_noise_of_next`` is as in a Hit.
    """

    passage: Passage
    run_id: UUID
    score: float
    scores: Mapping[str, float]
    ranks: Mapping[str, int]
    similar: Sequence[UUID] = ()
    within_noise_of_next: bool | None = None


def merged(
    lists: Mapping[str, Sequence[Scored]], ranking: Ranking, depth: int = DEPTH, mass: float = 0.0
) -> list[Fused]:
    """Make one list of what was found; a single list keeps its own scores.

    Of several, the first ``depth`` hits are weighed against each other; words count for less where
    no passage has most of those asked for, whose ``mass`` is that of the TermQuery.
    """
    if len(lists) > 1:
        weights = {DENSE: ranking.dense_weight, BM25: 1 - ranking.dense_weight}
        if ranking.method == "minmax" and lists[BM25]:
            weights[BM25] *= coverage(lists[BM25][0].score, mass)
        return fuse(lists, weights=weights, method=ranking.method, depth=depth)
    return [
        Fused(
            chunk_id=scored.chunk_id,
            run_id=scored.run_id,
            score=scored.score,
            parts={name: scored.score},
            ranks={name: rank},
        )
        for name, found in lists.items()
        for rank, scored in enumerate(found, start=1)
    ]


async def live_hits(
    engine: AsyncEngine,
    candidates: Sequence[Fused],
    question: Question,
    wanted: int,
    *,
    fold: bool = False,
    per_document: int | None = None,
) -> list[Found]:
    """Load the first ``wanted`` candidates that can be shown and are what was asked for.

    With ``fold``, passages that say nearly the same as a better one count as part of it. Of one
    document, the best ``per_document`` are kept. A store may hold vectors of chunks that are not
    live yet or any more.
    """
    found: list[Found] = []
    # Few more than wanted at first: most are live, and texts are what takes time to load.
    start, size = 0, wanted + 5
    if fold:
        # What later pages leave out has to be told below the hit of an earlier one.
        size = max(size, 2 * DEPTH)
    while start < len(candidates) and len(found) < wanted:
        some = candidates[start : start + size]
        async with reading(engine) as connection:
            live = await chunks.passages(connection, [each.chunk_id for each in some])
        shown = [_found(each, live[each.chunk_id]) for each in some if each.chunk_id in live]
        # Beside the loop: to look into a thousand texts takes seconds.
        if question.is_strict:
            shown = await asyncio.to_thread(_accepted, shown, question)
        found += shown
        if fold:
            found = await asyncio.to_thread(folded, found)
        if per_document is not None:
            found = _capped(found, per_document)
        start, size = start + size, 2 * size
    return found[:wanted]


def _capped(found: Sequence[Found], most: int) -> list[Found]:
    """Keep the best ``most`` passages of each document."""
    met: Counter[UUID] = Counter()
    kept = []
    for each in found:
        met[each.passage.document.id] += 1
        if met[each.passage.document.id] <= most:
            kept.append(each)
    return kept


def folded(found: Sequence[Found]) -> list[Found]:
    """Fold each hit into the best one before it that says nearly the same."""
    groups = near_duplicates([each.passage.text for each in found])
    similar: dict[int, list[UUID]] = {}
    for place, first in enumerate(groups):
        members = similar.setdefault(first, list(found[first].similar))
        if place != first:
            members += [found[place].passage.chunk_id, *found[place].similar]
    return [replace(found[first], similar=tuple(members)) for first, members in similar.items()]


def _accepted(found: Sequence[Found], question: Question) -> list[Found]:
    return [each for each in found if question.accepts(full_text(each.passage))]


def full_text(passage: Passage) -> str:
    """Give a passage below the title and headings that it stands under."""
    return "\n".join([passage.document.title, *passage.heading_path, passage.text])


def _found(fused: Fused, passage: Passage) -> Found:
    scores = dict(fused.parts)
    if len(fused.parts) > 1 or fused.score not in fused.parts.values():
        scores["fused"] = fused.score
    return Found(
        passage=passage,
        run_id=fused.run_id,
        score=fused.score,
        scores=scores,
        ranks=fused.ranks,
    )


async def reranked(reranker: Reranker, query: str, found: Sequence[Found]) -> list[Found]:
    """Put hits into the order of a reranker's scores; equal ones stay as they were.

    Raises:
        RerankerError: it does not answer, or answers nonsense.
    """
    if not found:
        return []
    scores = await reranker.rerank(query, [full_text(each.passage) for each in found])
    scored = [
        replace(each, score=float(score), scores={**each.scores, "rerank": float(score)})
        for each, score in zip(found, scores, strict=True)
    ]
    return sorted(scored, key=lambda each: -each.score)
