import hashlib
import json
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import loaders
from ingest.sources import discover
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError

FILES = Path(__file__).parent.parent.parent / "shared/data/files"
DEFAULTS = LoadOptions()
needs_files = pytest.mark.skipif(not FILES.is_dir(), reason="needs the sample files")


def ref_of(path: Path) -> SourceRef:
    (ref,) = discover([str(path)])
    assert isinstance(ref, SourceRef), ref
    return ref


class Desk:
    """Writes a file and reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: str | bytes) -> SourceRef:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return ref_of(path)

    def read(
        self, name: str, content: str | bytes, options: LoadOptions = DEFAULTS
    ) -> list[LoadedDocument | SourceError]:
        return list(loaders.load(self.write(name, content), options))

    def document(
        self, name: str, content: str | bytes, options: LoadOptions = DEFAULTS
    ) -> LoadedDocument:
        (document,) = self.read(name, content, options)
        assert isinstance(document, LoadedDocument), document
        return document

    def reason(self, name: str, content: str | bytes, options: LoadOptions = DEFAULTS) -> str:
        (error,) = self.read(name, content, options)
        assert isinstance(error, SourceError), error
        assert error.source.startswith(str(self.folder / name))
        assert "\n" not in error.reason
        return error.reason


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def short(item: LoadedDocument | SourceError) -> tuple[str, str]:
    """A document as key and text, an error as key and reason."""
    if isinstance(item, SourceError):
        return item.source.rpartition("#")[2], f"! {item.reason}"
    return item.uri.rpartition("#")[2], item.text


# What all formats have in common.


def test_plain_text_is_kept_as_it_is(desk: Desk) -> None:
    text = "First.\n\n  Second\twith ＡＢＣ ﬁ e\u0301 \u3000 kept.\f\n"
    document = desk.document("a.txt", text)
    assert document.text == text
    assert (document.title, document.titled) == ("a.txt", False)
    assert (document.media_type, document.structure) == ("text", "plain")
    assert document.uri == document.source == str(desk.folder / "a.txt")


@pytest.mark.parametrize("name", ["README", "LICENSE", "Makefile", "a.LOG"])
def test_names_of_plain_text(desk: Desk, name: str) -> None:
    assert desk.document(name, "text").media_type == "text"


@pytest.mark.parametrize(
    "data",
    [
        "a\nい\n".encode(),
        b"\xef\xbb\xbf" + "a\nい\n".encode(),
        "a\r\nい\r".encode(),
        "a\nい\n".encode("utf-16"),
        b"\xfe\xff" + "a\nい\n".encode("utf-16-be"),
    ],
    ids=["utf-8", "bom", "newlines", "utf-16-le", "utf-16-be"],
)
def test_encodings_and_line_ends(desk: Desk, data: bytes) -> None:
    assert desk.document("a.txt", data).text == "a\nい\n"


def test_what_postgres_refuses_is_refused_with_its_place(desk: Desk) -> None:
    assert desk.reason("a.txt", "ab\0c") == "text holds a NUL character at character 2"
    assert desk.reason("a.py", "x = 1\n\0") == "text holds a NUL character at character 6"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.py", "a.pdf", "a.csv", "a.jsonl"])
def test_empty_files_are_refused(desk: Desk, name: str) -> None:
    assert desk.reason(name, "") == "empty: nothing to ingest"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", " \n\u3000\t\n"),
        ("a.md", "---\ntitle: x\n---\n\n"),
        ("a.html", "<script>x()</script><p> </p>"),
        ("a.csv", "text,id\n"),
        ("a.csv", "\n\n"),
        ("a.jsonl", "\n\n"),
    ],
)
def test_files_without_text_are_refused(desk: Desk, name: str, content: str) -> None:
    assert desk.reason(name, content) == "empty: nothing to ingest"


def test_large_files_are_refused_but_not_tables(desk: Desk) -> None:
    small = LoadOptions(max_file_mb=1)
    reason = desk.reason("a.txt", "x\n" * 600_000, small)
    assert reason == "has 1 MB; at most 1, set by UNMOVED_MAX_FILE_MB"
    rows = "text\n" + ("1234 " * 200 + "\n") * 1200
    assert len(desk.read("a.csv", rows, small)) == 1200


def test_a_line_that_no_one_wrote_is_refused(desk: Desk) -> None:
    reason = desk.reason("a.txt", "short\n" + "x" * 10_000_001)
    assert reason == "line 2 has 10,000,001 characters; at most 10,000,000"


def test_a_vanished_file_is_an_error_and_not_an_exception(desk: Desk) -> None:
    ref = desk.write("a.txt", "text")
    ref.path.unlink()
    (error,) = loaders.load(ref, DEFAULTS)
    assert isinstance(error, SourceError)
    assert error.reason == "vanished before it could be read"
    with pytest.raises(SourceError, match="vanished"):
        loaders.content_hash(ref)


def test_a_parser_that_fails_costs_one_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("of the\nparser")

    monkeypatch.setattr("markdownify.MarkdownConverter.convert_soup", fail)
    assert desk.reason("a.html", "<p>x</p>") == "cannot be read: ZeroDivisionError: of the"


# One state of a file.


def test_content_hash_is_that_of_the_bytes(desk: Desk) -> None:
    ref = desk.write("a.txt", "text")
    assert loaders.content_hash(ref) == hashlib.sha256(b"text").digest()


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_a_file_that_changed_since_it_was_found_is_not_read(desk: Desk, name: str) -> None:
    ref = desk.write(name, "text\nold\n")
    ref.path.write_text("text\nnewer\n", encoding="utf-8")
    with pytest.raises(SourceError, match="changed while it was read; run again"):
        loaders.content_hash(ref)
    (error,) = loaders.load(ref, DEFAULTS)
    assert isinstance(error, SourceError)
    assert error.reason == "changed while it was read; run again"


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_other_bytes_than_those_hashed_are_told_whatever_the_clock_says(
    desk: Desk, name: str
) -> None:
    ref = desk.write(name, '{"text": "a"}\n')
    before = loaders.content_hash(ref)
    ref.path.write_text('{"text": "b"}\n', encoding="utf-8")
    os.utime(ref.path, ns=(ref.mtime_ns, ref.mtime_ns))
    *_, last = loaders.load(ref, DEFAULTS, expected_hash=before)
    assert isinstance(last, SourceError)
    assert last.reason == "changed while it was read; run again"
    now = loaders.content_hash(ref)
    assert not any(
        isinstance(item, SourceError) and "changed" in item.reason
        for item in loaders.load(ref, DEFAULTS, expected_hash=now)
    )


def test_a_table_that_grows_while_it_is_read_is_told(desk: Desk) -> None:
    ref = desk.write("a.jsonl", '{"text": "a"}\n' * 3)
    stream = loaders.load(ref, DEFAULTS)
    next(stream)
    with ref.path.open("a", encoding="utf-8") as file:
        file.write('{"text": "late"}\n')
    *_, last = stream
    assert isinstance(last, SourceError)
    assert last.reason == "changed while it was read; run again"


def test_what_reads_a_file_is_named_with_its_versions_and_options(desk: Desk) -> None:
    text, pdf = desk.write("a.txt", "x"), replace(desk.write("b.txt", "x"), name="b.pdf")
    table = replace(text, name="a.csv")
    assert loaders.loader_version(text) == "text/2"
    assert loaders.loader_version(pdf).startswith("pdf/2/pypdfium2=5.")
    chosen = LoadOptions(text_fields=("body",))
    assert loaders.reader(text, DEFAULTS) == loaders.reader(text, chosen) == "text/2"
    assert loaders.reader(table, DEFAULTS) != loaders.reader(table, chosen)
    assert loaders.reader(table, DEFAULTS).startswith("csv/2/")


def test_what_is_supported_is_listed() -> None:
    listed = loaders.supported()
    assert {".md", ".pdf", ".jsonl", ".py", "README"} <= set(listed)
    assert all(loaders.is_supported(f"x{name}" if name[0] == "." else name) for name in listed)
    assert not loaders.is_supported("a.png")
    assert not loaders.is_supported("readme")


# Markdown and code.


def test_markdown_takes_its_title_from_the_first_heading(desk: Desk) -> None:
    text = "```\n# not this\n```\n\n## Nor this\n\n# The `title` *here* { #anchor }\n"
    document = desk.document("a.md", text)
    assert (document.title, document.titled) == ("The title here", True)
    assert document.text == text
    assert (document.media_type, document.structure) == ("markdown", "markdown")
    assert not desk.document("b.md", "no heading").titled


def test_front_matter_becomes_title_and_metadata(desk: Desk) -> None:
    head = '---\ntitle: "Of: colons"\nauthor: 佐藤\nyear: 2024\ndraft: false\ntags: [a, b]\n'
    document = desk.document("a.md", head + "nested:\n  key: x\n---\n# Heading\n\nBody\n")
    assert document.title == "Of: colons"
    assert document.text == "# Heading\n\nBody\n"
    assert dict(document.meta) == {"author": "佐藤", "year": 2024, "draft": False}


def test_a_thematic_break_is_no_front_matter(desk: Desk) -> None:
    text = "---\n\nSome text\n\n---\n\nMore\n"
    assert desk.document("a.md", text).text == text


def test_code_is_named_by_its_language(desk: Desk) -> None:
    document = desk.document("a.PY", "def f():\n    return 1\n")
    assert (document.media_type, document.structure) == ("python", "code")
    assert desk.document("a.yml", "a: 1\n").media_type == "yaml"


# HTML.


def test_html_becomes_markdown_without_what_only_a_browser_needs(desk: Desk) -> None:
    page = """<!doctype html><html lang="ja"><head><title> The
      title </title><style>p{}</style><script>var x = "junk";</script></head><body>
      <nav><a href="/">junk</a></nav>
      <h1>Heading</h1><p>Some <b>bold</b> text_with_lines and a
      <a href="https://example.org/very/long">link</a>.<img src="data:junk" alt="junk"></p>
      <pre><code># no heading
x</code></pre>
      <ul><li>one</li><li>two</li></ul>
      <table><tr><th>a</th></tr><tr><td>1</td></tr></table>
      <p><ruby>漢字<rp>(</rp><rt>junk</rt><rp>)</rp></ruby></p></body></html>"""
    document = desk.document("a.html", page)
    assert (document.title, document.titled) == ("The title", True)
    assert document.text == (
        "# Heading\n\nSome **bold** text_with_lines and a\nlink.\n\n```\n# no heading\nx\n```\n\n"
        "* one\n* two\n\n| a |\n| --- |\n| 1 |\n\n漢字\n"
    )
    assert (document.media_type, document.structure) == ("html", "markdown")


def test_html_of_a_page_with_a_main_part_is_that_part(desk: Desk) -> None:
    page = "<body><div>menu</div><main><p>text</p></main><footer>small print</footer></body>"
    assert desk.document("a.htm", page).text == "text\n"


def test_html_that_leaves_elements_open(desk: Desk) -> None:
    page = "<p>a<p>b<ul><li>c<li>d<ul><li>e</ul><li>f</ul><table><tr><td>1<td>2<tr><td>3</table>g"
    text = desk.document("a.html", page).text
    assert text.startswith("a\n\nb\n\n* c\n* d\n  + e\n* f\n\n| 1 | 2 |\n| --- | --- |\n| 3 |")
    many = "<p>paragraph" * 2000
    assert desk.document("b.html", many).text.count("paragraph\n\n") == 1999


def test_html_language_is_a_hint_where_text_is_short(desk: Desk) -> None:
    assert desk.document("a.html", '<html lang="fr-CA"><p>Menu 12').language == "fr"
    japanese = '<html lang="en"><p>これは日本語で書かれた文です。'
    assert desk.document("b.html", japanese).language == "ja"


@pytest.mark.parametrize("markup", ["hello.html", "https://example.org", "x"])
def test_html_that_looks_like_something_else(desk: Desk, markup: str) -> None:
    assert desk.document("a.html", markup).text == f"{markup}\n"


def test_xhtml(desk: Desk) -> None:
    page = '<?xml version="1.0" encoding="UTF-8"?>\n<html><head><title>題</title></head><p>x</p>'
    document = desk.document("a.xhtml", page)
    assert (document.title, document.text) == ("題", "x\n")


@needs_files
def test_real_pages() -> None:
    (page,) = loaders.load(ref_of(FILES / "haystack/html/what_is_haystack.html"), DEFAULTS)
    assert isinstance(page, LoadedDocument)
    assert page.title == "What is Haystack? | Haystack"
    assert page.text.startswith("# What is Haystack?\n\nHaystack is the open source Python")
    assert "\n## Building with Haystack\n" in page.text
    assert "<" not in page.text
    (essay,) = loaders.load(ref_of(FILES / "haystack/html/paul_graham_superlinear.html"), DEFAULTS)
    assert isinstance(essay, LoadedDocument)
    assert "One of the most important things I didn't understand" in essay.text


# PDF.


@needs_files
@pytest.mark.parametrize(
    ("name", "share"), [("debian-reference.ja", 0.8), ("developers-reference.ja", 0.95)]
)
def test_japanese_pdfs_say_what_their_text_editions_say(name: str, share: float) -> None:
    (document,) = loaders.load(ref_of(FILES / f"debian/{name}.pdf"), DEFAULTS)
    assert isinstance(document, LoadedDocument)
    edition = (FILES / f"debian/{name}.txt").read_text(encoding="utf-8")
    mine, theirs = grams(document.text), grams(edition)
    assert len(mine & theirs) / len(theirs) > share
    assert document.language == "ja"
    assert len(document.page_starts) == document.meta["pages"] > 100
    assert document.page_starts[0] == 0
    assert all(document.text[start - 1] == "\n" for start in document.page_starts[1:])


def grams(text: str) -> set[str]:
    letters = "".join(character for character in text if character.isalnum())
    return {letters[i : i + 8] for i in range(len(letters) - 7)}


@needs_files
def test_pages_begin_where_they_are_said_to() -> None:
    (document,) = loaders.load(ref_of(FILES / "debian/debian-reference.ja.pdf"), DEFAULTS)
    assert isinstance(document, LoadedDocument)
    for number in (40, 60, 200):
        first_line = document.text[document.page_starts[number] :].split("\n", 1)[0]
        # The printed numbers begin behind 28 pages of front matter.
        assert f"{number - 27} / 244" in first_line
    assert (document.title, document.titled) == ("Debian リファレンス", True)


@needs_files
def test_vertical_japanese_keeps_its_lines() -> None:
    (document,) = loaders.load(ref_of(FILES / "pdfminer/jo.pdf"), DEFAULTS)
    assert isinstance(document, LoadedDocument)
    assert "（すべてがわたくしの中のみんなであるやうに\nある程度まではみんなに" in document.text


@needs_files
def test_words_hyphenated_at_line_ends_are_whole() -> None:
    (document,) = loaders.load(ref_of(FILES / "haystack/pdf/react_paper.pdf"), DEFAULTS)
    assert isinstance(document, LoadedDocument)
    assert "\ufffe" not in document.text
    assert "chain-of-thought reasoning" in document.text
    (document,) = loaders.load(ref_of(FILES / "debian/debian-reference.en.pdf"), DEFAULTS)
    assert isinstance(document, LoadedDocument)
    assert "It’s distribution is characteri" in document.text


@needs_files
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((f"pdfminer/encryption/{n}.pdf", "encrypted") for n in ("rc4-40", "rc4-128")),
        *((f"pdfminer/encryption/aes-{n}.pdf", "encrypted") for n in ("128", "256", "256-m")),
        ("onyx/encrypted.pdf", "encrypted; needs a password"),
        ("haystack/pdf/non_text_searchable.pdf", "no text: 1 page without a text layer"),
        ("onyx/shared_resources.pdf", "no text: 3 pages without a text layer"),
        ("pdfminer/contrib/stamp-no.pdf", "its fonts do not say which characters they show"),
    ],
)
def test_pdfs_without_readable_text_say_why(name: str, reason: str) -> None:
    (error,) = loaders.load(ref_of(FILES / name), DEFAULTS)
    assert isinstance(error, SourceError)
    assert error.reason.startswith(reason)


@needs_files
def test_a_pdf_that_only_its_owner_may_change_is_read() -> None:
    (document,) = loaders.load(ref_of(FILES / "onyx/owner_protected.pdf"), DEFAULTS)
    assert isinstance(document, LoadedDocument)
    (titled,) = loaders.load(ref_of(FILES / "onyx/with_metadata.pdf"), DEFAULTS)
    assert isinstance(titled, LoadedDocument)
    assert (titled.title, dict(titled.meta)) == ("My Title", {"pages": 1, "author": "Jane Doe"})


@needs_files
def test_broken_pdfs_are_refused(desk: Desk) -> None:
    whole = (FILES / "pdfminer/simple1.pdf").read_bytes()
    assert desk.reason("a.pdf", whole[:200]).startswith("not a readable PDF: ")
    assert desk.reason("b.pdf", b"%PDF-1.7 hello").startswith("not a readable PDF: ")
    assert desk.reason("c.pdf", b"hello").startswith("not what .pdf says but plain text")


@needs_files
def test_pdfs_are_read_in_many_threads_at_once() -> None:
    # PDFium crashes the process where two threads are in it.
    refs = [ref_of(FILES / "haystack/pdf/react_paper.pdf")] * 8
    with ThreadPoolExecutor(8) as threads:
        texts = threads.map(lambda ref: next(loaders.load(ref, DEFAULTS)), refs)
        assert len({text.text for text in texts if isinstance(text, LoadedDocument)}) == 1


# Tables and JSON lines.


def test_csv_rows_become_documents(desk: Desk) -> None:
    table = 'ID,Title,Body,Price,Code,Date\n7,"山, 川","Line 1\r\nline 2",9.5,007,2024-01-02\n'
    document = desk.document("a.csv", table)
    assert document.uri == f"{desk.folder}/a.csv#7"
    assert document.source == f"{desk.folder}/a.csv"
    assert (document.title, document.titled) == ("山, 川", True)
    assert document.text == "Line 1\nline 2"
    assert dict(document.meta) == {"Price": 9.5, "Code": "007", "Date": "2024-01-02"}
    assert (document.media_type, document.structure) == ("csv", "plain")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0", 0),
        ("-12", -12),
        ("1.5", 1.5),
        ("1.50", "1.50"),
        ("007", "007"),
        ("-0", "-0"),
        ("1e3", "1e3"),
        ("1,5", "1,5"),
        ("１２", "１２"),
        ("1234567890123456", "1234567890123456"),
    ],
)
def test_cells_are_numbers_only_where_they_would_be_written_back_the_same(
    desk: Desk, cell: str, value: object
) -> None:
    meta = desk.document("a.csv", f'text,n\nwords,"{cell}"\n').meta
    assert meta["n"] == value
    assert type(meta["n"]) is type(value)


def test_without_a_text_column_all_that_reads_like_text_is_the_text(desk: Desk) -> None:
    document = desk.document("a.csv", "Product,Colour,Weight\nLamp,red,3\n")
    assert document.text == "Product: Lamp\nColour: red"
    assert dict(document.meta) == {"Product": "Lamp", "Colour": "red", "Weight": 3}
    assert (document.title, document.titled) == ("a.csv#2", False)
    assert desk.reason("b.csv", "a,b\n1,2\n").startswith("no field holds text")


def test_fields_are_chosen_by_the_user(desk: Desk) -> None:
    options = LoadOptions(
        text_fields=("question", "answer"),
        title_field="topic",
        id_field="nr",
        meta_fields=("year",),
    )
    table = "nr,topic,question,answer,year,note\nq1,Tea,Green?,Yes.,2020,private\n"
    document = desk.document("a.csv", table, options)
    assert document.text == "Green?\nYes."
    assert document.title == "Tea"
    assert document.uri.endswith("#q1")
    assert dict(document.meta) == {"year": 2020}
    reason = desk.reason("b.csv", "text\nhello\n", options)
    assert reason == "has no field 'nr'; it has text"


def test_separators_are_taken_from_the_first_row(desk: Desk) -> None:
    assert desk.document("a.csv", "text;n\na, b;1\n").text == "a, b"
    assert desk.document("b.csv", "text\ta\nx, y\t1\n").text == "x, y"
    assert desk.document("c.csv", "text\na b\n").text == "a b"
    assert desk.document("a.tsv", "text\tb;c\nx\t1\n").media_type == "tsv"


def test_bad_rows_are_reported_and_the_rest_goes_on(desk: Desk) -> None:
    table = (
        b'text,n\ngood,1\nshort\nlong,1,2\n\n"a\nb",5\n"bad"quote,6\ncaf\xe9,7\nnul\0,8\nlast,9\n'
    )
    assert [short(item) for item in desk.read("a.csv", table)] == [
        ("2", "good"),
        ("3", "! has 1 fields where the first row names 2"),
        ("4", "! has 3 fields where the first row names 2"),
        ("6", "a\nb"),
        ("8", "! ',' expected after '\"'"),
        ("9", "café"),
        ("10", "! text holds a NUL character at character 3"),
        ("11", "last"),
    ]


def test_a_quotation_that_is_never_closed_does_not_swallow_the_rest_unseen(desk: Desk) -> None:
    good, bad = desk.read("a.csv", 'text,n\ngood,1\n"open,2\nc,3\nd,4\n')
    assert short(good) == ("2", "good")
    assert short(bad)[0] == "3"
    assert "quotation mark in it is not closed by line 5" in short(bad)[1]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("1,2", "the first row must name the columns, and '1' is not a name"),
        ("a,b,a", "two columns are named 'a'; names must differ"),
    ],
)
def test_tables_without_column_names_are_refused(desk: Desk, header: str, reason: str) -> None:
    assert desk.reason("a.csv", f"{header}\nx,y\n") == reason


def test_a_nameless_index_column_is_no_obstacle(desk: Desk) -> None:
    assert dict(desk.document("a.csv", ",text\n0,hello\n").meta) == {"column 1": 0}


def test_json_lines_become_documents(desk: Desk) -> None:
    line = {
        "_id": "d-1",
        "name": "A name",
        "text": "Some\r\ntext",
        "year": 2020,
        "tags": ["a", "b"],
        "ok": True,
        "nothing": None,
        "nested": {"x": 1},
        "long": "x" * 300,
    }
    document = desk.document("a.jsonl", "\ufeff" + json.dumps(line) + "\n")
    assert document.uri.endswith("a.jsonl#d-1")
    assert (document.title, document.text) == ("A name", "Some\ntext")
    assert dict(document.meta) == {"year": 2020, "tags": ["a", "b"], "ok": True}
    assert document.media_type == "jsonl"


def test_bad_lines_are_reported_and_the_rest_goes_on(desk: Desk) -> None:
    lines = [
        '{"id": 1, "text": "good"}',
        "",
        "not json",
        "[1]",
        '{"id": 1, "text": "again"}',
        r'{"text": "a\u0000"}',
        r'{"text": "ab\ud800"}',
        r'{"text": "x", "m": "\u0000"}',
        r'{"text": "x", "\u0000": 1}',
        r'{"text": "x", "id": "\ud83d"}',
        r'{"text": "x", "title": "\udc00"}',
        '{"text": "x", "n": NaN}',
        '{"text": "x", "n": 1e999}',
        '{"text": " "}',
        "[" * 100_000,
        '{"text": "x", "id": "%s"}' % ("k" * 501),
        r'{"text": "\ud83d\ude00"}',
        '{"text": "last"}',
    ]
    got = [short(item) for item in desk.read("a.jsonl", "\n".join(lines))]
    assert got == [
        ("1", "good"),
        ("3", "! not JSON: Expecting value at character 1"),
        ("4", '! not a JSON object; every line must be one, like {"text": "…"}'),
        ("5", "! has the same key '1' as line 1; keys must differ within a file"),
        ("6", "! text holds a NUL character at character 1"),
        ("7", "! text holds a lone surrogate U+D800 at character 2"),
        ("8", "! metadata 'm' holds a NUL character at character 0"),
        ("9", "! a metadata name holds a NUL character at character 0"),
        ("10", "! its field 'id' holds a lone surrogate U+D83D at character 0"),
        ("11", "! title holds a lone surrogate U+DC00 at character 0"),
        ("12", "! not JSON: NaN is not a JSON number"),
        ("13", "! not JSON: the number 1e999 is too large"),
        ("14", "! empty: nothing to ingest"),
        ("15", "! nested too deeply"),
        ("16", "! its key has 501 characters; at most 500"),
        ("17", "😀"),
        ("18", "last"),
    ]


@pytest.fixture
def peak_memory() -> Iterator[None]:
    """Fail where more than 80 MB were held at once."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80_000_000


@pytest.mark.usefixtures("peak_memory")
def test_a_line_of_100_mb_is_refused_without_being_held(desk: Desk) -> None:
    path = desk.folder / "a.jsonl"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'\n{"text": "after"}\n')
    refused, after = loaders.load(ref_of(path), DEFAULTS)
    assert isinstance(refused, SourceError)
    assert refused.reason == "a line of more than 10,000,000 bytes"
    assert short(after) == ("2", "after")


@pytest.mark.usefixtures("peak_memory")
def test_a_cell_that_never_ends_ends_the_table(desk: Desk) -> None:
    ref = desk.write("a.csv", 'text,n\n"' + ("x" * 999_999 + "\n") * 20 + '",1\nlast,2\n')
    (error,) = loaders.load(ref, DEFAULTS)
    assert isinstance(error, SourceError)
    assert "larger than field limit" in error.reason


@pytest.mark.usefixtures("peak_memory")
def test_json_lines_are_streamed(desk: Desk) -> None:
    path = desk.folder / "a.jsonl"
    body = "1234 " * 1000
    with path.open("w", encoding="utf-8") as file:
        for number in range(30_000):
            file.write(f'{{"id": {number}, "text": "{body}"}}\n')
    ref = ref_of(path)
    stream = loaders.load(ref, DEFAULTS, expected_hash=loaders.content_hash(ref))
    assert sum(isinstance(item, LoadedDocument) for item in stream) == 30_000
