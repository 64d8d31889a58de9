"""An answer without a model: the sentences of the passages that are nearest to the question.

They are quoted word for word, so nothing is said that no document says; only line breaks within
them go, the passage has them. Code is quoted where there is nothing else. Sentences are ranked by
their words and by the embedder of the index, half each; only those that words and the place of
their passage make likely are embedded, since each costs some milliseconds.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from search_app.answering.generators.base import Generator, Piece, Task
from search_app.answering.types import PassageGiven, Sentence
from search_app.lexical import SPACELESS, tokens
from search_app.sentences import sentence_spans

QUOTED = 4
"""Most sentences of an answer."""

LOOKED_AT = 6
"""Passages whose sentences are looked at."""

EMBEDDED = 10
"""Sentences that are embedded."""

SHORTEST, LONGEST = 8, 600
"""Characters of a sentence that is quoted; a longer one is cut at a word."""

BELOW_BEST = 0.2
"""How far below the best sentence the last one may lie, of scores from 0 to 1."""

WORDS, MEANING, PLACE = 0.45, 0.45, 0.1

_FENCED = re.compile(r"(?ms)^[ \t]*(```+|~~~+).*?(?:^[ \t]*\1|\Z)")
_LINE_ENDS = "\n\r\v\f\x1c-\x1e\x85\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"
_SPACE_WITH_BREAK = rf"[^\S{_LINE_ENDS}]*[{_LINE_ENDS}]\s*"
_BREAK = re.compile(_SPACE_WITH_BREAK)
_BREAK_WITHIN = re.compile(rf"(?<=[{SPACELESS}、。，．]){_SPACE_WITH_BREAK}(?=[{SPACELESS}「『（])")

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A sentence of a passage given, where it stands in its text, and whether that is code."""

    passage: PassageGiven
    start: int
    end: int
    is_code: bool = False

    @property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]


class Extractive(Generator):
    """Quotes the best sentences of the best passages; needs no model."""

    spec = "extractive"

    async def write(self, task: Task) -> AsyncIterator[Piece]:
        """Give the quotations, those of better passages first."""
        candidates = [
            each for passage in task.passages[:LOOKED_AT] for each in _candidates(passage)
        ]
        candidates = [each for each in candidates if not each.is_code] or candidates
        if not candidates:
            return
        by_words = _by_words(task, candidates)
        by_place = np.array([1 / each.passage.number for each in candidates])
        # Stable, so that of equals the one that stands first is taken.
        likely = np.argsort(-(by_words + 0.5 * by_place), kind="stable")[:EMBEDDED]
        candidates = [candidates[place] for place in likely]
        by_words, by_place = by_words[likely], by_place[likely]
        by_meaning = await task.similar([each.text for each in candidates])
        scores = WORDS * by_words + PLACE * by_place
        if by_meaning is not None:
            scores = scores + MEANING * _scaled(by_meaning.astype(np.float64))
        for candidate in _best(candidates, scores):
            yield Sentence(
                text=prose(candidate.text),
                citations=(candidate.passage.number,),
                state="quoted",
                support=1.0,
                quote_start=candidate.start,
                quote_end=candidate.end,
            )


def prose(text: str) -> str:
    """Write a sentence on one line; scripts without spaces get none where a line ended."""
    return _BREAK.sub(" ", _BREAK_WITHIN.sub("", text))


def _candidates(passage: PassageGiven) -> list[_Candidate]:
    found = []
    fences = [match.span() for match in _FENCED.finditer(passage.text)]
    for start, end in sentence_spans(passage.text):
        text = passage.text[start:end]
        low = start + len(text) - len(text.lstrip())
        high = start + len(text.rstrip())
        if high - low > LONGEST:
            space = passage.text.rfind(" ", low + LONGEST // 2, low + LONGEST)
            high = space if space > 0 else low + LONGEST
        is_heading = passage.text.startswith("#", low)
        if high - low >= SHORTEST and not is_heading:
            is_code = any(low < end and begin < high for begin, end in fences)
            found.append(_Candidate(passage=passage, start=low, end=high, is_code=is_code))
    return found


def _by_words(task: Task, candidates: Sequence[_Candidate]) -> Scores:
    """Give the share of the question's words, rare ones counting more, that each sentence has."""
    wanted = {token.term for token in tokens(task.query)}
    weights: Mapping[str, float] = {term: task.rarity.get(term, 1.0) for term in wanted}
    total = sum(weights.values())
    if not total:
        return np.zeros(len(candidates))
    return np.array([_held(weights, each.text) / total for each in candidates])


def _held(weights: Mapping[str, float], text: str) -> float:
    return sum(weights.get(term, 0.0) for term in _terms(text))


@lru_cache(maxsize=20_000)
def _terms(text: str) -> tuple[str, ...]:
    # Passages come again, and cutting them into words is most of the work there is.
    return tuple(dict.fromkeys(token.term for token in tokens(text)))


def _scaled(values: Scores) -> Scores:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def _best(candidates: Sequence[_Candidate], scores: Scores) -> list[_Candidate]:
    """Choose the best sentences, each text once, in the order of passages and of reading."""
    order = np.argsort(-scores, kind="stable")
    chosen: dict[str, _Candidate] = {}
    for place in order:
        if len(chosen) == QUOTED or scores[place] < scores[order[0]] - BELOW_BEST:
            break
        chosen.setdefault(candidates[place].text, candidates[place])
    return sorted(chosen.values(), key=lambda each: (each.passage.number, each.start))
