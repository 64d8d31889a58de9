"""Where a text may be cut, best places first: sentences, lines, clauses, words, characters.

A cut lies behind a match, so that white space stays with what it follows.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from search_app.sentences import SENTENCE


class Cut(IntEnum):
    """What lies before a cut; the higher, the more is torn apart by cutting there."""

    BLOCK = 0
    ITEM = 1
    """A list item, or a blank line within code."""
    SENTENCE_AT_LINE_END = 2
    SENTENCE = 3
    LEAD_IN = 4
    """A paragraph that introduces the list, code or table behind it."""
    LINE = 5
    CLAUSE = 6
    WORD = 7
    CHARACTER = 8
    HEADING = 9
    """A heading without what it is the heading of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Characters ``start`` to ``end`` of a text, and what a cut behind them would be."""

    start: int
    end: int
    cut: Cut


_BLANK_LINE = re.compile(r"(?P<cut>\n(?:[^\S\n]*\n)++)")
_LINE = re.compile(r"(?P<cut>\n(?:[^\S\n]*\n)*+)")
_CLAUSE = re.compile(r"(?P<cut>[、，；：]\s*+|[,;:]\s++)")
_WORD = re.compile(r"(?P<cut>\s++)")

_WITHIN_REACH = 32
"""How far a visible character is thought to extend; the longest emoji have some ten parts."""

_JOINER = "\u200d"
# Joiner, Hangul vowels and finals, half-width sound marks, skin tones, tags.
_EXTENDING = re.compile(
    "[\u200d\u1160-\u11ff\uff9e\uff9f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
)
_FLAG_LETTERS = re.compile("[\U0001f1e6-\U0001f1ff]+\\Z")


class Ladder:
    """Ways to cut, from the kindest to the one that always works."""

    def __init__(self, *rungs: tuple[re.Pattern[str], Cut]) -> None:
        """Take patterns and what cutting behind their matches is."""
        self._rungs = rungs

    def __len__(self) -> int:
        return len(self._rungs) + 1

    def pieces(self, text: str, whole: Piece, rung: int, small: int) -> list[Piece]:
        """Cut a piece of ``text`` in the way of ``rung``; the last part keeps the piece's cut.

        Neighbours of ``small`` characters together stay one, since many tiny pieces cost time and
        decide nothing.
        """
        if rung < len(self._rungs):
            return _between(whole, _matches(text, whole, *self._rungs[rung]), small)
        return _between(whole, _characters(text, whole, small), 0)


PROSE = Ladder(
    (SENTENCE, Cut.SENTENCE), (_LINE, Cut.LINE), (_CLAUSE, Cut.CLAUSE), (_WORD, Cut.WORD)
)
VERBATIM = Ladder((_BLANK_LINE, Cut.ITEM), (_LINE, Cut.LINE), (_WORD, Cut.WORD))


def _matches(
    text: str, whole: Piece, pattern: re.Pattern[str], cut: Cut
) -> Iterator[tuple[int, Cut]]:
    for match in pattern.finditer(text, whole.start, whole.end):
        if match["cut"] is None:
            continue
        at_line_end = cut is Cut.SENTENCE and "\n" in match[0]
        yield match.end(), Cut.SENTENCE_AT_LINE_END if at_line_end else cut


def _characters(text: str, whole: Piece, small: int) -> Iterator[tuple[int, Cut]]:
    step = max(1, min(small, (whole.end - whole.start) // 2))
    position = whole.start + step
    while position < whole.end:
        position = _between_graphemes(text, position, position - step, whole.end)
        yield position, Cut.CHARACTER
        position += step


def _between_graphemes(text: str, position: int, lowest: int, end: int) -> int:
    """Find the place nearest before ``position``, else behind, that tears no visible character.

    Gives up, and ``position`` back, where one is as long as all that is looked at.
    """
    before = range(position, lowest, -1)
    behind = range(position, min(position + _WITHIN_REACH, end))
    places = (place for place in (*before, *behind) if not _attached(text, place, lowest))
    return next(places, position)


def _attached(text: str, position: int, start: int) -> bool:
    """Say whether the character at ``position`` belongs to the one before it.

    ``start`` is a place before it that tears nothing.
    """
    here = text[position]
    if text[position - 1] == _JOINER or _EXTENDING.match(here):
        return True
    if unicodedata.category(here) in ("Mn", "Me", "Mc"):
        return True
    if not "\U0001f1e6" <= here <= "\U0001f1ff":
        return False
    # Two letters make a flag: of an odd number before this one, the last waits for it.
    flags = _FLAG_LETTERS.search(text, start, position)
    return flags is not None and len(flags[0]) % 2 == 1


def _between(whole: Piece, cuts: Iterator[tuple[int, Cut]], small: int) -> list[Piece]:
    """Make the pieces between cuts, joining neighbours of no more than ``small`` characters."""
    pieces: list[Piece] = []
    start = whole.start
    for end, cut in (*cuts, (whole.end, whole.cut)):
        if end == start:
            continue
        if pieces and end - pieces[-1].start <= small:
            start = pieces.pop().start
        pieces.append(Piece(start=start, end=end, cut=cut))
        start = end
    return pieces
