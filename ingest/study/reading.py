"""Texts and vectors from files, read without ever running what they hold."""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from search_app.errors import InvalidInputError
from search_app.types import JSON, Matrix

_LINES = (".jsonl", ".jsonl.gz")
_PLAIN = (".txt", ".md")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts in the order of their file; ``available`` counts those that could have been drawn."""

    path: Path
    texts: Sequence[str]
    available: int
    seed: int

    @property
    def digest(self) -> str:
        """SHA-256 over all texts in order: the same corpus, the same digest."""
        digest = sha256()
        for text in self.texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()


def read_texts(path: Path) -> list[str]:
    """Read JSONL (objects with "text", or strings; .gz too), or a folder of such or plain files.

    Raises:
        InvalidInputError: it cannot be read or holds no text; names file and line.
    """
    if not path.exists():
        raise InvalidInputError(f"{path}: no such file or folder")
    found = list(_texts(path))
    if not found:
        raise InvalidInputError(f'{path}: holds no text; JSONL with "text" is wanted, or a folder')
    return found


def draw(path: Path, *, limit: int | None, seed: int) -> Texts:
    """Read texts that are not blank, and draw ``limit`` of them by a seed, in their order.

    Raises:
        InvalidInputError: as ``read_texts``.
    """
    usable = [text for text in read_texts(path) if text.strip()]
    if not usable:
        raise InvalidInputError(f"{path}: all texts are blank")
    chosen: Sequence[str] = usable
    if limit is not None and limit < len(usable):
        places = np.random.default_rng(seed).choice(len(usable), limit, replace=False)
        chosen = [usable[place] for place in sorted(places.tolist())]
    return Texts(path=path, texts=chosen, available=len(usable), seed=seed)


def read_vectors(path: Path) -> Matrix:
    """Read a .npy file of real numbers, (n, d); objects in it are never unpickled.

    Raises:
        InvalidInputError: no .npy file, another shape or type, nothing in it, NaN, or a row of
            zeros; names the row.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except OSError as exc:
        raise InvalidInputError(f"{path}: cannot be read: {_reason(exc)}") from exc
    except (ValueError, EOFError) as exc:
        # Numpy offers to unpickle whatever it does not know, which could run anything.
        raise InvalidInputError(f"{path}: is no .npy file of numbers") from exc
    if not isinstance(found, np.ndarray):
        raise InvalidInputError(f"{path}: is an archive (.npz); write one table as .npy")
    if found.ndim != 2 or not found.size:  # noqa: PLR2004 - rows and columns
        raise InvalidInputError(f"{path}: has shape {found.shape}; rows of vectors are wanted")
    if found.dtype.kind not in "fiu":
        raise InvalidInputError(f"{path}: holds {found.dtype}; real numbers are wanted")
    return _usable(path, found)


def _usable(path: Path, found: Matrix) -> Matrix:
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(broken):
        raise InvalidInputError(f"{path}: row {broken[0]} (from 0) holds NaN or infinity")
    empty = np.flatnonzero(~found.any(axis=1))
    if len(empty):
        raise InvalidInputError(f"{path}: row {empty[0]} (from 0) is all zeros")
    # What was float64 is rounded once; comparing bits is then a matter of both being so.
    return np.ascontiguousarray(found, np.float32)


def _texts(path: Path) -> Iterator[str]:
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.is_file())
        lines = [each for each in files if each.name.endswith(_LINES)]
        for each in lines or [each for each in files if each.suffix in _PLAIN]:
            yield from _texts(each)
    elif path.name.endswith(_LINES):
        yield from _lines(path)
    else:
        yield _content(path).decode("utf-8", "replace")


def _lines(path: Path) -> Iterator[str]:
    try:
        # Not splitlines: it would also split at U+2028, which JSON may hold as it is.
        lines = _content(path).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"{path}: is not UTF-8") from exc
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _text(json.loads(line))
        except ValueError as exc:
            raise InvalidInputError(
                f'{path}: line {number} is no JSON string and no object with "text"'
            ) from exc


def _text(value: JSON) -> str:
    found = value.get("text") if isinstance(value, dict) else value
    if not isinstance(found, str):
        raise ValueError("no text")  # noqa: TRY004 - told as the line that it is in
    return found


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError) as exc:
        raise InvalidInputError(f"{path}: cannot be read: {_reason(exc)}") from exc


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
