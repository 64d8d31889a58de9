"""Reading a query: what is looked for, what has to be there word for word, what must not be there.

    the "exact phrase" here     passages must have the phrase, whatever its case and width
    tea -green -"earl grey"     passages must have neither word nor phrase

A quote without its partner, a hyphen inside a word and a query of exclusions alone are taken as
they stand.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from search_app.lexical import tokens

_QUOTE = '["“”„‟＂]'
_PIECE = re.compile(
    # Inches and other marks within or after words open nothing and close nothing.
    rf"(?:(?<!\S)(?P<no>-)|(?<![0-9A-Za-z])){_QUOTE}(?P<phrase>[^\"“”„‟＂]+){_QUOTE}(?![0-9A-Za-z])"
    r"|(?<!\S)-(?P<word>[^\s\"“”-]\S*)"
)
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Question:
    """A query as it was meant; ``text`` is what is embedded and searched for by its terms."""

    text: str
    phrases: Sequence[str] = ()
    excluded: Sequence[str] = ()

    @property
    def is_strict(self) -> bool:
        """Whether passages have to be looked into, since something must or must not be there."""
        return bool(self.phrases or self.excluded)

    def accepts(self, text: str) -> bool:
        """Say whether a passage, headings included, has all phrases and nothing excluded."""
        plain = _plain(text)
        if not all(_stands_in(phrase, plain) for phrase in self._phrases):
            return False
        if any(_stands_in(phrase, plain) for phrase in self._unwanted_phrases):
            return False
        return not (self._unwanted and self._unwanted & {token.term for token in tokens(text)})

    @cached_property
    def _phrases(self) -> Sequence[str]:
        return [_plain(phrase) for phrase in self.phrases]

    @cached_property
    def _unwanted_phrases(self) -> Sequence[str]:
        # A single word excludes its other forms too; anything else is looked for as it stands.
        return [_plain(each) for each in self.excluded if len(_terms(each)) != 1]

    @cached_property
    def _unwanted(self) -> frozenset[str]:
        return frozenset(
            term for each in self.excluded if len(found := _terms(each)) == 1 for term in found
        )


def read_question(query: str) -> Question:
    """Read a query."""
    phrases, excluded = [], []
    for piece in _PIECE.finditer(query):
        if piece["word"] is not None:
            excluded.append(piece["word"])
        elif piece["no"] is not None:
            excluded.append(piece["phrase"].strip())
        else:
            phrases.append(piece["phrase"].strip())
    if not phrases and not excluded:
        return Question(query)
    text = _SPACE.sub(" ", _PIECE.sub(_wanted, query)).strip()
    if not text:
        return Question(query)
    return Question(
        text,
        tuple(phrase for phrase in phrases if phrase),
        tuple(each for each in excluded if each),
    )


def _wanted(piece: re.Match[str]) -> str:
    if piece["word"] is not None or piece["no"] is not None:
        return ""
    return piece["phrase"]


def _terms(text: str) -> set[str]:
    return {token.term for token in tokens(text)}


def _plain(text: str) -> str:
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _stands_in(phrase: str, text: str) -> bool:
    """Find a phrase; where it begins or ends with a letter of a spaced script, so must a word."""
    place = text.find(phrase)
    while place >= 0:
        end = place + len(phrase)
        if not (_joins(text, place) or _joins(text, end)):
            return True
        place = text.find(phrase, place + 1)
    return False


def _joins(text: str, place: int) -> bool:
    """Say whether a word of a spaced script goes on across a place."""
    return 0 < place < len(text) and _WITHIN_WORD.match(text, place - 1) is not None


_WITHIN_WORD = re.compile(r"[a-z0-9\u00c0-\u052f][a-z0-9\u00c0-\u052f]")
