"""Whether what was found can hold an answer at all, from what search knows.

Two things tell. The distance: every question has a nearest passage, so it counts how much nearer
this one is than the nearest ones of questions that have nothing to do with the index (see
``unrelated``): above their median, in their standard deviations. It needs no labels, and has the
same meaning for every model, language and size of a collection. And the coverage: the share of the
question's words, rare ones counting more, that the passage ranked first has. Where question and
nearest passage are in different languages, words say nothing, and the distance decides alone.

The weights are those of logistic regressions on the golden sets, rounded;
``python -m benchmarks.answers`` fits them anew, each set by the others, and counts the errors.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.answering.types import Strength
from search_app.answering.unrelated import UNRELATED
from search_app.answering.wording import Language, language_of
from search_app.bm25 import query_terms
from search_app.catalog import chunks, lexicons, query_cache
from search_app.catalog.engine import reading
from search_app.catalog.serving import Serving
from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all, normalise
from search_app.errors import EmbedderError, UnmovedError
from search_app.lexical import analyse
from search_app.ranking import DENSE
from search_app.stores.base import VectorStore
from search_app.types import Hit, Matrix, Vector

log = structlog.get_logger()

SAMPLE = 200
"""Passages that stand for those that have nothing to do with each other."""

THRESHOLD = 0.5
"""What found passages must reach, unless the settings say."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Log odds: constant, weight of the distance and, where words say something, of the coverage.

    ``by_distance`` is for questions in another language than the nearest passage.
    """

    both: tuple[float, float, float]
    by_distance: tuple[float, float]


RULE = Rule(both=(-5.0, 1.4, 5.0), by_distance=(-3.5, 1.5))
"""Fitted on all golden sets, and rounded."""

USUAL_DISTANCE = 2.2
"""Stands for a distance that is not known: what answerable and other questions have alike."""

AT_ONCE = 4
"""Unrelated questions that are searched for at once."""

_KEPT_S = 600
_KEPT = 64
_COUNTED_S = 5


@dataclass(frozen=True, kw_only=True)
class _Kept:
    vectors: Matrix
    at: float


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What unrelated questions find best in an index: median and standard deviation of cosines."""

    median: float
    spread: float
    at: float


class Backgrounds:
    """What is usual for indexes: samples of their vectors, and what unrelated questions find.

    Both are kept for some minutes, and measured anew while the old is still used.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        store: Callable[[str], VectorStore],
        embedder: Callable[[str], Embedder],
    ) -> None:
        """Take where indexes are; nothing is read yet."""
        self._engine = engine
        self._store = store
        self._embedder = embedder
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()
        self._frequencies: OrderedDict[
            tuple[UUID, frozenset[int]], tuple[Mapping[int, int], float]
        ] = OrderedDict()
        self._usual: OrderedDict[tuple[UUID, Language], Usual] = OrderedDict()
        self._measuring: dict[tuple[UUID, Language], asyncio.Task[Usual]] = {}

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
        language = language_of(question)
        distance = None if vector is None else await self._distance(hits, serving, language)
        covered = await self._coverage(question, hits, serving)
        return Strength(
            distance=distance,
            coverage=covered,
            value=value_of(distance, covered, is_crossed=crossed(language, hits)),
            threshold=threshold,
        )

    async def frequencies(self, serving: Serving, terms: Iterable[int]) -> Mapping[int, int]:
        """Say in how many passages terms are; known for some seconds, for what else needs it.

        Raises:
            CatalogError: the catalog does not answer.
        """
        key = (serving.index.id, frozenset(terms))
        known, until = self._frequencies.get(key, ({}, 0.0))
        if time.monotonic() >= until:
            async with reading(self._engine) as connection:
                known = await lexicons.frequencies(connection, serving.index.id, key[1])
            self._frequencies[key] = known, time.monotonic() + _COUNTED_S
            while len(self._frequencies) > _KEPT:
                self._frequencies.popitem(last=False)
        return known

    async def sample(self, serving: Serving) -> Matrix:
        """Give vectors (n, d) of passages of an index.

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
            known = [point.vector for point in points if point.vector is not None]
            size = serving.version.identity.dimensions
            kept = _Kept(
                vectors=np.stack(known) if known else np.empty((0, size), np.float32),
                at=time.monotonic(),
            )
            self._kept[index.id] = kept
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept.vectors

    async def usual(self, serving: Serving, language: Language) -> Usual:
        """Say what unrelated questions of a language find best in an index.

        Raises:
            EmbedderError: they could not be embedded.
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        key = (serving.index.id, language)
        kept = self._usual.get(key)
        if kept is None or time.monotonic() - kept.at > _KEPT_S:
            task = self._measuring.get(key)
            if task is None:
                task = asyncio.create_task(self._measured(serving, language))
                self._measuring[key] = task
                task.add_done_callback(lambda done: self._ended(key, done))
            if kept is None:
                # Others may wait for the same; who hangs up does not end it for them.
                kept = await asyncio.shield(task)
        return kept

    async def aclose(self) -> None:
        """End what is being measured."""
        for task in list(self._measuring.values()):
            task.cancel()
        await asyncio.gather(*self._measuring.values(), return_exceptions=True)

    def _ended(self, key: tuple[UUID, Language], task: "asyncio.Task[Usual]") -> None:
        self._measuring.pop(key, None)
        if task.cancelled():
            return
        problem = task.exception()
        if problem is None:
            self._usual[key] = task.result()
            while len(self._usual) > _KEPT:
                self._usual.popitem(last=False)
        elif isinstance(problem, UnmovedError):
            log.warning("what is usual for an index is not known", reason=str(problem))

    async def _measured(self, serving: Serving, language: Language) -> Usual:
        index, gate = serving.index, asyncio.Semaphore(AT_ONCE)
        store = self._store(index.store)

        async def best(vector: Vector) -> float | None:
            async with gate:
                found = await store.search(index.id, vector, k=1)
            return found[0].score if found else None

        vectors = await self._vectors(serving, UNRELATED[language])
        scores = [score for score in await asyncio.gather(*map(best, vectors)) if score is not None]
        known = np.array(scores or [0.0], np.float64)
        return Usual(median=float(np.median(known)), spread=float(known.std()), at=time.monotonic())

    async def _vectors(self, serving: Serving, texts: Sequence[str]) -> list[Vector]:
        """Give the unit vectors of questions; they are kept among those of queries."""
        version = serving.version
        keys = [sha256(text.encode()).digest() for text in texts]
        async with reading(self._engine) as connection:
            known = await query_cache.find(connection, version.id, keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            embedder = self._embedder(version.spec)
            received = await embed_all(embedder, list(missing.values()), "query")
            units, _ = normalise(received.vectors)
            async with reading(self._engine) as connection:
                for key, unit in zip(missing, units, strict=True):
                    known[key] = await query_cache.keep(connection, version.id, key, unit)
        return [known[key] for key in keys]

    async def _distance(
        self, hits: Sequence[Hit], serving: Serving, language: Language
    ) -> float | None:
        best = max((hit.scores[DENSE] for hit in hits if DENSE in hit.scores), default=None)
        if best is None:
            return None
        try:
            usual = await self.usual(serving, language)
        except EmbedderError as exc:
            log.warning("how near is usual is not known", reason=str(exc))
            return None
        return (best - usual.median) / usual.spread if usual.spread > 0 else None

    async def _coverage(self, question: str, hits: Sequence[Hit], serving: Serving) -> float | None:
        lexicon = serving.lexicon
        if lexicon is None or not lexicon.complete or not hits:
            return None
        analyzer = lexicon.weighting.analyzer
        wanted = dict.fromkeys(analyse(question, analyzer).counts, 1)
        if not wanted:
            return None
        known = await self.frequencies(serving, wanted)
        first = hits[0]
        text = "\n".join((first.document.title, *first.heading_path, first.text))
        held = set(analyse(text, analyzer).counts)
        whole = query_terms(wanted, known, lexicon.passages)
        share = sum(
            float(weight)
            for term, weight in zip(whole.ids.tolist(), whole.weights, strict=True)
            if term in held
        )
        return min(share / whole.mass, 1.0) if whole.mass > 0 else 1.0


def value_of(
    distance: float | None, covered: float | None, *, is_crossed: bool = False, rule: Rule = RULE
) -> float:
    """Weigh both into a number from 0 to 1.

    With neither there is nothing to hold against an answer.
    """
    if distance is None and covered is None:
        return 1.0
    if distance is not None and (covered is None or is_crossed):
        constant, of_distance = rule.by_distance
        return _likely(constant + of_distance * distance)
    constant, of_distance, of_coverage = rule.both
    known = USUAL_DISTANCE if distance is None else distance
    return _likely(constant + of_distance * known + of_coverage * (covered or 0.0))


def crossed(language: Language, hits: Sequence[Hit]) -> bool:
    """Say whether the nearest passage is in another language than the question."""
    nearest = max(hits, key=lambda hit: hit.scores.get(DENSE, -1.0), default=None)
    return nearest is not None and language_of(nearest.text) != language


def _likely(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))
