"""OLE containers, which Office files of 1997 to 2003 are: streams and stated properties."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from ingest.loaders.properties import authors, metadata, stated_title
from search_app.errors import SourceError
from search_app.types import JSON

if TYPE_CHECKING:
    from olefile import OleFileIO

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF8 = 65001
_EPOCH = 1601


@contextmanager
def opened(source: str, data: bytes) -> Iterator["OleFileIO"]:
    """Open a container.

    Raises:
        SourceError: it is damaged, also where that shows only within the block.
    """
    import olefile

    try:
        with olefile.OleFileIO(data) as container:
            yield container
    except (OSError, ValueError, IndexError, KeyError, OverflowError) as exc:
        raise SourceError(source, f"damaged: {exc}") from exc


def stated(container: "OleFileIO") -> tuple[str, dict[str, JSON]]:
    """Give the title and the metadata that a container states."""
    properties = container.get_metadata()
    encoding = _encoding(properties.codepage)

    def text(value: bytes | str | None) -> str:
        return value.decode(encoding, "replace") if isinstance(value, bytes) else value or ""

    def date(value: object) -> str:
        # A time that was never set counts from the year 1601.
        if isinstance(value, datetime) and value.year > _EPOCH:
            return f"{value.isoformat(timespec='seconds')}Z"
        return ""

    meta = metadata(
        {
            "author": authors([text(properties.author)]),
            "created": date(properties.create_time),
            "modified": date(properties.last_saved_time),
            "subject": text(properties.subject),
            "keywords": authors([text(properties.keywords).replace(",", ";")]),
        }
    )
    return stated_title(text(properties.title)), meta


def _encoding(codepage: int | None) -> str:
    if codepage is None or codepage % 65536 == _UTF8:
        return "utf-8"
    try:
        return codecs.lookup(f"cp{codepage % 65536}").name
    except LookupError:
        return "cp1252"
