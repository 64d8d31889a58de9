"""Where nothing is proof: the encodings of other scripts, and of accents."""

import re

from ingest.language import detect
from ingest.loaders.encoding.names import LOW, NOT_ASCII

_GUESSED = (
    *("cp1252", "iso8859_15", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1251", "koi8_r"),
    *("iso8859_5", "cp1253", "iso8859_7", "cp1255", "cp1256", "tis_620", "mac_roman"),
    *("gb18030", "big5", "cp949", "cp932", "euc_jp"),
)
"""What the last rung may answer; charset-normalizer also knows mainframes and DOS."""
_AS_TIDY = 0.05
_BY_LANGUAGE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("ca", "da", "de", "en", "es", "fi", "fr", "id", "it", "ms", "nl", "no", "pt", "sv"),
        ("cp1252", "iso8859_15"),
    ),
    **dict.fromkeys(("et", "lt", "lv"), ("cp1257",)),
    "tr": ("cp1254",),
}

_FEW_ACCENTS = 12
_WESTERN = re.compile(
    "(?<=[A-Za-z])[À-ÖØ-öø-ÿŒœ]{1,2}(?![À-ÿ])|(?<![À-ÿ])[À-ÖØ-öø-ÿŒœ]{1,2}(?=[A-Za-z])"
    "|[\u2013-\u2026€£©®°«»¡¿·ªº§]"
)


def guessed_encoding(sample: bytes) -> str | None:
    """Guess the encoding of a sample, if it looks like a text in any."""
    return "cp1252" if _few_accents(sample) else _guessed(sample)


def _few_accents(data: bytes) -> bool:
    """Say whether these are words of western Europe, too few to learn more from.

    Accents stand within words, by ones or twos; words of other scripts would consist of them.
    """
    if len(data.translate(None, LOW)) > _FEW_ACCENTS:
        return False
    text = data.decode("cp1252", errors="replace")
    return not NOT_ASCII.search(_WESTERN.sub("", text))


def _guessed(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    found = from_bytes(sample, cp_isolation=list(_GUESSED), enable_fallback=False)
    best = found.best()
    if best is None:
        return None
    # Those of Latin letters look equally tidy; which one it is depends on the language.
    nearly = [match for match in found if match.chaos <= best.chaos + _AS_TIDY]
    possible = {encoding for match in nearly for encoding in match.could_be_from_charset}
    usual = _BY_LANGUAGE.get(detect(str(best)), ())
    return next((encoding for encoding in usual if encoding in possible), best.encoding)
