"""The text of OpenDocument: paragraphs, lists, tables, frames, and what stands beside them."""

from collections.abc import Callable, Iterator

from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.xml_tree import Element, attribute, children, descendants, local, whole

_INDEXES = frozenset(
    {"table-of-content", "illustration-index", "table-index", "object-index", "user-index"}
    | {"alphabetical-index", "bibliography"}
)
_DROPPED = _INDEXES | {"tracked-changes", "forms", "scripts", "ruby-text", "note-citation"}
_BESIDE = frozenset({"note", "annotation", "frame", "custom-shape"})
_FURNITURE = frozenset({"page-number", "date-time", "header", "footer"})
_LONGEST_TITLE = 100
_MOST_SPACES = 100
_MOST_REPEATED = 100


class OdfText:
    """Writes what elements of OpenDocument hold."""

    def __init__(self, out: MarkdownText) -> None:
        """Write to ``out``."""
        self._out = out
        self._notes = 0
        self._title: Element | None = None

    def slide(self, page: Element) -> None:
        """Write a slide without its title."""
        self._title = _title_frame(page)
        self.blocks(page)

    def blocks(self, container: Element) -> None:
        """Write all that an element holds."""
        for element in container:
            match local(element):
                case "h":
                    self._write(element, self._heading(element))
                case "p":
                    self._write(element, self._out.paragraph)
                case "list":
                    self._list(element, 0)
                case "table":
                    self._out.table(_table_rows(element))
                case "notes":
                    self._out.quote("\n".join(_paragraphs(element)))
                case "annotation":
                    self._out.quote("\n".join(_paragraphs(element)))
                case name if name in _DROPPED or element is self._title:
                    pass
                case _ if attribute(element, "class") not in _FURNITURE:
                    self.blocks(element)

    def _write(self, paragraph: Element, write: Callable[[str], None]) -> None:
        beside: list[Element] = []
        text = "".join(_pieces(paragraph, beside))
        notes = []
        for element in beside:
            if local(element) == "note":
                self._notes += 1
                text = text.replace("\0", f"[{self._notes}]", 1)
                notes.append(f"[{self._notes}] " + "\n".join(_paragraphs(element)))
        write(text)
        for note in notes:
            self._out.paragraph(note)
        for element in beside:
            if local(element) == "annotation":
                self._out.quote("\n".join(_paragraphs(element)))
            elif local(element) != "note":
                self.blocks(element)

    def _heading(self, element: Element) -> Callable[[str], None]:
        level = whole(attribute(element, "outline-level")) or 1
        return lambda text: self._out.heading(level, text)

    def _list(self, listing: Element, depth: int) -> None:
        for item in listing:
            for element in item:
                match local(element):
                    case "p":
                        self._write(element, lambda text: self._out.item(text, depth=depth))
                    case "list":
                        self._list(element, depth + 1)
                    case "h":
                        self._write(element, self._heading(element))


def slide_title(page: Element) -> str:
    """Give the title of a slide, else a short first line, else nothing."""
    frame = _title_frame(page)
    stated = " ".join(_paragraphs(frame)) if frame is not None else ""
    first = next(_paragraphs(page), "")
    return stated or (first if len(first) <= _LONGEST_TITLE else "")


def _title_frame(page: Element) -> Element | None:
    frames = (f for f in children(page, "frame") if attribute(f, "class") == "title")
    return next(frames, None)


def _paragraphs(element: Element) -> Iterator[str]:
    """Give the paragraphs below an element that hold text, without what is beside them."""
    for paragraph in element.iter("{*}p", "{*}h"):
        text = "".join(_pieces(paragraph, [])).replace("\0", "").strip()
        if text:
            yield text


def _pieces(element: Element, beside: list[Element]) -> Iterator[str]:
    """Give the text of a paragraph, and put aside what it only anchors; a note leaves a NUL."""
    yield element.text or ""
    for child in element:
        name = local(child)
        if name in _BESIDE:
            beside.append(child)
            yield "\0" if name == "note" else ""
        elif name == "s":
            yield " " * min(whole(attribute(child, "c", "1")), _MOST_SPACES)
        elif name == "tab":
            yield "\t"
        elif name == "line-break":
            yield "\n"
        elif name not in _DROPPED:
            yield from _pieces(child, beside)
        yield child.tail or ""


def _table_rows(table: Element) -> list[list[str]]:
    rows = descendants(table, "table-row")
    return [list(_cells(row)) for row in rows if next(row.iterancestors("{*}table")) is table]


def _cells(row: Element) -> Iterator[str]:
    for cell in row:
        if local(cell) not in ("table-cell", "covered-table-cell"):
            continue
        text = "\n".join(_paragraphs(cell))
        # What has no text is often repeated to the edge of the sheet.
        repeated = whole(attribute(cell, "number-columns-repeated", "1")) if text else 1
        yield from [text] * min(max(1, repeated), _MOST_REPEATED)
