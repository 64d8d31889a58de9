"""The text of a passage as a document's page shows it: prose and fenced code told apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from search_app.web.highlight import highlight

_FENCE = re.compile(r"(?P<fence>[ \t]{0,3}(?:```+|~~~+))(?P<info>[^`\n]*)\n?")


@dataclass(frozen=True, kw_only=True)
class PassagePart:
    """Lines of a passage, escaped, with the words of the query marked."""

    text: Markup
    code: bool


def passage_parts(
    text: str, query: str, *, in_code: bool = False
) -> tuple[Sequence[PassagePart], bool]:
    """Split a passage where code fences open and close; fences themselves are left out.

    ``in_code`` says whether it begins inside a fence; the second value says whether it ends in
    one, for the next passage. A fence that names a language always opens, which also puts right
    a beginning in the middle.
    """
    parts: list[PassagePart] = []
    lines: list[str] = []

    def close(*, code: bool) -> None:
        part = "".join(lines)
        # Blank lines at the edges would add to the space between passages.
        part = part.strip("\r\n")
        if part.strip():
            marked = highlight(part, query) if query else escape(part)
            parts.append(PassagePart(text=marked, code=code))
        lines.clear()

    for line in text.splitlines(keepends=True):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            lines.append(line)
            continue
        close(code=in_code)
        in_code = bool(fence["info"].strip()) or not in_code
    close(code=in_code)
    return parts, in_code
