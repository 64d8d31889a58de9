"""From a question to the passages that an answer may use, and how well they meet it."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.answering import conversation as conversations
from search_app.answering.generators.base import Generator
from search_app.answering.passages import BUDGET, DEPTH, chosen
from search_app.answering.strength import THRESHOLD, Backgrounds
from search_app.answering.types import (
    AnswerNotice,
    PassageGiven,
    Question,
    Strength,
)
from search_app.catalog.engine import reading
from search_app.catalog.serving import Serving, serving
from search_app.catalog.spans import spans
from search_app.errors import GeneratorError, InvalidInputError
from search_app.question import read_question
from search_app.retrieval import LONGEST_QUERY, Searcher, SearchRequest
from search_app.types import SearchResult, Vector

MOST_PASSAGES = 20
MOST_TURNS = 50
LONGEST_ANSWER_GIVEN = 20_000
"""Characters of an earlier answer that a conversation may hold."""

REWRITE_S = 10.0
"""Seconds that a model has to make a query of a conversation."""

EXTRACTIVE = "extractive"

_COUNTED = 10_000

_UNSAYABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What holds unless a question says otherwise; with ``keep`` answers are kept."""

    generator: str = EXTRACTIVE
    budget: int = BUDGET
    threshold: float = THRESHOLD
    keep: bool = True


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was retrieved for a question, and everything that came before the answer."""

    id: UUID
    question: Question
    query: str
    rewriter: str
    generator: Generator
    result: SearchResult
    serving: Serving
    vector: Vector | None
    passages: Sequence[PassageGiven]
    budget: int
    strength: Strength
    began: float
    times: dict[str, float]
    notices: list[AnswerNotice]


class Retriever:
    """Finds passages for questions."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        searcher: Searcher,
        backgrounds: Backgrounds,
        count_tokens: Callable[[str], int],
        defaults: Defaults,
    ) -> None:
        """Take what searches, and what counts tokens."""
        self._engine = engine
        self._searcher = searcher
        self._backgrounds = backgrounds
        # Passages come again, and counting takes longer than all else that is done with them.
        self._count_tokens = lru_cache(maxsize=_COUNTED)(count_tokens)
        self._defaults = defaults

    async def passages(
        self, question: Question, *, embed: bool = True
    ) -> tuple[SearchResult, Sequence[PassageGiven]] | None:
        """Retrieve the passages that an answer would be given.

        Without ``embed``, None where the question's vector is not kept already.

        Raises: as ``Answerer.ask``.
        """
        query = checked(question)
        if not embed:
            async with reading(self._engine) as connection:
                target = await self._serving(connection, question, query)
            if target.vector is None or not target.proven:
                return None
        result = await self._search(question, query)
        _, given = await self._given(question, query, result)
        return result, given

    async def retrieve(
        self, question: Question, choose: Callable[[list[AnswerNotice]], Generator]
    ) -> Found:
        """Find the passages for a question; ``choose`` gives the generator, and may take note.

        Raises: as ``Answerer.ask``.
        """
        began = time.perf_counter()
        checked(question)
        notices: list[AnswerNotice] = []
        generator = choose(notices)
        query, rewriter = await self._query(question, generator, notices)
        rewritten = time.perf_counter()
        result = await self._search(question, query)
        target, given = await self._given(question, query, result)
        by_meaning = result.mode != "keyword" and not any(
            notice.kind == "not_semantic" for notice in result.notices
        )
        vector = target.vector if by_meaning else None
        strength = await self._backgrounds.strength(
            query, result.hits, target, vector, self._defaults.threshold
        )
        times = {
            "rewriting": round((rewritten - began) * 1000, 3),
            "retrieval": milliseconds(rewritten),
        }
        return Found(
            id=uuid4(),
            question=question,
            query=query,
            rewriter=rewriter,
            generator=generator,
            result=result,
            serving=target,
            vector=vector,
            passages=given,
            budget=self._budget(question),
            strength=strength,
            began=began,
            times=times,
            notices=notices,
        )

    async def _query(
        self, question: Question, generator: Generator, notices: list[AnswerNotice]
    ) -> tuple[str, str]:
        """Give what is searched for, and who made it of the question."""
        text = question.text.strip()
        if not question.conversation:
            return text, "question"
        try:
            async with asyncio.timeout(REWRITE_S):
                made = await generator.rewrite(text, question.conversation)
        except (GeneratorError, TimeoutError) as exc:
            made = None
            reason = str(exc) or f"the model made no query within {REWRITE_S:g} s"
            notices.append(AnswerNotice(kind="not_rewritten", reason=reason))
        if made is not None:
            return made[:LONGEST_QUERY], generator.spec
        async with reading(self._engine) as connection:
            target = await serving(connection, question.collection, b"", index=question.index)
        query = await conversations.joined_query(self._engine, target, text, question.conversation)
        return query[:LONGEST_QUERY], "words"

    async def _search(self, question: Question, query: str) -> SearchResult:
        return await self._searcher.search(
            SearchRequest(
                query=query,
                collection=question.collection,
                index=question.index,
                k=DEPTH,
                filters=question.filters,
                mode=question.mode,
                client="ask" if question.client == "api" else question.client,
                logged=question.logged,
            )
        )

    async def _given(
        self, question: Question, query: str, result: SearchResult
    ) -> tuple[Serving, Sequence[PassageGiven]]:
        async with reading(self._engine) as connection:
            target = await self._serving(connection, question, query)
            if target.index.id != result.index_id:
                # Another index was activated meanwhile; what was found is of the one before.
                asked = replace(question, index=str(result.index_id))
                target = await self._serving(connection, asked, query)
            places = await spans(connection, [hit.chunk_id for hit in result.hits])
        given = chosen(
            result.hits,
            places,
            most=question.passages,
            budget=self._budget(question),
            count_tokens=self._count_tokens,
        )
        return target, given

    def _budget(self, question: Question) -> int:
        return self._defaults.budget if question.budget is None else question.budget

    async def _serving(
        self, connection: AsyncConnection, question: Question, query: str
    ) -> Serving:
        key = sha256(read_question(query).text.encode()).digest()
        return await serving(connection, question.collection, key, index=question.index)


def checked(question: Question) -> str:
    """Give the text of a question, see that it can be meant.

    Raises:
        InvalidInputError: it cannot.
    """
    text = question.text.strip()
    if not text:
        raise InvalidInputError("the question is empty; write what you want to know")
    if len(text) > LONGEST_QUERY:
        raise InvalidInputError(
            f"the question has {len(text):,} characters; at most {LONGEST_QUERY:,} work"
        )
    if not 1 <= question.passages <= MOST_PASSAGES:
        raise InvalidInputError(
            f"{question.passages} passages; write a number from 1 to {MOST_PASSAGES}"
        )
    if question.budget is not None and question.budget < 1:
        raise InvalidInputError(f"a budget of {question.budget} tokens; write 1 or more")
    if len(question.conversation) > MOST_TURNS:
        raise InvalidInputError(f"the conversation has more than {MOST_TURNS} turns; begin anew")
    for turn in question.conversation:
        if not turn.question.strip() or len(turn.question) > LONGEST_QUERY:
            raise InvalidInputError(
                f"a question of the conversation is empty or has more than {LONGEST_QUERY:,} "
                "characters"
            )
        if _UNSAYABLE.search(turn.question + turn.answer):
            raise InvalidInputError(
                "the conversation has a NUL or half of a surrogate pair; remove it"
            )
        if len(turn.answer) > LONGEST_ANSWER_GIVEN:
            raise InvalidInputError(
                f"an answer of the conversation has more than {LONGEST_ANSWER_GIVEN:,} characters"
            )
    return text


def milliseconds(began: float) -> float:
    """Give the milliseconds since a moment of ``time.perf_counter``."""
    return round((time.perf_counter() - began) * 1000, 3)
