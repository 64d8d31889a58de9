"""The numbers that Word shows before paragraphs and does not store: 1., 1.2, (a), 第3条."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingest.loaders.xml_tree import Element, attribute, child, children, whole

_LEVELS = 9
_PLACE = re.compile(r"%([1-9])")
_AIUEO = (
    "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
)
_IROHA = (
    "イロハニホヘトチリヌルヲワカヨタレソツネナラムウヰノオクヤマケフコエテアサキユメミシヱヒモセス"
)
_KANJI = "〇一二三四五六七八九"
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l")),
    *((40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
_CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_MOST_LETTERS = 3_000


@dataclass(frozen=True, kw_only=True)
class _Level:
    form: str = "decimal"
    text: str = ""
    start: int = 1


@dataclass(frozen=True, kw_only=True)
class _List:
    """``counter`` is shared by lists that go on counting where another left off."""

    counter: str
    levels: Mapping[int, _Level]
    restarts: bool


class Numbering:
    """Counts paragraphs as they come and gives each its label."""

    def __init__(self, root: Element | None) -> None:
        """Read ``numbering.xml``."""
        self._lists: dict[str, _List] = {}
        self._counts: dict[str, list[int | None]] = {}
        if root is not None:
            abstract = {attribute(a, "abstractNumId"): a for a in children(root, "abstractNum")}
            for number in children(root, "num"):
                self._lists[attribute(number, "numId")] = _read_list(number, abstract)

    def label(self, list_id: str, level: int) -> str:
        """Count a paragraph of a list; ``-`` where its level has a bullet, empty for nothing."""
        found = self._lists.get(list_id)
        if found is None or level >= _LEVELS:
            return ""
        here = found.levels.get(level, _Level())
        # A list with a start of its own counts for itself; all others go on together.
        counter = list_id if found.restarts else found.counter
        counts = self._counts.setdefault(counter, [None] * _LEVELS)
        before = counts[level]
        counts[level] = here.start if before is None else before + 1
        counts[level + 1 :] = [None] * (_LEVELS - level - 1)
        if here.form == "bullet":
            return "-"
        return "" if here.form == "none" else self._shown(found, here, counts)

    def _shown(self, found: _List, here: _Level, counts: list[int | None]) -> str:
        def number(match: re.Match[str]) -> str:
            level = int(match[1]) - 1
            at = found.levels.get(level, _Level())
            count = counts[level]
            return _FORMS.get(at.form, str)(at.start if count is None else count)

        return " ".join(_PLACE.sub(number, here.text).split())


def _read_list(number: Element, abstract: Mapping[str, Element]) -> _List:
    reference = child(number, "abstractNumId")
    counter = "" if reference is None else attribute(reference, "val")
    levels = {}
    for entry in children(abstract[counter], "lvl") if counter in abstract else ():
        levels[whole(attribute(entry, "ilvl"))] = _read_level(entry)
    restarts = False
    for override in children(number, "lvlOverride"):
        at = whole(attribute(override, "ilvl"))
        entry = child(override, "lvl")
        level = levels.get(at, _Level()) if entry is None else _read_level(entry)
        start = child(override, "startOverride")
        if start is not None:
            level = _Level(form=level.form, text=level.text, start=whole(attribute(start, "val")))
            restarts = True
        levels[at] = level
    return _List(counter=f"abstract {counter}", levels=levels, restarts=restarts)


def _read_level(entry: Element) -> _Level:
    stated = {
        name: attribute(found, "val")
        for name in ("numFmt", "lvlText", "start")
        if (found := child(entry, name)) is not None
    }
    return _Level(
        form=stated.get("numFmt", "decimal"),
        text=stated.get("lvlText", ""),
        start=whole(stated.get("start", "1")),
    )


def _letters(number: int) -> str:
    # After z comes aa, then bb.
    repeats = min((number - 1) // 26 + 1, _MOST_LETTERS // 26)
    return _ALPHABET[(number - 1) % 26] * repeats if number else "0"


def _roman(number: int) -> str:
    written = ""
    for value, letters in _ROMAN if number <= _MOST_LETTERS else ():
        written += letters * (number // value)
        number %= value
    return written or str(number)


def _kanji(number: int) -> str:
    if not 0 < number < 10_000:  # noqa: PLR2004 - the largest number of four places
        return str(number)
    written = ""
    for value, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, value)
        if digit:
            written += ("" if digit == 1 and unit else _KANJI[digit]) + unit
    return written


def _from(series: str) -> Callable[[int], str]:
    return lambda number: series[number - 1] if 0 < number <= len(series) else str(number)


def _kanji_digits(number: int) -> str:
    return "".join(_KANJI[int(digit)] for digit in str(number))


_FORMS: Mapping[str, Callable[[int], str]] = {
    "lowerLetter": _letters,
    "upperLetter": lambda number: _letters(number).upper(),
    "lowerRoman": _roman,
    "upperRoman": lambda number: _roman(number).upper(),
    "decimalZero": lambda number: f"{number:02}",
    "decimalFullWidth": lambda number: str(number).translate(_WIDE),
    "decimalFullWidth2": lambda number: str(number).translate(_WIDE),
    "decimalEnclosedCircle": _from(_CIRCLED),
    "aiueoFullWidth": _from(_AIUEO),
    "aiueo": _from(_AIUEO),
    "irohaFullWidth": _from(_IROHA),
    "iroha": _from(_IROHA),
    "japaneseCounting": _kanji,
    "ideographDigital": _kanji_digits,
    "japaneseDigitalTenThousand": _kanji_digits,
    "chineseCounting": _kanji,
}
"""Forms of numbers (ECMA-376 part 1, 17.18.59); all others are written as 1, 2, 3."""
