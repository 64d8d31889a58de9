"""What goes on from a few typed letters: phrases evened, laid end to end, and looked through.

A phrase matches from the beginning of any of its words; scripts that put no space between words
match anywhere, from two characters on. Case, width, Latin accents and punctuation make no
difference. Looking through the letters of a hundred thousand phrases takes a few milliseconds, and
needs no structure beside them that could be out of date.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from search_app.lexical import SPACELESS

PhraseKind = Literal["query", "title", "heading"]

LONGEST_PHRASE = 120
"""Most characters of a phrase that is offered: what is longer is read, not typed."""

_LEAST_INSIDE = 2
_END = "\n"
_MARKED = re.compile("(?<=[a-z0-9])[\u0300-\u036f]+")
_RUN = re.compile(rf"[{SPACELESS}]+|[^\W_{SPACELESS}]+[+#]*")
_SPACELESS = re.compile(f"[{SPACELESS}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A text to offer. ``bearer`` is the document of that title, or a passage below that heading.

    It is None for past queries.
    """

    text: str
    kind: PhraseKind
    bearer: UUID | None = None


def evened(text: str) -> str:
    """Give the words of a text, each after one space, and a space where it goes on after a word.

    The evened form of a text begins with that of its beginning, unless this was cut within what
    is one character to a reader.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not folded.isascii():
        apart = _MARKED.sub("", unicodedata.normalize("NFD", folded))
        folded = unicodedata.normalize("NFC", apart)
    words, end = [], 0
    for run in _RUN.finditer(folded):
        words.append(f" {run[0]}")
        end = run.end()
    return "".join(words) + (" " if words and end < len(folded) else "")


class Phrases:
    """Phrases of one kind, best first; of those that are evened alike, the first one counts."""

    def __init__(self, phrases: Iterable[Phrase], *, beginnings_first: bool) -> None:
        """Lay the phrases end to end.

        With ``beginnings_first``, those that match from their first word come before the others.
        """
        known: dict[str, Phrase] = {}
        for phrase in phrases:
            key = evened(phrase.text).rstrip()
            if key:
                known.setdefault(key, phrase)
        self._phrases = list(known.values())
        self._text = "".join(f"{_END}{key}" for key in known) + _END
        self._places: list[int] = []
        place = 0
        for key in known:
            self._places.append(place)
            place += len(key) + 1
        self._beginnings_first = beginnings_first

    def __len__(self) -> int:
        return len(self._phrases)

    def going_on(self, typed: str) -> Iterator[tuple[str, Phrase]]:
        """Give the phrases that go on from an evened text, with their evened form, best first.

        A phrase that matches from its beginning and from a later word may come twice; what is no
        longer than the text is left out.
        """
        if not typed.strip():
            return
        inside = typed
        if len(typed.strip()) >= _LEAST_INSIDE and _SPACELESS.match(typed, 1):
            inside = typed[1:]
        for needle in [_END + typed, inside] if self._beginnings_first else [inside]:
            for number in self._having(needle):
                key = self._key(number)
                if key != typed.rstrip():
                    yield key, self._phrases[number]

    def _having(self, needle: str) -> Iterator[int]:
        place = self._text.find(needle)
        while place >= 0:
            number = bisect_right(self._places, place) - 1
            yield number
            if number + 1 == len(self._places):
                return
            place = self._text.find(needle, self._places[number + 1])

    def _key(self, number: int) -> str:
        end = self._text.index(_END, self._places[number] + 1)
        return self._text[self._places[number] + 1 : end]
