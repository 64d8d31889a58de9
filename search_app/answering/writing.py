"""An answer while it is written: pieces of a generator become sentences, or it is stopped."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from search_app.answering.generators.base import Generator, Piece, Spent, Task
from search_app.answering.grounding import LONGEST_ANSWER, Grounded, Grounder
from search_app.answering.prompt import NOTHING
from search_app.answering.types import Outcome, Sentence, Written
from search_app.errors import GeneratorResponseError


@dataclass(kw_only=True)
class Draft:
    """What has been written so far."""

    generator: Generator
    sentences: list[Sentence] = field(default_factory=list)
    outcome: Outcome = "answered"
    reason: str | None = None
    removed_citations: int = 0
    removed_links: int = 0
    spent: Spent = field(default_factory=Spent)


async def write(generator: Generator, task: Task, draft: Draft) -> AsyncIterator[Written]:
    """Write with one generator; stops it at the limit, and where it finds nothing.

    Raises:
        GeneratorError: it failed, or nothing that it wrote is a sentence.
    """
    grounder = Grounder(task.passages)
    before = len(draft.sentences)
    taken = 0
    async with aclosing(_closable(generator.write(task))) as pieces:
        async for piece in pieces:
            taken += len(piece) if isinstance(piece, str) else 0
            for written in _of_piece(piece, grounder, draft):
                yield written
            if taken > LONGEST_ANSWER:
                draft.outcome = "cut"
            if draft.outcome != "answered":
                break
    for grounded in grounder.end():
        for written in _grounded(draft, grounded):
            yield written
    if len(draft.sentences) == before and draft.outcome != "not_found" and generator.model:
        raise GeneratorResponseError(f"{generator.spec}: what it wrote is no sentence")


def noted(draft: Draft, text: str) -> Written:
    """Add a sentence of our own."""
    return _taken(draft, _led(draft, Sentence(text=text, citations=(), state="note")))


def _of_piece(piece: Piece, grounder: Grounder, draft: Draft) -> list[Written]:
    match piece:
        case Sentence():
            return [_taken(draft, _led(draft, piece))]
        case Spent():
            draft.spent = piece
            draft.outcome = "cut" if piece.cut else draft.outcome
            return []
        case str():
            # One piece may be as long as it likes.
            whole = grounder.add(piece[: LONGEST_ANSWER + 1])
            return [written for grounded in whole for written in _grounded(draft, grounded)]


def _grounded(draft: Draft, grounded: Grounded) -> list[Written]:
    draft.removed_citations += grounded.removed_citations
    draft.removed_links += grounded.removed_links
    if NOTHING in grounded.sentence.text:
        if not any(sentence.state != "note" for sentence in draft.sentences):
            draft.outcome = "not_found"
        return []
    return [] if draft.outcome == "not_found" else [_taken(draft, grounded.sentence)]


def _led(draft: Draft, sentence: Sentence) -> Sentence:
    """Set a sentence that did not come with a text of its own apart from the one before."""
    return replace(sentence, lead="\n") if draft.sentences else sentence


def _taken(draft: Draft, sentence: Sentence) -> Written:
    draft.sentences.append(sentence)
    return Written(place=len(draft.sentences) - 1, sentence=sentence)


async def _closable(pieces: AsyncIterator[Piece]) -> AsyncGenerator[Piece]:
    """Pass pieces on, and close where they come from together with this iterator."""
    try:
        async for piece in pieces:
            yield piece
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
