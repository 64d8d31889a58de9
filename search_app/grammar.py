r"""How filters are written: one grammar for command line, API and page.

    language=ja                          equal to
    type=pdf,markdown                    equal to one of several
    language!=ja                         not equal to any
    meta.year>=2020                      in order: >= > <= <; numbers with numbers, texts with texts
    date=2024-05                         within that month; date>2024 is after that year
    meta.author="Sato, Ken"              a value with commas, parentheses or the words and, or
    meta."Page count"<100                a name with spaces or comparison signs
    symbol=Table.height                  code of that function or class; also height or tides.Table
    suggested.topic=sports               a label that was predicted; meta.topic is what was given
    (language=ja or language=en) and not folder=drafts

``not`` binds closest, then ``and``, then ``or``. Several filters must all hold. A value without
quotes goes on to the next ``and``, ``or`` or comma, white space within it included; in quotes it is
a text and never a number, and ``\"`` and ``\\`` stand for a quote and a backslash.
"""

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

from search_app.errors import InvalidInputError
from search_app.filters import (
    FIELDS,
    SUGGESTED,
    And,
    AnyOf,
    Compare,
    Comparison,
    Condition,
    Filter,
    Not,
    Or,
    Scalar,
    leaves,
)

MOST_FILTERS = 20
LONGEST_FILTER = 500
MOST_COMPARISONS = 200
"""Most comparisons in all filters of one search together."""

DEEPEST = 10
"""Most parentheses and ``not`` within each other."""

_NAME = re.compile(
    r'(?P<part>meta|suggested)\."(?P<quoted>(?:[^"\\]|\\.)*)"|[^=!<>\s()"][^=!<>\s]*', re.DOTALL
)
_COMPARISON = re.compile(r"\s*(!=|>=|<=|=|>|<)\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SPACE = re.compile(r"\s*")
# A word joins where nothing is glued to it; a parenthesis may follow.
_STOP = re.compile(r"(?<!\S)(?:and|or|AND|OR)(?![^\s(])|[(),]")
_WORDS = {
    word: re.compile(rf"\s*(?:{word}|{word.upper()})(?![^\s(])") for word in ("and", "or", "not")
}
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?(?:-([0-9]{2}))?")
_PLAIN_NAME = re.compile(r'[^=!<>\s"\\]+')
_PLAIN_VALUE = re.compile(r'[^=<>\s(),"\\]+')

_PARTS = ("meta.", f"{SUGGESTED}.")
"""What a name of anybody's may follow."""

_EXAMPLE = "write for example language=ja, type=pdf,markdown or meta.year>=2020"
_QUOTE = 'a value with and, or, commas or parentheses stands in quotes: source="a, b.md"'


@dataclass(frozen=True, kw_only=True)
class _Value:
    text: str
    quoted: bool = False


@dataclass(frozen=True, kw_only=True)
class _Test:
    """One comparison as it was written."""

    field: str
    comparison: str
    values: Sequence[_Value]


def parse_filter(texts: Sequence[str]) -> Filter | None:
    """Read filters as users write them; None where there are none.

    Raises:
        InvalidInputError: what the grammar does not know, where it stands, and an example.
    """
    _check_texts(texts)
    conditions = tuple(_Reader(text).whole() for text in texts if text.strip())
    number = sum(1 for condition in conditions for _ in leaves(condition))
    if number > MOST_COMPARISONS:
        raise InvalidInputError(
            f"{number} comparisons are too many; at most {MOST_COMPARISONS} work, and a list such "
            "as type=pdf,markdown is one"
        )
    return Filter(conditions=conditions) if conditions else None


def read_choice(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Read ``FIELD=VALUE,VALUE``: the field and its values as texts; None for other filters."""
    try:
        test = _Reader(text).only_test()
    except InvalidInputError:
        return None
    if test is None or test.comparison != "=":
        return None
    return test.field, tuple(value.text for value in test.values)


def write_choice(field: str, values: Sequence[str]) -> str:
    """Write what ``read_choice`` reads, quotes only where needed: 2020 is text and number alike."""
    part, dot, name = field.partition(".")
    if dot and _PLAIN_NAME.fullmatch(name) is None:
        field = f"{part}.{_quoted(name)}"
    written = (value if _PLAIN_VALUE.fullmatch(value) else _quoted(value) for value in values)
    return f"{field}={','.join(written)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unescaped(text: str) -> str:
    # Any other backslash is one, as in paths of Windows.
    return re.sub(r'\\(["\\])', r"\1", text)


def _check_texts(filters: Sequence[str]) -> None:
    """Refuse filters that no database could hold, or more of them than anyone means."""
    if len(filters) > MOST_FILTERS:
        raise InvalidInputError(f"{len(filters)} filters are too many; at most {MOST_FILTERS} work")
    for text in filters:
        if len(text) > LONGEST_FILTER:
            raise InvalidInputError(
                f"filter {text[:40]!r}… has {len(text):,} characters; at most {LONGEST_FILTER} work"
            )
        if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidInputError(
                f"filter {text[:40]!r} has a NUL or half of a surrogate pair; remove it"
            )


class _Reader:
    """Reads one filter from left to right; each method takes what it names and goes past it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> Condition:
        condition = self._alternatives(0)
        self._end()
        return condition

    def only_test(self) -> _Test | None:
        """Read a single comparison; None where more follows."""
        test = self._test()
        return test if self._at == len(self._text) else None

    def _alternatives(self, depth: int) -> Condition:
        either = [self._together(depth)]
        while self._take(_WORDS["or"]):
            either.append(self._together(depth))
        return either[0] if len(either) == 1 else Or(conditions=tuple(either))

    def _together(self, depth: int) -> Condition:
        both = [self._single(depth)]
        while self._take(_WORDS["and"]):
            both.append(self._single(depth))
        return both[0] if len(both) == 1 else And(conditions=tuple(both))

    def _single(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise self._refused(f"more than {DEEPEST} parentheses or nots within each other")
        if self._take(_WORDS["not"]):
            return Not(condition=self._single(depth + 1))
        start = self._skip_space()
        if not self._take_character("("):
            return self._meaning(start, self._test())
        inner = self._alternatives(depth + 1)
        if self._skip_space() == len(self._text):
            raise self._refused(f"this parenthesis is never closed; {_QUOTE}", start)
        if not self._take_character(")"):
            self._end()
        return inner

    def _test(self) -> _Test:
        start = self._skip_space()
        name = self._take(_NAME)
        comparison = self._take(_COMPARISON) if name else None
        if name is None or comparison is None:
            raise self._refused(
                f"{self._shown(start)} is not FIELD=VALUE; {_EXAMPLE}; {_QUOTE}", start
            )
        quoted = name["quoted"]
        field = name[0] if quoted is None else f"{name['part']}.{_unescaped(quoted)}"
        if field not in FIELDS and not (field.startswith(_PARTS) and name[0] not in _PARTS):
            known = ", ".join(FIELDS)
            raise self._refused(
                f"no field {field[:40]!r}; use {known}, meta.NAME or suggested.NAME", start
            )
        if self._text[self._at : self._at + 1] in ("=", "<", ">"):
            raise self._refused(
                f"{self._text[comparison.start(1) : self._at + 1]!r} is no comparison; "
                "write one of = != >= > <= <",
                comparison.start(1),
            )
        values = self._values(several=comparison[1] in ("=", "!="))
        if not values:
            raise self._refused(f"no value; write {name[0][:40]}{comparison[1]}VALUE; {_QUOTE}")
        return _Test(field=field, comparison=comparison[1], values=values)

    def _values(self, *, several: bool) -> list[_Value]:
        """Take values up to what cannot be part of one; empty ones without quotes are none."""
        found = []
        opened = 0
        while True:
            start = self._skip_space()
            if quoted := self._take(_QUOTED):
                found.append(_Value(text=_unescaped(quoted[1]), quoted=True))
            elif self._text.startswith('"', start):
                raise self._refused("this quote is never closed", start)
            else:
                opened = self._skip_bare(opened, several=several)
                if bare := self._text[start : self._at].strip():
                    found.append(_Value(text=bare))
            self._skip_space()
            if not (several and self._take_character(",")):
                return found

    def _skip_bare(self, opened: int, *, several: bool) -> int:
        """Go to the end of a value without quotes, past the parentheses that it closes itself."""
        for stop in _STOP.finditer(self._text, self._at):
            if stop[0] == "(":
                opened += 1
            elif stop[0] == ")" and opened:
                opened -= 1
            elif several or stop[0] != ",":
                self._at = stop.start()
                return opened
        self._at = len(self._text)
        return opened

    def _meaning(self, start: int, test: _Test) -> Condition:
        if test.field == "date":
            periods = [self._period(start, value.text) for value in test.values]
            return _dated(test.comparison, periods)
        if test.comparison in ("=", "!="):
            values = tuple(scalar for value in test.values for scalar in _readings(value))
            return _unless(test.comparison, AnyOf(field=test.field, values=values))
        (value,) = test.values
        number = None if value.quoted else _number(value.text)
        return Compare(
            field=test.field,
            comparison=cast("Comparison", test.comparison),
            value=value.text if number is None else number,
        )

    def _period(self, start: int, text: str) -> tuple[str, str]:
        period = _period(text)
        if period is None:
            raise self._refused(
                f"{text[:40]!r} is no date; write date>=2024-05-01, date=2024-05 or date<2024",
                start,
            )
        return period

    def _end(self) -> None:
        """Refuse what follows a whole condition."""
        if self._skip_space() == len(self._text):
            return
        if self._text[self._at] == ")":
            raise self._refused(f"this parenthesis closes nothing; {_QUOTE}")
        raise self._refused(
            f"{self._shown(self._at)} follows a whole condition; write and or or between them"
        )

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _take_character(self, character: str) -> bool:
        taken = self._text.startswith(character, self._at)
        self._at += taken
        return taken

    def _skip_space(self) -> int:
        self._take(_SPACE)
        return self._at

    def _shown(self, start: int) -> str:
        return repr(self._text[start : start + 40].rstrip()) if self._text[start:] else "the end"

    def _refused(self, what: str, at: int | None = None) -> InvalidInputError:
        place = (self._at if at is None else at) + 1
        return InvalidInputError(f"filter {self._text[:80]!r}, character {place}: {what}")


def _unless(comparison: str, condition: Condition) -> Condition:
    return condition if comparison == "=" else Not(condition=condition)


def _number(text: str) -> int | float | None:
    if _NUMBER.fullmatch(text) is None:
        return None
    return float(text) if "." in text else int(text)


def _readings(value: _Value) -> list[Scalar]:
    """Give all that a value may mean: a user who writes year=2020 means number and text alike."""
    text = value.text
    if value.quoted:
        return [text]
    number = _number(text)
    if number is not None:
        return [text, number]
    return [text, text == "true"] if text in ("true", "false") else [text]


def _period(text: str) -> tuple[str, str] | None:
    """Give the first and the last day of a day, month or year."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    try:
        first = date(year or 0, month or 1, day or 1)
    except ValueError:
        return None
    if day:
        return first.isoformat(), first.isoformat()
    last = first.replace(month=month or 12)
    return first.isoformat(), last.replace(day=monthrange(last.year, last.month)[1]).isoformat()


def _dated(comparison: str, periods: Sequence[tuple[str, str]]) -> Condition:
    """Compare with whole periods: to be after a year is to be after its last day."""
    if comparison in ("=", "!="):
        within = [_within(first, last) for first, last in periods]
        return _unless(comparison, within[0] if len(within) == 1 else Or(conditions=tuple(within)))
    ((first, last),) = periods
    day = first if comparison in (">=", "<") else last
    return Compare(field="date", comparison=cast("Comparison", comparison), value=day)


def _within(first: str, last: str) -> Condition:
    if first == last:
        return AnyOf(field="date", values=(first,))
    return And(
        conditions=(
            Compare(field="date", comparison=">=", value=first),
            Compare(field="date", comparison="<=", value=last),
        )
    )
