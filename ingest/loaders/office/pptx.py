"""PowerPoint presentations (.pptx): each slide is a page and a section of its own.

An own reading of PresentationML beside that of Word: kreuzberg 4.10 tells the slide only of list
items and leaves out the words of diagrams, and python-pptx would bring a library for pictures.
"""

from collections.abc import Iterator

from ingest.loaders.documents import make_document
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.office.opc import (
    Relationship,
    core_properties,
    drawn_text,
    main_part,
    read_part,
    relationships,
)
from ingest.loaders.packages import Package
from ingest.loaders.xml_tree import Element, attribute, child, children, descendants, local, whole
from ingest.types import LoadedDocument, SourceRef

_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})
_OUTLINES = frozenset({"body", "obj", ""})
"""Placeholders whose paragraphs are points of a list."""
_FLEETING_FIELDS = ("slidenum", "datetime")
_LONGEST_TITLE = 100


def load_pptx(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a presentation; the title is that of its first slide, else the stated one.

    Raises:
        SourceError: damaged, encrypted, too large once unpacked, or without text.
    """
    package = Package(ref.uri, data)
    name = main_part(package)
    related = {r.id: r.target for r in relationships(package, name)}
    out = MarkdownText()
    titles: list[str] = []
    for slide_list in children(read_part(package, name), "sldIdLst"):
        for entry in children(slide_list, "sldId"):
            # The plain id is another number; the one with a namespace names the part.
            target = next((related[v] for v in entry.attrib.values() if v in related), None)
            if target is not None:
                out.page()
                titles.append(_Slide(package, target, len(titles) + 1).write(out))
    properties = core_properties(package)
    return make_document(
        ref,
        text=out.text,
        title=(titles[0] if titles else "") or properties.title,
        media_type="pptx",
        structure="markdown",
        meta={"slides": len(titles), **properties.meta},
        language_hint=properties.language,
        page_starts=out.page_starts,
    )


class _Slide:
    """One slide with its notes and comments."""

    def __init__(self, package: Package, name: str, number: int) -> None:
        self._package = package
        self._related = {r.id: r for r in relationships(package, name)}
        self._shapes = list(_shapes(read_part(package, name)))
        self._number = number

    def write(self, out: MarkdownText) -> str:
        """Write the slide, and give its title, which may be empty."""
        title = next((shape for shape in self._shapes if _place(shape) in _TITLES), None)
        stated = _joined(title) if title is not None else ""
        shown = stated or next(filter(None, map(_first_line, self._shapes)), "")
        # Without a heading of its own a slide would pass for a part of the one before it.
        out.heading(2, shown if 0 < len(shown) <= _LONGEST_TITLE else f"#{self._number}")
        for shape in self._shapes:
            if shape is not title:
                self._shape(shape, out)
        for relationship in self._related.values():
            self._beside(relationship, out)
        return stated

    def _shape(self, shape: Element, out: MarkdownText) -> None:
        if local(shape) == "graphicFrame":
            for table in descendants(shape, "tbl"):
                out.table(_table_rows(table))
            out.paragraph(drawn_text(self._package, shape, self._related))
            return
        paragraphs = list(_paragraphs(shape))
        if _place(shape) in _OUTLINES and len(paragraphs) > 1:
            for depth, text in paragraphs:
                out.item(text, depth=depth)
        else:
            for _, text in paragraphs:
                out.paragraph(text)

    def _beside(self, relationship: Relationship, out: MarkdownText) -> None:
        if relationship.kind == "notesSlide":
            for shape in _shapes(read_part(self._package, relationship.target)):
                if _place(shape) == "body":
                    out.quote(_joined(shape))
        elif relationship.kind == "comments":
            root = read_part(self._package, relationship.target)
            for name in ("text", "txBody"):
                for comment in descendants(root, name):
                    out.quote("".join(comment.itertext()))


def _shapes(root: Element) -> Iterator[Element]:
    """Give the shapes of a slide in their order, those of groups too, without furniture."""
    for tree in descendants(root, "spTree"):
        yield from _within(tree)


def _within(group: Element) -> Iterator[Element]:
    for element in group:
        match local(element):
            case "grpSp":
                yield from _within(element)
            case "AlternateContent":
                # Alternatives show the same, for newer and older programs.
                yield from _within(next(iter(element), ()))
            case "sp" | "graphicFrame" | "cxnSp":
                if _place(element) not in _FURNITURE:
                    yield element


def _place(shape: Element) -> str | None:
    """Name the kind of a placeholder, empty where it states none; None for any other shape."""
    for properties in shape:
        found = child(properties, "nvPr", "ph")
        if found is not None:
            return attribute(found, "type")
    return None


def _paragraphs(shape: Element) -> Iterator[tuple[int, str]]:
    """Give the paragraphs of a shape with their depth in its outline."""
    body = child(shape, "txBody")
    for paragraph in children(body, "p") if body is not None else ():
        text = "".join(_runs(paragraph))
        if text.strip():
            properties = child(paragraph, "pPr")
            yield 0 if properties is None else whole(attribute(properties, "lvl")), text


def _runs(paragraph: Element) -> Iterator[str]:
    for run in paragraph:
        match local(run):
            case "br":
                yield "\n"
            case "fld" if attribute(run, "type").startswith(_FLEETING_FIELDS):
                pass
            case "r" | "fld":
                yield "".join(part.text or "" for part in children(run, "t"))
            case "m" | "AlternateContent":
                yield "".join(part.text or "" for part in descendants(run, "t"))


def _joined(shape: Element) -> str:
    return "\n".join(text for _, text in _paragraphs(shape)).strip()


def _first_line(shape: Element) -> str:
    return next((text.strip() for _, text in _paragraphs(shape)), "")


def _table_rows(table: Element) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in children(table, "tr"):
        before = rows[-1] if rows else []
        cells: list[str] = []
        for cell in children(row, "tc"):
            if attribute(cell, "vMerge") in ("1", "true") and len(cells) < len(before):
                cells.append(before[len(cells)])
            else:
                cells.append(_joined(cell))
        rows.append(cells)
    return rows
