"""Whether what was found can hold an answer at all, from what search knows.

Every question has a nearest passage. What tells is how much nearer it is than passages are that
have nothing to do with the question: those of a sample of the index. Similarities of one model all
lie close together, others are spread, so the distance is counted in standard deviations of that
sample. Beside it stands the share of the question's words that the best passage has.

The two are weighed by a logistic regression on the golden sets, with questions of a set asked of
its own documents and of others'; ``python -m benchmarks answers`` measures what comes of it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.answering.types import Strength
from search_app.answering.wording import language_of
from search_app.bm25 import query_terms
from search_app.catalog import chunks, lexicons
from search_app.catalog.engine import reading
from search_app.catalog.serving import Serving
from search_app.fusion import coverage
from search_app.lexical import analyse
from search_app.ranking import BM25, DENSE
from search_app.stores.base import VectorStore
from search_app.types import Hit, Matrix, Vector

SAMPLE = 200
"""Passages that stand for those that have nothing to do with a question."""

LEAST_SAMPLE = 12
"""Of fewer, the spread says nothing."""

THRESHOLD = 0.5
"""What found passages must reach, unless the settings say."""

WEIGHTS = (-9.5, 0.7, 11.9)
"""Constant, weight of the distance and of the coverage in the log odds."""

USUAL_DISTANCE = 4.3
"""Stands for a distance that is not known: what answerable and other questions have alike."""

FAR, STEEPNESS = 5.0, 1.4
"""Where the distance alone decides: even odds, and how they rise with it."""

_KEPT_S = 600
_KEPT = 64


@dataclass(frozen=True, kw_only=True)
class _Kept:
    vectors: Matrix
    ids: Sequence[UUID]
    at: float


class Backgrounds:
    """Samples of the vectors of indexes, kept for some minutes."""

    def __init__(self, engine: AsyncEngine, store: Callable[[str], VectorStore]) -> None:
        """Take where indexes are; nothing is read yet."""
        self._engine = engine
        self._store = store
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()

    async def strength(
        self,
        question: str,
        hits: Sequence[Hit],
        serving: Serving,
        vector: Vector | None,
        threshold: float,
    ) -> Strength:
        """Say how well a question is met by its hits.

        Raises:
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        distance = None if vector is None else await self._distance(hits, serving, vector)
        covered = await self._coverage(question, hits, serving)
        return Strength(
            distance=distance,
            coverage=covered,
            value=value_of(distance, covered, crossed=_crossed(question, hits)),
            threshold=threshold,
        )

    async def sample(self, serving: Serving) -> tuple[Sequence[UUID], Matrix]:
        """Give vectors (n, d) of passages of an index, and their ids.

        Ids are hashes of what passages say and where they come from, so the first of them are
        drawn as if at random.
        """
        index = serving.index
        kept = self._kept.get(index.id)
        if kept is None or time.monotonic() - kept.at > _KEPT_S:
            async with reading(self._engine) as connection:
                found = await chunks.recorded_after(connection, index.id, None, limit=SAMPLE)
            ids = [each.chunk_id for each in found]
            points = await self._store(index.store).fetch(index.id, ids) if ids else []
            pairs = [(point.chunk_id, point.vector) for point in points]
            known = [(chunk_id, vector) for chunk_id, vector in pairs if vector is not None]
            size = serving.version.identity.dimensions
            kept = _Kept(
                ids=[chunk_id for chunk_id, _ in known],
                vectors=np.stack([vector for _, vector in known])
                if known
                else np.empty((0, size), np.float32),
                at=time.monotonic(),
            )
            self._kept[index.id] = kept
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept.ids, kept.vectors

    async def _distance(
        self, hits: Sequence[Hit], serving: Serving, vector: Vector
    ) -> float | None:
        best = max((hit.scores[DENSE] for hit in hits if DENSE in hit.scores), default=None)
        if best is None:
            return None
        ids, vectors = await self.sample(serving)
        # What was found is no sample of what has nothing to do with the question.
        found = {hit.chunk_id for hit in hits}
        others = np.array([chunk_id not in found for chunk_id in ids], np.bool_)
        if others.sum() < LEAST_SAMPLE:
            return None
        scores = vectors[others].astype(np.float64) @ vector
        spread = float(scores.std())
        return (best - float(scores.mean())) / spread if spread > 0 else None

    async def _coverage(self, question: str, hits: Sequence[Hit], serving: Serving) -> float | None:
        lexicon = serving.lexicon
        if lexicon is None or not lexicon.complete:
            return None
        counts = analyse(question, lexicon.weighting.analyzer).counts
        if not counts:
            return None
        async with reading(self._engine) as connection:
            known = await lexicons.frequencies(connection, serving.index.id, counts)
        mass = query_terms(counts, known, lexicon.passages).mass
        best = max((hit.scores[BM25] for hit in hits if BM25 in hit.scores), default=0.0)
        return coverage(best, mass)


def value_of(distance: float | None, covered: float | None, *, crossed: bool = False) -> float:
    """Weigh both into a number from 0 to 1.

    Between languages few words are shared, so that the distance alone may do; so it does where the
    question has no words that could be counted. With neither there is nothing to hold against an
    answer.
    """
    by_distance = 0.0 if distance is None else _likely(STEEPNESS * (distance - FAR))
    if covered is None:
        return 1.0 if distance is None else by_distance
    constant, of_distance, of_coverage = WEIGHTS
    known = USUAL_DISTANCE if distance is None else distance
    both = _likely(constant + of_distance * known + of_coverage * covered)
    return max(both, by_distance) if crossed else both


def _likely(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))


def _crossed(question: str, hits: Sequence[Hit]) -> bool:
    """Say whether the nearest passage is in another language than the question."""
    nearest = max(hits, key=lambda hit: hit.scores.get(DENSE, -1.0), default=None)
    return nearest is not None and language_of(nearest.text) != language_of(question)
