"""Workbooks (.xlsx, .xls, .ods): each sheet a section with its cells as a table."""

import datetime as dt
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingest.loaders.documents import make_document
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.office import ole
from ingest.loaders.office.odf import odf_metadata, open_document, stated_properties
from ingest.loaders.office.opc import core_properties, main_part
from ingest.loaders.packages import Package
from ingest.loaders.panics import panics_refused
from ingest.types import LoadedDocument, SourceRef
from search_app.errors import SourceError
from search_app.types import JSON

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

_MIDNIGHT = dt.time()


def load_xlsx(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read an Excel workbook; the title is the stated one. Macros are not even opened.

    Raises:
        SourceError: damaged, encrypted, too large once unpacked, or without text.
    """
    package = Package(ref.uri, data)
    main_part(package)
    properties = core_properties(package)
    # The parser does not limit what it unpacks, so it gets what has been unpacked within limits.
    parts = [name for name in package.names if name.endswith((".xml", ".rels", ".bin"))]
    copied = package.copied(name for name in parts if _is_data(name))
    return _document(ref, copied, "xlsx", title=properties.title, meta=properties.meta)


def _is_data(name: str) -> bool:
    return not name.startswith(("xl/media", "xl/drawings", "xl/embeddings", "xl/vbaProject"))


def load_ods(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read an OpenDocument workbook.

    Raises:
        SourceError: as for ``load_xlsx``.
    """
    package = open_document(ref.uri, data)
    stated = stated_properties(package)
    parts = ("mimetype", "META-INF/manifest.xml", "content.xml", "styles.xml")
    copied = package.copied(name for name in parts if name in package)
    return _document(ref, copied, "ods", title=stated["title"], meta=odf_metadata(stated))


def load_xls(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a workbook of Excel 97 to 2003.

    Raises:
        SourceError: damaged, encrypted or without text.
    """
    with ole.opened(ref.uri, data) as container:
        title, meta = ole.stated(container)
    return _document(ref, data, "xls", title=title, meta=meta)


def _document(
    ref: SourceRef, data: bytes, kind: str, *, title: str, meta: dict[str, JSON]
) -> LoadedDocument:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    out = MarkdownText()
    try:
        with panics_refused(ref.uri):
            names = _write(CalamineWorkbook.from_filelike(io.BytesIO(data)), out)
    except PasswordError as exc:
        raise SourceError(ref.uri, "encrypted; save it without a password") from exc
    except CalamineError as exc:
        raise SourceError(ref.uri, f"damaged: {exc}") from exc
    return make_document(
        ref,
        text=out.text,
        title=title,
        media_type=kind,
        structure="markdown",
        meta={"sheets": names, **meta},
    )


def _write(workbook: "CalamineWorkbook", out: MarkdownText) -> list[JSON]:
    from python_calamine import SheetTypeEnum

    names: list[JSON] = []
    for entry in workbook.sheets_metadata:
        if entry.typ != SheetTypeEnum.WorkSheet:
            continue
        names.append(entry.name)
        sheet = workbook.get_sheet_by_name(entry.name)
        rows = _rows(sheet)
        if any(any(row) for row in rows):
            out.heading(2, entry.name)
            for table in _tables(rows):
                out.table(table)
    return names


def _tables(rows: list[list[str]]) -> Iterator[list[list[str]]]:
    """Part the tables of a sheet: one begins behind an empty row, wider than the one before it."""
    table: list[list[str]] = []
    width, gap = 0, False
    for row in rows:
        filled = max((column for column, cell in enumerate(row, start=1) if cell), default=0)
        if filled and gap and filled > width:
            yield table
            table, width = [], 0
        if filled:
            table.append(row)
            width = max(width, filled)
        gap = not filled
    yield table


def _rows(sheet: "CalamineSheet") -> list[list[str]]:
    rows = [[_shown(cell) for cell in row] for row in sheet.to_python()]
    top, left = sheet.start or (0, 0)
    for (first_row, first_column), (last_row, _) in sheet.merged_cell_ranges or ():
        # A cell that spans rows says of each what it is about; see docx_tables.py.
        column = first_column - left
        for row in range(first_row + 1 - top, min(last_row - top + 1, len(rows))):
            if row > 0 and 0 <= column < len(rows[row]):
                rows[row][column] = rows[row][column] or rows[row - 1][column]
    return rows


def _shown(cell: object) -> str:
    """Write a value as a reader would, the same in every language."""
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case float() if cell.is_integer() and abs(cell) < 1e15:  # noqa: PLR2004 - digits that a float holds exactly
            return str(int(cell))
        case float():
            return f"{cell:.15g}"
        case dt.datetime():
            date = cell.date().isoformat()
            return date if cell.time() == _MIDNIGHT else f"{date} {cell.time().isoformat()}"
        case dt.date() | dt.time():
            return cell.isoformat()
        case _:
            return str(cell)
