"""Scalars as sequences of whole numbers in the same order, since Qdrant compares numbers only.

Each number of a sequence is exact in float64 and is kept under a key made of the field and of the
numbers before it. A comparison then is one range per number: equal so far, and from here on above
(or below). Lists need nothing more, and no number has to be parsed that is not whole.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

from search_app.filters import Scalar
from search_app.types import JSON

Pieces = tuple[int, ...]

MOST_PIECES = 16
"""Pieces kept of a text: its first 96 bytes. What is equal that far is told apart by its fields."""

_PIECE = 6
"""Bytes of a text in one piece: the most of which every value is exact in float64."""

_EXACT = 2**53
"""Whole numbers below are exact in float64."""


def pieces(value: str | float) -> Pieces:
    """Write a text or number as a sequence that compares as Python compares the value.

    A text's sequence never begins with another text's; of numbers, only a fraction's begins with
    another's, that of the whole number below it.
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, int) or value.is_integer():
        return _of_whole(int(value))
    return _of_fraction(value)


def order_key(field: str, value: str | float, before: Pieces) -> str:
    """Name the payload key of the piece that follows ``before`` in values of this kind."""
    kind = "text" if isinstance(value, str) else "number"
    written = json.dumps([field, kind, *before]).encode()
    return kind[0] + blake2b(written, digest_size=12).hexdigest()


def order_entries(held: Sequence[tuple[str, Scalar]]) -> dict[str, list[int]]:
    """Make the payload that answers comparisons of these fields and values."""
    entries: dict[str, set[int]] = {}
    for field, value in held:
        if isinstance(value, bool):
            continue
        whole = pieces(value)
        kept = whole[:MOST_PIECES] if isinstance(value, str) else whole
        for place, piece in enumerate(kept):
            entries.setdefault(order_key(field, value, whole[:place]), set()).add(piece)
    return {key: sorted(found) for key, found in entries.items()}


def held_scalars(fields: Mapping[str, JSON]) -> Iterator[tuple[str, Scalar]]:
    """Give every field that a filter can name with each scalar it holds, as filters.py sees it."""
    for name, value in fields.items():
        if "." in name:
            continue
        yield from _scalars(name, value)
        if isinstance(value, Mapping):
            for inner, below in value.items():
                yield from _scalars(f"{name}.{inner}", below)


def _scalars(field: str, value: JSON) -> Iterator[tuple[str, Scalar]]:
    for single in value if isinstance(value, list) else [value]:
        if isinstance(single, str | int | float):
            yield field, single


def _of_text(value: str) -> Pieces:
    # UTF-8 sorts by bytes as text does by code points. No text holds NUL, so that with one at the
    # end no sequence begins with another.
    data = value.encode() + b"\0"
    return tuple(
        int.from_bytes(data[start : start + _PIECE].ljust(_PIECE, b"\0"))
        for start in range(0, len(data), _PIECE)
    )


def _of_whole(value: int) -> Pieces:
    if -_EXACT < value < _EXACT:
        return (value,)
    size = abs(value)
    places = -(-size.bit_length() // (8 * _PIECE))
    data = size.to_bytes(places * _PIECE)
    digits = (int.from_bytes(data[start : start + _PIECE]) for start in range(0, len(data), _PIECE))
    sign = 1 if value > 0 else -1
    return tuple(sign * number for number in (_EXACT, places, *digits))


def _of_fraction(value: float) -> Pieces:
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    # Values between two whole numbers have one sign; the bits of negative ones fall as they rise.
    rising = bits if value > 0 else 2**64 - 1 - bits
    return (math.floor(value), *divmod(rising, 2**32))
