"""Passages as HTML: the query's words marked, long ones cut to the part that says most.

Everything returned is built from escaped parts; no character of a document becomes markup.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from search_app.web.terms import CJK, Span, matches

SNIPPET_LENGTH = 320
"""About how many characters of a passage a result shows; Japanese says as much in fewer."""

CJK_SNIPPET_LENGTH = 180

_TOLERANCE = 60
"""How far a cut may move to fall between sentences or words, in characters."""

_SPACE = re.compile(r"\s+")
_CJK = re.compile(f"[{CJK}]")
_SENTENCE_START = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+(?=\S)")
_WORD_START = re.compile(rf"(?<=\s)(?=\S)|(?<=[、。，])|(?<=[{CJK}])(?=[{CJK}])")
_JOINERS = frozenset(["-", "_", ".", "'", "’", "/", ""])


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of a text that is shown: characters ``start`` to ``end``, end exclusive."""

    start: int
    end: int


def highlight(text: str, query: str) -> Markup:
    """Mark the query's words in a text, white space kept."""
    return _marked(text, matches(text, query), Cut(start=0, end=len(text)))


def snippet(text: str, query: str) -> Markup:
    """Show the part of a text with most of the query's words, marked, on one line.

    A cut is shown by … and falls between sentences or words where one is near.
    """
    line = _SPACE.sub(" ", text).strip()
    spans = matches(line, query)
    cut = _best_cut(line, spans)
    opening = "…" if cut.start > 0 else ""
    closing = "" if cut.end == len(line) else " …" if line[cut.end - 1] in ".!?" else "…"
    return Markup("{}{}{}").format(opening, _marked(line, spans, cut), closing)


def _marked(text: str, spans: Sequence[Span], cut: Cut) -> Markup:
    parts: list[Markup] = []
    done = cut.start
    for start, end in _joined(text, spans):
        if start < done or end > cut.end:
            continue
        parts += [escape(text[done:start]), Markup("<mark>{}</mark>").format(text[start:end])]
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


def _best_cut(line: str, spans: Sequence[Span]) -> Cut:
    length = _length(line)
    if len(line) <= length + _TOLERANCE:
        return Cut(start=0, end=len(line))
    anchor = _densest(spans, length)
    # Some of what goes before the first mark helps to read it.
    start = max(0, anchor - _TOLERANCE)
    if anchor <= _TOLERANCE:
        start = 0
    elif len(line) - start < length:
        start = len(line) - length
    if start > 0:
        start = next(iter(_boundaries(line, start, anchor)), start)
    end = min(len(line), start + length)
    if end < len(line):
        *_, end = (end, *_boundaries(line, end - _TOLERANCE, end))
        end = len(line[:end].rstrip())
    return Cut(start=start, end=end)


def _densest(spans: Sequence[Span], length: int) -> int:
    """Give where the first mark stands of the window that shows most different words."""
    best, anchor = 0, 0
    ends = [span.end for span in spans]
    for position, span in enumerate(spans):
        last = bisect_left(ends, span.start + length - _TOLERANCE, lo=position)
        shown = spans[position:last]
        # Different words first, then how much of the query they make up, then how many.
        terms = {found.term for found in shown}
        worth = 1000 * len(terms) + 10 * sum(map(len, terms)) + len(shown)
        if worth > best:
            best, anchor = worth, span.start
    return anchor


def _boundaries(line: str, low: int, high: int) -> list[int]:
    """Find where sentences begin between two offsets; where none does, where words do."""
    for boundary in (_SENTENCE_START, _WORD_START):
        found = [match.end() for match in boundary.finditer(line, low, high + 1)]
        if found := [offset for offset in found if offset <= high]:
            return found
    return []
