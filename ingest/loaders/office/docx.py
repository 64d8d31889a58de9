"""Word documents (.docx): the text as Markdown, with what stands beside it.

An own reading of WordprocessingML, because the libraries at hand lose words: measured on one
file with every feature, kreuzberg 4.10 ran words parted by a tab into one, read body text of
outline level 9 as headings, wrote the reading of ruby text as if it were text, and left out
comments and the numbers of paragraphs; python-docx knows no footnotes and no text boxes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ingest.loaders.documents import make_document
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.office.docx_numbering import Numbering
from ingest.loaders.office.docx_styles import Style, paragraph_style, paragraph_styles
from ingest.loaders.office.docx_tables import table_rows
from ingest.loaders.office.opc import (
    Relationship,
    core_properties,
    drawn_text,
    main_part,
    read_part,
    relationships,
)
from ingest.loaders.packages import Package
from ingest.loaders.xml_tree import Element, attribute, children, descendants, local
from ingest.markdown import first_heading
from ingest.types import LoadedDocument, SourceRef

_WRAPPERS = frozenset({"sdt", "sdtContent", "ins", "moveTo", "smartTag", "customXml"})
_DROPPED = frozenset({"del", "moveFrom", "delText", "instrText", "rt", "pPr", "rPr", "sectPr"})
_CHARACTERS = {"tab": "\t", "ptab": "\t", "cr": "\n", "noBreakHyphen": "-", "softHyphen": ""}
_PAGE_NUMBER = frozenset("0123456789/-–— \t\n\u3000")


def load_docx(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a Word document; the title is its title paragraph, the stated one or a heading.

    Raises:
        SourceError: damaged, encrypted, too large once unpacked, or without text.
    """
    package = Package(ref.uri, data)
    name = main_part(package)
    reading = _Reading(package, name)
    reading.document(read_part(package, name))
    properties = core_properties(package)
    text = reading.out.text
    return make_document(
        ref,
        text=text,
        title=reading.title or properties.title or first_heading(text),
        media_type="docx",
        structure="markdown",
        meta=properties.meta,
        language_hint=properties.language,
    )


@dataclass
class _Beside:
    """What a paragraph refers to and is written after it."""

    boxes: list[Element] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    drawings: list[Element] = field(default_factory=list)


class _Reading:
    """Walks through a document and writes what it finds."""

    def __init__(self, package: Package, name: str) -> None:
        self._package = package
        self._related = {r.id: r for r in relationships(package, name)}
        by_kind = {r.kind: r for r in self._related.values()}
        self._styles: Mapping[str, Style] = paragraph_styles(self._part(by_kind, "styles"))
        self._numbering = Numbering(self._part(by_kind, "numbering"))
        self._beside = {
            kind: {attribute(entry, "id"): entry for entry in part if local(entry)}
            for kind in ("footnotes", "endnotes", "comments")
            if (part := self._part(by_kind, kind)) is not None
        }
        self.out = MarkdownText()
        self.title = ""

    def _part(self, by_kind: Mapping[str, Relationship], kind: str) -> Element | None:
        found = by_kind.get(kind)
        return read_part(self._package, found.target) if found is not None else None

    def document(self, root: Element) -> None:
        """Write the body, then headers and footers, each once."""
        for body in children(root, "body"):
            self._blocks(body)
        written = set()
        for relationship in self._related.values():
            if relationship.kind in ("header", "footer"):
                text = self._plain(read_part(self._package, relationship.target))
                if text not in written and not _PAGE_NUMBER.issuperset(text):
                    written.add(text)
                    self.out.paragraph(text)

    def _blocks(self, container: Element) -> None:
        for element in flattened(container):
            match local(element):
                case "p":
                    self._paragraph(element)
                case "tbl":
                    self._table(element)

    def _paragraph(self, paragraph: Element) -> None:
        properties = next(children(paragraph, "pPr"), None)
        style = paragraph_style(properties, self._styles)
        beside = _Beside()
        text = self._text(paragraph, beside)
        if text.strip() and not style.contents:
            self._write(text, style)
        self._write_beside(beside)

    def _write(self, text: str, style: Style) -> None:
        label = ""
        if style.list_id is not None:
            label = self._numbering.label(style.list_id, style.list_level)
        if style.heading is not None or style.title:
            self.out.heading(style.heading or 1, f"{label.strip('-')} {text}")
            if style.title and not self.title:
                self.title = text
        elif label:
            self.out.item(text, depth=style.list_level, label=label)
        else:
            self.out.paragraph(text)

    def _write_beside(self, beside: _Beside) -> None:
        for box in beside.boxes:
            self._blocks(box)
        for drawing in beside.drawings:
            self.out.paragraph(drawn_text(self._package, drawing, self._related))
        for mark, note in beside.notes:
            self.out.paragraph(f"{mark} {note}")
        for comment in beside.comments:
            self.out.quote(comment)

    def _table(self, table: Element) -> None:
        beside = _Beside()
        self.out.table(table_rows(table, lambda cell: self._plain(cell, beside)))
        self._write_beside(beside)

    def _plain(self, container: Element, beside: _Beside | None = None) -> str:
        """Give the lines of a cell, a note or a header; tables in it cell by cell."""
        collected = beside if beside is not None else _Beside()
        lines = []
        for element in flattened(container):
            if local(element) == "p":
                lines.append(self._text(element, collected))
            elif local(element) == "tbl":
                rows = table_rows(element, lambda cell: self._plain(cell, collected))
                lines += [" ".join(cell for cell in row if cell) for row in rows]
        if beside is None:
            lines += [self._plain(box) for box in collected.boxes]
        return "\n".join(line for line in lines if line.strip())

    def _text(self, paragraph: Element, beside: _Beside) -> str:
        return "".join(self._pieces(paragraph, beside)).strip()

    def _pieces(self, parent: Element, beside: _Beside) -> Iterator[str]:
        for element in flattened(parent):
            name = local(element)
            if name == "r" and _hidden(element):
                continue
            if name == "t":
                yield element.text or ""
            elif name in _CHARACTERS:
                yield _CHARACTERS[name]
            elif name == "br":
                yield " " if attribute(element, "type") else "\n"
            elif name in ("footnoteReference", "endnoteReference", "commentReference"):
                yield self._reference(name, attribute(element, "id"), beside)
            elif name in ("drawing", "pict", "object"):
                beside.boxes += outermost(element, "txbxContent")
                beside.drawings.append(element)
            elif name not in _DROPPED:
                yield from self._pieces(element, beside)

    def _reference(self, name: str, key: str, beside: _Beside) -> str:
        kind = name.removesuffix("Reference") + "s"
        entry = self._beside.get(kind, {}).get(key)
        if entry is None:
            return ""
        text = self._plain(entry)
        if kind == "comments":
            author = attribute(entry, "author").strip()
            beside.comments.append(f"{author}: {text}" if author else text)
            return ""
        mark = f"[{len(beside.notes) + 1}]"
        beside.notes.append((mark, text))
        return mark


def flattened(parent: Element) -> Iterator[Element]:
    """Give the children of an element, those of wrappers in place of the wrappers.

    Of alternatives the first is taken: they show the same, for newer and older programs.
    """
    for element in parent:
        name = local(element)
        if name in _WRAPPERS:
            yield from flattened(element)
        elif name == "AlternateContent":
            yield from flattened(next(iter(element), ()))
        elif name not in _DROPPED:
            yield element


def outermost(element: Element, name: str) -> Iterator[Element]:
    """Give the elements of a name that lie in no other of it."""
    found = None
    for candidate in descendants(element, name):
        if found is None or all(above is not found for above in candidate.iterancestors()):
            found = candidate
            yield candidate


def _hidden(run: Element) -> bool:
    for properties in children(run, "rPr"):
        for vanish in children(properties, "vanish"):
            return attribute(vanish, "val", "1") not in ("0", "false", "off")
    return False
