"""The filter grammar compiled to SQL over a ``jsonb`` column of document fields.

Both the catalog (facets over documents) and the pgvector store (search) filter this way, so that
they cannot disagree. The meaning is that of ``filters.passes``.
"""

import json

from sqlalchemy import ColumnElement, and_, bindparam, false, func, literal, not_, or_, true
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.sql.expression import cast

from search_app.filters import AnyOf, Compare, Condition, Filter, Not, Scalar
from search_app.types import JSON


def filter_clause(column: ColumnElement[JSON], filter: Filter) -> ColumnElement[bool]:  # noqa: A002
    """Compile a filter to a boolean expression over the column, values bound, never spliced."""
    return and_(true(), *(_clause(column, condition) for condition in filter.conditions))


def _clause(column: ColumnElement[JSON], condition: Condition) -> ColumnElement[bool]:
    match condition:
        case AnyOf():
            # Containment, because a GIN index answers it, and because ["a", "b"] @> "a" holds
            # for lists only when the wanted value is wrapped likewise.
            return or_(
                false(),
                *(
                    column.op("@>", is_comparison=True)(_bound(shape))
                    for value in condition.values
                    for shape in (
                        _nested(condition.field, value),
                        _nested(condition.field, [value]),
                    )
                ),
            )
        case Compare():
            path = "$" + "".join(f".{json.dumps(part)}" for part in condition.field.split(".", 1))
            # A list is unwrapped once by `?`; the comparison would unwrap a list in it once more.
            test = f'@.type() != "array" && @ {condition.comparison} $wanted'
            return func.jsonb_path_exists(
                column,
                cast(literal(f"{path} ? ({test})"), JSONPATH),
                _bound({"wanted": condition.value}),
            )
        case Not():
            return not_(_clause(column, condition.condition))


def _nested(field: str, value: Scalar | list[Scalar]) -> JSON:
    for part in reversed(field.split(".", 1)):
        value = {part: value}  # type: ignore[assignment] # grows outwards into an object
    return value


def _bound(value: JSON) -> ColumnElement[JSON]:
    return bindparam(None, value, type_=JSONB, unique=True)
