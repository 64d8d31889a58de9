"""A JSON list of objects: one document an object, read as a stream, as JSON lines are."""

import json
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper

from ingest.loaders.decoding import LINE_LIMIT, SAMPLE
from ingest.loaders.encoding import ASCII, UTF8, NotTextError, detect_encoding
from ingest.loaders.jsonl import DECODER
from ingest.loaders.records import Record
from ingest.types import SourceRef
from search_app.errors import SourceError

_START = 4096
_MARK = b"\xef\xbb\xbf"
_SPACE = " \t\r\n\ufeff"
_READ = 1 << 16


def is_list_of_objects(ref: SourceRef) -> bool:
    """Say whether a file begins like one; what cannot be read does not."""
    try:
        with ref.path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    inner = start.removeprefix(_MARK).lstrip()
    return inner.startswith(b"[") and inner[1:].lstrip().startswith(b"{")


def json_records(source: str, file: BufferedReader) -> Iterator[Record | SourceError]:
    """Read the objects of a list; ``line`` is the number of the object, from 1.

    No more than LINE_LIMIT characters are held for one object, and what is no JSON ends the
    list.
    """
    try:
        encoding = detect_encoding(file.peek(SAMPLE)[:SAMPLE])
    except NotTextError as exc:
        yield SourceError(source, str(exc))
        return
    encoding = UTF8 if encoding == ASCII else encoding
    reader = TextIOWrapper(file, encoding=encoding, newline="")
    try:
        yield from _Objects(source, reader, encoding).records()
    except UnicodeDecodeError as exc:
        yield SourceError(source, f"not valid {encoding.upper()}: {exc.reason}; stopped")
    finally:
        reader.detach()


class _Objects:
    """The list as far as it was read; what is done with is forgotten."""

    def __init__(self, source: str, reader: TextIOWrapper, encoding: str) -> None:
        self._source = source
        self._reader = reader
        self._encoding = encoding
        self._text = ""
        self._at = 0
        self._ended = False

    def records(self) -> Iterator[Record | SourceError]:
        self._skip("[")
        number = 0
        while self._skip() not in ("]", ""):
            number += 1
            try:
                value = self._value()
            except (ValueError, RecursionError) as exc:
                yield SourceError(f"{self._source}#{number}", f"{_reason(exc)}; stopped")
                return
            if isinstance(value, dict):
                yield Record(line=number, values=value, encoding=self._encoding)
            else:
                yield SourceError(f"{self._source}#{number}", "not a JSON object")
            if self._skip() == ",":
                self._at += 1
            elif self._skip() != "]":
                break
        if self._skip() != "]":
            yield SourceError(self._source, f"not JSON: the list ends amid entry {number + 1}")
        elif self._skip("]"):
            reason = "not JSON: more follows behind the end of the list, which is not read"
            yield SourceError(self._source, reason)

    def _skip(self, wanted: str = "") -> str:
        """Pass over white space, and over ``wanted``; give the character that follows."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE + wanted:
                wanted = "" if self._text[self._at] in wanted else wanted
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _value(self) -> object:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > LINE_LIMIT:
                    raise ValueError(f"an entry of more than {LINE_LIMIT:,} characters") from None
                if not self._more():
                    raise
                continue
            # A number that ends with what was read may go on.
            if end == len(self._text) and self._more():
                continue
            self._at = end
            return value

    def _more(self) -> bool:
        """Read on; as much again as is held, so that long entries are not tried too often."""
        read = self._reader.read(max(_READ, len(self._text) - self._at)) if not self._ended else ""
        self._text = self._text[self._at :] + read
        self._at = 0
        self._ended = not read
        return bool(read)


def _reason(error: ValueError | RecursionError) -> str:
    match error:
        case json.JSONDecodeError():
            return f"not JSON: {error.msg}"
        case RecursionError():
            return "nested too deeply"
        case _:
            return f"not JSON: {error}"
