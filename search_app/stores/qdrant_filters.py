"""The filter grammar in Qdrant's conditions, with the meaning of ``filters.passes``."""

from collections.abc import Mapping, Sequence

from qdrant_client import models

from search_app.filters import (
    And,
    AnyOf,
    Compare,
    Comparison,
    Condition,
    Filter,
    Not,
    Or,
    leaves,
)
from search_app.stores.qdrant_order import MOST_PIECES, order_key, pieces
from search_app.stores.qdrant_payload import ORDER, TERMS, term

_NEVER = "nothing has this term"
"""No term begins like this: every real one is a JSON array or a hash."""

Resolved = Mapping[Compare, Sequence[str]]
"""The terms that pass, for comparisons with texts longer than Qdrant has pieces of."""


def query_filter(wanted: Filter | None, resolved: Resolved) -> models.Filter | None:
    """Write a filter for Qdrant; None lets everything pass."""
    if wanted is None or not (wanted.conditions or wanted.besides):
        return None
    must = [_condition(each, resolved) for each in wanted.conditions]
    if not wanted.besides:
        return models.Filter(must=must)
    besides = models.HasIdCondition(has_id=sorted(map(str, wanted.besides)))
    return models.Filter(must=must, must_not=[besides])


def unresolved(wanted: Filter | None) -> list[Compare]:
    """Find the comparisons whose text is longer than what is kept of texts."""
    found = [] if wanted is None else leaves(And(conditions=wanted.conditions))
    return [each for each in found if isinstance(each, Compare) and _is_long(each)]


def equal_so_far(condition: Compare) -> models.Filter:
    """Let points pass that hold a text as long and equal in all that is kept of it."""
    *before, last = pieces(condition.value)[:MOST_PIECES]
    same = models.Range(gte=last, lte=last)
    return models.Filter(must=[_range(condition, tuple(before), same)])


def _is_long(condition: Compare) -> bool:
    return isinstance(condition.value, str) and len(pieces(condition.value)) > MOST_PIECES


def _condition(condition: Condition, resolved: Resolved) -> models.Condition:
    match condition:
        case AnyOf():
            return _terms([term(condition.field, value) for value in condition.values])
        case Compare():
            either = _alternatives(condition, resolved)
            return either[0] if len(either) == 1 else models.Filter(should=either)
        case Not():
            return models.Filter(must_not=[_condition(condition.condition, resolved)])
        case And():
            return models.Filter(must=[_condition(each, resolved) for each in condition.conditions])
        case Or():
            # Qdrant takes a list of no alternatives for no condition at all.
            either = [_condition(each, resolved) for each in condition.conditions]
            return models.Filter(should=either or [_terms([])])


def _alternatives(condition: Compare, resolved: Resolved) -> list[models.Condition]:
    if _is_long(condition):
        passing = [_terms(resolved[condition])]
        return [*_ranges(condition, pieces(condition.value)[:MOST_PIECES]), *passing]
    whole = pieces(condition.value)
    if len(whole) == 1 and condition.comparison == ">=":
        # The quickest form of the most frequent comparison: a fraction is above its whole number.
        return [_range(condition, (), models.Range(gte=whole[0]))]
    found = _ranges(condition, whole)
    equal = [condition.value] if "=" in condition.comparison else []
    if isinstance(condition.value, str):
        return [*found, *_equal(condition, equal)]
    if condition.comparison[0] == ">" and len(whole) == 1:
        # Fractions above this whole number.
        return [*found, _range(condition, whole, models.Range(gte=0)), *_equal(condition, equal)]
    if condition.comparison[0] == "<" and not (
        isinstance(condition.value, int) or condition.value.is_integer()
    ):
        # The whole number below this fraction.
        equal = [*equal, whole[0]]
    return [*found, *_equal(condition, equal)]


def _ranges(condition: Compare, known: Sequence[int]) -> list[models.Condition]:
    """Give one alternative for each place at which a value can first differ."""
    return [
        _range(condition, tuple(known[:place]), _beyond(condition.comparison, piece))
        for place, piece in enumerate(known)
    ]


def _beyond(comparison: Comparison, piece: int) -> models.Range:
    return models.Range(gt=piece) if comparison[0] == ">" else models.Range(lt=piece)


def _range(condition: Compare, before: Sequence[int], allowed: models.Range) -> models.Condition:
    key = order_key(condition.field, condition.value, tuple(before))
    return models.FieldCondition(key=f"{ORDER}.{key}", range=allowed)


def _equal(condition: Compare, values: Sequence[str | float]) -> list[models.Condition]:
    return [_terms([term(condition.field, value) for value in values])] if values else []


def _terms(terms: Sequence[str]) -> models.Condition:
    return models.FieldCondition(key=TERMS, match=models.MatchAny(any=list(terms) or [_NEVER]))
