"""What documents can be filtered by, as values, and their meaning.

A filter looks at the *fields* of a document, a JSON object of this shape:

    {"language": "ja", "source": "docs/guide.md", "folder": ["docs"], "type": "markdown",
     "date": "2024-05-01", "meta": {"author": "Sato", "year": 2024, "tags": ["a", "b"]},
     "suggested": {"topic": "sports"}, "symbol": ["Tide", "tides.Tide"], "symbol_kind": ["class"]}

``language``, ``source``, ``folder``, ``type``, ``date``, ``symbol``, ``symbol_kind``, ``meta.NAME``
and ``suggested.NAME`` can be asked for; what is suggested is never in ``meta``, which holds what
was given. Symbols are the functions and classes of source code; a passage has those that it has
some of in the place of its document's. A list holds where any of its values does. How filters are
written is in grammar.py.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from search_app.errors import InvalidInputError
from search_app.types import JSON

Scalar = str | int | float | bool
Comparison = Literal[">=", ">", "<=", "<"]

FIELDS = ("language", "source", "folder", "type", "date", "symbol", "symbol_kind")
"""The fields that are no metadata; ``date`` is ISO 8601, yyyy-mm-dd."""

SUGGESTED = "suggested"
"""Where labels are that were predicted, not given."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
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
class And:
    """Every condition holds; with none, everything passes."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, kw_only=True)
class Or:
    """Any of the conditions holds; with none, nothing passes."""

    conditions: tuple["Condition", ...]


Condition = AnyOf | Compare | Not | And | Or


@dataclass(frozen=True, kw_only=True)
class Filter:
    """All conditions hold, and the passage is none of ``besides``, whatever its document has."""

    conditions: tuple[Condition, ...]
    besides: frozenset[UUID] = frozenset()


def without(given: Filter | None, besides: frozenset[UUID]) -> Filter | None:
    """Give a filter that leaves passages out besides."""
    if not besides:
        return given
    if given is None:
        return Filter(conditions=(), besides=besides)
    return Filter(conditions=given.conditions, besides=given.besides | besides)


def leaves(condition: Condition) -> Iterator[AnyOf | Compare]:
    """Give the conditions on single fields that a condition is made of."""
    match condition:
        case AnyOf() | Compare():
            yield condition
        case Not():
            yield from leaves(condition.condition)
        case And() | Or():
            for each in condition.conditions:
                yield from leaves(each)


def _check_storable(*parts: Scalar) -> None:
    # JSON in a database holds none of these; asked for there, each would be a server's error.
    for part in parts:
        if isinstance(part, float) and not math.isfinite(part):
            raise InvalidInputError(f"filter value {part} is not a number; write digits")
        if isinstance(part, str) and _UNSTORABLE.search(part):
            raise InvalidInputError(
                f"filter text {part[:80]!r} holds NUL or broken Unicode; write it anew"
            )


def given_fields(fields: Mapping[str, JSON]) -> dict[str, JSON]:
    """Leave out what is only suggested."""
    return {name: value for name, value in fields.items() if name != SUGGESTED}


def passage_fields(
    of_document: Mapping[str, JSON], own: Mapping[str, JSON] | None
) -> Mapping[str, JSON]:
    """Give the fields of a passage: its document's, but for those that it has itself."""
    return {**of_document, **own} if own else of_document


def with_suggested(fields: Mapping[str, JSON], before: Mapping[str, JSON]) -> dict[str, JSON]:
    """Give new fields of a document what was suggested for it before."""
    kept = {SUGGESTED: before[SUGGESTED]} if SUGGESTED in before else {}
    return {**given_fields(fields), **kept}


def field_values(fields: Mapping[str, JSON], field: str) -> list[JSON]:
    """Get the values that a field holds, as a list; empty where it is absent."""
    value: JSON = fields
    for part in field.split(".", 1):
        if not isinstance(value, Mapping) or part not in value:
            return []
        value = value[part]
    return list(value) if isinstance(value, list | tuple) else [value]


def passes(fields: Mapping[str, JSON], filter: Filter | None) -> bool:  # noqa: A002 - the field's word
    """Say whether a document with these fields passes; None lets everything pass.

    ``besides`` is about passages: whoever has those looks at it.
    """
    return filter is None or all(_holds(fields, condition) for condition in filter.conditions)


def _holds(fields: Mapping[str, JSON], condition: Condition) -> bool:
    match condition:
        case AnyOf() | Compare():
            return holds_for(field_values(fields, condition.field), condition)
        case Not():
            return not _holds(fields, condition.condition)
        case And():
            return all(_holds(fields, each) for each in condition.conditions)
        case Or():
            return any(_holds(fields, each) for each in condition.conditions)


def holds_for(values: Sequence[JSON], condition: AnyOf | Compare) -> bool:
    """Say whether a condition holds for a field that has these values."""
    if isinstance(condition, AnyOf):
        return any(_equal(value, wanted) for value in values for wanted in condition.values)
    compare = _COMPARE[condition.comparison]
    return any(
        _orderable(value, condition.value) and compare(value, condition.value) for value in values
    )


def _equal(left: JSON, right: Scalar) -> bool:
    # JSON keeps true apart from 1; Python does not.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _orderable(left: JSON, right: str | float) -> bool:
    if isinstance(left, bool):
        return False
    return isinstance(left, str) == isinstance(right, str) and isinstance(left, str | int | float)
