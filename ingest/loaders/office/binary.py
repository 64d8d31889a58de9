"""Word and PowerPoint of 1997 to 2003 (.doc, .ppt), and rich text (.rtf)."""

import re
from collections.abc import Iterable, Iterator

from ingest.loaders.documents import make_document
from ingest.loaders.extraction import extract, write_nodes
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.office import ole
from ingest.loaders.office.powerpoint97 import Slide, slides
from ingest.loaders.office.word97 import Paragraph, Word97
from ingest.loaders.properties import authors, metadata, stated_date, stated_title
from ingest.markdown import first_heading
from ingest.types import LoadedDocument, SourceRef

_FIELD = re.compile("[\x13\x14\x15]|[^\x13\x14\x15]+")
_CHARACTERS = str.maketrans({"\x0b": "\n", "\x1e": "-", "\x1f": None, "\x01": None, "\x08": None})
_REFERENCES = re.compile("[\x02\x05]")
_TITLES = (0, 6)
_OUTLINES = (1, 5, 7, 8)
"""Kinds of texts on slides: titles, and those whose paragraphs are points of a list."""
_PAGE_NUMBER = frozenset("0123456789/-–— \t\n")


def load_doc(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a Word document of the old format.

    Raises:
        SourceError: encrypted, of Word 95 or older, damaged or without text.
    """
    with ole.opened(ref.uri, data) as container:
        names = ("WordDocument", "0Table", "1Table")
        streams = {n: container.openstream(n).read() for n in names if container.exists(n)}
        title, meta = ole.stated(container)
    document = Word97(ref.uri, streams.pop("WordDocument", b""), streams)
    out = MarkdownText()
    _write_text(document.part("text"), out)
    for number, note in enumerate(_entries(document, "footnotes", "endnotes"), start=1):
        out.paragraph(f"[{number}] {note}")
    for comment in _entries(document, "comments"):
        out.quote(comment)
    for line in dict.fromkeys(_lines(document.part("boxes"))):
        out.paragraph(line)
    for line in dict.fromkeys(_lines(document.part("headers"))):
        if not _PAGE_NUMBER.issuperset(line):
            out.paragraph(line)
    return make_document(
        ref,
        text=out.text,
        title=title or first_heading(out.text),
        media_type="doc",
        structure="markdown",
        meta=meta,
    )


def _write_text(paragraphs: Iterable[Paragraph], out: MarkdownText) -> None:
    rows: list[list[str]] = []
    cells: list[str] = []
    lines: list[str] = []
    fields = _Fields()
    notes = 0
    for paragraph in paragraphs:
        text = fields.shown(paragraph.text)
        for _ in range(text.count("\x02")):
            notes += 1
            text = text.replace("\x02", f"[{notes}]", 1)
        text = text.replace("\x05", "")
        if paragraph.row_end:
            rows.append(cells)
            cells, lines = [], []
        elif paragraph.in_table:
            lines.append(text)
            if paragraph.mark == "\x07":
                cells.append("\n".join(lines))
                lines = []
        else:
            out.table(rows)
            rows = []
            if paragraph.heading is not None:
                out.heading(paragraph.heading, text)
            else:
                out.paragraph(text)
    out.table([*rows, cells] if cells else rows)


class _Fields:
    """Takes the instructions of fields out of a text and leaves what they show."""

    def __init__(self) -> None:
        self._instructions: list[bool] = []

    def shown(self, text: str) -> str:
        kept = []
        for part in _FIELD.findall(text):
            match part:
                case "\x13":
                    self._instructions.append(True)
                case "\x14" if self._instructions:
                    self._instructions[-1] = False
                case "\x15" if self._instructions:
                    self._instructions.pop()
                case _ if not any(self._instructions):
                    kept.append(part)
        return "".join(kept).translate(_CHARACTERS)


def _lines(paragraphs: Iterable[Paragraph]) -> Iterator[str]:
    fields = _Fields()
    for paragraph in paragraphs:
        text = fields.shown(paragraph.text).strip()
        if text:
            yield text


def _entries(document: Word97, *parts: str) -> Iterator[str]:
    """Give the notes of parts, each of which begins with the mark of its reference."""
    for part in parts:
        text = "\n".join(_lines(document.part(part)))
        yield from (entry.strip() for entry in _REFERENCES.split(text)[1:])


def load_ppt(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a PowerPoint presentation of the old format, each slide a page.

    Raises:
        SourceError: encrypted, damaged or without text.
    """
    with ole.opened(ref.uri, data) as container:
        names = ("PowerPoint Document", "Current User")
        streams = [container.openstream(name).read() for name in names]
        title, meta = ole.stated(container)
    out = MarkdownText()
    found = slides(ref.uri, *streams)
    titles = [_write_slide(slide, number, out) for number, slide in enumerate(found, start=1)]
    return make_document(
        ref,
        text=out.text,
        title=(titles[0] if titles else "") or title,
        media_type="ppt",
        structure="markdown",
        meta={"slides": len(titles), **meta},
        page_starts=out.page_starts,
    )


def _write_slide(slide: Slide, number: int, out: MarkdownText) -> str:
    """Write a slide and give its title, which may be empty."""
    title = next((text for text in slide.texts if text.kind in _TITLES), None)
    stated = title.text.strip() if title is not None else ""
    out.page()
    out.heading(2, stated or f"#{number}")
    for text in slide.texts:
        lines = [line for line in text.text.split("\r") if line.strip()]
        if text is title:
            continue
        for line in lines:
            if text.kind in _OUTLINES and len(lines) > 1:
                out.item(line)
            else:
                out.paragraph(line)
    for note in slide.notes:
        out.quote(note.text)
    return stated


def load_rtf(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read rich text.

    Raises:
        SourceError: damaged or without text.
    """
    extracted = extract(ref.uri, data, "application/rtf")
    out = MarkdownText()
    write_nodes(extracted.nodes, out)
    stated = extracted.stated
    return make_document(
        ref,
        text=out.text,
        title=stated_title(stated.get("title")) or first_heading(out.text),
        media_type="rtf",
        structure="markdown",
        meta=metadata(
            {
                "author": authors(stated.get("authors") or []),
                "created": stated_date(stated.get("created_at")),
                "modified": stated_date(stated.get("modified_at")),
            }
        ),
    )
