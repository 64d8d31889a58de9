"""How filters are written and read: what is understood, what is refused, and how that is told."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_app.errors import InvalidInputError
from search_app.filters import And, AnyOf, Compare, Comparison, Condition, Filter, Not, Or, passes
from search_app.grammar import (
    DEEPEST,
    LONGEST_FILTER,
    MOST_COMPARISONS,
    parse_filter,
    read_choice,
    write_choice,
)
from search_app.types import JSON
from tests.points import any_of


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


JA, EN, PDF = any_of("language", "ja"), any_of("language", "en"), any_of("type", "pdf")


def compare(field: str, comparison: Comparison, value: str | float) -> Compare:
    return Compare(field=field, comparison=comparison, value=value)


def both(*conditions: Condition) -> And:
    return And(conditions=conditions)


def either(*conditions: Condition) -> Or:
    return Or(conditions=conditions)


def no(condition: Condition) -> Not:
    return Not(condition=condition)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("language=ja and type=pdf", both(JA, PDF)),
        ("language=ja AND type=pdf", both(JA, PDF)),
        ("language = ja\nand\ttype = pdf", both(JA, PDF)),
        ("language=ja　and　type=pdf", both(JA, PDF)),
        ("language=ja or type=pdf", either(JA, PDF)),
        ("not language=ja", no(JA)),
        ("not(language=ja)", no(JA)),
        ("NOT NOT language=ja", no(no(JA))),
        ("(language=ja)", JA),
        ("((language=ja))and(type=pdf)", both(JA, PDF)),
        # `not` before `and` before `or`.
        ("language=ja and type=pdf or language=en", either(both(JA, PDF), EN)),
        ("language=en or language=ja and type=pdf", either(EN, both(JA, PDF))),
        ("(language=en or language=ja) and type=pdf", both(either(EN, JA), PDF)),
        ("not language=ja and type=pdf", both(no(JA), PDF)),
        ("not (language=ja and type=pdf)", no(both(JA, PDF))),
        ("language=ja or language=en or type=pdf", either(JA, EN, PDF)),
        ("language=ja,en and type=pdf", both(any_of("language", "ja", "en"), PDF)),
        (
            "meta.year>=2020 and meta.year<2024",
            both(compare("meta.year", ">=", 2020), compare("meta.year", "<", 2024)),
        ),
        # The words within a word, within quotes, or glued to something are no words.
        ("source=band or language=ja", either(any_of("source", "band"), JA)),
        ('source="a and b.md"', any_of("source", "a and b.md")),
        ('source="a or b", c and type=pdf', both(any_of("source", "a or b", "c"), PDF)),
        ("source=rock-and-roll", any_of("source", "rock-and-roll")),
        ("source=Salt And Pepper", any_of("source", "Salt And Pepper")),
        ("meta.note=not here", any_of("meta.note", "not here")),
        ("meta.word=and", any_of("meta.word", "and")),
        # Quotes.
        ('meta.author="Sato, Ken"', any_of("meta.author", "Sato, Ken")),
        ('meta.author="Sato, Ken",Suzuki', any_of("meta.author", "Sato, Ken", "Suzuki")),
        (r'meta.x="a \"b\" \\ c"', any_of("meta.x", 'a "b" \\ c')),
        (r'source="C:\Users\new"', any_of("source", r"C:\Users\new")),
        ('meta.x=""', any_of("meta.x", "")),
        ('meta.x=" a "', any_of("meta.x", " a ")),
        ('meta.year="2020"', any_of("meta.year", "2020")),
        ('meta.draft="true"', any_of("meta.draft", "true")),
        ('meta.year>"2020"', compare("meta.year", ">", "2020")),
        ('meta.size=5" disk', any_of("meta.size", '5" disk')),
        ('meta."Page count"<100', compare("meta.Page count", "<", 100)),
        ('meta."a\\"b"=1', any_of('meta.a"b', "1", 1)),
        ('meta.""=x', any_of("meta.", "x")),
        ("meta.it's=x", any_of("meta.it's", "x")),
        ("meta.f(x)=y", any_of("meta.f(x)", "y")),
        # A value may hold parentheses that it closes itself, and one that it opens only.
        ("source=report (1).pdf", any_of("source", "report (1).pdf")),
        ("(source=report (1).pdf or type=pdf)", either(any_of("source", "report (1).pdf"), PDF)),
        ("source=a (b, c)", any_of("source", "a (b", "c)")),
        ("meta.x=a (b", any_of("meta.x", "a (b")),
        # Only = and != know lists.
        ("meta.x>a,b", compare("meta.x", ">", "a,b")),
        # Whole days, months and years.
        ("date=2024-02-29", any_of("date", "2024-02-29")),
        ('date="2024-02-29"', any_of("date", "2024-02-29")),
        (
            "date=2024-02",
            both(compare("date", ">=", "2024-02-01"), compare("date", "<=", "2024-02-29")),
        ),
        (
            "date!=2023",
            no(both(compare("date", ">=", "2023-01-01"), compare("date", "<=", "2023-12-31"))),
        ),
        (
            "date=9999,2024-05-01",
            either(
                both(compare("date", ">=", "9999-01-01"), compare("date", "<=", "9999-12-31")),
                any_of("date", "2024-05-01"),
            ),
        ),
        ("date>=2024", compare("date", ">=", "2024-01-01")),
        ("date>2024", compare("date", ">", "2024-12-31")),
        ("date<=2024-04", compare("date", "<=", "2024-04-30")),
        ("date<2024-04", compare("date", "<", "2024-04-01")),
        ("date<0001", compare("date", "<", "0001-01-01")),
    ],
)
def test_conditions_are_joined(text: str, expected: Condition) -> None:
    assert repr(one(text)) == repr(expected)


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("lang", 1, "'lang' is not FIELD=VALUE; write for example language=ja"),
        ("  colour=red", 3, "no field 'colour'"),
        ("language=", 10, "no value; write language=VALUE"),
        ("language= and type=pdf", 11, "no value"),
        ("language=ja and", 16, "the end is not FIELD=VALUE"),
        ("language=ja and and type=pdf", 17, "'and type=pdf'"),
        ("or language=ja", 1, "'or language=ja'"),
        ("source=a and b.md", 14, 'source="a, b.md"'),
        ("language=ja type=pdf or x", 25, "'x' is not FIELD=VALUE"),
        ("(language=ja", 1, "never closed"),
        ("type=pdf and (language=ja or (type=md)", 14, "never closed"),
        ("language=ja)", 12, "closes nothing"),
        ("()", 2, "')' is not FIELD=VALUE"),
        ('source="a', 8, "quote is never closed"),
        ('source="a" b', 12, "'b' follows a whole condition; write and or or"),
        ('(source="a" b)', 13, "'b)' follows a whole condition"),
        ("(language=ja) type=pdf", 15, "'type=pdf' follows"),
        ("meta.year=>2020", 10, "'=>' is no comparison"),
        ("language==ja", 9, "'==' is no comparison"),
        ("date=yesterday", 1, "'yesterday' is no date; write date>=2024-05-01"),
        ("type=pdf and date<2023-02-29", 14, "'2023-02-29' is no date"),
        ("date=0000", 1, "no date"),
        ("date=２０２４", 1, "no date"),
        ("not " * (DEEPEST + 1) + "type=pdf", 4 * (DEEPEST + 1), "within each other"),
    ],
)
def test_what_is_refused_is_told_with_its_place(text: str, place: int, told: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_filter([text])
    assert f"character {place}: " in str(refused.value)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nesting_ends_where_it_is_said_to() -> None:
    assert one("(" * DEEPEST + "language=ja" + ")" * DEEPEST) == JA
    with pytest.raises(InvalidInputError, match="within each other"):
        one("(" * (DEEPEST + 1) + "language=ja" + ")" * (DEEPEST + 1))
    for opening in ("(", "not ", "not(", "(not "):
        with pytest.raises(InvalidInputError):
            one((opening * LONGEST_FILTER)[:LONGEST_FILTER])


def test_comparisons_are_counted_over_all_filters() -> None:
    some = " or ".join(["type=a"] * (MOST_COMPARISONS // 10))
    assert parse_filter([some] * 10) is not None
    with pytest.raises(InvalidInputError, match="comparisons are too many"):
        parse_filter([some] * 10 + ["type=a"])


# Pieces of the grammar, so that random texts come near to meaning something.
PIECES = st.sampled_from(
    [
        *("language=ja", "meta.x", "date", "=", "!=", ">=", "<", "and", "or", "not", "(", ")"),
        *('"', ",", "\\", " ", "　", "\n", "2024-05", "1", "true", "a", "日", '"a b"', 'meta."'),
    ]
)


@given(st.text(max_size=30) | st.lists(PIECES, max_size=25).map("".join))
@example('meta."\\"=1')
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse_filter([text])
    except InvalidInputError:
        return
    assert (parsed is None) == (not text.strip())


# What is written from a condition is read as that condition.

storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
spaces = st.sampled_from(["", " ", "  ", "\n"])
gaps = st.sampled_from([" ", "  ", "\t", "　"])


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


Written = tuple[str, Condition]


@st.composite
def comparisons(draw: st.DrawFn) -> Written:
    name = draw(storable)
    field, written = draw(
        st.sampled_from([("language", "language"), (f"meta.{name}", f"meta.{quoted(name)}")])
    )
    space, texts = draw(spaces), draw(st.lists(storable, min_size=1, max_size=3))
    values = ",".join(space + quoted(text) + space for text in texts)
    match draw(st.sampled_from(["=", "!=", "order"])):
        case "=":
            return f"{written}{space}={values}", any_of(field, *texts)
        case "!=":
            return f"{written}{space}!={values}", no(any_of(field, *texts))
    comparison: Comparison = draw(st.sampled_from([">=", ">", "<=", "<"]))
    number = draw(st.integers(-(10**14), 10**14))
    return f"{written}{space}{comparison}{space}{number}", compare(field, comparison, number)


def grouped(written: Written) -> Written:
    return f"({written[0]})", written[1]


@st.composite
def joined(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    gap = draw(gaps)
    word = draw(st.sampled_from(["and", "or", "not"]))
    written = draw(st.sampled_from([word, word.upper()]))
    if word == "not":
        text, condition = grouped(draw(inner))
        return f"{written}{draw(spaces)}{text}", no(condition)
    parts: Sequence[Written] = draw(st.lists(inner.map(grouped), min_size=2, max_size=3))
    text = f"{gap}{written}{gap}".join(part for part, _ in parts)
    conditions = tuple(condition for _, condition in parts)
    return text, And(conditions=conditions) if word == "and" else Or(conditions=conditions)


@given(st.recursive(comparisons(), joined, max_leaves=6).filter(lambda each: len(each[0]) < 400))
def test_what_is_written_is_read_back(written: Written) -> None:
    text, condition = written
    assert repr(one(text)) == repr(condition)


# Choices: what the page writes when a value is chosen.


@given(st.just("folder") | storable.map("meta.{}".format), st.lists(storable, min_size=1))
def test_choices_are_read_as_they_are_written(field: str, values: list[str]) -> None:
    written = write_choice(field, values)
    assert read_choice(written) == (field, tuple(values))


@given(storable.map("meta.{}".format), storable)
def test_a_choice_finds_what_has_the_value(field: str, value: str) -> None:
    fields: JSON = {"meta": {field.removeprefix("meta."): value}}
    assert passes(fields, parse_filter([write_choice(field, [value])]))


def test_choices_need_quotes_for_little() -> None:
    assert write_choice("folder", ["library/en", "2020", "a.b"]) == "folder=library/en,2020,a.b"
    assert write_choice("folder", ["notes, old"]) == 'folder="notes, old"'
    assert write_choice("meta.Page count", ["12"]) == 'meta."Page count"=12'
    assert passes({"meta": {"n": 12}}, parse_filter([write_choice("meta.n", ["12"])]))


@pytest.mark.parametrize(
    "text", ["language!=ja", "language>ja", "language=ja and type=pdf", "(language=ja)", "x", ""]
)
def test_other_filters_are_no_choices(text: str) -> None:
    assert read_choice(text) is None


def test_suggested_labels_have_a_name_of_their_own() -> None:
    assert parse_filter(["suggested.topic=sea"]) == Filter(
        conditions=(AnyOf(field="suggested.topic", values=("sea",)),)
    )
    assert parse_filter(['suggested."my topic"=sea']) == Filter(
        conditions=(AnyOf(field="suggested.my topic", values=("sea",)),)
    )
    assert write_choice("suggested.my topic", ["a, b"]) == 'suggested."my topic"="a, b"'
    assert read_choice(write_choice("suggested.a b", ["c"])) == ("suggested.a b", ("c",))
    for wrong in ("suggested=sea", "suggested.=sea", "meta.=sea", "guessed.topic=sea"):
        with pytest.raises(InvalidInputError):
            parse_filter([wrong])
