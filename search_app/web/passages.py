"""The text of a passage as a document's page shows it: prose, headings and code told apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from search_app.web.highlight import highlight
from search_app.web.plain import HEADING, unmarked

_FENCE = re.compile(r"(?P<fence>[ \t]{0,3}(?:```+|~~~+))(?P<info>[^`\n]*)\n?")


@dataclass(frozen=True, kw_only=True)
class PassagePart:
    """Lines of a passage, escaped, with the words of the query marked."""

    text: Markup
    code: bool
    heading: bool = False


class _Parts:
    """Collects lines until the part that they make up ends."""

    def __init__(self, query: str, *, markdown: bool) -> None:
        self.made: list[PassagePart] = []
        self.lines: list[str] = []
        self._query = query
        self._markdown = markdown

    def close(self, *, code: bool, heading: bool = False) -> None:
        # Blank lines at the edges would add to the space between passages.
        text = "".join(self.lines).strip("\r\n")
        self.lines.clear()
        if self._markdown and not code:
            text = unmarked(text).strip("\r\n")
        if text.strip():
            marked = highlight(text, self._query) if self._query else escape(text)
            self.made.append(PassagePart(text=marked, code=code, heading=heading))


def passage_parts(
    text: str, query: str, *, in_code: bool = False, markdown: bool = True
) -> tuple[Sequence[PassagePart], bool]:
    """Split a passage where code fences open and close and, in Markdown, at headings.

    Fences themselves are left out, and so are the other marks of Markdown. ``in_code`` says
    whether it begins inside a fence; the second value says whether it ends in one, for the next
    passage. A fence that names a language always opens, which also puts right a beginning in the
    middle.
    """
    parts = _Parts(query, markdown=markdown)
    for line in text.splitlines(keepends=True):
        fence = _FENCE.fullmatch(line)
        heading = markdown and not in_code and HEADING.fullmatch(line) is not None
        if fence is not None:
            parts.close(code=in_code)
            in_code = bool(fence["info"].strip()) or not in_code
            continue
        if heading:
            parts.close(code=False)
        parts.lines.append(line)
        if heading:
            parts.close(code=False, heading=True)
    parts.close(code=in_code)
    return parts.made, in_code
