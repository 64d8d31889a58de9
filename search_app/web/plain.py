"""Markdown as a snippet shows it: the words without the marks.

Whole pages show their text as it is; on one line of a result the marks only get in the way.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

_SUFFIXES = frozenset([".md", ".markdown", ".html", ".htm", ".xhtml"])
"""Files that become Markdown when they are read."""

_MARKS = (
    (re.compile(r"(?m)^[ \t]{0,3}(?:```+|~~~+)[^\n]*$"), ""),
    (re.compile(r"(?m)^[ \t]{0,3}#{1,6}[ \t]+"), ""),
    (re.compile(r"[ \t]*\{[ \t]*#[\w-]+[ \t]*\}"), ""),
    (re.compile(r"(?m)^[ \t]{0,3}(?:>[ \t]?)+"), ""),
    (re.compile(r"!?\[([^\]\n]*)\]\([^()\s]*(?:\s+\"[^\"\n]*\")?\)"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"`+([^`\n]+)`+"), r"\1"),
)


def is_markdown(source: str) -> bool:
    """Say whether the text of a source is Markdown."""
    return PurePosixPath(source).suffix.lower() in _SUFFIXES


def plain(text: str, headings: Sequence[str] = ()) -> str:
    """Take the marks out of Markdown, and headings at its top that are shown elsewhere."""
    shown = {"", *(_unmarked(heading).strip() for heading in headings)}
    lines = _unmarked(text).split("\n")
    while len(lines) > 1 and lines[0].strip() in shown:
        del lines[0]
    return "\n".join(lines)


def _unmarked(text: str) -> str:
    for mark, kept in _MARKS:
        text = mark.sub(kept, text)
    return text
