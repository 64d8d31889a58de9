"""Files that arrive as a stream, by standard input or over the web, kept to be ingested from disk.

They live in a folder of their collection below the data directory, so that an interrupted ingest
can be finished and a later one can read them again.
"""

import os
import re
import tempfile
import time
import unicodedata
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from search_app.config import Settings
from search_app.errors import InvalidInputError, SourceError, TooLargeError

LONGEST_NAME = 255
"""Bytes of a file name; common file systems take no more."""

_LONGEST_SUFFIX = 32
UNFINISHED = ".upload-"
"""How names begin of files that are on their way in."""

# Far longer than any upload pauses: what is older was left by a process that was killed.
_LEFT_BEHIND_S = 86_400
_SEPARATORS = re.compile(r"[/\\]")
# Without these joiners some Persian and Indian words are written wrong.
_JOINERS = "\u200c\u200d"


def uploads_folder(settings: Settings) -> Path:
    """Name the folder with the folders of all collections; it need not exist yet."""
    return settings.data_dir / "uploads"


def upload_folder(settings: Settings, collection_id: UUID) -> Path:
    """Name the folder that holds the kept files of a collection; it need not exist yet."""
    return uploads_folder(settings) / str(collection_id)


def safe_name(text: str) -> str:
    """Make a file name out of what somebody sent as one: the last part of a path, in NFC.

    Without control, formatting and unpaired characters, without dots or spaces at either end, at
    most 255 bytes with the suffix kept.

    Raises:
        InvalidInputError: nothing is left of it.
    """
    last = _SEPARATORS.split(text)[-1]
    kept = "".join(c for c in last if c in _JOINERS or not _unprintable(c))
    name = _shortened(unicodedata.normalize("NFC", kept).strip(" .\u3000"))
    if not name:
        raise InvalidInputError(f"{text[:80]!r} is no file name; give one such as notes.md")
    return name


def is_kept(settings: Settings, collection_id: UUID, path: Path) -> bool:
    """Say whether a path is a file that is kept for this collection."""
    try:
        return path.parent.samefile(upload_folder(settings, collection_id))
    except OSError:
        return False


class Upload:
    """A file on its way into a folder: visible under its name only once it is whole.

    Used in a ``with`` block, which throws away what was not finished. Its methods block on the
    disk.
    """

    def __init__(self, folder: Path, name: str, *, most_bytes: int) -> None:
        """Open a hidden file in ``folder``, which is made where it is missing.

        Raises:
            InvalidInputError: ``name`` is not fit to be a file name.
            SourceError: the disk does not take it.
        """
        self.name = safe_name(name)
        self.size = 0
        self._folder = folder
        self._most_bytes = most_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_left_behind(folder)
            descriptor, path = tempfile.mkstemp(prefix=UNFINISHED, dir=folder)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        self._path: Path | None = Path(path)
        self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def write(self, chunk: bytes) -> None:
        """Add bytes to the end.

        Raises:
            TooLargeError: the file has more bytes than it may have.
            SourceError: the disk does not take them.
        """
        self.size += len(chunk)
        if self.size > self._most_bytes:
            raise TooLargeError(
                f"{self.name} has more than {self._most_bytes / 1e6:,.0f} MB, "
                "the limit that UNMOVED_MAX_FILE_MB sets"
            )
        try:
            self._file.write(chunk)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def finish(self, into: Path | None = None) -> Path:
        """Put the file in its place, over an earlier one of that name, and give its path.

        ``into`` is another folder of the same data directory, made where it is missing.

        Raises:
            SourceError: the disk does not take it.
        """
        if self._path is None:
            raise RuntimeError("finished or discarded already")
        folder = into or self._folder
        place = folder / self.name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(place)
            _sync(folder)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        self._path = None
        return place

    def discard(self) -> None:
        """Throw away what was not finished; does nothing after ``finish``."""
        path, self._path = self._path, None
        if path is None:
            return
        # What a full disk did not take is flushed once more by closing.
        with suppress(OSError):
            self._file.close()
        path.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> SourceError:
        reason = (error.strerror or type(error).__name__).lower()
        return SourceError(self.name, f"cannot be kept in {self._folder}: {reason}")


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _shortened(name: str) -> str:
    if len(name.encode()) <= LONGEST_NAME:
        return name
    stem, dot, suffix = name.rpartition(".")
    ending = f"{dot}{suffix}"
    if not stem or len(ending.encode()) > _LONGEST_SUFFIX:
        stem, ending = name, ""
    room = LONGEST_NAME - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(" .") + ending


def _remove_left_behind(folder: Path) -> None:
    oldest = time.time() - _LEFT_BEHIND_S
    for path in folder.glob(f"{UNFINISHED}*"):
        # Another process may be removing the same.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _sync(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
