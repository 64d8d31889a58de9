"""Source code as pages show it: line by line, its tokens told apart by classes of the style sheet.

Everything returned is built from escaped parts; no character of a document becomes markup.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from markupsafe import Markup, escape
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType
from pygments.util import ClassNotFound

from search_app.catalog.chunks import Passage
from search_app.types import Hit
from search_app.web.terms import matches

LINES_OF_HIT = 12
"""Lines of a passage that a result shows."""

_LONGEST = 20_000
"""Characters beyond which tokens are not told apart."""
_CLASSES = (
    (Comment, "tok-comment"),
    (String.Doc, "tok-comment"),
    (String, "tok-string"),
    (Number, "tok-number"),
    (Keyword, "tok-keyword"),
    (Name.Function, "tok-name"),
    (Name.Class, "tok-name"),
    (Name.Decorator, "tok-mark"),
)


@dataclass(frozen=True, kw_only=True)
class CodeLine:
    """A line with its number in the file, from 1.

    ``anchor``: it can be linked to; of a line that is in several passages only the first one can.
    """

    number: int
    text: Markup
    anchor: bool = True


@dataclass(frozen=True, kw_only=True)
class _Token:
    start: int
    end: int
    style: str


def code_lines(passage: Hit | Passage, query: str) -> list[CodeLine]:
    """Show a passage of source code, what a query asks for marked."""
    if passage.code is None:
        return []
    text = passage.text.rstrip()
    lead = len(text) - len(text.lstrip())
    # Blank lines in front are left out, the indentation of the first line is not.
    begin = text.rfind("\n", 0, lead) + 1
    shown = text[begin:]
    marks = [(span.start, span.end) for span in matches(shown, query)] if query else []
    tokens = _tokens(shown, passage.document.media_type)
    lines: list[CodeLine] = []
    start = 0
    for number, line in enumerate(shown.split("\n"), start=passage.code.first_line):
        end = start + len(line.rstrip("\r"))
        lines.append(CodeLine(number=number, text=_painted(shown, start, end, tokens, marks)))
        start += len(line) + 1
    return lines


def snippet_lines(passage: Hit | Passage, query: str) -> list[CodeLine]:
    """Show the part of a passage of source code with most of what a query asks for."""
    lines = code_lines(passage, query)
    marked = ["<mark>" in line.text for line in lines]
    starts = range(max(1, len(lines) - LINES_OF_HIT + 1))
    best = max(starts, key=lambda at: (sum(marked[at : at + LINES_OF_HIT]), -at), default=0)
    return lines[best : best + LINES_OF_HIT]


def _painted(
    text: str, start: int, end: int, tokens: Sequence[_Token], marks: Sequence[tuple[int, int]]
) -> Markup:
    inner = [token for token in tokens if token.start < end and token.end > start]
    places = {start, end}
    for token in inner:
        places |= {max(start, token.start), min(end, token.end)}
    near = [(a, b) for a, b in marks if a < end and b > start]
    for a, b in near:
        places |= {max(start, a), min(end, b)}
    parts: list[Markup] = []
    cuts = sorted(places)
    for a, b in pairwise(cuts):
        part = escape(text[a:b])
        if any(first <= a and b <= last for first, last in near):
            part = Markup("<mark>{}</mark>").format(part)
        style = next((token.style for token in inner if token.start <= a and b <= token.end), "")
        parts.append(Markup('<span class="{}">{}</span>').format(style, part) if style else part)
    return Markup("").join(parts)


def _tokens(text: str, media_type: str) -> list[_Token]:
    lexer = _lexer(media_type) if len(text) <= _LONGEST else None
    if lexer is None:
        return []
    return list(_styled(lexer, text))


def _styled(lexer: Lexer, text: str) -> Iterator[_Token]:
    for start, kind, value in lexer.get_tokens_unprocessed(text):
        style = _style(kind)
        if style and value.strip():
            yield _Token(start=start, end=start + len(value), style=style)


@cache
def _style(kind: _TokenType) -> str:
    return next((style for group, style in _CLASSES if kind in group), "")


@cache
def _lexer(media_type: str) -> Lexer | None:
    try:
        return get_lexer_by_name(media_type)
    except ClassNotFound:
        return None
