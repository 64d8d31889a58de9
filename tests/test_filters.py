"""The filter grammar, its meaning, and that PostgreSQL gives it the same meaning."""

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
    AnyOf,
    Compare,
    Comparison,
    Condition,
    Filter,
    Not,
    parse_filter,
    passes,
)
from search_app.jsonb import filter_clause
from search_app.types import JSON
from tests.own_database import own_database
from tests.points import CONDITIONS, DOCUMENTS, any_of

# Grammar


def one(text: str) -> Condition:
    parsed = parse_filter([text])
    assert parsed is not None
    (condition,) = parsed.conditions
    return condition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("language=ja", any_of("language", "ja")),
        ("  language = ja ", any_of("language", "ja")),
        ("type=pdf,markdown", any_of("type", "pdf", "markdown")),
        ("type = pdf , markdown,", any_of("type", "pdf", "markdown")),
        ("language!=ja", Not(condition=any_of("language", "ja"))),
        ("meta.year=2020", any_of("meta.year", "2020", 2020)),
        ("meta.year=2020,x", any_of("meta.year", "2020", 2020, "x")),
        ("meta.price=-1.50", any_of("meta.price", "-1.50", -1.5)),
        ("meta.zip=01234", any_of("meta.zip", "01234")),
        ("meta.draft=true", any_of("meta.draft", "true", True)),
        ("meta.draft!=false", Not(condition=any_of("meta.draft", "false", False))),
        ("meta.draft=True", any_of("meta.draft", "True")),
        ("meta.year>=2020", Compare(field="meta.year", comparison=">=", value=2020)),
        ("meta.year > 2020.5", Compare(field="meta.year", comparison=">", value=2020.5)),
        ("meta.year<=-3", Compare(field="meta.year", comparison="<=", value=-3)),
        ("meta.day<2020-01-31", Compare(field="meta.day", comparison="<", value="2020-01-31")),
        ("meta.a.b=1", any_of("meta.a.b", "1", 1)),
        ("meta.鍵=値, 別", any_of("meta.鍵", "値", "別")),
        ("source=a=b", any_of("source", "a=b")),
        ("source=a b\nc", any_of("source", "a b\nc")),
        ("folder=docs/guide", any_of("folder", "docs/guide")),
    ],
)
def test_conditions_are_read_as_written(text: str, expected: Condition) -> None:
    # repr tells 1 from True and 1.0, which compare equal.
    assert repr(one(text)) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        "language",
        "=ja",
        "language=",
        "language= ",
        "language=,",
        "meta.year>",
        "colour=red",
        "meta.=1",
        "meta=1",
        "a b=1",
        "language=a\x00b",
        "meta.a\x00b=1",
        "source=half a pair \ud83d",
    ],
)
def test_conditions_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_filter([text])
    assert "\n" not in str(refused.value)


def test_no_conditions_are_no_filter() -> None:
    assert parse_filter([]) is None
    assert parse_filter(["", "  "]) is None
    assert passes({}, None)


def test_several_conditions_must_all_hold() -> None:
    both = parse_filter(["language=ja", "meta.year>=2020"])
    assert passes({"language": "ja", "meta": {"year": 2021}}, both)
    assert not passes({"language": "ja", "meta": {"year": 2019}}, both)
    assert not passes({"language": "en", "meta": {"year": 2021}}, both)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a\x00", "\udc80"])
def test_values_that_no_field_holds_are_refused(value: str | float) -> None:
    with pytest.raises(InvalidInputError):
        any_of("meta.x", value)
    with pytest.raises(InvalidInputError):
        Compare(field="meta.x", comparison="<", value=value)


def test_truth_values_have_no_order() -> None:
    with pytest.raises(InvalidInputError):
        Compare(field="meta.x", comparison="<", value=True)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse_filter([text])
    except InvalidInputError:
        return
    assert (parsed is None) == (not text.strip())


# Meaning


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


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_postgres_agrees_on_chosen_filters(connection: Connection, condition: Condition) -> None:
    wanted = Filter(conditions=(condition,))
    for fields in DOCUMENTS:
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
conditions = st.recursive(
    st.builds(AnyOf, field=fields_asked, values=st.lists(scalars, max_size=3).map(tuple))
    | st.builds(
        Compare,
        field=fields_asked,
        comparison=st.sampled_from(get_args(Comparison)),
        value=texts | numbers,
    ),
    lambda inner: st.builds(Not, condition=inner),
    max_leaves=3,
)
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
