"""Files out of a multipart body, straight to the disk: nothing is held in memory or kept twice."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from search_app.errors import InvalidInputError
from search_app.uploads import Upload
from search_app.web.problems import Kind, ProblemError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_FILES = 200
"""Files of one request; each of them is open until the last one is in."""

_LONGEST_HEADER = 8_192
_LONGEST_FIELD = 8_192

Place = Callable[[Mapping[str, str]], Awaitable[Path]]
"""Says into which folder files go, given the fields of the form; may refuse by raising."""


async def receive_files(request: Request, folder: Path, *, most_bytes: int) -> list[Path]:
    """Put the files of a request into a folder: all of them or, should one fail, none.

    Each may have ``most_bytes``. Whatever they were sent as, they get safe names.

    Raises:
        ProblemError: the body is no multipart/form-data.
        InvalidInputError: it has no file, too many, two of one name, or anything else than files.
        TooLargeError: a file is larger than it may be.
        SourceError: the disk does not take them.
    """

    async def there(fields: Mapping[str, str]) -> Path:
        del fields  # there are none
        return folder

    return await receive_form(request, there, fields=(), most_bytes=most_bytes)


async def receive_form(
    request: Request, place: Place, *, fields: Collection[str], most_bytes: int
) -> list[Path]:
    """Put the files of a form into the folder that ``place`` says, like ``receive_files``.

    Besides files it may have ``fields``, before the first file. Nothing is written before
    ``place`` was asked.

    Raises:
        What ``receive_files`` and ``place`` raise.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise ProblemError(
            Kind.NOT_FILES, "send the files as multipart/form-data, as curl -F files=@notes.md does"
        )
    with ExitStack() as unfinished:
        loop = asyncio.get_running_loop()

        def folder_for(given: Mapping[str, str]) -> Path:
            # The parser calls from a thread, and what says where looks into the database.
            return asyncio.run_coroutine_threadsafe(_awaited(place(given)), loop).result()

        receiver = _Receiver(folder_for, fields, most_bytes, unfinished)
        try:
            parser = MultipartParser(options[b"boundary"], receiver.callbacks())
            async for chunk in request.stream():
                await asyncio.to_thread(parser.write, chunk)
        except FormParserError as exc:
            raise InvalidInputError(f"the body is broken: {exc}") from exc
        return await asyncio.to_thread(receiver.finish)


async def _awaited(place: Awaitable[Path]) -> Path:
    return await place


class _Receiver:
    """Takes what the parser finds: for each part its headers, then its bytes."""

    def __init__(
        self,
        folder_for: Callable[[Mapping[str, str]], Path],
        fields: Collection[str],
        most_bytes: int,
        unfinished: ExitStack,
    ) -> None:
        self._folder_for = folder_for
        self._folder: Path | None = None
        self._allowed = fields
        self._fields: dict[str, bytearray] = {}
        self._field: bytearray | None = None
        self._most_bytes = most_bytes
        self._unfinished = unfinished
        self._uploads: dict[str, Upload] = {}
        self._current: Upload | None = None
        self._name = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._ended = False

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_end": self._end,
        }

    def finish(self) -> list[Path]:
        if not self._ended:
            raise InvalidInputError("the body ends before its last file does; send it again")
        if not self._uploads:
            raise InvalidInputError("the body has no file; send one or more")
        return [upload.finish() for upload in self._uploads.values()]

    def _begin(self) -> None:
        self._disposition = b""
        self._current = None
        self._field = None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._within(self._name, data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._within(self._value, data[start:end])

    def _within(self, before: bytearray, more: bytes) -> bytes:
        if len(before) + len(more) > _LONGEST_HEADER:
            raise InvalidInputError(f"a header has more than {_LONGEST_HEADER:,} bytes")
        return more

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            field = options.get(b"name", b"").decode(errors="replace")
            if field not in self._allowed or self._folder is not None:
                raise InvalidInputError(f"{field[:80]!r} is not a file; send files only")
            self._field = self._fields.setdefault(field, bytearray())
            return
        if len(self._uploads) >= MOST_FILES:
            raise InvalidInputError(f"more than {MOST_FILES} files; send fewer at a time")
        name = options[b"filename"].decode(errors="replace")
        if self._folder is None:
            given = {field: value.decode(errors="replace") for field, value in self._fields.items()}
            self._folder = self._folder_for(given)
        upload = Upload(self._folder, name, most_bytes=self._most_bytes)
        self._current = self._unfinished.enter_context(upload)
        if upload.name in self._uploads:
            raise InvalidInputError(
                f"two files are named {upload.name!r}; send one under another name"
            )
        self._uploads[upload.name] = upload

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._field is not None:
            if len(self._field) + end - start > _LONGEST_FIELD:
                raise InvalidInputError(f"a field has more than {_LONGEST_FIELD:,} bytes")
            self._field += data[start:end]
        elif self._current is not None:
            self._current.write(data[start:end])

    def _end(self) -> None:
        self._ended = True
