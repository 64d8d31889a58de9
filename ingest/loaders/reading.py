"""Reading the bytes of a source, so that what is hashed, parsed and meant is one state of it."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase

from ingest.types import SourceRef
from search_app.errors import SourceError

CHANGED = "changed while it was read; run again"


def content_hash(ref: SourceRef) -> bytes:
    """Hash the source's bytes, SHA-256, in constant memory.

    Raises:
        SourceError: it cannot be read, or is no longer the file that was found.
    """
    with open_source(ref) as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_source(ref: SourceRef, expected_hash: bytes | None = None) -> bytes:
    """Read a whole source.

    Raises:
        SourceError: it cannot be read, is no longer the file that was found, or its bytes are not
            those of ``expected_hash``.
    """
    with open_source(ref) as file:
        data = file.read()
    if expected_hash is not None and hashlib.sha256(data).digest() != expected_hash:
        raise SourceError(ref.uri, CHANGED)
    return data


@contextmanager
def open_source(ref: SourceRef) -> Iterator[BufferedReader]:
    """Open a source for reading; on the way out, see that it stayed the file that was found.

    Raises:
        SourceError: it cannot be read or changed meanwhile.
    """
    try:
        with ref.path.open("rb") as file:
            _check_unchanged(ref, file.fileno())
            yield file
            _check_unchanged(ref, file.fileno())
    except OSError as exc:
        raise SourceError(ref.uri, unreadable(exc)) from exc


def _check_unchanged(ref: SourceRef, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if (status.st_size, status.st_mtime_ns) != (ref.size, ref.mtime_ns):
        raise SourceError(ref.uri, CHANGED)


def unreadable(error: OSError) -> str:
    """Say in a few words why the system did not let a path be read."""
    match error:
        case FileNotFoundError():
            return "vanished before it could be read"
        case PermissionError():
            return "no permission to read it"
        case _:
            return (error.strerror or type(error).__name__).lower()


class HashedFile(RawIOBase):
    """A file that hashes what is read from it, for parsers that read as they go."""

    def __init__(self, file: BufferedReader) -> None:
        """Wrap an open file; closing it stays with whoever opened it."""
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Say yes: that is all it can do."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # a buffer is one
        """Read into the buffer; returns the number of bytes, 0 at the end."""
        data = self._file.read(len(buffer))
        self._hash.update(data)
        buffer[: len(data)] = data
        return len(data)

    def digest(self) -> bytes:
        """Give the SHA-256 of everything read so far."""
        return self._hash.digest()
