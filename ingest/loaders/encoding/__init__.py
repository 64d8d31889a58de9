"""Which encoding bytes are in: a ladder whose upper rungs are proof and whose lowest is a guess.

Byte order mark, NULs in step, ISO-2022-JP's escapes, strict UTF-8, what the text says of itself,
CP932 against EUC-JP by what Japanese is written with, and where that says no, charset-normalizer.
"""

import re

from ingest.loaders.encoding.guessing import guessed_encoding
from ingest.loaders.encoding.japanese import foreign_line, japanese_encoding
from ingest.loaders.encoding.names import (
    ASCII,
    BOMS,
    JIS,
    LOW,
    UTF8,
    WIDE,
    codec_of,
    decode_strictly,
    display_name,
    explains,
)
from ingest.loaders.encoding.wide import wide_encoding

__all__ = [
    "ASCII",
    "BOMS",
    "UTF8",
    "WIDE",
    "NotTextError",
    "decode_strictly",
    "detect_encoding",
    "display_name",
    "foreign_line",
]

_SAMPLE = 1 << 16
"""Bytes that are looked at, from the first line on that is not ASCII."""
_HIGH = re.compile(rb"[\x80-\xff]")
_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_ESCAPES = (
    (JIS, re.compile(rb"\x1b(?:\$[@B]|\$\([DOPQ]|\([IJ])")),
    ("iso2022_kr", re.compile(rb"\x1b\$\)C")),
)
# Back space, form feed, escape and the old end-of-file mark stand in real texts.
_CONTROLS = re.compile(rb"[\x00-\x07\x0b\x0e-\x19\x1c-\x1f\x7f]")
_MOST_CONTROLS = 0.02
_FEW = 4
_MOST = 0.5


class NotTextError(ValueError):
    """Bytes that no encoding makes a text of; the message says why."""


def detect_encoding(data: bytes, declared: str | None = None) -> str:
    """Tell the encoding of the beginning of a text, or of all of it; ``ascii`` says all would do.

    The answer is the one that explains most: a byte that does not fit may remain. ``declared`` is
    what the text says of itself, which counts where it is possible and nothing is proof.

    Raises:
        NotTextError: this is no text, or in no encoding that can be told.
    """
    for mark, encoding in BOMS:
        if data.startswith(mark):
            return encoding
    if b"\0" in data and (wide := wide_encoding(data)):
        return wide
    if data.isascii():
        return next((name for name, sign in _ESCAPES if sign.search(data)), ASCII)
    sample = _telling(data)
    if explains(UTF8, sample):
        return UTF8
    if declared and (named := codec_of(declared)) and explains(named, sample):
        return named
    if len(_CONTROLS.findall(data[:_SAMPLE])) > _MOST_CONTROLS * min(len(data), _SAMPLE):
        raise NotTextError("not text: it holds control characters as only other data do")
    found = japanese_encoding(sample) or (
        UTF8 if _mostly_utf8(sample) else guessed_encoding(sample)
    )
    if found is None:
        raise NotTextError("in no encoding that can be told; save it as UTF-8")
    return found


def _telling(data: bytes) -> bytes:
    """Take a sample from the first line on that is not ASCII."""
    first = _HIGH.search(data)
    start = data.rfind(b"\n", 0, first.start()) + 1 if first else 0
    sample = data[start : start + _SAMPLE]
    end = sample.rfind(b"\n") + 1
    return sample[:end] if end and len(data) > start + _SAMPLE else sample


def _mostly_utf8(data: bytes) -> bool:
    """Say whether this is UTF-8 that was damaged, or mixed with another encoding."""
    sequences = _MULTIBYTE.findall(data)
    high = len(data.translate(None, LOW))
    return len(sequences) >= _FEW and sum(map(len, sequences)) > _MOST * high
