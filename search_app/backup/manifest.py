"""What a backup consists of, told by one file that is written last.

A folder without it, or with files that are not as it says, is no backup.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Self
from uuid import UUID

from search_app.errors import BackupError
from search_app.types import JSON

NAME = "manifest.json"
FORMAT = 1
"""Rises with every change that older versions could not read."""

_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of a backup, by its path below the folder; ``sha256`` in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """The rows of one table, as PostgreSQL's binary COPY."""

    table: str
    columns: Sequence[str]
    rows: int
    file: StoredFile


@dataclass(frozen=True, kw_only=True)
class VectorFile:
    """The vectors of one index: rows of 16 bytes of chunk id and float32, little-endian, by id.

    ``left_out`` counts records whose vector was not in the store as recorded.
    """

    index_id: UUID
    store: str
    dimensions: int
    rows: int
    left_out: int
    file: StoredFile


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that was uploaded, by its path below the folder of uploads."""

    path: str
    file: StoredFile


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that a backup holds. ``sequences`` gives the last value of each."""

    version: str
    revision: str
    created_at: str
    data_dir: str
    tables: Sequence[TableFile]
    sequences: Mapping[str, int]
    vectors: Sequence[VectorFile]
    uploads: Sequence[Upload]

    @property
    def files(self) -> Iterator[StoredFile]:
        """Every file but the manifest itself."""
        yield from (table.file for table in self.tables)
        yield from (vectors.file for vectors in self.vectors)
        yield from (upload.file for upload in self.uploads)

    @property
    def left_out(self) -> int:
        """Count the vectors that were not as recorded when the backup was made."""
        return sum(vectors.left_out for vectors in self.vectors)


class Writer:
    """A file on its way into a backup, counted and hashed as it is written."""

    def __init__(self, folder: Path, path: str) -> None:
        """Open ``path`` below ``folder``, whose folders are made where they are missing.

        Raises:
            BackupError: the disk does not take it.
        """
        self._folder = folder
        self._path = path
        self._size = 0
        self._hash = sha256()
        place = folder / path
        with written(place):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._file: BinaryIO = os.fdopen(os.open(place, flags, 0o600), "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Add bytes to the end.

        Raises:
            BackupError: the disk does not take them.
        """
        with written(self._folder / self._path):
            self._file.write(block)
        self._hash.update(block)
        self._size += len(block)

    def finish(self) -> StoredFile:
        """Make the file survive a power cut, and tell what it is.

        Raises:
            BackupError: the disk does not take it.
        """
        with written(self._folder / self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return StoredFile(path=self._path, size=self._size, sha256=self._hash.hexdigest())


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what a disk says into an error of a backup that names the file."""
    try:
        yield
    except OSError as exc:
        reason = (exc.strerror or type(exc).__name__).lower()
        raise BackupError(f"{path} cannot be written: {reason}") from exc


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the file that makes a folder a backup; all others must be finished."""
    content = json.dumps(
        {"format": FORMAT, **asdict(manifest)}, ensure_ascii=False, indent=1, default=str
    )
    with Writer(folder, NAME) as file:
        file.write(content.encode())
        file.finish()
    for each in _folders(folder):
        sync(each)


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup consists of.

    Raises:
        BackupError: the folder holds none, or one that this version cannot read.
    """
    place = folder / NAME
    try:
        content = json.loads(place.read_bytes())
        version = content.pop("format")
        if version != FORMAT:
            raise BackupError(
                f"{place} is of format {version}, this version reads {FORMAT}; restore it with "
                f"the version that made it, {content.get('version', 'unknown')}"
            )
        return Manifest(
            **{
                **content,
                "tables": [
                    TableFile(**each, file=_file(of)) for each, of in _each(content, "tables")
                ],
                "vectors": [
                    VectorFile(**{**each, "index_id": UUID(each["index_id"])}, file=_file(of))
                    for each, of in _each(content, "vectors")
                ],
                "uploads": [
                    Upload(**each, file=_file(of)) for each, of in _each(content, "uploads")
                ],
            }
        )
    except FileNotFoundError as exc:
        raise BackupError(
            f"{folder} is no backup: there is no {NAME} in it; a backup that was cut short has none"
        ) from exc
    except OSError as exc:
        raise BackupError(f"{place} cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BackupError(f"{place} is damaged: it is not what a backup writes") from exc


def check_files(folder: Path, manifest: Manifest) -> None:
    """Read every file of a backup and compare it with the manifest.

    Raises:
        BackupError: one is missing, cannot be read or is not what was written; names it.
    """
    for file in manifest.files:
        place = folder / file.path
        if not _is_below(file.path):
            raise BackupError(f"{folder / NAME} is damaged: it names {file.path!r}")
        try:
            if place.stat().st_size != file.size:
                raise BackupError(
                    f"{place} is damaged: {place.stat().st_size:,} bytes instead of {file.size:,}"
                )
            if _hash_of(place) != file.sha256:
                raise BackupError(f"{place} is damaged: its SHA-256 is not that of the manifest")
        except FileNotFoundError as exc:
            raise BackupError(f"{place} is missing; the backup is not whole") from exc
        except OSError as exc:
            raise BackupError(f"{place} cannot be read: {exc.strerror}") from exc


def blocks_of(path: Path) -> Iterator[bytes]:
    """Read a file block by block.

    Raises:
        BackupError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as exc:
        raise BackupError(f"{path} cannot be read: {exc.strerror}") from exc


def _hash_of(path: Path) -> str:
    digest = sha256()
    for block in blocks_of(path):
        digest.update(block)
    return digest.hexdigest()


def _is_below(path: str) -> bool:
    """Say whether a path from a manifest stays in its folder."""
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts


def _each(content: Mapping[str, JSON], name: str) -> Iterator[tuple[dict[str, JSON], JSON]]:
    for each in content[name]:
        yield {key: value for key, value in each.items() if key != "file"}, each["file"]


def _file(value: Mapping[str, JSON]) -> StoredFile:
    return StoredFile(**value)


def _folders(folder: Path) -> Iterator[Path]:
    yield folder
    yield from (path for path in folder.rglob("*") if path.is_dir())


def sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    with written(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
