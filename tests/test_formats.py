"""Every sample file: what must be found in it, or why it is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ingest import loaders
from ingest.sources import discover
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError
from search_app.types import JSON
from tests.test_loaders import FILES, grams, needs_files

PASSWORDS = LoadOptions(passwords=("wrong", "foo", "pass123"))


@dataclass(frozen=True, kw_only=True)
class Reads:
    """A file is read: as how many documents of which type, with which words in the first."""

    type: str
    words: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    title: str | None = None
    """None: nothing but the name of the file."""
    meta: Mapping[str, JSON] = field(default_factory=dict)
    documents: int = 1
    pages: int = 0


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file is refused with a reason that begins so."""

    reason: str


NO_TEXT = Refused(reason="no text: 1 page without a text layer; scans need OCR")
SECRET = Reads(type="pdf", words=("Secret!",), pages=1)
LOREM = ("Lorem ipsum dolor sit amet, consectetur adipiscing elit.",)
ADOBE = (
    "PDF was a proprietary format controlled by Adobe",
    "International Organization for Standardization as ISO 32000-1:2008",
)
PEOPLE = ("| 0 | First Name | Last Name |", "| 9 | Vincenza | Weiland | Female | United States |")

SAMPLES: Mapping[str, Reads | Refused] = {
    "MANIFEST.json": Reads(
        type="jsonl", words=("file: haystack/csv/sample_1.csv",), documents=99, meta={"bytes": 55}
    ),
    "SHA256SUMS": Refused(reason="unknown type (no suffix); supported: text"),
    "SOURCE.md": Reads(type="markdown", words=("Japanese PDFs",), title="files_samples"),
    "debian/debian-faq.ja.pdf": Reads(
        type="pdf",
        words=("The PDF version of the debian-faq\nis currently not available",),
        pages=1,
    ),
    "debian/debian-faq.ja.txt": Reads(type="text", words=("Debian",)),
    "debian/debian-reference.en.pdf": Reads(
        type="pdf",
        words=("as a post-installation user’s guide",),
        title="Debian Reference",
        meta={"author": "Osamu Aoki", "pages": 261},
        pages=261,
    ),
    "debian/debian-reference.ja.pdf": Reads(
        type="pdf",
        words=("システムインストール後のユーザー案内書として",),
        title="Debian リファレンス",
        pages=272,
    ),
    "debian/debian-reference.ja.txt": Reads(type="text", words=("Debian リファレンス",)),
    "debian/developers-reference.en.pdf": Reads(
        type="pdf",
        words=("Debian Developer’s Reference",),
        title="Debian Developer's Reference",
        pages=114,
    ),
    "debian/developers-reference.ja.epub": Reads(
        type="epub",
        words=("# 1. この文書が扱う範囲について", "パッケージメンテナの責務"),
        absent=("](", ".xhtml", "\\."),
        title="developers-reference",
        meta={"author": "Developer's Reference Team", "created": "2023-03-06T18:06:57Z"},
    ),
    "debian/developers-reference.ja.pdf": Reads(
        type="pdf",
        words=("第 1 章 この文書が扱う範囲について",),
        title="Debian Developer's Reference",
        meta={"pages": 130, "author": "Developer's Reference Team"},
        pages=130,
    ),
    "debian/developers-reference.ja.txt": Reads(
        type="text", words=("パッケージメンテナの責務",), title="Debian デベロッパー レファレンス"
    ),
    "haystack/csv/sample_1.csv": Reads(
        type="csv", words=("Name: John Doe",), title="John Doe", meta={"Age": 27}, documents=3
    ),
    "haystack/csv/sample_2.csv": Reads(
        type="csv", words=("John Doe",), title="John Doe", meta={"City": "New York"}, documents=3
    ),
    "haystack/csv/sample_3.csv": Reads(
        type="csv", words=("John Doe",), title="John Doe", documents=3
    ),
    "haystack/docx/sample_docx.docx": Reads(
        type="docx",
        words=("# Sample Docx File\n", "| 2020 | Random | Table |", "Page 3 was empty"),
        title="Sample Docx File",
        meta={"author": "Saha, Anirban", "created": "2020-07-14T08:14:00Z"},
    ),
    "haystack/docx/sample_docx_1.docx": Reads(
        type="docx", words=("… page 3 is blank",), title="A sample PDF ﬁle"
    ),
    "haystack/docx/sample_docx_2_page_breaks.docx": Reads(
        type="docx", words=("contains 2 (!) page breaks", "I didn’t specify"), absent=("\\",)
    ),
    "haystack/docx/sample_docx_3.docx": Reads(
        type="docx", words=("| Industry | AI Use Case | Impact |\n| --- |",), absent=("*",)
    ),
    "haystack/docx/sample_docx_with_links.docx": Reads(
        type="docx",
        words=("own PostScript format. PDF was a proprietary format",),
        absent=("http", "]("),
        title="A sample PDF ﬁle",
    ),
    "haystack/docx/sample_docx_with_single_link.docx": Reads(
        type="docx", words=(ADOBE[0],), absent=("http",), title="A sample PDF ﬁle"
    ),
    "haystack/html/paul_graham_superlinear.html": Reads(
        type="html",
        words=("One of the most important things I didn't understand",),
        title="Superlinear Returns",
    ),
    "haystack/html/what_is_haystack.html": Reads(
        type="html", words=("Haystack is",), title="What is Haystack? | Haystack"
    ),
    "haystack/json/json_conversion_testfile.json": Reads(
        type="json", words=('"Content from a json file"',)
    ),
    "haystack/markdown/sample.md": Reads(
        type="markdown", words=("Haystack",), title="What to build with Haystack"
    ),
    "haystack/msg/sample.msg": Reads(
        type="email",
        words=("This is an example email with a body.", "Best,\nSender"),
        title="This is a Subject",
        meta={
            "from": "Sebastian Lee <outlook_A8F9F599CBC281A0@outlook.com>",
            "to": "Sebastian Lee <sebastian.lee@deepset.ai>",
            "cc": "sebastian.lee+cc@deepset.ai",
            "date": "2025-02-17T10:19:05+00:00",
            "attachments": "sample_pdf_1.pdf",
        },
    ),
    "haystack/pdf/non_text_searchable.pdf": NO_TEXT,
    "haystack/pdf/react_paper.pdf": Reads(
        type="pdf",
        words=("SYNERGIZING REASONING AND ACTING", "Figure 3: Scaling results"),
        absent=("7KLQN", "WKHFDELQHW", "\x03"),
        meta={"pages": 31, "unreadable_pages": [2, 9]},
        pages=31,
    ),
    "haystack/pdf/sample_pdf_1.pdf": Reads(
        type="pdf", words=("Adobe Systems made the PDF specification",), title="sample_pdf", pages=4
    ),
    "haystack/pdf/sample_pdf_2.pdf": Reads(
        type="pdf",
        words=("This is a header. Page 2 of 4", "hypertext publication collaboratively"),
        title="sample_pdf_with_headers",
        pages=4,
    ),
    "haystack/pdf/sample_pdf_3.pdf": Reads(
        type="pdf", words=("Value 1 Value 2 Val 3",), title="example_table", pages=1
    ),
    "haystack/pptx/sample_pptx.pptx": Reads(
        type="pptx",
        words=("## Title of First Slide\n\n- This is a bullet point\n- This is another",),
        title="Sample Title Slide",
        meta={"slides": 2},
        pages=2,
    ),
    "haystack/pptx/sample_pptx_with_link.pptx": Reads(
        type="pptx",
        words=("Visit Example for more info.", "Just plain text here."),
        absent=("http",),
        title="Slide With Link",
        pages=2,
    ),
    "haystack/txt/doc_1.txt": Reads(type="text", words=("Some text for testing.",)),
    "haystack/txt/doc_2.txt": Reads(type="text", words=("This is a test line.",)),
    "haystack/txt/doc_3.txt": Reads(type="text", words=("yet another file!",)),
    "haystack/xlsx/basic_tables_two_sheets.xlsx": Reads(
        type="xlsx",
        words=("## Basic Table\n\n| col_a | col_b |", "## Table Missing Value", "| TRUE |  |"),
        meta={"sheets": ["Basic Table", "Table Missing Value"]},
    ),
    "haystack/xlsx/multiple_tables.xlsx": Reads(
        type="xlsx", words=("| col_a | col_b |", "| col_c | col_d |", "| 3 | TRUE |")
    ),
    "haystack/xlsx/spreadsheet_with_links.xlsx": Reads(
        type="xlsx", words=("| Python | Docs |",), absent=("http",), meta={"author": "openpyxl"}
    ),
    "haystack/xlsx/table_empty_rows_and_columns.xlsx": Reads(
        type="xlsx", words=("| col_a | col_b |\n| --- | --- |\n| 1.5 | test |",)
    ),
    "onyx/empty.pdf": NO_TEXT,
    "onyx/encrypted.pdf": Reads(type="pdf", words=("Secret Content",), pages=1),
    "onyx/generate_image_fixtures.py": Reads(type="python", words=("import",)),
    "onyx/inline_image.pdf": NO_TEXT,
    "onyx/late_mask_reference.pdf": Refused(reason="no text: 2 pages without a text layer"),
    "onyx/multipage.pdf": Reads(type="pdf", words=("Page one content\nPage two content",), pages=2),
    "onyx/owner_protected.pdf": Reads(type="pdf", words=("Hello World",), pages=1),
    "onyx/sample_text.docx": Reads(
        type="docx",
        words=("PINEAPPLE-QUASAR-42.", "| Status | Renderable |"),
        title="Onyx DOCX Preview Smoke Test",
    ),
    "onyx/shared_resources.pdf": Refused(reason="no text: 3 pages without a text layer"),
    "onyx/shredded_strips.pdf": NO_TEXT,
    "onyx/simple.pdf": Reads(type="pdf", words=("Hello World",), pages=1),
    "onyx/standalone_stencil.pdf": NO_TEXT,
    "onyx/stencil_mask.pdf": NO_TEXT,
    "onyx/three_images.docx": Reads(
        type="docx",
        words=("A curious cartoon cat with long whiskers.",),
        absent=("image1", "![", "base64"),
        title="Three Images",
    ),
    "onyx/with_image.pdf": NO_TEXT,
    "onyx/with_metadata.pdf": Reads(
        type="pdf", words=("test",), title="My Title", meta={"author": "Jane Doe"}, pages=1
    ),
    "pdfminer/contrib/2b.pdf": Reads(type="pdf", words=("01/14/2016 Transfer",), pages=1),
    "pdfminer/contrib/stamp-no.pdf": Refused(
        reason="its fonts do not say which characters they show; needs OCR"
    ),
    **{
        f"pdfminer/encryption/{name}.pdf": SECRET
        for name in ("aes-128", "aes-128-m", "aes-256", "aes-256-m", "base", "rc4-40", "rc4-128")
    },
    "pdfminer/jo.pdf": Reads(type="pdf", words=("（すべてがわたくしの中のみんなで",), pages=1),
    "pdfminer/scancode/patchelf.pdf": NO_TEXT,
    "pdfminer/simple1.pdf": Reads(type="pdf", words=("Hello World",), pages=1),
    "pdfminer/simple2.pdf": NO_TEXT,
    "pdfminer/simple3.pdf": Reads(type="pdf", words=("HelloHelloあいうえお",), pages=1),
    "python-docx/blk-paras-and-tables.docx": Reads(
        type="docx", words=("Text before\nTable\nBetween\nText after", "Donec semper facilisis")
    ),
    "python-docx/comments-rich-para.docx": Reads(
        type="docx", words=("> Steve Canny: Text with hyperlink https://google.com embedded.",)
    ),
    "python-docx/hdr-header-footer.docx": Reads(
        type="docx", words=("section with header", "Header for section-1", "Footer for section 1")
    ),
    "python-docx/par-hyperlinks.docx": Reads(
        type="docx", words=("One awesome hyperlink.",), absent=("http",)
    ),
    "python-docx/tbl-having-tables.docx": Refused(reason="empty: nothing to ingest"),
    "python-docx/test.docx": Reads(
        type="docx", words=("# python-docx was here!",), title="python-docx was here!"
    ),
    "r2r/css.css": Reads(type="css", words=("{",)),
    "r2r/csv.csv": Reads(type="csv", documents=10),
    "r2r/doc.doc": Reads(
        type="doc",
        words=(
            "# Cras fringilla ipsum magna, in fringilla dui commodo a.\n\n|  | Lorem ipsum |",
            "| 2 | Cras fringilla ipsum magna, in fringilla dui commodo a. | Ipsum |",
            "\n\nMauris id ex erat.",
        ),
        absent=("HYPERLINK", "\t", "\x07"),
        title="Lorem ipsum dolor sit amet, consectetur adipiscing elit. Nunc ac faucibus odio.",
        meta={"created": "2017-08-02T09:09:18Z"},
    ),
    "r2r/docx.docx": Reads(
        type="docx",
        words=("\n\n1. Introduction\n\nThis document provides",),
        absent=("###", "\\"),
        title="Technical Documentation: System Architecture Overview",
    ),
    "r2r/eml.eml": Reads(
        type="email",
        words=("Key Points:\n1. Revenue targets increased by 15%",),
        title="Meeting Summary - Q4 Planning",
        meta={
            "from": "sender@example.com",
            "to": "recipient@example.com",
            "date": "2024-12-16T10:30:00-05:00",
        },
    ),
    "r2r/epub.epub": Reads(
        type="epub",
        words=("My bags were packed and my provisions loaded.", "# Introduction"),
        absent=("base64", "](", ".html"),
        title="The Geography of Bliss: One Grump's Search for the Happiest Places in the World",
        meta={"author": "Eric Weiner", "publisher": "Twelve"},
    ),
    "r2r/html.html": Reads(type="html", words=("Dashboard",), title="Product Dashboard"),
    "r2r/js.js": Reads(type="javascript", words=("const",)),
    "r2r/json.json": Reads(type="json", words=('"dashboard"',)),
    "r2r/md.md": Reads(type="markdown", words=("Markdown",), title="Markdown: Syntax"),
    "r2r/msg.msg": Reads(
        type="email",
        words=("We have added your software to our approved list.",),
        title="(outlookEMLandMSGconverter Trial Version Import) BitDaddys Software",
        meta={"from": "John Doe <jdoes@someserver.com>", "to": "sales@bitdaddys.com"},
    ),
    "r2r/odt.odt": Reads(type="odt", words=LOREM),
    "r2r/org.org": Reads(
        type="org",
        words=("# Headlines\n\n## Second level\n\n### Third level", "```emacs-lisp\n", "- Dash"),
        absent=("\\-", "\\<"),
        title="Modern Org Example",
        meta={"author": "Daniel Mendler"},
    ),
    "r2r/p7s.p7s": Refused(reason="unknown type .p7s; supported: text"),
    "r2r/pdf.pdf": Reads(type="pdf", words=("Dummy PDF file",), pages=1),
    "r2r/pg_essay_1.html": Reads(type="html", words=("project",), title="A Project of One's Own"),
    "r2r/ppt.ppt": Reads(
        type="ppt",
        words=("\n\n## Chart\n\n## Table\n\nColumn 1\n\nColumn 2",),
        title="Lorem ipsum",
        meta={"slides": 3, "created": "2017-08-10T19:58:16Z"},
        pages=3,
    ),
    "r2r/pptx.pptx": Reads(
        type="pptx",
        words=("## This is a Sample Slide\n\n- Here is an outline of bulleted points",),
        absent=("\\",),
        title="Sample PowerPoint File",
        meta={"slides": 2, "author": "James Falkofske"},
        pages=2,
    ),
    "r2r/py.py": Reads(type="python", words=("def ",)),
    "r2r/rst.rst": Reads(
        type="rst",
        words=(
            "# Header 1\n\n## Subtitle\n",
            "### Header 2\n\n1. Blah blah `code` blah",
            "```python\npython.code('hooray')\n```",
            "Honey Badgers, 10.5",
        ),
        absent=(".. ", "::"),
        title="Header 1",
    ),
    "r2r/rtf.rtf": Reads(type="rtf", words=LOREM),
    "r2r/ts.ts": Reads(type="typescript", words=("export",)),
    "r2r/tsv.tsv": Reads(type="tsv", documents=10),
    "r2r/txt.txt": Reads(type="text"),
    "r2r/xls.xls": Reads(type="xls", words=PEOPLE, meta={"sheets": ["Sheet1"]}),
    "r2r/xlsx.xlsx": Reads(
        type="xlsx", words=PEOPLE, meta={"sheets": ["Sheet1"], "created": "2017-08-03T11:50:33Z"}
    ),
}


def read(path: Path, options: LoadOptions) -> list[LoadedDocument | SourceError]:
    (found,) = discover([str(path)])
    if not isinstance(found, SourceRef):
        assert isinstance(found, SourceError)
        return [found]
    return list(loaders.load(found, options))


@needs_files
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_sample_is_read_right_or_refused_for_the_true_reason(name: str) -> None:
    if not (FILES / name).is_file():
        pytest.skip(f"needs the sample {name}")
    expected = SAMPLES[name]
    documents = read(FILES / name, PASSWORDS)
    first = documents[0]
    if isinstance(expected, Refused):
        assert isinstance(first, SourceError), first
        assert first.reason.startswith(expected.reason)
        return
    assert isinstance(first, LoadedDocument), first
    assert len(documents) == expected.documents
    assert first.media_type == expected.type
    assert [words for words in expected.words if words not in first.text] == []
    assert [words for words in expected.absent if words in first.text] == []
    assert (first.title if first.titled else None) == expected.title
    assert {name: first.meta.get(name) for name in expected.meta} == expected.meta
    assert len(first.page_starts) == expected.pages


@needs_files
def test_no_sample_is_forgotten() -> None:
    found = {str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file()}
    assert found <= SAMPLES.keys()


@needs_files
def test_a_japanese_book_says_what_its_text_edition_says() -> None:
    folder = FILES / "debian"
    if not (folder / "developers-reference.ja.epub").is_file():
        pytest.skip("needs the sample developers-reference.ja.epub")
    (book,) = read(folder / "developers-reference.ja.epub", LoadOptions())
    assert isinstance(book, LoadedDocument)
    edition = (folder / "developers-reference.ja.txt").read_text(encoding="utf-8")
    mine, theirs = grams(book.text), grams(edition)
    assert len(mine & theirs) / len(theirs) > 0.9
