"""The binary format of Word 97 to 2003, [MS-DOC]: characters, paragraphs, tables, notes.

An own reading, because kreuzberg 4.10 runs the cells and rows of a table into one line, shows
the instructions of fields, and finds headings by guessing.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from search_app.errors import SourceError

_MAGIC = 0xA5EC
_ENCRYPTED = 0x0100
_TABLE_STREAM_1 = 0x0200
_WORD_97 = 0x00C1
_PARTS = ("text", "footnotes", "headers", "macros", "comments", "endnotes", "boxes", "header boxes")
_PART_LENGTHS = 0x4C
_PARAGRAPH_PAGES = 0x102
_PIECE_TABLE = 0x1A2
_COMPRESSED = 0x4000_0000
_PAGE = 512
_IN_TABLE = 0x2416
_ROW_END = 0x2417
_OUTLINE = 0x2640
_TABLE_DEFINITION = 0xD608
_OPERANDS = {0: 1, 1: 1, 2: 2, 3: 4, 4: 2, 5: 2, 7: 3}
_HEADINGS = range(1, 10)
"""Indices of the styles heading 1 to 9, the same in every file."""


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A paragraph with the mark that ends it; fields are still in ``text``.

    ``heading`` is 1 to 9 or None.
    """

    text: str
    mark: str
    heading: int | None
    in_table: bool
    row_end: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """Characters from position ``start``, which lie in the stream from ``offset``."""

    start: int
    offset: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """The properties of the paragraph whose mark lies below the offset ``end``."""

    end: int
    heading: int | None
    in_table: bool
    row_end: bool


class Word97:
    """The parts of a document, each a sequence of paragraphs."""

    def __init__(self, source: str, stream: bytes, tables: dict[str, bytes]) -> None:
        """Read the stream ``WordDocument`` and those of tables, ``0Table`` and ``1Table``.

        Raises:
            SourceError: encrypted, of Word 95 or older, or damaged.
        """
        self._source = source
        self._stream = stream
        magic, version = struct.unpack_from("<HH", stream) if len(stream) >= _PAGE else (0, 0)
        if magic != _MAGIC:
            raise SourceError(source, "damaged: it lacks the header of a Word document")
        (flags,) = struct.unpack_from("<H", stream, 0x0A)
        if flags & _ENCRYPTED:
            raise SourceError(source, "encrypted; save it without a password")
        if version < _WORD_97:
            raise SourceError(source, "written by Word 95 or older; save it as .docx")
        self._table = tables.get("1Table" if flags & _TABLE_STREAM_1 else "0Table", b"")
        try:
            self._pieces, self._characters = self._read_pieces()
            self._runs = sorted(self._read_runs(), key=lambda run: run.end)
        except (struct.error, IndexError, ValueError) as exc:
            raise SourceError(source, f"damaged: {exc}") from exc

    def part(self, name: str) -> Iterator[Paragraph]:
        """Give the paragraphs of a part: text, footnotes, headers, comments, endnotes, boxes."""
        lengths = struct.unpack_from(f"<{len(_PARTS)}i", self._stream, _PART_LENGTHS)
        at = _PARTS.index(name)
        start = sum(lengths[:at])
        return self._paragraphs(start, start + max(0, lengths[at]))

    def _paragraphs(self, start: int, end: int) -> Iterator[Paragraph]:
        begin = start
        for position in range(start, min(end, len(self._characters))):
            mark = self._characters[position]
            if mark in "\r\x07\x0c":
                yield self._paragraph(begin, position, mark)
                begin = position + 1

    def _paragraph(self, begin: int, position: int, mark: str) -> Paragraph:
        units = self._characters[begin:position]
        text = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        run = self._run_at(position)
        return Paragraph(
            text=text,
            mark=mark,
            heading=run.heading if run else None,
            in_table=run.in_table if run else mark == "\x07",
            row_end=run.row_end if run else False,
        )

    def _run_at(self, position: int) -> _Run | None:
        piece = self._pieces[bisect_right(self._piece_starts, position) - 1]
        offset = piece.offset + (position - piece.start) * piece.width
        at = bisect_right(self._run_ends, offset)
        return self._runs[at] if at < len(self._runs) else None

    @cached_property
    def _piece_starts(self) -> Sequence[int]:
        return [piece.start for piece in self._pieces]

    @cached_property
    def _run_ends(self) -> Sequence[int]:
        return [run.end for run in self._runs]

    def _located(self, at: int) -> bytes:
        offset, length = struct.unpack_from("<II", self._stream, at)
        return self._table[offset : offset + length]

    def _read_pieces(self) -> tuple[list[_Piece], str]:
        data = self._located(_PIECE_TABLE)
        at = 0
        while data[at] == 1:
            # Properties that pieces may refer to, of no concern here.
            at += 3 + struct.unpack_from("<H", data, at + 1)[0]
        (length,) = struct.unpack_from("<I", data, at + 1)
        count = (length - 4) // 12
        starts = struct.unpack_from(f"<{count + 1}I", data, at + 5)
        pieces, parts = [], []
        for number in range(count):
            (place,) = struct.unpack_from("<I", data, at + 5 + 4 * (count + 1) + 8 * number + 2)
            size = starts[number + 1] - starts[number]
            wide = not place & _COMPRESSED
            offset = place & ~_COMPRESSED if wide else (place & ~_COMPRESSED) // 2
            pieces.append(_Piece(start=starts[number], offset=offset, width=2 if wide else 1))
            parts.append(self._decoded(offset, size, wide=wide))
        return pieces, "".join(parts)

    def _decoded(self, offset: int, size: int, *, wide: bool) -> str:
        data = self._stream[offset : offset + size * (2 if wide else 1)]
        if len(data) < size * (2 if wide else 1):
            raise ValueError("its text lies beyond its end")
        if wide:
            # One character for each unit, so that positions hold.
            return "".join(map(chr, struct.unpack(f"<{size}H", data)))
        return data.decode("cp1252", "replace")

    def _read_runs(self) -> Iterator[_Run]:
        data = self._located(_PARAGRAPH_PAGES)
        count = (len(data) - 4) // 8
        for number in range(count):
            (page,) = struct.unpack_from("<I", data, 4 * (count + 1) + 4 * number)
            start = (page & 0x3F_FFFF) * _PAGE
            yield from self._page_runs(self._stream[start : start + _PAGE])

    @staticmethod
    def _page_runs(page: bytes) -> Iterator[_Run]:
        count = page[_PAGE - 1]
        ends = struct.unpack_from(f"<{count + 1}I", page)[1:]
        for number, end in enumerate(ends):
            at = page[4 * (count + 1) + 13 * number] * 2
            if at == 0:
                yield _Run(end=end, heading=None, in_table=False, row_end=False)
                continue
            half = page[at]
            begin, size = (at + 1, 2 * half - 1) if half else (at + 2, 2 * page[at + 1])
            properties = page[begin : begin + size]
            (style,) = struct.unpack_from("<H", properties)
            stated = dict(_modifiers(properties[2:]))
            heading = style if style in _HEADINGS else None
            if _OUTLINE in stated:
                level = stated[_OUTLINE] + 1
                heading = level if level in _HEADINGS else None
            in_table, row_end = bool(stated.get(_IN_TABLE)), bool(stated.get(_ROW_END))
            yield _Run(end=end, heading=heading, in_table=in_table, row_end=row_end)


def _modifiers(data: bytes) -> Iterator[tuple[int, int]]:
    """Give the property modifiers by their code, with the first byte of what they state."""
    at = 0
    while at + 2 < len(data):
        (code,) = struct.unpack_from("<H", data, at)
        at += 2
        yield code, data[at]
        if code == _TABLE_DEFINITION and at + 2 <= len(data):
            at += struct.unpack_from("<H", data, at)[0] + 1
        else:
            at += _OPERANDS.get(code >> 13, data[at] + 1)
