"""What CSV rows and JSON lines have in common: a record of named values becomes a document."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ingest.loaders.decoding import check_text, normalize_newlines
from ingest.loaders.documents import make_document
from ingest.types import LoadedDocument, LoadOptions, SourceRef
from search_app.errors import SourceError
from search_app.types import JSON

_TEXT_FIELDS = ("text", "body", "content", "passage", "contents")
_TITLE_FIELDS = ("title", "name", "subject")
_ID_FIELDS = ("id", "_id")
_LONGEST_KEY = 500
_FILTERABLE = 256
"""Longest text, in characters, that is still a value to filter by and not prose."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row or line, the number of the line it begins on, and what it was read as."""

    line: int
    values: Mapping[str, JSON]
    encoding: str = ""


class RecordReader:
    """Turns the records of one file into documents, and sees that no two have the same key.

    Remembers the key of each record, about 150 bytes.
    """

    def __init__(self, ref: SourceRef, options: LoadOptions, media_type: str) -> None:
        """Read the records of ``ref``; ``media_type`` is what its documents are called."""
        self.ref = ref
        self.options = options
        self.media_type = media_type
        self._lines: dict[str, int] = {}

    def documents(
        self, records: Iterable[Record | SourceError]
    ) -> Iterator[LoadedDocument | SourceError]:
        """Read records as they come; one that cannot be used yields its error in its place."""
        for record in records:
            if isinstance(record, SourceError):
                yield record
                continue
            try:
                yield self._document(record)
            except SourceError as error:
                yield error

    def _document(self, record: Record) -> LoadedDocument:
        at = f"{self.ref.uri}#{record.line}"
        id_field = _field(record, self.options.id_field, _ID_FIELDS, at)
        title_field = _field(record, self.options.title_field, _TITLE_FIELDS, at)
        key = self._key(record, id_field, at)
        text, used = self._text(record, id_field, at)
        return make_document(
            self.ref,
            key=key,
            text=normalize_newlines(text),
            title=_as_text(record.values[title_field]) if title_field else "",
            fallback_title=key if id_field else f"{self.ref.name}#{key}",
            media_type=self.media_type,
            structure="plain",
            meta=self._meta(record, {*used, id_field, title_field}, at),
            encoding=record.encoding,
        )

    def _key(self, record: Record, id_field: str | None, at: str) -> str:
        key = _as_text(record.values[id_field]).strip() if id_field else str(record.line)
        if not key:
            raise SourceError(at, f"its field {id_field!r} is empty; every record needs its own")
        check_text(at, key, f"its field {id_field!r}")
        if len(key) > _LONGEST_KEY:
            raise SourceError(at, f"its key has {len(key):,} characters; at most {_LONGEST_KEY}")
        first = self._lines.setdefault(key, record.line)
        if first != record.line:
            raise SourceError(
                at, f"has the same key {key!r} as line {first}; keys must differ within a file"
            )
        return key

    def _text(self, record: Record, id_field: str | None, at: str) -> tuple[str, tuple[str, ...]]:
        """Give the text and the fields that are used up by it."""
        chosen = self.options.text_fields
        if not chosen:
            names = {name.lower(): name for name in record.values}
            chosen = tuple(names[name] for name in _TEXT_FIELDS if name in names)[:1]
        if chosen:
            _require(record, chosen, at)
            parts = (_as_text(record.values[name]) for name in chosen)
            return "\n".join(part for part in parts if part.strip()), chosen
        # Nothing names the text: all that reads like text is text, and stays open to filters.
        lines = [
            f"{name}: {value}"
            for name, value in record.values.items()
            if isinstance(value, str) and value.strip() and name != id_field
        ]
        if not lines:
            raise SourceError(at, "no field holds text; name one with --text-field")
        return "\n".join(lines), ()

    def _meta(self, record: Record, used: set[str | None], at: str) -> dict[str, JSON]:
        wanted = self.options.meta_fields
        if wanted is not None:
            _require(record, wanted, at)
            return {name: record.values[name] for name in wanted if _plain(record.values[name])}
        return {
            name: value
            for name, value in record.values.items()
            if name not in used and _plain(value) and len(str(value)) <= _FILTERABLE
        }


def _field(record: Record, asked: str | None, usual: tuple[str, ...], at: str) -> str | None:
    if asked is not None:
        _require(record, (asked,), at)
        return asked
    names = (name for name, value in record.values.items() if _as_text(value).strip())
    filled = {name.lower(): name for name in names}
    return next((filled[name] for name in usual if name in filled), None)


def _require(record: Record, names: Iterable[str], at: str) -> None:
    for name in names:
        if name not in record.values:
            raise SourceError(at, f"has no field {name!r}; it has {', '.join(record.values)}")


def _as_text(value: JSON) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return str(value).lower()
        case list():
            return "\n".join(_as_text(item) for item in value)
        case int() | float():
            return str(value)
        case _:
            return ""


def _plain(value: JSON) -> bool:
    """Say whether a value can be filtered by: text, number, truth, or a list of such."""
    if isinstance(value, list):
        return all(_plain(item) and not isinstance(item, list) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and value != ""
