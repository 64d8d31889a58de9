"""What a file is by its first bytes, whatever it is called."""

from ingest.loaders.office import ole
from ingest.loaders.packages import Package
from search_app.errors import SourceError

KINDS = {
    "pdf": "a PDF",
    "docx": "a Word document",
    "pptx": "a PowerPoint presentation",
    "xlsx": "an Excel workbook",
    "odt": "an OpenDocument text",
    "odp": "an OpenDocument presentation",
    "ods": "an OpenDocument workbook",
    "epub": "an EPUB book",
    "doc": "a Word document of the old format",
    "ppt": "a PowerPoint presentation of the old format",
    "xls": "an Excel workbook of the old format",
    "msg": "an Outlook message",
    "rtf": "rich text",
    "zip": "a ZIP archive",
    "image": "an image",
    "html": "HTML",
    "text": "plain text",
    "data": "bytes that no known format begins with: damaged or something else",
}
"""Kinds of files and what to call them."""

_PREFIXES = (
    (b"{\\rtf", "rtf"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
)
_PDF_WITHIN = 1024
"""Bytes within which ``%PDF-`` may begin, as readers of PDF accept."""
_MIME_TYPES = {
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.text-template": "odt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.presentation-template": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.spreadsheet-template": "ods",
    "application/epub+zip": "epub",
}
_MAIN_FOLDERS = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))
_STREAMS = (
    ("WordDocument", "doc"),
    ("PowerPoint Document", "ppt"),
    ("Workbook", "xls"),
    ("Book", "xls"),
    ("__properties_version1.0", "msg"),
)
_TEXT_SAMPLE = 4096


def kind_of(source: str, data: bytes) -> str:
    """Give the kind of a file, a key of ``KINDS``.

    Raises:
        SourceError: it is a container that is damaged, or encrypted as a whole.
    """
    if data.startswith(b"PK\x03\x04"):
        return _package_kind(Package(source, data))
    if data.startswith(ole.SIGNATURE):
        return _container_kind(source, data)
    if b"%PDF-" in data[:_PDF_WITHIN]:
        return "pdf"
    for prefix, kind in _PREFIXES:
        if data.startswith(prefix):
            return kind
    return _text_kind(data[:_TEXT_SAMPLE])


def _package_kind(package: Package) -> str:
    if "mimetype" in package:
        declared = package.read("mimetype").decode("ascii", "replace").strip()
        if declared in _MIME_TYPES:
            return _MIME_TYPES[declared]
    if "META-INF/container.xml" in package:
        return "epub"
    names = list(package.names)
    found = (kind for start, kind in _MAIN_FOLDERS if any(n.startswith(start) for n in names))
    return next(found, "zip") if "[Content_Types].xml" in package else "zip"


def _container_kind(source: str, data: bytes) -> str:
    with ole.opened(source, data) as container:
        if container.exists("EncryptedPackage"):
            raise SourceError(source, "encrypted; save it without a password")
        return next((kind for name, kind in _STREAMS if container.exists(name)), "data")


def _text_kind(sample: bytes) -> str:
    if b"\0" in sample:
        return "data"
    start = sample.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "html"
    printable = sum(byte >= 0x20 or byte in b"\t\r\n\f\x1b" for byte in sample)  # noqa: PLR2004 - below it are control characters
    return "text" if sample and printable == len(sample) else "data"
