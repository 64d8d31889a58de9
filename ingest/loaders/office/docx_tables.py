"""Tables of Word: rows of equal columns, with what a merged cell spans."""

from collections.abc import Callable, Iterator

from ingest.loaders.xml_tree import Element, attribute, child, local, whole

_MOST_COLUMNS = 1_000


def table_rows(table: Element, text: Callable[[Element], str]) -> list[list[str]]:
    """Give the text of each cell.

    A cell that spans rows is repeated in each, since it says what the row is about; one that
    spans columns stands in the first.
    """
    rows: list[list[str]] = []
    for row in _rows(table):
        before = rows[-1] if rows else []
        cells: list[str] = [""] * min(_skipped(row), _MOST_COLUMNS)
        for cell in _cells(row):
            properties = child(cell, "tcPr")
            column = len(cells)
            if _continues(properties):
                cells.append(before[column] if column < len(before) else "")
            else:
                cells.append(text(cell))
            cells += [""] * (min(_span(properties), _MOST_COLUMNS) - 1)
        rows.append(cells[:_MOST_COLUMNS])
    return rows


def _rows(table: Element) -> Iterator[Element]:
    for element in table:
        if local(element) == "tr":
            yield element
        elif local(element) in ("sdt", "sdtContent", "ins", "customXml"):
            yield from _rows(element)


def _cells(row: Element) -> Iterator[Element]:
    for element in row:
        if local(element) == "tc":
            yield element
        elif local(element) in ("sdt", "sdtContent", "ins", "customXml"):
            yield from _cells(element)


def _skipped(row: Element) -> int:
    before = child(row, "trPr", "gridBefore")
    return 0 if before is None else whole(attribute(before, "val"))


def _span(properties: Element | None) -> int:
    span = child(properties, "gridSpan")
    return max(1, whole(attribute(span, "val"))) if span is not None else 1


def _continues(properties: Element | None) -> bool:
    merge = child(properties, "vMerge")
    return merge is not None and attribute(merge, "val", "continue") == "continue"
