"""CP932, EUC-JP or neither: by what Japanese is written with."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from ingest.loaders.encoding.names import LOW, NOT_ASCII, UTF8, decode_strictly, explains

ENCODINGS = ("cp932", "euc-jp")

_KANA = re.compile("[ぁ-ゖァ-ヺー]")
_KANJI = re.compile("[\u3005\u4e00-\u9fff\uf900-\ufaff]")
_SIGN = re.compile("[\u3000-\u3020\uff01-\uff5e・※○●■◆→]")
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_NONSENSE = re.compile("[\ufffd\ue000-\uf8ff\x80-\x9f]")
_SYMBOL = re.compile("[\u0370-\u04ff\u2010-\u27ff\u3021-\u303f\u3200-\u33ff]")
# What an accented letter becomes: a kanji, or half of one, alone within a word.
_LONELY = re.compile(
    "(?<=[A-Za-z])[\u4e00-\u9fff\uff61-\uff9f](?![^\x00-\x7f])"
    "|(?<![^\x00-\x7f])[\u4e00-\u9fff\uff61-\uff9f](?=[A-Za-z])"
)
_PLAUSIBLE = 0.5
_DAMAGED = 0.8
"""Least score of an encoding that some bytes do not fit."""
_PROSE = 24
"""Characters from which on EUC-JP must hold kana, or it is as likely Chinese or Korean."""
_KANA_SHARE = 0.05
_CJK = re.compile("[ぁ-ヺ\u4e00-\u9fff]")
_FEW = 4
_MOST_LINES = 500
_EUC_KANA = re.compile(rb"(?:[\xa4\xa5][\xa1-\xf6]){2}")


def japanese_encoding(sample: bytes) -> str | None:
    """Tell the Japanese encoding that explains a sample, or most of its lines, if one does."""
    if _only_half_width(sample):
        return "cp932"
    scores = {encoding: _score(sample, encoding) for encoding in (*ENCODINGS, UTF8)}
    best = max(scores, key=lambda encoding: scores[encoding])
    if scores[best] >= _PLAUSIBLE and explains(best, sample):
        return best
    # Damaged, or mixed with another.
    return _of_most_lines(sample) or (best if scores[best] >= _DAMAGED else None)


def foreign_line(encoding: str, line: bytes) -> str | None:
    """Name what a line surely is that the encoding of its text explains as well, if anything.

    Nothing else looks like UTF-8, and kana of EUC-JP only like half-width ones that say nothing.
    """
    if line.isascii() or encoding == UTF8:
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError:
        if encoding == "cp932" and _EUC_KANA.search(line) and _of_line(line) == "euc-jp":
            return "euc-jp"
        return None
    # Two kanji of EUC-JP may by chance make two accented letters of UTF-8.
    telling = _CJK if encoding in ENCODINGS else NOT_ASCII
    return UTF8 if len(telling.findall(text)) > 1 else None


def _of_most_lines(sample: bytes) -> str | None:
    lines = [line for line in sample.split(b"\n") if not line.isascii()][:_MOST_LINES]
    found = Counter(filter(None, map(_of_line, lines)))
    if len(lines) < _FEW or not found:
        return None
    encoding, count = found.most_common(1)[0]
    return encoding if 2 * count >= len(lines) else None


def _of_line(line: bytes) -> str | None:
    if explains(UTF8, line):
        return UTF8
    scores = {
        encoding: _score(line, encoding) for encoding in ENCODINGS if explains(encoding, line)
    }
    if not _EUC_KANA.search(line):
        # Without kana as likely Chinese or Korean.
        scores.pop("euc-jp", None)
    best = max(scores, key=lambda encoding: scores[encoding], default=None)
    return best if best and scores[best] >= _PLAUSIBLE else None


def _score(sample: bytes, encoding: str) -> float:
    """Say how Japanese a sample is in an encoding: the mean over characters, at most 1."""
    try:
        text = decode_strictly(encoding, sample)
    except UnicodeDecodeError:
        text = sample.decode(encoding, errors="replace")
    characters = NOT_ASCII.findall(text)
    kana = len(_KANA.findall(text))
    if encoding == "euc-jp" and len(characters) > _PROSE and kana < _KANA_SHARE * len(characters):
        return 0.0
    usual = sum(c in _usual_kanji() for c in characters)
    rare = len(_KANJI.findall(text)) - usual
    score = kana + usual + len(_SIGN.findall(text)) + 0.3 * rare
    score += 0.5 * len(_SYMBOL.findall(text)) + 0.2 * len(_HALF_WIDTH.findall(text))
    score -= 2 * len(_NONSENSE.findall(text)) + 2 * len(_LONELY.findall(text))
    return score / len(characters)


def _only_half_width(sample: bytes) -> bool:
    """Say whether all may be half-width kana, as banks write, and none is kana of EUC-JP."""
    high = sample.translate(None, LOW)
    if high.translate(None, bytes(range(0xA1, 0xE0))):
        return False
    text = sample.decode("euc-jp", errors="replace")
    return (
        not _KANA.search(text) and not _SIGN.search(text) and len(high) > _FEW and b"\xde" in high
    )


@cache
def _usual_kanji() -> frozenset[str]:
    """Give the kanji of JIS level 1, which nearly all of Japanese is written with."""
    return frozenset(_level_1())


def _level_1() -> Iterator[str]:
    for row in range(0xB0, 0xD0):
        for cell in range(0xA1, 0xFF):
            yield from bytes((row, cell)).decode("euc-jp", errors="ignore")
