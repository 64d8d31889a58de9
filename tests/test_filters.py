"""What filters mean, and that PostgreSQL gives them the same meaning."""

from collections.abc import Iterator, Mapping
from typing import get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, bindparam, cast, create_engine, select
from sqlalchemy.dialects.postgresql import JSONB

from search_app.errors import InvalidInputError
from search_app.filters import (
    FIELDS,
    And,
    AnyOf,
    Compare,
    Comparison,
    Condition,
    Filter,
    Not,
    Or,
    passes,
)
from search_app.grammar import DEEPEST, LONGEST_FILTER, MOST_COMPARISONS, MOST_FILTERS, parse_filter
from search_app.jsonb import filter_clause
from search_app.types import JSON
from tests.filter_contract import NESTED
from tests.own_database import own_database
from tests.points import CONDITIONS, DOCUMENTS, any_of

# Meaning


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a\x00", "\udc80"])
def test_values_that_no_field_holds_are_refused(value: str | float) -> None:
    with pytest.raises(InvalidInputError):
        any_of("meta.x", value)
    with pytest.raises(InvalidInputError):
        Compare(field="meta.x", comparison="<", value=value)


def test_truth_values_have_no_order() -> None:
    with pytest.raises(InvalidInputError):
        Compare(field="meta.x", comparison="<", value=True)


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("folder=a", {"folder": ["a", "b"]}, True),
        ("folder!=a", {"folder": ["a", "b"]}, False),
        ("folder!=a", {"folder": []}, True),
        ("folder!=a", {}, True),
        ("meta.year=2020", {"meta": {"year": 2020}}, True),
        ("meta.year=2020", {"meta": {"year": "2020"}}, True),
        ("meta.year=2020", {"meta": {"year": 2020.0}}, True),
        ("meta.draft=true", {"meta": {"draft": True}}, True),
        ("meta.draft=1", {"meta": {"draft": True}}, False),
        ("meta.draft=true", {"meta": {"draft": 1}}, False),
        ("meta.year>=2020", {"meta": {"year": "2021"}}, False),
        ("meta.year>=2020", {"meta": {"year": True}}, False),
        ("meta.year>=2020", {"meta": {"year": [1, 2021]}}, True),
        ("meta.year>=2020", {"meta": None}, False),
        ("meta.day<2020-02-01", {"meta": {"day": "2020-01-31"}}, True),
        ("meta.a.b=1", {"meta": {"a.b": 1}}, True),
        ("meta.a.b=1", {"meta": {"a": {"b": 1}}}, False),
        ("date=2024", {"date": "2024-05-01"}, True),
        ("date=2024", {"date": "2023-12-31"}, False),
        ("date=2024", {}, False),
        ("date!=2024", {}, True),
        ("date>2024-05", {"date": "2024-05-31"}, False),
        ("date>2024-05", {"date": "2024-06-01"}, True),
        ("date<=2024-05", {"date": "2024-05-31"}, True),
        ("date>=2024-01-01 and date<2025-01-01", {"date": "2024-12-31"}, True),
        ("language=ja or meta.year=2020", {"meta": {"year": 2020}}, True),
        ("not (language=ja or meta.year=2020)", {"meta": {"year": 2020}}, False),
        ("not language=ja and meta.year=2020", {"meta": {"year": 2020}}, True),
        ('meta."Page count">=3', {"meta": {"Page count": 3}}, True),
    ],
)
def test_meaning(text: str, fields: Mapping[str, JSON], expected: bool) -> None:  # noqa: FBT001
    assert passes(fields, parse_filter([text])) is expected


# PostgreSQL


@pytest.fixture(scope="module")
def connection(postgres_url: str) -> Iterator[Connection]:
    with own_database(postgres_url) as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def in_postgres(connection: Connection, fields: JSON, wanted: Filter) -> bool:
    column = cast(bindparam("fields", fields, type_=JSONB), JSONB)
    answer: bool = connection.execute(select(filter_clause(column, wanted))).scalar_one()
    connection.rollback()
    return answer


@pytest.mark.parametrize("condition", [*CONDITIONS, *NESTED], ids=str)
def test_postgres_agrees_on_chosen_filters(connection: Connection, condition: Condition) -> None:
    wanted = Filter(conditions=(condition,))
    for fields in DOCUMENTS:
        assert in_postgres(connection, fields, wanted) is passes(fields, wanted)


def test_as_many_conditions_as_can_be_written_are_answered(connection: Connection) -> None:
    alternative = "type=a or (type=b and type!=c) or "
    text = (alternative * 3).removesuffix(" or ")
    texts = [text] * MOST_FILTERS
    assert MOST_COMPARISONS - 3 * MOST_FILTERS < 9 * MOST_FILTERS <= MOST_COMPARISONS
    deepest = "not (" * (DEEPEST // 2) + "type=a" + ")" * (DEEPEST // 2)
    longest = [("type=" + "a," * LONGEST_FILTER)[:LONGEST_FILTER]] * MOST_FILTERS
    for written in (texts, [deepest], longest):
        wanted = parse_filter(written)
        assert wanted is not None
        for fields in ({"type": "a"}, {"type": "c"}):
            assert in_postgres(connection, fields, wanted) is passes(fields, wanted)


# Few letters and few numbers, so that values meet; beyond 15 digits the grammar knows no number,
# and jsonb keeps the decimal that was written where Python keeps the nearest binary fraction.
LETTERS = st.sampled_from("ab1 .'\"\\%:$é日\uffff𝔘\x01\x7f")
texts = st.text(LETTERS, max_size=3) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6
)
numbers = (
    st.integers(-3, 3)
    | st.integers(-(10**15), 10**15)
    | st.sampled_from([0.5, -0.25, 1.0, 0.1, 0.30000000000000004, -0.0, 1e-7, 1e15])
    | st.floats(-1e15, 1e15)
)
scalars = texts | numbers | st.booleans()
names = st.sampled_from(["a", "b", "a.b", "", "it's", 'x "y"', "日本", "%s", "$", "\\"]) | texts
values = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, values),
        "meta": st.dictionaries(names, values, max_size=4) | st.none() | texts,
    },
)
fields_asked = st.sampled_from(FIELDS) | names.map("meta.{}".format)


def conditions_on(fields: st.SearchStrategy[str]) -> st.SearchStrategy[Condition]:
    return st.recursive(
        st.builds(AnyOf, field=fields, values=st.lists(scalars, max_size=3).map(tuple))
        | st.builds(
            Compare,
            field=fields,
            comparison=st.sampled_from(get_args(Comparison)),
            value=texts | numbers,
        ),
        lambda inner: (
            st.builds(Not, condition=inner)
            | st.builds(And, conditions=st.lists(inner, max_size=3).map(tuple))
            | st.builds(Or, conditions=st.lists(inner, max_size=3).map(tuple))
        ),
        max_leaves=6,
    )


conditions = conditions_on(fields_asked)
filters = st.builds(Filter, conditions=st.lists(conditions, max_size=3).map(tuple))


@settings(
    max_examples=600,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example({"meta": {"a": [[1]]}}, Filter(conditions=(any_of("meta.a", 1),)))
@example(
    {"meta": {"a": [[1]]}},
    Filter(conditions=(Compare(field="meta.a", comparison=">=", value=1),)),
)
@example({"language": "en"}, Filter(conditions=(any_of("language"),)))
@example({"language": "en"}, Filter(conditions=()))
@example({}, Filter(conditions=(Or(conditions=()),)))
@example({}, Filter(conditions=(Not(condition=And(conditions=())),)))
@given(documents, filters)
def test_postgres_agrees_on_any_filter(
    connection: Connection, fields: Mapping[str, JSON], wanted: Filter
) -> None:
    assert in_postgres(connection, fields, wanted) is passes(fields, wanted)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_postgres_agrees_on_filters_made_from_the_fields_themselves(
    connection: Connection, data: st.DataObject
) -> None:
    name, value = data.draw(names), data.draw(scalars | st.lists(scalars, min_size=1, max_size=3))
    held = data.draw(st.sampled_from(value)) if isinstance(value, list) else value
    fields = {"meta": {name: value, "other": data.draw(values)}}
    tests: list[Condition] = [any_of(f"meta.{name}", held, data.draw(scalars))]
    if not isinstance(held, bool):
        comparison = data.draw(st.sampled_from(get_args(Comparison)))
        tests.append(Compare(field=f"meta.{name}", comparison=comparison, value=held))
    for condition in tests:
        for wanted in (condition, Not(condition=condition)):
            asked = Filter(conditions=(wanted,))
            assert in_postgres(connection, fields, asked) is passes(fields, asked)
