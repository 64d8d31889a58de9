"""The block structure of plain text and reStructuredText: paragraphs and titles.

A title is underlined, as in reStructuredText and in what writes manuals as text. Where a text has
none of those, a line of its own that is numbered as chapters are is one.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingest.blocks import Block, Kind, after_blank_lines

_MARKS = r"[=\-~^\"'*+#`:._]"
_UNDERLINED = re.compile(
    rf"""(?mx) ^
    (?: (?P<over> (?P<over_mark>{_MARKS})(?P=over_mark){{2,}} ) [ \t]* \n )?
    [ \t]* (?P<title> \S [^\n]{{0,119}} ) \n
    (?P<under> (?P<under_mark>{_MARKS})(?P=under_mark){{2,}} ) [ \t]* $"""
)
_WORD = re.compile(r"\w")
_ROLE = re.compile(r"(?::[\w.:-]+:)?`+([^`]+)`+_*")
_DIGIT = "[0-9０-９]"
_NUMBERED = re.compile(
    rf"""(?x)
    (?: 第\s? (?:{_DIGIT}{{1,3}}|[一二三四五六七八九十百]{{1,4}}) \s? (?P<division>[編部章節項])
      | (?P<number> {_DIGIT}{{1,2}} (?:[.．]{_DIGIT}{{1,2}}){{0,4}} ) [.．]? )
    [ \t\u3000]+ [^\n]{{1,80}} (?<![。．.！!、,，;；:：])"""
)
_DIVISIONS = {"編": 1, "部": 1, "章": 2, "節": 3, "項": 4}
_TITLE_WITHIN = 20_000
"""Characters within which a first title counts as that of the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Title:
    start: int
    end: int
    level: int
    title: str


def plain_blocks(text: str) -> list[Block]:
    """Take the titles of a plain text, and the paragraphs that blank lines part."""
    paragraphs = [0, *after_blank_lines(text)]
    titles = list(_underlined(text)) or list(_numbered(text, paragraphs))
    by_start = {title.start: title for title in titles}
    # Behind a title may stand its body without a blank line, and that is a block too.
    bodies = [title.end for title in titles if text[title.end : title.end + 1].strip()]
    places = sorted({*paragraphs, *by_start, *bodies, len(text)})
    return [_block(start, end, by_start.get(start)) for start, end in pairwise(places)]


def first_title(text: str) -> str:
    """Give the first underlined title of the highest level near the top of a text, or nothing."""
    titles = list(_underlined(text[:_TITLE_WITHIN]))
    return min(titles, key=lambda title: title.level).title if titles else ""


def _block(start: int, end: int, title: _Title | None) -> Block:
    if title is None:
        return Block(start=start, end=end, kind=Kind.PROSE)
    return Block(start=start, end=end, kind=Kind.HEADING, level=title.level, title=title.title)


def _underlined(text: str) -> Iterator[_Title]:
    # As in reStructuredText, what comes first is the highest.
    styles: list[tuple[str, bool]] = []
    for match in _UNDERLINED.finditer(text):
        title = match["title"].strip()
        if not _is_title(text, match, title):
            continue
        style = (match["under_mark"], match["over"] is not None)
        if style not in styles:
            styles.append(style)
        end = min(match.end() + 1, len(text))
        level = styles.index(style) + 1
        words = _ROLE.sub(r"\1", title)
        yield _Title(start=match.start(), end=end, level=level, title=words)


def _is_title(text: str, match: re.Match[str], title: str) -> bool:
    if not _WORD.search(title) or len(match["under"]) < len(title):
        return False
    if match["over"] is not None:
        return match["over"] == match["under"]
    if len(match["under"]) > 2 * _columns(title) + 8:
        # The last line above a rule that parts texts.
        return False
    # Looked for backwards from here: to cut the text off at every title would copy it as often.
    end = match.start() - 1
    return end < 0 or not text[text.rfind("\n", 0, end) + 1 : end].strip()


def _columns(title: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in title)


def _numbered(text: str, paragraphs: Sequence[int]) -> Iterator[_Title]:
    found = [_numbered_title(text, *span) for span in pairwise([*paragraphs, len(text)])]
    for title, following in pairwise([*found, None]):
        # Of two in a row the first is an item of a list, and the last of a text heads nothing.
        alike = following is not None and title is not None and following.level <= title.level
        if title is not None and title.end < len(text) and not alike:
            yield title


def _numbered_title(text: str, start: int, end: int) -> _Title | None:
    line = text[start:end].strip()
    match = _NUMBERED.fullmatch(line)
    if match is None:
        return None
    division = match["division"]
    level = _DIVISIONS[division] if division else len(re.split("[.．]", match["number"])) + 1
    return _Title(start=start, end=end, level=level, title=" ".join(line.split()))
