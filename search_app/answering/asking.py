"""A question from search to answer: passages first, then sentences as they are written.

Whatever becomes of the model, the passages stand: where it fails before the first sentence, the
passages' own sentences take its place, and the answer says so.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.answering import wording
from search_app.answering.generators.base import Generator, Task
from search_app.answering.generators.extractive import Extractive
from search_app.answering.grounding import joined
from search_app.answering.keeping import to_kept
from search_app.answering.prompt import PROMPT_VERSION
from search_app.answering.retrieving import (
    EXTRACTIVE,
    Defaults,
    Found,
    Retriever,
    milliseconds,
)
from search_app.answering.strength import Backgrounds
from search_app.answering.support import supported
from search_app.answering.types import (
    Answer,
    AnswerNotice,
    Done,
    Event,
    Failed,
    Question,
    Retrieved,
    Usage,
    Written,
)
from search_app.answering.vectors import SentenceVectors
from search_app.answering.writing import Draft, noted, write
from search_app.catalog import answers
from search_app.catalog.engine import transaction
from search_app.embedders.base import Embedder
from search_app.errors import ConfigurationError, EmbedderError, GeneratorError, UnmovedError
from search_app.lexical import term_id, tokens
from search_app.retrieval import Searcher
from search_app.stages import as_stage, took
from search_app.stores.base import VectorStore

log = structlog.get_logger()


class Tally:
    """What this process answered: by generator and outcome, and the tokens of models."""

    def __init__(self) -> None:
        """Begin at nothing, as a process does."""
        self.answers: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()

    def take(self, answer: Answer) -> None:
        """Count an answer."""
        self.answers[answer.generator, answer.outcome] += 1
        usage = {"prompt": answer.usage.prompt, "completion": answer.usage.completion}
        for kind, number in usage.items():
            if number is not None:
                self.tokens[answer.generator, kind] += number


class Answerer:
    """Answers questions from the active index of one collection at a time."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        store: Callable[[str], VectorStore],
        embedder: Callable[[str], Embedder],
        searcher: Searcher,
        generator: Callable[[str], Generator],
        count_tokens: Callable[[str], int],
        defaults: Defaults,
    ) -> None:
        """Take what resolves the names of stores, embedders and generators."""
        self._engine = engine
        self._embedder = embedder
        self._generator = generator
        self._defaults = defaults
        self._backgrounds = Backgrounds(engine, store, embedder)
        self.retriever = Retriever(
            engine=engine,
            searcher=searcher,
            backgrounds=self._backgrounds,
            count_tokens=count_tokens,
            defaults=defaults,
        )
        self._vectors = SentenceVectors()
        self._extractive = Extractive()
        self.tally = Tally()
        self._keeping: set[asyncio.Task[bool]] = set()

    async def ask(self, question: Question) -> AsyncGenerator[Event]:
        """Answer a question, event by event: what was retrieved, each sentence, the whole.

        Closing the iterator, or cancelling whoever reads it, stops the model; what was written by
        then is kept as stopped.

        Raises:
            InvalidInputError: the question cannot be meant; says what to write instead.
            NotFoundError: no such collection or index, or nothing was ever ingested into it.
            ConfigurationError: the question names a generator that there is not.
            EmbedderError: as a search does.
            StoreError: the store does not answer.
            CatalogError: the catalog does not answer.
        """
        retrieving = self.retriever.retrieve(
            question, lambda notices: self._chosen(question, notices)
        )
        found = await as_stage("retrieve", retrieving)
        yield Retrieved(
            answer_id=found.id,
            query=found.query,
            rewriter=found.rewriter,
            collection=found.result.collection,
            index_id=found.result.index_id,
            model=found.result.model,
            mode=found.result.mode,
            passages=found.passages,
            strength=found.strength,
            generator=found.generator.spec,
            notices=found.result.notices,
        )
        draft = Draft(generator=found.generator)
        keep = self._defaults.keep and question.logged
        began = time.perf_counter()
        try:
            async for event in self._written(found, draft):
                if isinstance(event, Written):
                    found.times.setdefault("first", milliseconds(began))
                yield event
            found.times["writing"] = milliseconds(began)
            took("write", found.times["writing"] / 1000)
            await as_stage("support", self._support(found, draft))
        except (asyncio.CancelledError, GeneratorExit):
            draft.outcome = "stopped"
            # Not awaited: whoever is cancelled may wait for nothing any more.
            if keep:
                self._keep(self._answer(found, draft))
            raise
        answer = self._answer(found, draft)
        self.tally.take(answer)
        stored = keep and await asyncio.shield(self._keep(answer))
        yield Done(answer=replace(answer, stored=stored))

    async def answer(self, question: Question) -> Answer:
        """Answer a question, all at once.

        Raises: as ``ask``.
        """
        async with aclosing(self.ask(question)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.answer
        raise AssertionError("the last event is the answer")

    async def aclose(self) -> None:
        """Wait until what was stopped is kept."""
        await self._backgrounds.aclose()
        await asyncio.gather(*self._keeping, return_exceptions=True)

    def _chosen(self, question: Question, notices: list[AnswerNotice]) -> Generator:
        spec = question.generator or self._defaults.generator
        if spec == EXTRACTIVE:
            return self._extractive
        try:
            return self._generator(spec)
        except ConfigurationError as exc:
            if question.generator is not None:
                raise
            notices.append(AnswerNotice(kind="generator_failed", reason=str(exc)))
            return self._extractive

    async def _written(self, found: Found, draft: Draft) -> AsyncIterator[Event]:
        language = wording.language_of(found.question.text)
        if not found.passages:
            draft.outcome = "no_passages"
            yield noted(draft, wording.NO_PASSAGES[language])
            return
        if not found.strength.enough:
            draft.outcome = "not_found"
            yield noted(draft, wording.NOT_FOUND[language])
            return
        task = await self._task(found)
        try:
            async for written in write(found.generator, task, draft):
                yield written
        except GeneratorError as exc:
            log.warning("the generator failed", generator=found.generator.spec, reason=str(exc))
            draft.reason = str(exc)
            found.notices.append(AnswerNotice(kind="generator_failed", reason=str(exc)))
            if draft.sentences:
                draft.outcome = "broken_off"
                yield Failed(reason=str(exc), instead=None)
                yield noted(draft, wording.BROKE_OFF[language])
                return
            yield Failed(reason=str(exc), instead=EXTRACTIVE)
            draft.generator = self._extractive
            yield noted(draft, wording.FELL_BACK[language])
            async for written in write(self._extractive, task, draft):
                yield written
        if draft.outcome == "cut":
            yield noted(draft, wording.CUT[language])
        if draft.outcome == "not_found" or not draft.sentences:
            draft.outcome = "not_found"
            yield noted(draft, wording.NOT_FOUND[language])

    async def _task(self, found: Found) -> Task:
        async def similar(texts: Sequence[str]) -> NDArray[np.float64] | None:
            if found.vector is None:
                return None
            embedder = self._embedder(found.serving.version.spec)
            try:
                rows = await self._vectors.of(embedder, texts, "document")
            except EmbedderError as exc:
                reason = f"sentences were compared by their words alone: {exc}"
                found.notices.append(AnswerNotice(kind="not_semantic", reason=reason))
                return None
            return rows.astype(np.float64) @ found.vector

        return Task(
            question=found.question.text.strip(),
            query=found.query,
            passages=found.passages,
            conversation=found.question.conversation,
            similar=similar,
            rarity=await self._rarity(found),
        )

    async def _rarity(self, found: Found) -> dict[str, float]:
        """Say how much each term of the query tells: its IDF among the passages of the index."""
        lexicon = found.serving.lexicon
        if lexicon is None:
            return {}
        terms = {token.term: term_id(token.term) for token in tokens(found.query)}
        known = await self._backgrounds.frequencies(found.serving, terms.values())
        total = max(lexicon.passages, 1)
        return {
            term: float(np.log1p((total + 0.5) / (known.get(number, 0) + 0.5)))
            for term, number in terms.items()
        }

    async def _support(self, found: Found, draft: Draft) -> None:
        """Measure how near sentences are to what they cite; where that fails, say so."""
        if not any(sentence.state == "cited" for sentence in draft.sentences):
            return
        began = time.perf_counter()
        try:
            embedder = self._embedder(found.serving.version.spec)
            background = await self._backgrounds.sample(found.serving)
            draft.sentences = await supported(
                draft.sentences, found.passages, embedder, self._vectors, background
            )
        except UnmovedError as exc:
            found.notices.append(AnswerNotice(kind="support_unknown", reason=str(exc)))
        found.times["support"] = milliseconds(began)

    def _answer(self, found: Found, draft: Draft) -> Answer:
        result = found.result
        notices = [
            *(AnswerNotice(kind=each.kind, reason=each.reason) for each in result.notices),
            *found.notices,
        ]
        if draft.removed_citations:
            reason = f"{draft.removed_citations} citations of passages that were not given"
            notices.append(AnswerNotice(kind="citations_removed", reason=reason))
        if draft.removed_links:
            reason = f"{draft.removed_links} links, images or addresses"
            notices.append(AnswerNotice(kind="links_removed", reason=reason))
        return Answer(
            id=found.id,
            question=found.question.text.strip(),
            query=found.query,
            rewriter=found.rewriter,
            conversation=tuple(found.question.conversation),
            collection=result.collection,
            collection_id=found.serving.collection.id,
            most_passages=found.question.passages,
            budget=found.budget,
            filters=tuple(found.question.filters),
            mode=result.mode,
            index_id=result.index_id,
            model_version_id=result.model_version_id,
            model=result.model,
            search_id=result.search_id,
            passages=tuple(found.passages),
            sentences=tuple(draft.sentences),
            text=joined(draft.sentences),
            outcome=draft.outcome,
            reason=draft.reason,
            strength=found.strength,
            generator=draft.generator.spec,
            generator_model=draft.generator.model,
            prompt_version=PROMPT_VERSION,
            removed_citations=draft.removed_citations,
            removed_links=draft.removed_links,
            usage=Usage(
                passages=sum(passage.tokens for passage in found.passages),
                prompt=draft.spent.prompt,
                completion=draft.spent.completion,
            ),
            times={**found.times, "total": milliseconds(found.began)},
            notices=tuple(notices),
            client=found.question.client,
            created_at=datetime.now(UTC),
            stored=False,
        )

    def _keep(self, answer: Answer) -> "asyncio.Task[bool]":
        task = asyncio.create_task(self._kept(answer))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return task

    async def _kept(self, answer: Answer) -> bool:
        """Keep an answer; where that fails, the answer itself is not lost."""
        try:
            async with transaction(self._engine) as connection:
                await answers.keep(connection, to_kept(answer))
        except UnmovedError as exc:
            log.warning("an answer could not be kept", reason=str(exc))
            return False
        return True
