"""PDF: the text layer page by page."""

import re
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ingest.loaders.decoding import normalize_newlines
from ingest.loaders.documents import make_document
from ingest.types import LoadedDocument, SourceRef
from search_app.errors import SourceError
from search_app.types import JSON

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

# PDFium is not thread-safe: two calls at once, even on two documents, crash the process.
_pdfium_lock = threading.Lock()

_WRONG_PASSWORD = "Incorrect password"  # noqa: S105 - PDFium's message
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_GARBAGE_SHARE = 0.2
# PDFium writes U+FFFE where a hyphen ended a line, and joins the lines.
_HYPHENATED = re.compile(r"\ufffe(?=(.?))", re.DOTALL)
_LONGEST_WORD = 50
_NO_TITLE = re.compile(
    r"untitled|microsoft \w+ - .*|.*\.(docx?|pptx?|xlsx?|odt|pdf|tex|dvi|indd|rtf|txt)",
    re.IGNORECASE,
)


def load_pdf(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read the text of every page; the title is the one the file states, if it is one.

    Raises:
        SourceError: encrypted, broken, without text, or with text that no one could read.
    """
    pages, properties = _extract(ref.uri, data)
    text = "\n".join(pages)
    if not text.strip():
        count = "1 page" if len(pages) == 1 else f"{len(pages)} pages"
        raise SourceError(ref.uri, f"no text: {count} without a text layer; scans need OCR")
    _check_readable(ref.uri, text)
    cleaned = [_cleaned(page) for page in pages]
    return make_document(
        ref,
        text="\n".join(cleaned),
        title=_title(properties),
        meta=_meta(properties, len(pages)),
        media_type="pdf",
        structure="plain",
        page_starts=tuple(_starts(cleaned)),
    )


def _extract(uri: str, data: bytes) -> tuple[list[str], Mapping[str, str]]:
    import pypdfium2

    with _pdfium_lock:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as exc:
            if _WRONG_PASSWORD in str(exc):
                raise SourceError(uri, "encrypted; needs a password") from exc
            raise SourceError(uri, f"not a readable PDF: {exc}") from exc
        try:
            pages = [_page_text(document, number) for number in range(len(document))]
            return pages, document.get_metadata_dict()
        finally:
            document.close()


def _page_text(document: "PdfDocument", number: int) -> str:
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            # The whole range, because the text within the page's bounds lacks the ends of long
            # lines and runs others together.
            return normalize_newlines(text_page.get_text_range())
        finally:
            text_page.close()
    finally:
        page.close()


def _check_readable(uri: str, text: str) -> None:
    # Fonts without a map to Unicode give glyph numbers, most of which are control characters.
    if len(_CONTROL.findall(text)) > _GARBAGE_SHARE * len("".join(text.split())):
        raise SourceError(uri, "its fonts do not say which characters they show; needs OCR")


def _cleaned(page: str) -> str:
    return _CONTROL.sub("", _HYPHENATED.sub(_joined, page))


def _joined(match: re.Match[str]) -> str:
    # "pro-gram" was hyphenated to fit the line; "chain-of-thought" and "PaLM-540B" have their own.
    before = match.string[max(0, match.start() - _LONGEST_WORD) : match.start()].split()
    own = bool(before and "-" in before[-1]) or not match[1].islower()
    return "-" if own else ""


def _starts(pages: list[str]) -> Iterator[int]:
    start = 0
    for page in pages:
        yield start
        start += len(page) + 1


def _title(properties: Mapping[str, str]) -> str:
    title = _CONTROL.sub("", properties.get("Title", "")).strip()
    return "" if "\ufffd" in title or _NO_TITLE.fullmatch(title) else title


def _meta(properties: Mapping[str, str], pages: int) -> dict[str, JSON]:
    author = _CONTROL.sub("", properties.get("Author", "")).strip()
    return {"pages": pages} | ({"author": author} if author else {})
