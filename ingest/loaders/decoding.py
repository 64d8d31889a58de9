"""Bytes to text: the one place that knows encodings, and what text the catalog can hold."""

import codecs
import re
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper

from search_app.errors import SourceError

LINE_LIMIT = 10_000_000
"""Most characters of one line and most bytes of one record; longer ones are data, not text."""

_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_REFUSED = re.compile("[\x00\ud800-\udfff]")
_LINE_BREAK = re.compile(r"\r\n?")


def decode(source: str, data: bytes) -> str:
    r"""Decode UTF-8, or UTF-16 that says so with a byte order mark; line ends become ``\n``.

    Raises:
        SourceError: any other encoding, or a text that ``check_text`` refuses.
    """
    encoding = "utf-16" if data.startswith(_UTF16_BOMS) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise SourceError(source, _undecodable(exc, data)) from exc
    text = normalize_newlines(text)
    check_text(source, text)
    return text


def _undecodable(error: UnicodeDecodeError, data: bytes) -> str:
    if error.encoding != "utf-8":
        return f"not valid UTF-16 at byte {error.start}"
    # The codec counts from behind the mark that it took off.
    offset = error.start + (3 if data.startswith(codecs.BOM_UTF8) else 0)
    return f"not valid UTF-8 at byte {offset}; convert it, e.g. iconv -f CP932 -t UTF-8"


def normalize_newlines(text: str) -> str:
    r"""Write every line end as ``\n``; all offsets refer to the text after this."""
    return _LINE_BREAK.sub("\n", text)


def check_text(source: str, text: str, where: str = "text") -> None:
    """Refuse what Postgres refuses, so that it is reported for one document, not met in a batch.

    Raises:
        SourceError: a NUL character or a lone surrogate, with its character offset in ``where``.
    """
    found = _REFUSED.search(text)
    if found is None:
        return
    kind = "a NUL character" if found[0] == "\x00" else f"a lone surrogate U+{ord(found[0]):04X}"
    raise SourceError(source, f"{where} holds {kind} at character {found.start()}")


def check_lines(source: str, text: str) -> None:
    """Refuse a text with a line that no one wrote as text.

    Raises:
        SourceError: a line of more than LINE_LIMIT characters, with its number.
    """
    if len(text) <= LINE_LIMIT:
        return
    start, number = 0, 1
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if end - start > LINE_LIMIT:
            raise SourceError(
                source, f"line {number} has {end - start:,} characters; at most {LINE_LIMIT:,}"
            )
        start, number = end + 1, number + 1


def read_lines(source: str, file: BufferedReader) -> Iterator[str | SourceError]:
    r"""Read text line by line, each with its ``\n``; a bad line yields its error in its place.

    No more than LINE_LIMIT bytes or characters are held at a time, whatever the file looks like.
    """
    if file.peek(2)[:2] in _UTF16_BOMS:
        yield from _utf16_lines(source, file)
        return
    number = 0
    while line := file.readline(LINE_LIMIT):
        number += 1
        at = f"{source}#{number}"
        if len(line) == LINE_LIMIT and not line.endswith(b"\n"):
            _skip_line(file)
            yield SourceError(at, f"a line of more than {LINE_LIMIT:,} bytes")
            continue
        try:
            yield decode(at, line)
        except SourceError as error:
            yield error


def _skip_line(file: BufferedReader) -> None:
    while (rest := file.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
        pass


def _utf16_lines(source: str, file: BufferedReader) -> Iterator[str | SourceError]:
    # A line of UTF-16 cannot be told from its bytes alone; one bad place therefore ends the file.
    reader = TextIOWrapper(file, encoding="utf-16", newline="\n")
    number = 0
    try:
        while line := reader.readline(LINE_LIMIT):
            number += 1
            at = f"{source}#{number}"
            if len(line) == LINE_LIMIT and not line.endswith("\n"):
                yield SourceError(at, f"a line of more than {LINE_LIMIT:,} characters; stopped")
                return
            yield normalize_newlines(line)
    except UnicodeDecodeError:
        yield SourceError(f"{source}#{number + 1}", "not valid UTF-16; stopped")
    finally:
        reader.detach()
