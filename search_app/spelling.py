"""Did you mean: words that no passage has, and near ones that some have.

Words are compared with those of the index itself, so that what is suggested can be found, names
and jargon included. Looked up only where a query has unknown words: reading the words of an index
that changed takes about a second for 100,000 of them, comparing one with all of them about 20 ms.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from uuid import UUID

from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import lexicons
from search_app.catalog.engine import reading
from search_app.catalog.overview import latest_change
from search_app.catalog.serving import Serving
from search_app.lexical import tokens
from search_app.types import JSON

MOST_WORDS = 200_000
"""Most words of an index that are kept, the commonest."""

KEPT = 8
"""Most indexes whose words are kept; those not used for longest go first."""

SHORTEST, LONG = 4, 8
"""Letters from which a word may have one letter wrong, and from which two."""

LONGEST = 40
MOST_UNKNOWN = 8
"""Unknown words that are looked up for one query: one with more is no slip of the keys."""


class Vocabulary:
    """The words of an index, by length, with how many passages have each."""

    def __init__(self, words: Sequence[tuple[str, int]]) -> None:
        """Take words in lower case; what is not letters alone is left out."""
        usable = [pair for pair in words if pair[0].isalpha() and len(pair[0]) <= LONGEST]
        usable.sort(key=lambda pair: len(pair[0]))
        self._words = [word for word, _ in usable]
        self._passages = dict(usable)
        numbers = [0] * (LONGEST + 2)
        for word in self._words:
            numbers[len(word) + 1] += 1
        # Words of n letters stand from place n to place n + 1.
        self._places = list(accumulate(numbers))

    def nearest(self, word: str) -> str | None:
        """Give the nearest word, of equally near ones the commonest; None where none is near.

        Near is one letter inserted, left out, replaced or swapped with its neighbour, from eight
        letters on two (Damerau and Levenshtein's distance). A plural may be one of an index that
        has only the singular, and the other way round.
        """
        if not SHORTEST <= len(word) <= LONGEST or not word.isalpha():
            return None
        found = self._near(word)
        if found is not None:
            return found
        other = word.removesuffix("s") if word.endswith("s") else f"{word}s"
        found = self._near(other)
        if found is None:
            return None
        as_written = f"{found}s" if word.endswith("s") else found.removesuffix("s")
        return as_written if _term(as_written) == _term(found) else found

    def _near(self, word: str) -> str | None:
        allowed = 1 if len(word) < LONG else 2
        shortest, longest = max(len(word) - allowed, 1), min(len(word) + allowed, LONGEST)
        near = process.extract(
            word,
            self._words[self._places[shortest] : self._places[longest + 1]],
            scorer=DamerauLevenshtein.distance,
            score_cutoff=allowed,
            limit=None,
        )
        best = min(
            near, key=lambda each: (each[1], -self._passages[each[0]], each[0]), default=None
        )
        return None if best is None else str(best[0])


def replaced(query: str, unknown: Sequence[str], vocabulary: Vocabulary, analyzer: str) -> str:
    """Put the nearest words of an index in the place of unknown ones; all else stays as it is."""
    wanted = set(unknown[:MOST_UNKNOWN])
    pieces: list[str] = []
    end = 0
    for token in tokens(query, analyzer):
        written = query[token.start : token.end]
        # An identifier overlaps its parts; where it was replaced, they are no more.
        if token.start < end or written.casefold() not in wanted:
            continue
        near = vocabulary.nearest(written.casefold())
        if near is not None:
            pieces += [query[end : token.start], _cased(near, written)]
            end = token.end
    return "".join([*pieces, query[end:]])


class Speller:
    """Knows the words of the indexes that were asked about last."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take where to read; nothing is read yet."""
        self._engine = engine
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()
        self._lock = asyncio.Lock()

    async def suggestion(self, query: str, unknown: Sequence[str], target: Serving) -> str | None:
        """Give a query with near words for unknown ones; None where nothing is to be replaced."""
        lexicon = target.lexicon
        if lexicon is None or not any(len(word) >= SHORTEST for word in unknown):
            return None
        async with self._lock:
            vocabulary = await self._vocabulary(target, lexicon.passages)
        # Beside the loop: words are compared by the hundred thousand.
        made = await asyncio.to_thread(
            replaced, query, unknown, vocabulary, lexicon.weighting.analyzer
        )
        return None if made == query else made

    async def _vocabulary(self, target: Serving, passages: int) -> Vocabulary:
        async with reading(self._engine) as connection:
            # As many passages need not be the same ones.
            state = [passages, await latest_change(connection, target.collection)]
            kept = self._kept.get(target.index.id)
            if kept is None or kept.state != state:
                found = await lexicons.words(connection, target.index.id, MOST_WORDS)
                vocabulary = await asyncio.to_thread(Vocabulary, found)
                kept = _Kept(state=state, vocabulary=vocabulary)
        self._kept[target.index.id] = kept
        self._kept.move_to_end(target.index.id)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept.vocabulary


@dataclass(frozen=True, kw_only=True)
class _Kept:
    state: JSON
    vocabulary: Vocabulary


def _term(word: str) -> str | None:
    found = tokens(word)
    return found[0].term if len(found) == 1 else None


def _cased(word: str, written: str) -> str:
    """Write a word with capitals as the one that it stands for."""
    if written.isupper() and len(written) > 1:
        return word.upper()
    return word.capitalize() if written[:1].isupper() else word
