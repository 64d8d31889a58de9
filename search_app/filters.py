"""The filter grammar, one for command line, API and page, and its meaning over plain values.

A filter looks at the *fields* of a document, a JSON object of this shape:

    {"language": "ja", "source": "docs/guide.md", "folder": ["docs"], "type": "markdown",
     "meta": {"author": "Sato", "year": 2024, "tags": ["a", "b"]}}

``language``, ``source``, ``folder``, ``type`` and ``meta.NAME`` can be asked for. A list holds
where any of its values does. Conditions are written

    language=ja          equal to
    type=pdf,markdown    equal to one of several
    language!=ja         not equal to any
    meta.year>=2020      ordered comparison: >= > <= <; numbers with numbers, texts with texts

and several conditions must all hold.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from search_app.errors import InvalidInputError
from search_app.types import JSON

Scalar = str | int | float | bool
Comparison = Literal[">=", ">", "<=", "<"]

MOST_FILTERS = 20
LONGEST_FILTER = 500

FIELDS = ("language", "source", "folder", "type")

_CONDITION = re.compile(
    r"(?P<field>[^=!<>\s]+)\s*(?P<op>!=|>=|<=|=|>|<)\s*(?P<value>.*)", re.DOTALL
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")
_COMPARE: Mapping[str, Callable[[JSON, JSON], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True, kw_only=True)
class AnyOf:
    """The field equals one of the values; with no values, nothing passes."""

    field: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        """Refuse what no field can hold.

        Raises:
            InvalidInputError: NUL, half a surrogate pair, NaN or infinity.
        """
        _check_storable(self.field, *self.values)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """The field stands in an order to the value; values of another type never match."""

    field: str
    comparison: Comparison
    value: str | int | float

    def __post_init__(self) -> None:
        """Refuse what no field can hold, and truth values, which have no order.

        Raises:
            InvalidInputError: a value that cannot be compared with.
        """
        if isinstance(self.value, bool):
            raise InvalidInputError(f"{self.field} cannot be ordered by true or false; write =")
        _check_storable(self.field, self.value)


@dataclass(frozen=True, kw_only=True)
class Not:
    """The condition does not hold."""

    condition: "Condition"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """All conditions hold."""

    conditions: tuple["Condition", ...]


Condition = AnyOf | Compare | Not


def parse_filter(texts: Sequence[str]) -> Filter | None:
    """Read conditions as users write them; None where there are none.

    Raises:
        InvalidInputError: a condition that the grammar does not know, with an example.
    """
    _check_texts(texts)
    conditions = tuple(_parse_condition(text) for text in texts if text.strip())
    return Filter(conditions=conditions) if conditions else None


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


def _parse_condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise InvalidInputError(
            f"filter {text[:80]!r} is not FIELD=VALUE; write for example language=ja, "
            "type=pdf,markdown or meta.year>=2020"
        )
    field, comparison, value = match["field"], match["op"], match["value"].strip()
    _check_field(field, text)
    if value == "":
        raise InvalidInputError(f"filter {text[:80]!r} has no usable value; write {field}=VALUE")
    if comparison in ("=", "!="):
        # A user who writes year=2020 means the number and the text alike.
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not parts:
            raise InvalidInputError(f"filter {text[:80]!r} has no value; write {field}=VALUE")
        values = tuple(scalar for part in parts for scalar in _readings(part))
        condition = AnyOf(field=field, values=values)
        return condition if comparison == "=" else Not(condition=condition)
    number = _number(value)
    ordered: str | int | float = value if number is None else number
    return Compare(field=field, comparison=comparison, value=ordered)  # type: ignore[arg-type] # the pattern allows no other


def _check_field(field: str, text: str) -> None:
    if field in FIELDS or (field.startswith("meta.") and len(field) > len("meta.")):
        return
    raise InvalidInputError(
        f"filter {text[:80]!r} names no known field; "
        "use language, source, folder, type or meta.NAME"
    )


def _check_storable(*parts: Scalar) -> None:
    # JSON in a database holds none of these; asked for there, each would be a server's error.
    for part in parts:
        if isinstance(part, float) and not math.isfinite(part):
            raise InvalidInputError(f"filter value {part} is not a number; write digits")
        if isinstance(part, str) and _UNSTORABLE.search(part):
            raise InvalidInputError(
                f"filter text {part[:80]!r} holds NUL or broken Unicode; write it anew"
            )


def _number(text: str) -> int | float | None:
    if _NUMBER.fullmatch(text) is None:
        return None
    return float(text) if "." in text else int(text)


def _readings(text: str) -> list[Scalar]:
    number = _number(text)
    if number is not None:
        return [text, number]
    if text in ("true", "false"):
        return [text, text == "true"]
    return [text]


def field_values(fields: Mapping[str, JSON], field: str) -> list[JSON]:
    """Get the values that a field holds, as a list; empty where it is absent."""
    value: JSON = fields
    for part in field.split(".", 1):
        if not isinstance(value, Mapping) or part not in value:
            return []
        value = value[part]
    return list(value) if isinstance(value, list | tuple) else [value]


def passes(fields: Mapping[str, JSON], filter: Filter | None) -> bool:  # noqa: A002 - the field's word
    """Say whether a document with these fields passes; None lets everything pass."""
    return filter is None or all(_holds(fields, condition) for condition in filter.conditions)


def _holds(fields: Mapping[str, JSON], condition: Condition) -> bool:
    match condition:
        case AnyOf():
            held = field_values(fields, condition.field)
            return any(_equal(value, wanted) for value in held for wanted in condition.values)
        case Compare():
            compare = _COMPARE[condition.comparison]
            held = field_values(fields, condition.field)
            return any(
                _orderable(value, condition.value) and compare(value, condition.value)
                for value in held
            )
        case Not():
            return not _holds(fields, condition.condition)


def _equal(left: JSON, right: Scalar) -> bool:
    # JSON keeps true apart from 1; Python does not.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _orderable(left: JSON, right: str | float) -> bool:
    if isinstance(left, bool):
        return False
    return isinstance(left, str) == isinstance(right, str) and isinstance(left, str | int | float)
