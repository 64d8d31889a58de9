"""Writing Markdown from the parts of a document: headings, paragraphs, lists, tables, pages.

What is written is searched and embedded as it stands, so there are no escapes beyond those that
keep the parts apart, no emphasis and no addresses.
"""

import re
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff]")
# A line that Markdown would take for a heading, a fence, raw HTML that swallows what follows, or
# the underline that makes a heading of the line above it.
_STRUCTURAL = re.compile(
    r"(?m)^(#{1,6}(?:\s|$)|```|~~~|<(?:[!?]|script|pre|style|textarea)|(?<=\n)[=-]+$)"
)
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])\Z")
_LONGEST_HEADING = 300
_DEEPEST_HEADING = 6
_LONGEST_LABEL = 40
_TABLE_PIECE = 700
"""Bytes of table rows under one header: about 200 tokens of English or Japanese, so that a chunk
of a long table is a piece of it that still says what its columns are."""


class MarkdownText:
    """A Markdown text that grows block by block."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._length = 0
        self._page_starts: list[int] = []
        self._in_list = False

    def heading(self, level: int, text: str) -> None:
        """Write a heading; one as long as a paragraph is a paragraph."""
        title = " ".join(clean(text).split())
        if len(title) > _LONGEST_HEADING:
            self.paragraph(title)
        elif title:
            self._add(f"{'#' * min(level, _DEEPEST_HEADING)} {title}")

    def paragraph(self, text: str) -> None:
        """Write a paragraph; its lines stay lines."""
        self._add(prose(text))

    def quote(self, text: str) -> None:
        """Write what is beside the text, such as a comment, as a quotation."""
        quoted = prose(text)
        self._add("\n".join(f"> {line}" for line in quoted.split("\n")) if quoted else "")

    def item(self, text: str, *, depth: int = 0, label: str = "-") -> None:
        """Write an item of a list; ``label`` is ``-`` or the number that it shows, any form."""
        lines = prose(text).split("\n")
        if not lines[0]:
            return
        if not _ITEM.match(label):
            lines[0] = f"{label[:_LONGEST_LABEL]} {lines[0]}"
            label = "-"
        indent = " " * (3 if label[0].isdigit() else 2) * depth
        hanging = f"\n{indent}{' ' * (len(label) + 1)}"
        item = f"{indent}{label} {hanging.join(lines)}"
        if self._in_list:
            self._blocks[-1] += "\n" + item
            self._length += len(item) + 1
        else:
            self._add(item)
            self._in_list = True

    def code(self, text: str, language: str = "") -> None:
        """Write a block of code, line by line as it is."""
        code = clean(text).strip("\n")
        fence = "```"
        while fence in code:
            fence += "`"
        self._add(f"{fence}{language}\n{code}\n{fence}" if code.strip() else "")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Write a table whose first row names the columns, if any does; empty lines are left out.

        A long one is written in pieces that each begin with the first row. What has a single
        cell is a box around text, and written as that.
        """
        cells = _filled([[_cell(text) for text in row] for row in rows])
        if len(cells) == 1 and len(cells[0]) == 1:
            self.paragraph(rows_text(rows))
        elif cells:
            lines = [f"| {' | '.join(row)} |" for row in cells]
            rule = f"|{' --- |' * len(cells[0])}"
            for piece in _pieces(lines):
                self._add("\n".join([piece[0], rule, *piece[1:]]))

    def page(self) -> None:
        """Begin a page: what is written from here on is on it."""
        self._in_list = False
        self._page_starts.append(self._length)

    def markdown(self, text: str) -> None:
        """Write what is Markdown already."""
        self._add(text.strip("\n"))

    @property
    def text(self) -> str:
        """All that was written."""
        return "\n\n".join(self._blocks) + "\n" if self._blocks else ""

    @property
    def page_starts(self) -> tuple[int, ...]:
        """The offset in ``text`` at which each page begins; the first begins at 0."""
        end = max(0, self._length - 1)
        starts = [min(start, end) for start in self._page_starts]
        return (0, *starts[1:]) if starts else ()

    def _add(self, block: str) -> None:
        if not block:
            return
        self._in_list = False
        self._blocks.append(block)
        self._length += len(block) + 2


def clean(text: str) -> str:
    r"""Take control characters out and write every line end as ``\n``."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\v", "\n")
    return _CONTROL.sub("", text)


def prose(text: str) -> str:
    """Clean a paragraph so that Markdown takes it for one."""
    lines = (line.strip() for line in clean(text).split("\n"))
    return _STRUCTURAL.sub(r"\\\1", "\n".join(line for line in lines if line))


def rows_text(rows: Sequence[Sequence[str]]) -> str:
    """Give the words of a table without its form."""
    return "\n".join(cell for row in rows for cell in row if cell.strip())


def _cell(text: str) -> str:
    return " ".join(clean(text).split()).replace("|", "\\|")


def _filled(rows: list[list[str]]) -> list[list[str]]:
    """Make rows equally long and leave out those, and columns, in which nothing stands."""
    width = max((len(row) for row in rows), default=0)
    even = [row + [""] * (width - len(row)) for row in rows if any(row)]
    wanted = [any(row[column] for row in even) for column in range(width)]
    return [[cell for cell, kept in zip(row, wanted, strict=True) if kept] for row in even]


def _pieces(lines: list[str]) -> list[list[str]]:
    header = len(lines[0].encode())
    if header > _TABLE_PIECE // 2:
        # Repeating it would write the table twice; and no chunk has room for it and a row.
        return [lines]
    pieces: list[list[str]] = [[lines[0]]]
    size = header
    for line in lines[1:]:
        length = len(line.encode())
        if size + length > _TABLE_PIECE and len(pieces[-1]) > 1:
            pieces.append([lines[0]])
            size = header
        pieces[-1].append(line)
        size += length
    return pieces
