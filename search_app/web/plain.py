"""Markdown as pages show it: the words without the marks.

Texts of most formats are Markdown by the time they are stored. On one line of a result the marks
only get in the way; on a document's page headings and lists still show as what they are.
"""

import re
from collections.abc import Sequence

from search_app.words import CODE_TYPES

_AS_IT_IS = CODE_TYPES.keys() | {"csv", "jsonl", "text", "tsv"}
"""Types whose text nobody wrote as Markdown: a star or a hash in it means itself."""

HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+(?P<title>.*?)(?:[ \t]+#+)?[ \t]*\n?")
"""A line that is a heading."""

_MARKS = (
    # Tags that only dress words, outside of code.
    (
        "<",
        re.compile(
            r"((?ms:^[ \t]*```.*?(?:^[ \t]*```|\Z))|`+[^`\n]+`+)"
            r"|</?(?:a|abbr|b|big|blockquote|br|center|cite|dd|del|details|dfn|div|dl|dt|em|figcaption"
            r"|figure|font|h[1-6]|hr|i|iframe|img|ins|kbd|li|mark|ol|p|picture|q|s|small|source|span"
            r"|strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul|video)"
            r"(?:[ \t\n](?:[^<>\"']|\"[^\"\n]*\"|'[^'\n]*')*)?/?>"
        ),
        r"\1",
    ),
    # Fences, rules, headings, boxes, quotes and bullets, all at the start of a line.
    ("", re.compile(r"(?m)^[ \t]{0,3}(?:```+|~~~+)[^\n]*$"), ""),
    ("", re.compile(r"(?m)^[ \t]{0,3}(?:[-*_][ \t]*){3,}$"), ""),
    ("#", re.compile(r"(?m)^[ \t]{0,3}#{1,6}[ \t]+"), ""),
    ("{", re.compile(r"[ \t]*\{[ \t]*#[\w-]+[ \t]*\}"), ""),
    ("///", re.compile(r"(?m)^[ \t]{0,3}///+(?:[ \t]+\w+)?(?:[ \t]*\|[ \t]*)?"), ""),
    (">", re.compile(r"(?m)^[ \t]{0,3}(?:>[ \t]?)+"), ""),
    ("", re.compile(r"(?m)^([ \t]*)[-*+][ \t]+(?=\S)"), r"\1• "),
    # Pictures and links keep their words.
    ("](", re.compile(r"!?\[([^\]\n]*)\]\([^()\s]*(?:\s+\"[^\"\n]*\")?\)"), r"\1"),
    ("<http", re.compile(r"<(https?://[^<>\s]+)>"), r"\1"),
    # Emphasis; underscores within words, as in names of functions, are none.
    ("", re.compile(r"(\*\*\*|\*\*|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    ("_", re.compile(r"(?<!\w)(__|_)(?=[^\s_])([^\n_]+?)(?<=\S)\1(?!\w)"), r"\2"),
    (
        "*",
        re.compile(r"(?<![A-Za-z0-9*\\])\*(?=[^\s*])([^\n*]+?)(?<=[^\s\\])\*(?![A-Za-z0-9*])"),
        r"\1",
    ),
    ("`", re.compile(r"`+([^`\n]+)`+"), r"\1"),
    ("\\", re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~-])"), r"\1"),
)
"""What a text must have for the mark to be in it, the mark, and what is kept of it."""

_ROW = re.compile(r"(?m)^[ \t]*\|(.*)\|[ \t]*(\n|$)")
_CELLS = re.compile(r"(?<!\\)\|")


def is_markdown(media_type: str) -> bool:
    """Say whether documents of a type have Markdown as their text."""
    return media_type not in _AS_IT_IS


def plain(text: str, headings: Sequence[str] = ()) -> str:
    """Take the marks out of Markdown, and headings at its top that are shown elsewhere."""
    shown = {"", *(unmarked(heading).strip() for heading in headings)}
    lines = unmarked(text).split("\n")
    while len(lines) > 1 and lines[0].strip() in shown:
        del lines[0]
    return "\n".join(lines)


def unmarked(text: str) -> str:
    """Take the marks out of Markdown; lines stay lines, and cells of tables are set apart by ·."""
    if "|" in text:
        text = _ROW.sub(_row, text)
    for sign, mark, kept in _MARKS:
        # Looking for a few characters is far quicker, and most texts have few kinds of marks.
        if sign in text:
            text = mark.sub(kept, text)
    return text


def _row(match: re.Match[str]) -> str:
    cells = [cell.strip() for cell in _CELLS.split(match[1])]
    if all(re.fullmatch(":?-+:?", cell) for cell in cells):
        return ""
    return " · ".join(filter(None, cells)) + match[2]
