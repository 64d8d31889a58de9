"""Passages as HTML: what was asked for marked, long ones cut to the part that says most.

Everything returned is built from escaped parts; no character of a document becomes markup.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from search_app.web.terms import CJK, Span, matches

SNIPPET_LENGTH = 320
"""About how many characters of a passage a result shows; Japanese says as much in fewer."""

CJK_SNIPPET_LENGTH = 180

_TOLERANCE = 60
"""How much longer than that a passage may be and still be shown whole, in characters."""

_LEAD = 0.4
"""Share of a snippet that may go before its first mark, for the sake of a whole sentence."""

_LEAST_SENTENCE = 5
"""Characters of a sentence; the number of a list item is none."""

_SPACE = re.compile(r"\s+")
_CJK = re.compile(f"[{CJK}]")
_CLOSING = "」』）)】〉》］\\]”’\"'»"
_BLOCK = re.compile(r"\s*\n(?:\s*\n\s*|\s*(?=[•・●○■□※]|\d{1,3}[.)．）]|[(（]\d{1,3}[)）]))")
_SENTENCE_START = re.compile(
    # What is said within brackets is part of the sentence around it, and 「はい。」と言った goes on
    # behind them, as does "No!" he said.
    r"(?P<within>「[^「」]{1,120}?(?=[。．！？｡]*」)|『[^『』]{1,120}?(?=[。．！？｡]*』))"
    rf"|[。．！？｡]+(?:[{_CLOSING}]+(?![ぁ-ゖ、，。])|(?![{_CLOSING}。．！？｡]))\s*"
    rf"|[!?]+[{_CLOSING}]*\s+(?=[^a-z\s])"
    # Not behind an initial, e.g. and the like, nor before a small letter.
    r"|(?<![\s.])(?<!\b[A-Za-z])(?<!\b(?:Dr|Mr|Ms|St|vs|cf|al|No|pp))(?<!\b(?:Mrs|Fig|Sec|Vol))"
    rf"\.+[{_CLOSING}]*\s+(?=[^a-z\s])"
)
_CLAUSE_START = re.compile(r"[、，；：]\s*|[,;:·—–]\s+|\s(?=[(（「『])|[」』）]")
_WORD_START = re.compile(rf"\s+(?=\S)|(?<=[{CJK}])(?=[{CJK}])")
_JOINERS = frozenset(["-", "_", ".", "'", "’", "/", ""])


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of a text that is shown: characters ``start`` to ``end``, end exclusive."""

    start: int
    end: int


def highlight(text: str, query: str) -> Markup:
    """Mark what a query asks for in a text, white space kept."""
    return _marked(text, matches(text, query), Cut(start=0, end=len(text)))


def snippet(text: str, query: str) -> Markup:
    """Show the part of a text with most of what a query asks for, marked, on one line.

    A cut is shown by … and falls between sentences where it can, else between clauses or words.
    """
    blocks = [" ".join(block.split()) for block in _BLOCK.split(text)]
    line = " ".join(filter(None, blocks))
    spans = matches(line, query)
    length = _length(line)
    if len(line) <= length + _TOLERANCE:
        return _marked(line, spans, Cut(start=0, end=len(line)))
    cut = _best_cut(line, spans, _sentence_starts(line, blocks), length)
    opening = "…" if cut.start > 0 else ""
    closing = "" if cut.end == len(line) else " …" if line[cut.end - 1] in ".!?" else "…"
    return Markup("{}{}{}").format(opening, _marked(line, spans, cut), closing)


def _marked(text: str, spans: Sequence[Span], cut: Cut) -> Markup:
    parts: list[Markup] = []
    done = cut.start
    for start, end in _joined(text, spans):
        if start < done or end > cut.end:
            continue
        parts += [escape(text[done:start]), Markup("<mark>"), escape(text[start:end])]
        parts.append(Markup("</mark>"))
        done = end
    parts.append(escape(text[done : cut.end]))
    return Markup("").join(parts)


def _joined(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Join marks that touch, or that only a hyphen or the like keeps apart."""
    joined: list[tuple[int, int]] = []
    for span in spans:
        if joined and text[joined[-1][1] : span.start] in _JOINERS:
            joined[-1] = (joined[-1][0], span.end)
        else:
            joined.append((span.start, span.end))
    return joined


def _length(line: str) -> int:
    """Say how much of the line to show, by how much of it is Japanese."""
    share = len(_CJK.findall(line)) / max(len(line), 1)
    return round(SNIPPET_LENGTH - share * (SNIPPET_LENGTH - CJK_SNIPPET_LENGTH))


def _sentence_starts(line: str, blocks: Sequence[str]) -> list[int]:
    """Find where sentences, list items and paragraphs begin, the end of the line included."""
    matched = _SENTENCE_START.finditer(line)
    found = {0, len(line), *(match.end() for match in matched if match["within"] is None)}
    place = 0
    for block in blocks:
        found.add(place)
        place += len(block) + 1 if block else 0
    starts: list[int] = []
    for start in sorted(found):
        if start <= len(line) and (not starts or start - starts[-1] >= _LEAST_SENTENCE):
            starts.append(start)
    if starts[-1] != len(line):
        starts[-1] = len(line)
    return starts


def _best_cut(line: str, spans: Sequence[Span], sentences: Sequence[int], length: int) -> Cut:
    anchor = _densest(spans, length)
    start = _start(line, anchor, sentences, round(length * _LEAD))
    if len(line) - start < length:
        # The end of the passage: what goes before it fills the snippet up.
        earliest = min(len(line) - length, start)
        start = next(
            (found for found in sentences if earliest <= found <= start),
            start,
        )
    return Cut(start=start, end=_end(line, start, sentences, length))


def _densest(spans: Sequence[Span], length: int) -> int:
    """Give where the first mark stands of the window that shows most of what is asked for."""
    reach = round(length * (1 - _LEAD))
    best, anchor = (0, 0, 0), 0
    ends = [span.end for span in spans]
    for position, span in enumerate(spans):
        last = bisect_left(ends, span.start + reach, lo=position)
        shown = spans[position:last]
        # Different terms first, then how much of the query they make up, then how many.
        terms = frozenset[str]().union(*(found.terms for found in shown))
        worth = (len(terms), sum(map(len, terms)), len(shown))
        if worth > best:
            best, anchor = worth, span.start
    return anchor


def _start(line: str, anchor: int, sentences: Sequence[int], lead: int) -> int:
    """Begin with the sentence of the first mark, or with a clause or word of it."""
    start = sentences[bisect_right(sentences, anchor) - 1]
    if anchor - start <= lead:
        return start
    return next(_starts(line, anchor - lead, anchor), anchor - lead)


def _end(line: str, start: int, sentences: Sequence[int], length: int) -> int:
    """End with a sentence, if that is not far too early, or with a clause or word."""
    limit = start + length
    if limit >= len(line):
        return len(line)
    end = sentences[bisect_right(sentences, limit) - 1]
    if end - start < length // 2:
        *_, end = (limit, *_starts(line, limit - _TOLERANCE, limit))
    return len(line[:end].rstrip())


def _starts(line: str, low: int, high: int) -> Iterator[int]:
    """Find where clauses begin between two places; where none does, where words do."""
    for boundary in (_CLAUSE_START, _WORD_START):
        found = [match.end() for match in boundary.finditer(line, low, high)]
        if found:
            return iter(found)
    return iter(())
