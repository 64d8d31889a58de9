"""UTF-16 and UTF-32 without a mark: by how much sense the bytes make."""

import re

_WIDTHS = {"utf-32-le": 4, "utf-32-be": 4, "utf-16-le": 2, "utf-16-be": 2}
_USUAL = re.compile(
    "[\t\n\r\x20-\x7e\xa0-\u024f\u0370-\u04ff\u2000-\u206f\u3000-\u30ff\uff00-\uffef]"
)
_CJK = re.compile("[\u4e00-\u9fff\uac00-\ud7a3]")
_FEW = 4
_LEAST_SURE = 0.2
_SENSIBLE = 0.9
_SAMPLE = 1 << 16


def wide_encoding(data: bytes) -> str | None:
    """Tell which of them bytes with NULs are in, if any."""
    # A sample of even length still tears a pair of surrogates where one stands at its end.
    sample = (
        data[:_SAMPLE].removesuffix(data[_SAMPLE - 2 : _SAMPLE]) if len(data) > _SAMPLE else data
    )
    shares = {encoding: _sense(sample, encoding) for encoding in _WIDTHS}
    best = max(shares, key=lambda encoding: shares[encoding])
    return best if shares[best] > _SENSIBLE else None


def _sense(sample: bytes, encoding: str) -> float:
    """Give the share of usual characters; 0 where a byte does not fit, or few are sure."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    sure, cjk = len(_USUAL.findall(text)), len(_CJK.findall(text))
    # Any two bytes make a kanji.
    if cjk and (sure < _FEW or sure < _LEAST_SURE * len(text)):
        return 0.0
    return (sure + cjk) / len(text)
