"""Bytes to text: in the encoding they are found to be in, never with a character replaced."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, BytesIO, RawIOBase, TextIOWrapper

from ingest.loaders.encoding import (
    ASCII,
    BOMS,
    UTF8,
    WIDE,
    NotTextError,
    decode_strictly,
    detect_encoding,
    display_name,
    foreign_line,
)
from search_app.errors import SourceError

SAMPLE = 1 << 20
"""Bytes of a stream that its encoding is told from."""
LINE_LIMIT = 10_000_000
"""Most characters of one line and most bytes of one record; longer ones are data, not text."""

_REFUSED = re.compile("[\x00\ud800-\udfff]")
_LINE_BREAK = re.compile(r"\r\n?")
_DECLARATION = re.compile(
    rb"""<meta[^>]*?charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)""",
    re.IGNORECASE,
)
_DECLARED_WITHIN = 1024
"""Bytes within which a page has to say its encoding (HTML Living Standard, 4.2.5.4)."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A text and what its bytes were read as, e.g. ``utf-8`` or ``cp932``."""

    text: str
    encoding: str


def decode(source: str, data: bytes) -> str:
    """Decode as ``decode_detected`` does, where the encoding matters to no one."""
    return decode_detected(source, data).text


def decode_html(source: str, data: bytes, declared: str | None = None) -> Decoded:
    """Decode a page; ``declared`` is what the server said, which counts before the page's own word.

    Both count only where they fit: a byte order mark, and bytes that can only be UTF-8, count more.

    Raises:
        SourceError: as ``decode_detected``.
    """
    return decode_detected(source, data, declared or declared_encoding(data))


def declared_encoding(data: bytes) -> str | None:
    """Give what a page or an XML file says of itself near its top."""
    found = _DECLARATION.search(data[:_DECLARED_WITHIN])
    return (found[1] or found[2]).decode("ascii", errors="ignore") if found else None


def decode_detected(source: str, data: bytes, declared: str | None = None) -> Decoded:
    r"""Decode a text in the encoding that explains all of it; line ends become ``\n``.

    Raises:
        SourceError: it is no text, some bytes do not fit, or ``check_text`` refuses it.
    """
    try:
        encoding = detect_encoding(data, declared)
    except NotTextError as exc:
        raise SourceError(source, str(exc)) from exc
    text = normalize_newlines(_strictly(source, data, encoding))
    check_text(source, text)
    return Decoded(text=text, encoding=display_name(encoding))


def _strictly(source: str, data: bytes, encoding: str) -> str:
    mark = _mark_length(data)
    try:
        text = decode_strictly(encoding, data[mark:])
    except UnicodeDecodeError as exc:
        raise SourceError(source, _undecodable(encoding, data, mark + exc.start)) from exc
    if foreign := _foreign(encoding, data):
        at, other = foreign
        raise SourceError(
            source,
            f"encodings are mixed: most is {display_name(encoding)}, but {_place(data, at)} is "
            f"{other}; save all of it as UTF-8",
        )
    return text


def _foreign(encoding: str, data: bytes) -> tuple[int, str] | None:
    """Find the first line of another encoding in a text whose own explains it as well."""
    if encoding in (ASCII, UTF8, *WIDE):
        return None
    start = 0
    for line in BytesIO(data):
        if other := foreign_line(encoding, line):
            return start, other
        start += len(line)
    return None


def _undecodable(encoding: str, data: bytes, at: int) -> str:
    reason = f"not valid {display_name(encoding).upper()} at {_place(data, at)}"
    if encoding in WIDE:
        return reason
    return f"{reason}: damaged, or encodings are mixed; save all of it as UTF-8"


def _place(data: bytes, at: int) -> str:
    line = data.count(b"\n", 0, at) + 1
    return f"byte {at} (line {line})"


def _mark_length(data: bytes) -> int:
    return next((len(mark) for mark, _ in BOMS if data.startswith(mark)), 0)


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


class TextLines:
    r"""The lines of a file, each with its ``\n``; a bad line yields its error in its place.

    No more than LINE_LIMIT bytes or characters are held at a time, and SAMPLE bytes from which the
    encoding is told: those at the beginning or, where they are ASCII, those from the first line on
    that is not. ``encoding`` is what the last line was read as.
    """

    def __init__(self, source: str, file: BufferedReader) -> None:
        """Read nothing yet."""
        self.encoding = display_name(ASCII)
        self._source = source
        self._file = file

    def __iter__(self) -> Iterator[str | SourceError]:
        """Read the file; once only."""
        sample = self._file.read(SAMPLE)
        file = _joined(sample, self._file)
        try:
            encoding = detect_encoding(sample)
        except NotTextError as exc:
            yield SourceError(self._source, str(exc))
            return
        file.read(_mark_length(sample))
        if encoding in WIDE:
            self.encoding = display_name(encoding)
            yield from self._wide_lines(file, encoding)
        else:
            yield from self._lines(file, encoding)

    def _lines(self, file: BufferedReader, encoding: str) -> Iterator[str | SourceError]:
        self.encoding = display_name(encoding)
        number = 0
        while line := file.readline(LINE_LIMIT):
            number += 1
            at = f"{self._source}#{number}"
            if len(line) == LINE_LIMIT and not line.endswith(b"\n"):
                while (rest := file.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                    pass
                yield SourceError(at, f"a line of more than {LINE_LIMIT:,} bytes")
                continue
            try:
                if encoding == ASCII and not (line.isascii() and b"\x1b" not in line):
                    sample = file.read(SAMPLE)
                    file = _joined(sample, file)
                    encoding = detect_encoding(line + sample)
                    self.encoding = display_name(encoding)
                yield _line(at, line, encoding)
            except NotTextError as exc:
                yield SourceError(at, str(exc))
                return
            except SourceError as error:
                yield error

    def _wide_lines(self, file: BufferedReader, encoding: str) -> Iterator[str | SourceError]:
        # Half a pair is let through here and refused with its line, so that the rest can be read.
        reader = TextIOWrapper(file, encoding=encoding, errors="surrogatepass", newline="\n")
        number = 0
        try:
            while line := reader.readline(LINE_LIMIT):
                number += 1
                at = f"{self._source}#{number}"
                if len(line) == LINE_LIMIT and not line.endswith("\n"):
                    while (rest := reader.readline(LINE_LIMIT)) and not rest.endswith("\n"):
                        pass
                    yield SourceError(at, f"a line of more than {LINE_LIMIT:,} characters")
                    continue
                yield _checked(at, normalize_newlines(line))
        except UnicodeDecodeError:
            name = self.encoding.upper()
            yield SourceError(f"{self._source}#{number + 1}", f"not valid {name}; stopped")
        finally:
            reader.detach()


def read_lines(source: str, file: BufferedReader) -> TextLines:
    """Read a text line by line, in constant memory."""
    return TextLines(source, file)


def _line(at: str, line: bytes, encoding: str) -> str | SourceError:
    try:
        text = decode_strictly(encoding, line)
    except UnicodeDecodeError as exc:
        name = display_name(encoding).upper()
        return SourceError(at, f"not valid {name} at byte {exc.start} of the line")
    if other := foreign_line(encoding, line):
        return SourceError(at, f"is {other} where the file is {display_name(encoding)}")
    return _checked(at, normalize_newlines(text))


def _checked(at: str, text: str) -> str | SourceError:
    try:
        check_text(at, text)
    except SourceError as error:
        return error
    return text


class _Joined(RawIOBase):
    """Bytes that were read ahead, and the file behind them."""

    def __init__(self, ahead: bytes, file: BufferedReader) -> None:
        super().__init__()
        self._ahead = BytesIO(ahead)
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # a buffer is one
        return self._ahead.readinto(buffer) or self._file.readinto(buffer)


def _joined(ahead: bytes, file: BufferedReader) -> BufferedReader:
    joined: BufferedReader = BufferedReader(_Joined(ahead, file))
    return joined
