"""CSV and TSV: one document a row, read as a stream."""

import csv
import re
from collections.abc import Iterator
from io import BufferedReader

from ingest.loaders.decoding import LINE_LIMIT, read_lines
from ingest.loaders.documents import EMPTY
from ingest.loaders.records import Record
from search_app.errors import SourceError
from search_app.types import JSON

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")
_MOST_COLUMNS = 1_000
"""Each is a field of every row's document; what has more is a matrix."""
_DELIMITERS = (",", ";", "\t", "|")


class _Lines:
    """The lines of a file as the csv module wants them: errors aside, and counted.

    ``first`` is the number of the first good line since it was last set to 0.
    """

    def __init__(self, source: str, file: BufferedReader) -> None:
        self._text = read_lines(source, file)
        self._lines = iter(self._text)
        self.number = 0
        self.first = 0
        self.errors: list[SourceError] = []

    @property
    def encoding(self) -> str:
        """Say what the last line was read as."""
        return self._text.encoding

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        while True:
            line = next(self._lines)
            self.number += 1
            if isinstance(line, str):
                self.first = self.first or self.number
                return line
            self.errors.append(line)


def csv_records(source: str, file: BufferedReader) -> Iterator[Record | SourceError]:
    """Read a table separated by commas, or by whatever separates its first row."""
    return _table(source, file, _DELIMITERS)


def tsv_records(source: str, file: BufferedReader) -> Iterator[Record | SourceError]:
    """Read a table separated by tabs."""
    return _table(source, file, ("\t",))


def _table(
    source: str, file: BufferedReader, delimiters: tuple[str, ...]
) -> Iterator[Record | SourceError]:
    # The csv module's own limit of 128 kB a field holds for the whole process and cannot be set
    # for one reader; this one is the limit of lines.
    csv.field_size_limit(LINE_LIMIT)
    lines = _Lines(source, file)
    try:
        header, delimiter = _header(source, lines, delimiters)
    except SourceError as error:
        yield error
        return
    # Strict, because otherwise a quotation mark that is never closed swallows the rest unseen.
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.first = 0
        try:
            row = next(rows, None)
        except csv.Error as exc:
            yield from _drained(lines.errors)
            yield SourceError(f"{source}#{lines.first}", _broken(exc, lines))
            if "field limit" in str(exc):
                # Somewhere within a text of millions of characters, no row can be told.
                return
            continue
        yield from _drained(lines.errors)
        if row is None:
            return
        if row:
            yield _record(f"{source}#{lines.first}", lines, header, row)


def _header(source: str, lines: _Lines, delimiters: tuple[str, ...]) -> tuple[list[str], str]:
    first = next((line for line in lines if line.strip()), "")
    if lines.errors:
        error = lines.errors[0]
        raise SourceError(source, f"{error.source.removeprefix(source)}: {error.reason}")
    if not first:
        raise SourceError(source, EMPTY)
    # The first that separates anything; a lone column needs none.
    delimiter = next((d for d in delimiters if len(_cells(first, d)) > 1), delimiters[0])
    # Tables written with a nameless index column are common.
    cells = enumerate(_cells(first, delimiter), start=1)
    names = [cell.strip() or f"column {number}" for number, cell in cells]
    if len(names) > _MOST_COLUMNS:
        raise SourceError(source, f"has {len(names):,} columns; at most {_MOST_COLUMNS:,}")
    for name in names:
        if _number(name) is not None:
            raise SourceError(
                source, f"the first row must name the columns, and {name!r} is not a name"
            )
        if names.count(name) > 1:
            raise SourceError(source, f"two columns are named {name!r}; names must differ")
    return names, delimiter


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _record(at: str, lines: _Lines, header: list[str], row: list[str]) -> Record | SourceError:
    if len(row) != len(header):
        return SourceError(at, f"has {len(row)} fields where the first row names {len(header)}")
    values: dict[str, JSON] = {}
    for name, cell in zip(header, row, strict=True):
        number = _number(cell)
        values[name] = cell if number is None else number
    return Record(line=lines.first, values=values, encoding=lines.encoding)


def _number(cell: str) -> int | float | None:
    """Read a number that is written as numbers are written back: not 007, 1.50 or -0."""
    if _NUMBER.fullmatch(cell) is None:
        return None
    number = float(cell) if "." in cell else int(cell)
    return number if str(number) == cell else None


def _broken(error: csv.Error, lines: _Lines) -> str:
    if lines.number > lines.first:
        return f"a quotation mark in it is not closed by line {lines.number}: {error}"
    return str(error)


def _drained(errors: list[SourceError]) -> list[SourceError]:
    taken = errors.copy()
    errors.clear()
    return taken
