"""The table of formats in the manual says what a file of each format is read as."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest import loaders
from ingest.chunker import chunk
from ingest.loaders.code import CODE_LANGUAGES
from ingest.loaders.registry import supported
from ingest.types import LoadedDocument
from search_app.types import Chunking
from search_app.words import CODE_TYPES, TYPES
from tests.office_files import docx, epub, odf, paragraph, placeholder, pptx, rows, table, xlsx
from tests.test_loaders import FILES, Desk, desk

__all__ = ["desk"]

DOCS = Path(__file__).parent.parent / "docs"
CORE = (
    "<dc:creator>Sato</dc:creator><dc:subject>Harbours</dc:subject>"
    "<cp:keywords>a, b</cp:keywords><cp:category>Notes</cp:category>"
    "<dcterms:created>2024-01-02T03:04:05Z</dcterms:created>"
    "<dcterms:modified>2024-01-03T03:04:05Z</dcterms:modified>"
)
META = (
    "<meta:initial-creator>Sato</meta:initial-creator><dc:subject>Harbours</dc:subject>"
    "<meta:keyword>a</meta:keyword><meta:creation-date>2024-01-02T03:04:05</meta:creation-date>"
    "<dc:date>2024-01-03T03:04:05</dc:date>"
)
ODF_CELL = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
ODF_ROWS = ("".join(ODF_CELL.format(cell) for cell in line) for line in ("ab", "12"))
ODF_TABLE = (
    '<table:table table:name="S">'
    + "".join(f"<table:table-row>{line}</table:table-row>" for line in ODF_ROWS)
    + "</table:table>"
)
PAGE = (
    "<html><head><meta name='author' content='Sato'><meta property='article:published_time' "
    "content='2024-01-02'><meta property='article:modified_time' content='2024-01-03'></head>"
    "<h1>Heading</h1><p>Words.</p><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr>"
    "</table></html>"
)
MARKDOWN = "# Heading\n\nWords.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
"""A file of each format with all that the format can hold."""


def shapes() -> str:
    cell = "<a:tc><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>"
    lines = ("".join(cell.format(c) for c in line) for line in ("ab", "12"))
    inner = "".join(f"<a:tr>{line}</a:tr>" for line in lines)
    return (
        placeholder("title", "Heading") + f"<p:graphicFrame><a:tbl>{inner}</a:tbl></p:graphicFrame>"
    )


def workbook() -> bytes:
    import io
    import zipfile

    from tests.office_files import element, zipped

    with zipfile.ZipFile(io.BytesIO(xlsx({"Heading": rows(["a", "b"], [1, 2])}))) as archive:
        members: dict[str, str | bytes] = {n: archive.read(n) for n in archive.namelist()}
    return zipped(members | {"core.xml": element("cp:coreProperties", CORE)})


def made(suffix: str) -> str | bytes | None:
    """Make a file; None for formats of which only samples are at hand."""
    heading = paragraph("Heading", '<w:outlineLvl w:val="0"/>')
    cells = table([paragraph("a"), paragraph("b")], [paragraph("1"), paragraph("2")])
    slide = (
        "<draw:page><draw:frame presentation:class='title'><draw:text-box><text:p>Heading</text:p>"
        f"</draw:text-box></draw:frame><draw:frame>{ODF_TABLE}</draw:frame></draw:page>"
    )
    odf_heading = "<text:h text:outline-level='1'>Heading</text:h><text:p>Words.</text:p>"
    book = (
        "<dc:creator>Sato</dc:creator><dc:date>2024-01-02</dc:date><dc:publisher>P</dc:publisher>"
        "<dc:subject>Harbours</dc:subject>"
    )
    mail = (
        "From: a@x.y\nTo: b@x.y\nCc: c@x.y\nDate: Tue, 02 Jan 2024 12:00:00 +0900\nSubject: x\n"
        'Content-Type: multipart/mixed; boundary="B"\n\n--B\nContent-Type: text/plain\n\nWords.\n'
        "--B\nContent-Type: text/plain; name=a.txt\n\nx\n--B--\n"
    )
    cell = {"cell_type": "markdown", "source": MARKDOWN}
    about = {"language_info": {"name": "python"}, "authors": [{"name": "Sato"}]}
    rtf = (
        r"{\rtf1{\info{\author Sato}{\creatim\yr2024\mo1\dy2}{\revtim\yr2024\mo1\dy3}}"
        r"{\stylesheet{\s1 heading 1;}}\pard\s1\outlinelevel0 Heading\par\pard Words.\par"
        r"\trowd\cellx9\cellx99 a\cell b\cell\row\trowd\cellx9\cellx99 1\cell 2\cell\row\pard}"
    )
    files: dict[str, str | bytes] = {
        ".docx": docx(heading + cells, core=CORE),
        ".odt": odf("text", odf_heading + ODF_TABLE, META),
        ".rtf": rtf,
        ".pptx": pptx([shapes(), shapes()], core=CORE),
        ".odp": odf("presentation", slide * 2, META),
        ".xlsx": workbook(),
        ".ods": odf("spreadsheet", ODF_TABLE, META),
        ".epub": epub({"1.xhtml": PAGE}, meta=book),
        ".html": PAGE,
        ".eml": mail,
        ".md": MARKDOWN,
        ".org": "#+AUTHOR: Sato\n* Heading\nWords.\n| a | b |\n|---+---|\n| 1 | 2 |\n",
        ".rst": "Heading\n=======\n\n:Author: Sato\n:Date: 2024\n\nWords.\n",
        ".ipynb": json.dumps({"cells": [cell], "metadata": about}),
        ".txt": "Heading\n=======\n\nWords that are many enough.\n",
        ".csv": "text,a\nwords,1\n",
        ".tsv": "text\ta\nwords\t1\n",
        ".jsonl": '{"text": "words", "a": 1}\n',
    }
    return files.get(suffix)


SAMPLES = {".doc": "r2r/doc.doc", ".ppt": "r2r/ppt.ppt", ".xls": "r2r/xls.xls"}
SAMPLES |= {".pdf": "haystack/pdf/react_paper.pdf"}


@dataclass(frozen=True, kw_only=True)
class Row:
    suffixes: tuple[str, ...]
    type: str
    headings: bool
    tables: bool
    pages: bool
    fields: frozenset[str]
    own_fields: bool
    """The metadata is what the file's author thought of."""


def documented(language: str) -> list[Row]:
    return list(_rows(language))


def _rows(language: str) -> Iterator[Row]:
    for line in (DOCS / language / "formats.md").read_text(encoding="utf-8").split("\n"):
        if not line.startswith("| `."):
            continue
        files, media_type, *kept, fields = (cell.strip() for cell in line.strip("|").split("|"))
        assert all(cell in ("yes", "○", "–") for cell in kept)
        headings, tables, pages = (cell != "–" for cell in kept)
        yield Row(
            suffixes=tuple(re.findall(r"`([^`]+)`", files)),
            type=media_type.strip("`"),
            headings=headings,
            tables=tables,
            pages=pages,
            fields=frozenset(re.findall(r"`([^`]+)`", fields)),
            own_fields=not fields.startswith(("`", "–")),
        )


class Words:
    def count_tokens(self, text: str) -> int:
        return len(text.split())


def headed(document: LoadedDocument) -> bool:
    # So small that no two sections share a chunk.
    chunking = Chunking(max_tokens=8)
    return any(span.heading_path for span in chunk(document, chunking, Words()))


def test_every_suffix_is_in_the_table() -> None:
    listed = [suffix for row in documented("en") for suffix in row.suffixes]
    assert len(listed) == len(set(listed))
    assert {*listed, *CODE_LANGUAGES} == {name for name in supported() if name.startswith(".")}
    page = (DOCS / "en" / "formats.md").read_text(encoding="utf-8")
    assert [n for n in supported() if not n.startswith(".") and f"`{n}`" not in page] == []


def test_both_languages_say_the_same() -> None:
    assert documented("ja") == documented("en")


def test_pages_know_what_each_type_is_called() -> None:
    assert {row.type for row in documented("en")} <= TYPES.keys()
    assert set(CODE_LANGUAGES.values()) <= CODE_TYPES.keys()


@pytest.mark.parametrize("row", documented("en"), ids=lambda row: row.type)
def test_a_file_of_each_format_is_read_as_the_table_says(desk: Desk, row: Row) -> None:
    suffix = row.suffixes[0]
    content = made(suffix)
    if content is None:
        sample = FILES / SAMPLES[suffix]
        if not sample.is_file():
            pytest.skip(f"needs the sample {SAMPLES[suffix]}")
        content = sample.read_bytes()
    document = desk.document(f"a{suffix}", content)
    assert document.media_type == row.type
    assert headed(document) == row.headings
    assert ("| a | b |\n| --- |" in document.text or "| --- | --- |" in document.text) == row.tables
    assert (len(document.page_starts) > 1) == row.pages
    if row.own_fields:
        assert document.meta.keys() <= {"a"}
    elif suffix in SAMPLES:
        assert document.meta.keys() <= row.fields
    else:
        assert document.meta.keys() == row.fields
    if row.headings:
        assert document.structure == ("plain" if suffix == ".txt" else "markdown")


@pytest.mark.parametrize("row", documented("en"), ids=lambda row: row.type)
def test_other_suffixes_of_a_format_are_read_the_same(desk: Desk, row: Row) -> None:
    content = made(row.suffixes[0])
    if content is None or ".msg" in row.suffixes:
        return
    texts = {desk.document(f"a{suffix}", content).text for suffix in row.suffixes}
    assert len(texts) == 1
    assert all(loaders.is_supported(f"A{suffix.upper()}") for suffix in row.suffixes)
