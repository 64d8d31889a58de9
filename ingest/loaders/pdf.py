"""PDF: the text layer page by page."""

import re
from collections.abc import Iterator, Mapping, Sequence

from ingest.loaders.documents import make_document
from ingest.loaders.pdf_pages import PageText, read_pages
from ingest.loaders.properties import authors, metadata, stated_title
from ingest.types import LoadedDocument, SourceRef
from search_app.errors import SourceError
from search_app.types import JSON

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_MOSTLY_ILLEGIBLE = 0.5
_NOTEWORTHY = 0.05
"""Share of a page that has to be illegible for the page to be named."""
# PDFium writes U+FFFE where a hyphen ended a line, and joins the lines.
_HYPHENATED = re.compile(r"\ufffe(?=(.?))", re.DOTALL)
_LONGEST_WORD = 50
_DATE = re.compile(
    r"D:(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)(\d\d)?)?(Z|[+-]\d\d)?'?(\d\d)?.*", re.DOTALL
)


def load_pdf(ref: SourceRef, data: bytes, passwords: Sequence[str] = ()) -> LoadedDocument:
    """Read the text of every page; the title is the one the file states, if it is one.

    Text in fonts that do not say which characters they show is left out, and its pages are named
    in the metadata.

    Raises:
        SourceError: encrypted with another password, broken, or without text that can be read.
    """
    pages, properties = read_pages(ref.uri, data, passwords)
    cleaned = [_cleaned(page.text) for page in pages]
    _check_readable(ref.uri, pages, cleaned)
    return make_document(
        ref,
        text="\n".join(cleaned),
        title=stated_title(_CONTROL.sub("", properties.get("Title", ""))),
        meta=_meta(properties, pages),
        media_type="pdf",
        structure="plain",
        page_starts=tuple(_starts(cleaned)),
    )


def _check_readable(uri: str, pages: Sequence[PageText], cleaned: Sequence[str]) -> None:
    legible = sum(len("".join(page.split())) for page in cleaned)
    illegible = sum(page.illegible for page in pages)
    if illegible > _MOSTLY_ILLEGIBLE * (legible + illegible):
        raise SourceError(uri, "its fonts do not say which characters they show; needs OCR")
    if not legible:
        count = "1 page" if len(pages) == 1 else f"{len(pages)} pages"
        raise SourceError(uri, f"no text: {count} without a text layer; scans need OCR")


def _cleaned(page: str) -> str:
    return _CONTROL.sub("", _HYPHENATED.sub(_joined, page))


def _joined(match: re.Match[str]) -> str:
    # "pro-gram" was hyphenated to fit the line; "chain-of-thought" and "PaLM-540B" have their own.
    before = match.string[max(0, match.start() - _LONGEST_WORD) : match.start()].split()
    own = bool(before and "-" in before[-1]) or not match[1].islower()
    return "-" if own else ""


def _starts(pages: Sequence[str]) -> Iterator[int]:
    start = 0
    for page in pages:
        yield start
        start += len(page) + 1


def _meta(properties: Mapping[str, str], pages: Sequence[PageText]) -> dict[str, JSON]:
    illegible: list[JSON] = [
        number
        for number, page in enumerate(pages, start=1)
        if page.illegible > _NOTEWORTHY * (len(page.text) + page.illegible)
    ]
    return metadata(
        {
            "pages": len(pages),
            "unreadable_pages": illegible,
            "author": authors([properties.get("Author", "")]),
            "created": _date(properties.get("CreationDate", "")),
            "modified": _date(properties.get("ModDate", "")),
            "subject": properties.get("Subject", ""),
            "keywords": authors([properties.get("Keywords", "").replace(",", ";")]),
        }
    )


def _date(stated: str) -> str:
    """Write a date of PDF, such as ``D:20240131120000+09'00'``, in ISO 8601."""
    found = _DATE.fullmatch(stated)
    if found is None:
        return ""
    year, month, day, hour, minute, second, zone, zone_minutes = found.groups()
    date = f"{year}-{month or '01'}-{day or '01'}"
    if hour is None:
        return date
    offset = "" if zone is None else zone if zone == "Z" else f"{zone}:{zone_minutes or '00'}"
    return f"{date}T{hour}:{minute}:{second or '00'}{offset}"
