"""The filter grammar compiled to one SQL/JSON path over a ``jsonb`` column of document fields.

Both the catalog (facets over documents) and the pgvector store (search) filter this way, so that
they cannot disagree. The meaning is that of ``filters.passes``. One path, since then the SQL is the
same for every filter, a GIN index (``jsonb_path_ops``) answers its equalities, and the planner
estimates the whole of it from the column's statistics.
"""

import json
from collections.abc import Sequence

from sqlalchemy import Boolean, ColumnElement, Text, cast, literal
from sqlalchemy.dialects.postgresql import JSONPATH

from search_app.filters import And, AnyOf, Compare, Condition, Filter, Not, Or
from search_app.types import JSON


def filter_clause(column: ColumnElement[JSON], filter: Filter) -> ColumnElement[bool]:  # noqa: A002
    """Compile a filter to a boolean expression over the column, its path a bound value."""
    return path_clause(column, literal(filter_path(filter), Text))


def path_clause(column: ColumnElement[JSON], path: ColumnElement[str]) -> ColumnElement[bool]:
    """Test the column against a path that ``filter_path`` gives."""
    match = column.op("@@", is_comparison=True, return_type=Boolean())
    clause: ColumnElement[bool] = match(cast(path, JSONPATH))
    return clause


def filter_path(filter: Filter) -> str:  # noqa: A002 - the field's word
    """Write a filter as a path that is true or false for every value, never unknown."""
    return " && ".join(["exists($)", *map(_path, filter.conditions)])


def _path(condition: Condition) -> str:
    match condition:
        case AnyOf():
            # Without a value to equal, nothing does.
            tests = [f"@ == {_literal(value)}" for value in condition.values] or ["!exists($)"]
            return _exists(condition.field, " || ".join(tests))
        case Compare():
            return _exists(condition.field, f"@ {condition.comparison} {_literal(condition.value)}")
        case Not():
            return f"!({_path(condition.condition)})"
        case And():
            return _joined(" && ", condition.conditions, "exists($)")
        case Or():
            return _joined(" || ", condition.conditions, "!exists($)")


def _joined(operator: str, conditions: Sequence[Condition], empty: str) -> str:
    return f"({operator.join(map(_path, conditions)) or empty})"


def _exists(field: str, test: str) -> str:
    # `exists` makes false of what is unknown, a comparison of a text with a number, say. `?`
    # unwraps a list once; the comparison would unwrap a list within it once more.
    names = "".join(f".{_literal(name)}" for name in field.split(".", 1))
    return f'exists(${names} ? (@.type() != "array" && ({test})))'


def _literal(value: JSON) -> str:
    # A path's literals are those of JSON, escapes included.
    return json.dumps(value)
