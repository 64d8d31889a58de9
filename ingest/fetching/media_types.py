"""What an answer is: the file name under which the loader for its content is found."""

import re
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote

from ingest.fetching.addresses import Address
from ingest.loaders import is_supported
from search_app.errors import InvalidInputError, SourceError
from search_app.uploads import safe_name

_OOXML = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"

_SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/ld+json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/rss+xml": ".xml",
    "application/atom+xml": ".xml",
    "application/yaml": ".yaml",
    "text/css": ".css",
    "text/javascript": ".js",
    "application/javascript": ".js",
    "application/pdf": ".pdf",
    "application/x-pdf": ".pdf",
    "application/rtf": ".rtf",
    "text/rtf": ".rtf",
    "application/epub+zip": ".epub",
    "message/rfc822": ".eml",
    "application/vnd.ms-outlook": ".msg",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    f"{_OOXML}.wordprocessingml.document": ".docx",
    f"{_OOXML}.spreadsheetml.sheet": ".xlsx",
    f"{_OOXML}.presentationml.presentation": ".pptx",
    f"{_ODF}.text": ".odt",
    f"{_ODF}.spreadsheet": ".ods",
    f"{_ODF}.presentation": ".odp",
}

_VAGUE = frozenset(
    {"", "text/plain", "application/octet-stream", "binary/octet-stream", "application/zip"}
)
"""Types that servers give to whatever they do not know."""

_NO_TEXT = ("image/", "audio/", "video/", "font/")

_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_LOOKED_AT = 1024
_MARKS = ((b"%PDF-", ".pdf"), (b"{\\rtf", ".rtf"))


def file_name(address: Address, content_type: str, head: bytes) -> str:
    """Name the file that an answer would be, with the suffix that says what it is.

    That is the Content-Type's, unless it is one of those that say nothing; then the address's, and
    in the end what the first bytes (``head``) look like.

    Raises:
        SourceError: nothing reads such content.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    stem, suffix = _last_part(address)
    if media_type in _VAGUE:
        suffix = _guessed(media_type, suffix, head)
    else:
        suffix = _SUFFIXES.get(media_type) or ("" if media_type.startswith(_NO_TEXT) else suffix)
    name = f"{stem}{suffix}"
    if not suffix or not is_supported(name):
        raise SourceError(address.uri, f"nothing reads {media_type or 'what it is'}")
    return name


def _guessed(media_type: str, suffix: str, head: bytes) -> str:
    for mark, known in _MARKS:
        if head.startswith(mark):
            return known
    if media_type != "text/plain" and _HTML.search(head[:_LOOKED_AT]):
        # Scripts that make pages have suffixes, too.
        return ".html"
    if suffix and is_supported(f"x{suffix}"):
        return suffix
    return ".txt" if media_type == "text/plain" or _is_text(head) else ""


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and not head.startswith((b"PK\3\4", b"\x89PNG", b"GIF8", b"\xff\xd8"))


def _last_part(address: Address) -> tuple[str, str]:
    last = PurePosixPath(unquote(address.target.partition("?")[0])).name
    try:
        path = PurePosixPath(safe_name(last))
    except InvalidInputError:
        return "index", ""
    return path.stem, path.suffix.lower()


def charset(content_type: str) -> str | None:
    """Give the encoding that a Content-Type names; None where it names none."""
    message = Message()
    message["Content-Type"] = content_type
    named = message.get_content_charset()
    return named or None
