"""What PDFium gives of a PDF: the text of each page, without glyph numbers, and its properties."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.loaders.decoding import normalize_newlines
from ingest.loaders.legible import is_legible
from search_app.errors import SourceError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfTextPage

# PDFium is not thread-safe: two calls at once, even on two documents, crash the process.
_pdfium_lock = threading.Lock()

_WRONG_PASSWORD = "Incorrect password"  # noqa: S105 - PDFium's message
_FEW = 0.01
"""Share of a page's characters without a meaning below which nothing is looked at: signs in
formulas and bullets."""
_STRIDE = 5
_LONGEST_FONT_NAME = 256


@dataclass(frozen=True, kw_only=True)
class PageText:
    """A page's text, and how many characters were left out of it because no one can read them."""

    text: str
    illegible: int = 0


def read_pages(
    source: str, data: bytes, passwords: Sequence[str]
) -> tuple[list[PageText], Mapping[str, str]]:
    """Read every page, and the properties that the file states.

    Raises:
        SourceError: no password opens it, or it is broken.
    """
    with _pdfium_lock:
        document = _opened(source, data, passwords)
        try:
            pages = [_page(document, number) for number in range(len(document))]
            return pages, document.get_metadata_dict()
        finally:
            document.close()


def _opened(source: str, data: bytes, passwords: Sequence[str]) -> "PdfDocument":
    import pypdfium2

    for password in (None, *passwords):
        try:
            return pypdfium2.PdfDocument(data, password=password)
        except pypdfium2.PdfiumError as exc:
            if _WRONG_PASSWORD not in str(exc):
                raise SourceError(source, f"not a readable PDF: {exc}") from exc
    hint = "none of those given opens it" if passwords else "ingest add --password"
    raise SourceError(source, f"encrypted; needs a password ({hint})")


def _page(document: "PdfDocument", number: int) -> PageText:
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            return _page_text(text_page)
        finally:
            text_page.close()
    finally:
        page.close()


def _page_text(text_page: "PdfTextPage") -> PageText:
    from pypdfium2 import raw

    # The whole range, because the text within the page's bounds lacks the ends of long lines
    # and runs others together.
    text = normalize_newlines(text_page.get_text_range())
    count = text_page.count_chars()

    def has_no_meaning(at: int) -> bool:
        return bool(raw.FPDFText_HasUnicodeMapError(text_page, at) == 1)

    # Asking for every character takes as long as the text itself; a font has whole words.
    if not any(map(has_no_meaning, range(0, count, _STRIDE))):
        return PageText(text=text)
    unmapped = [at for at in range(count) if has_no_meaning(at)]
    if len(unmapped) <= _FEW * count:
        return PageText(text=text)
    illegible = _illegible(text_page, unmapped)
    if not illegible:
        return PageText(text=text)
    kept = (_character(text_page, at) for at in range(count) if at not in illegible)
    lines = normalize_newlines("".join(kept)).split("\n")
    remaining = "\n".join(line.strip() for line in lines if line.strip())
    return PageText(text=remaining, illegible=len(illegible))


def _illegible(text_page: "PdfTextPage", unmapped: Iterable[int]) -> frozenset[int]:
    """Find the characters that are glyph numbers: a font's are, or are right, all together."""
    by_font: dict[bytes, list[int]] = {}
    for at in unmapped:
        by_font.setdefault(_font(text_page, at), []).append(at)
    return frozenset(
        at
        for places in by_font.values()
        if not is_legible("".join(_character(text_page, at) for at in places))
        for at in places
    )


def _font(text_page: "PdfTextPage", at: int) -> bytes:
    import ctypes

    from pypdfium2 import raw

    name = ctypes.create_string_buffer(_LONGEST_FONT_NAME)
    flags = ctypes.c_int()
    raw.FPDFText_GetFontInfo(text_page, at, name, _LONGEST_FONT_NAME, flags)
    return name.value


def _character(text_page: "PdfTextPage", at: int) -> str:
    from pypdfium2 import raw

    if raw.FPDFText_IsHyphen(text_page, at) == 1:
        return "\ufffe"
    code: Any = raw.FPDFText_GetUnicode(text_page, at)
    return "" if 0xD800 <= code <= 0xDFFF else chr(code)  # noqa: PLR2004 - halves of a character
