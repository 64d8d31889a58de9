"""Telling text from glyph numbers, which is what a font without a map to Unicode leaves."""

import unicodedata
from collections import Counter

_UNLIKELY = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_UNLIKELY_SHARE = 0.02
_MOST_SCRIPTS = 4
_JAPANESE = frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH", "IDEOGRAPHIC"})
_NO_SCRIPT = frozenset({"FULLWIDTH", "MODIFIER", "MATHEMATICAL"})
_FEWEST_LETTERS = 40
_VOWELS = frozenset("aeiouyAEIOUY")
_VOWEL_SHARE = 0.15
_ASCII_END = 0x80


def is_legible(text: str) -> bool:
    """Say whether characters may be a text, judged by what no text in any language has.

    Meant for characters that a font gives no meaning: where they are right by chance, as is common
    for Latin ones, they are words; where not, they hold control characters (spaces and digits
    become those), letters of many scripts at once, or Latin words without vowels.
    """
    characters = [c for c in text if not c.isspace()]
    if not characters:
        return True
    unlikely = sum(unicodedata.category(c) in _UNLIKELY for c in characters)
    if unlikely > _UNLIKELY_SHARE * len(characters):
        return False
    letters = [c for c in characters if c.isalpha()]
    # A letter or two in a formula say nothing.
    counts = Counter(map(_script, letters))
    scripts = {
        s for s, n in counts.items() if s not in _NO_SCRIPT and n > _UNLIKELY_SHARE * len(letters)
    }
    if len(scripts) > _MOST_SCRIPTS:
        return False
    latin = [c for c in letters if ord(c) < _ASCII_END]
    vowels = sum(c in _VOWELS for c in latin)
    return len(latin) < _FEWEST_LETTERS or vowels >= _VOWEL_SHARE * len(latin)


def _script(letter: str) -> str:
    first = unicodedata.name(letter, "UNNAMED").split()[0]
    return "CJK" if first in _JAPANESE else first
