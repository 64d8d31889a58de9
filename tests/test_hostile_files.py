"""Files made to harm: each costs itself, says why, and reaches nothing outside it."""

import io
import socket
import struct
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest import loaders
from ingest.loaders import LoadOptions, packages
from ingest.loaders.registry import supported
from ingest.parsing import ParserPool
from search_app.errors import SourceError
from tests.office_files import (
    docx,
    docx_members,
    epub,
    odf,
    paragraph,
    placeholder,
    pptx,
    rows,
    styled,
    table,
    xlsx,
    zipped,
)
from tests.test_loaders import FILES, Desk, desk, needs_files

__all__ = ["desk"]

SPACES = b" " * 3_000_000
CONTAINERS = sorted(
    {".doc", ".docm", ".docx", ".epub", ".msg", ".odp", ".ods", ".odt", ".pdf", ".ppt", ".pptm"}
    | {".pptx", ".rtf", ".xls", ".xlsm", ".xlsx"}
)


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """An address, and who has connected to it."""
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        closed = threading.Event()

        def listen() -> None:
            while not closed.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                callers.append(str(address))
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", callers
        closed.set()
        thread.join()


# Packages that unpack to more than they seem.


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("a.docx", "word/document.xml"),
        ("a.docx", "core.xml"),
        ("a.xlsx", "xl/worksheets/sheet1.xml"),
        ("a.pptx", "ppt/presentation.xml"),
        ("a.epub", "OEBPS/1.xhtml"),
        ("a.odt", "content.xml"),
    ],
)
def test_a_zip_bomb_is_not_unpacked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str, member: str
) -> None:
    monkeypatch.setattr(packages, "UNPACKED_LIMIT", 2_000_000)
    whole = {
        "a.docx": docx(paragraph("x")),
        "a.xlsx": xlsx({"S": rows(["x"])}),
        "a.pptx": pptx([placeholder("title", "x")]),
        "a.epub": epub({"1.xhtml": "<p>x</p>"}),
        "a.odt": odf("text", "<text:p>x</text:p>"),
    }[name]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members: dict[str, str | bytes] = {n: archive.read(n) for n in archive.namelist()}
    members[member] = SPACES
    assert desk.reason(name, zipped(members)) == "unpacks to more than 2 MB; not read"


def test_the_limit_itself(desk: Desk) -> None:
    members = docx_members(paragraph("x")) | {"word/styles.xml": b" " * packages.UNPACKED_LIMIT}
    assert desk.reason("a.docx", zipped(members)) == "unpacks to more than 200 MB; not read"


def test_what_no_reader_asks_for_stays_closed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "UNPACKED_LIMIT", 2_000_000)
    members = docx_members(paragraph("text"))
    inner = zipped({"bomb": SPACES})
    members |= {"word/media/image1.png": SPACES, "word/embeddings/a.zip": inner}
    members |= {"word/vbaProject.bin": b"\xff" * 100, "../../escaped.txt": b"x"}
    assert desk.document("a.docm", zipped(members)).text == "text\n"
    assert [path.name for path in desk.folder.iterdir()] == ["a.docm"]
    assert not (desk.folder.parent.parent / "escaped.txt").exists()


def test_a_package_that_understates_its_size_is_damaged(desk: Desk) -> None:
    whole = docx(paragraph("x" * 50_000))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        size = archive.getinfo("word/document.xml").file_size
    lied = whole.replace(struct.pack("<I", size), struct.pack("<I", 5))
    assert lied != whole
    assert desk.reason("a.docx", lied).startswith("damaged: word/document.xml: ")
    # More than there is would at most be refused for nothing.
    more = whole.replace(struct.pack("<I", size), struct.pack("<I", 10_000_000))
    assert desk.document("b.docx", more).text == f"{'x' * 50_000}\n"


def test_a_package_of_very_many_members_is_not_opened(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MOST_MEMBERS", 100)
    members = docx_members(paragraph("x")) | {f"x{n}": b"" for n in range(100)}
    assert desk.reason("a.docx", zipped(members)) == "holds more than 100 files; not opened"


def test_all_parts_together_are_limited(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "UNPACKED_LIMIT", 100_000)
    book = epub({f"{n}.xhtml": f"<p>{'word ' * 4_000}</p>" for n in range(10)})
    assert desk.reason("a.epub", book).startswith("unpacks to more than")


# XML.


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY a "ha">'
        + "".join(
            f'<!ENTITY {b} "{f"&{a};" * 10}">'
            for a, b in zip("abcdefghi", "bcdefghij", strict=True)
        )
        + "]>",
        '<!DOCTYPE x [<!ENTITY j SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY j SYSTEM "ADDRESS/entity">]>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "ADDRESS/dtd"> %p;]>',
        '<!DOCTYPE x SYSTEM "ADDRESS/dtd">',
    ],
    ids=["laughs", "file", "address", "parameter", "dtd"],
)
@pytest.mark.parametrize("name", ["a.docx", "a.odt", "a.epub"])
def test_entities_are_neither_expanded_nor_fetched(
    desk: Desk, listener: tuple[str, list[str]], name: str, doctype: str
) -> None:
    address, callers = listener
    doctype = doctype.replace("ADDRESS", address)
    use = "&j;" if "j " in doctype else ""
    members: dict[str, str | bytes]
    if name == "a.docx":
        members = docx_members(paragraph("text"))
        part = "word/document.xml"
        body = f"<document><body><p><r><t>{use}text</t></r></p></body></document>"
    elif name == "a.odt":
        with zipfile.ZipFile(io.BytesIO(odf("text", "<text:p>x</text:p>"))) as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
        part, body = "content.xml", f"<c><body><text><p>{use}text</p></text></body></c>"
    else:
        with zipfile.ZipFile(io.BytesIO(epub({"1.xhtml": "<p>x</p>"}))) as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
        part, body = "OEBPS/book.opf", f"<package>{use}</package>"
    members[part] = f'<?xml version="1.0"?>{doctype}{body}'
    reason = desk.reason(name, zipped(members))
    assert "declares a document type" in reason or "not well-formed" in reason
    assert callers == []


def test_xml_nested_very_deeply_is_refused(desk: Desk) -> None:
    body = "<w:sdt>" * 100_000 + "</w:sdt>" * 100_000
    assert "not well-formed XML" in desk.reason("a.docx", docx(body))


def test_tables_within_tables_within_tables(desk: Desk) -> None:
    inner = paragraph("innermost")
    for _ in range(60):
        inner = table([inner, paragraph("x")])
    (found,) = desk.read("a.docx", docx(inner))
    assert isinstance(found, SourceError) or "innermost" in found.text


# HTML, books and messages.


def test_html_nested_very_deeply_is_read(desk: Desk) -> None:
    deep = "<div>" * 20_000 + "<p>deep <b>word</b></p>" + "</div>" * 20_000
    page = f"<h1>Top</h1>{deep}<h2>Below</h2><p>after</p>"
    assert desk.document("a.html", page).text == "# Top\n\ndeep\nword\n\n## Below\n\nafter\n"


def test_nothing_that_a_document_refers_to_is_fetched(
    desk: Desk, listener: tuple[str, list[str]]
) -> None:
    address, callers = listener
    page = (
        f'<html><head><link rel="stylesheet" href="{address}/a.css"><base href="{address}">'
        f'</head><body><p>text <a href="{address}/x">link</a></p><img src="{address}/b.png">'
        f'<iframe src="{address}/c"></iframe><script src="{address}/d.js"></script></body></html>'
    )
    picture = '<w:drawing><a:blip r:link="rId9"/></w:drawing><w:r><w:t>text</w:t></w:r>'
    rtf = rf'{{\rtf1{{\field{{\*\fldinst INCLUDEPICTURE "{address}/e.png"}}{{\fldrslt text}}}}}}'
    mail = f"Subject: s\nContent-Type: text/html\n\n{page}"
    assert "text link" in desk.document("a.html", page).text
    assert "text link" in desk.document("a.epub", epub({"1.xhtml": page})).text
    assert "text link" in desk.document("a.eml", mail).text
    assert "text" in desk.document("a.docx", docx(paragraph(picture))).text
    assert "text" in desk.document("a.rtf", rtf).text
    assert (
        "text" in desk.document("a.org", f"* h\n#+INCLUDE: {address}/f\ntext [[{address}/g]]").text
    )
    assert (
        "text"
        in desk.document("a.rst", f"text\n\n.. include:: /etc/passwd\n.. image:: {address}").text
    )
    assert callers == []


def test_messages_of_very_many_parts(desk: Desk) -> None:
    deep = "Subject: deep\n" + "".join(
        f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(1_000)
    )
    assert "parts" in desk.reason("a.eml", deep + "Content-Type: text/plain\n\ntext\n")
    wide = 'Subject: wide\nContent-Type: multipart/mixed; boundary="b"\n\n'
    wide += "--b\nContent-Type: text/plain\n\nx\n" * 1_001 + "--b--\n"
    assert desk.reason("b.eml", wide) == "has more than 1,000 parts"


def test_a_table_of_a_million_columns(desk: Desk) -> None:
    header = ",".join(f"c{n}" for n in range(1_000_000))
    assert desk.reason("a.csv", header + "\n") == "has 1,000,000 columns; at most 1,000"


# What only the limits of the process hold.


def test_a_cell_at_the_far_end_of_a_sheet_costs_its_file_only(desk: Desk) -> None:
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    ref = desk.write("a.xlsx", xlsx({"S": '<row r="1"><c r="A1"><v>1</v></c></row>' + far}))
    good = desk.write("b.xlsx", xlsx({"S": rows(["fine"])}))
    pool = ParserPool(workers=1, seconds=60, memory_mb=512)
    try:
        found = [next(iter(pool.submit(source, LoadOptions()))) for source in (ref, good)]
    finally:
        pool.close()
    assert isinstance(found[0], SourceError)
    assert not isinstance(found[1], SourceError)


# Damaged files.


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_zeros_and_noise_are_refused_by_every_reader(desk: Desk, suffix: str) -> None:
    assert suffix in supported()
    for number, data in enumerate([bytes(5_000), bytes(range(256)) * 20, b"PK\x03\x04", b"%PDF-"]):
        reason = desk.reason(f"{number}{suffix}", data)
        assert not reason.startswith("cannot be read")
    assert desk.reason(f"t{suffix}", "just words").startswith(f"not what {suffix} says but plain")


@needs_files
@pytest.mark.parametrize(
    "name",
    [
        *("r2r/doc.doc", "r2r/ppt.ppt", "r2r/msg.msg", "r2r/docx.docx", "r2r/pptx.pptx"),
        *("r2r/odt.odt", "r2r/xlsx.xlsx", "r2r/epub.epub", "pdfminer/simple1.pdf"),
    ],
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_cut_files_are_refused_or_read_as_far_as_they_go(
    desk: Desk, name: str, share: float
) -> None:
    if not (FILES / name).is_file():
        pytest.skip(f"needs the sample {name}")
    whole = (FILES / name).read_bytes()
    (found,) = desk.read(Path(name).name, whole[: int(len(whole) * share)])
    if isinstance(found, SourceError):
        assert not found.reason.startswith("cannot be read")


# Files under another name, and under lock.


def test_a_file_is_what_its_bytes_are_whatever_it_is_called(desk: Desk) -> None:
    assert desk.document("a.doc", docx(styled("x", "new format"))).media_type == "docx"
    assert desk.document("b.docx", b"{\\rtf1 rich}").media_type == "rtf"
    assert (
        desk.document("c.xls", "<html><table><tr><td>exported</td></tr></table>").media_type
        == "html"
    )
    assert (
        desk.reason("d.docx", zipped({"a.txt": "x"}))
        == "not what .docx says but a ZIP archive; unpack it"
    )
    assert (
        desk.reason("e.docx", b"\x89PNG\r\n")
        == "not what .docx says but an image; pictures need OCR"
    )
    assert desk.reason("f.xlsx", "a,b\n1,2\n").endswith(
        "plain text; name it .txt, or .csv if it is a table"
    )


@needs_files
def test_a_pdf_called_docx_is_a_pdf(desk: Desk) -> None:
    name = FILES / "pdfminer/simple1.pdf"
    if not name.is_file():
        pytest.skip("needs the sample simple1.pdf")
    assert desk.document("a.docx", name.read_bytes()).media_type == "pdf"


@needs_files
def test_a_pdf_opens_with_one_of_the_passwords_given(desk: Desk) -> None:
    path = FILES / "pdfminer/encryption/aes-256.pdf"
    if not path.is_file():
        pytest.skip("needs the sample aes-256.pdf")
    data = path.read_bytes()
    assert desk.reason("a.pdf", data) == "encrypted; needs a password (ingest add --password)"
    wrong = LoadOptions(passwords=("no",))
    assert desk.reason("b.pdf", data, wrong).endswith("(none of those given opens it)")
    for password in ("foo", "baz"):
        options = LoadOptions(passwords=("no", password))
        assert "Secret!" in desk.document(f"{password}.pdf", data, options).text
    ref = desk.write("c.pdf", data)
    assert loaders.reader(ref, wrong) == loaders.reader(ref, LoadOptions())


def test_encrypted_opendocument_is_said(desk: Desk) -> None:
    with zipfile.ZipFile(io.BytesIO(odf("text", "<text:p>x</text:p>"))) as archive:
        members: dict[str, str | bytes] = {n: archive.read(n) for n in archive.namelist()}
    members["META-INF/manifest.xml"] = (
        "<manifest><file-entry><encryption-data/></file-entry></manifest>"
    )
    members["content.xml"] = b"\x8f\x12" * 100
    assert desk.reason("a.odt", zipped(members)) == "encrypted; save it without a password"


def test_books_protected_against_copying_are_said(desk: Desk) -> None:
    with zipfile.ZipFile(io.BytesIO(epub({"1.xhtml": "<p>x</p>"}))) as archive:
        members: dict[str, str | bytes] = {n: archive.read(n) for n in archive.namelist()}
    scrambled = '<encryption><CipherReference URI="OEBPS/{}"/></encryption>'
    fonts = members | {"META-INF/encryption.xml": scrambled.format("a.ttf")}
    assert desk.document("a.epub", zipped(fonts)).text == "x\n"
    chapters = members | {"META-INF/encryption.xml": scrambled.format("1.xhtml")}
    assert desk.reason("b.epub", zipped(chapters)).startswith("protected against copying")


@needs_files
def test_a_pdf_of_two_thousand_pages(desk: Desk) -> None:
    path = FILES / "onyx/multipage.pdf"
    if not path.is_file():
        pytest.skip("needs the sample multipage.pdf")
    import pypdfium2

    source, whole = pypdfium2.PdfDocument(path), pypdfium2.PdfDocument.new()
    for _ in range(1_000):
        whole.import_pages(source)
    buffer = io.BytesIO()
    whole.save(buffer)
    whole.close()
    source.close()
    document = desk.document("a.pdf", buffer.getvalue())
    assert len(document.page_starts) == document.meta["pages"] == 2_000
    assert document.text[document.page_starts[1_999] :] == "Page two content"
