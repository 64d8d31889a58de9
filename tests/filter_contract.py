"""What every vector store must make of filters, down to the last bit and character."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from search_app.filters import And, AnyOf, Compare, Comparison, Condition, Filter, Not, Or, passes
from search_app.stores.base import VectorStore
from search_app.types import JSON, Point, Sparse, TermQuery
from tests.points import DOCUMENTS, any_of, everything, make_point, nearest, units

NAUGHTY = Path(__file__).parents[2] / "shared" / "data" / "naughty" / "strings.jsonl"

COMPARISONS: Sequence[Comparison] = ("<", "<=", ">", ">=")

NUMBERS: Sequence[float] = (
    *(0, -0.0, 1, 1.0, -1, 7, 2020, 2020.5),
    *(0.5, -0.5, 1.5, -1.5, 0.1, 0.1 + 0.2, 0.3, -0.1, 1e-300, -1e-300, 5e-324),
    # The borders of what float64 holds exactly, and of what 64 bits hold.
    *(2**53 - 1, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1, float(2**53)),
    *(2**63 - 1, 2**63, 2**64, 2**64 + 1, -(2**63) - 1, 10**30, 10**30 + 1, -(10**30)),
    *(4503599627370495.5, -4503599627370495.5, 999999999999999.9),
)
TEXTS: Sequence[str] = (
    *("", " ", "a", "A", "ab", "b", "10", "9", "2020", "true", "null", "a\tb", "a\nb", "%", "_"),
    *("2024-05-01", "2024-05-02", "2024-05-01T00:00:00Z", "2024-5-1"),
    *("abcde", "abcdef", "abcdefg", "abcdefghijkl", "abcdefghijklm", "abcdefa"),
    *("é", "é", "日本", "日本語", "\uffff", "\U0001f511", "\U0010ffff", "z"),
    # Alike for a long time, and different then.
    *("x" * length for length in (95, 96, 97, 200)),
    *("x" * 96 + "a", "x" * 95 + "y", "x" * 300 + "é", "x" * 300 + "f", "日" * 40, "日" * 41),
)
WORD = TermQuery(
    ids=np.array([5], np.int32), weights=np.ones(1, np.float32), passages=np.array([40])
)
_JA, _EN = any_of("language", "ja"), any_of("language", "en")
_LATE, _EARLY = (Compare(field="meta.year", comparison=c, value=2021) for c in (">=", "<"))
_NOTHING, _EVERYTHING = Or(conditions=()), And(conditions=())

NESTED: Sequence[Condition] = (
    And(conditions=(_EN, _LATE)),
    Or(conditions=(_JA, _LATE)),
    Not(condition=And(conditions=(_EN, _LATE))),
    Not(condition=Or(conditions=(_JA, _LATE))),
    And(conditions=(Or(conditions=(_JA, _EN)), Or(conditions=(_LATE, _EARLY)))),
    Or(conditions=(And(conditions=(_JA, _EARLY)), And(conditions=(_EN, Not(condition=_LATE))))),
    And(conditions=(Not(condition=Or(conditions=(_LATE, _EARLY))), Not(condition=_JA))),
    # A list passes both where different values of it do.
    And(conditions=(any_of("meta.tags", "a"), any_of("meta.tags", "b"))),
    Or(conditions=(any_of("meta.tags", "a"), Not(condition=any_of("meta.tags", "b")))),
    And(conditions=(_EN,)),
    Or(conditions=(_EN,)),
    _NOTHING,
    _EVERYTHING,
    Not(condition=_NOTHING),
    Not(condition=_EVERYTHING),
    Or(conditions=(_NOTHING, _JA)),
    And(conditions=(_EVERYTHING, _JA)),
    # Texts too long to be told apart by a prefix, deep within.
    Not(
        condition=Or(
            conditions=(_JA, Compare(field="source", comparison=">", value="x" * 300 + "a"))
        )
    ),
    And(
        conditions=(
            Not(condition=Compare(field="source", comparison="<=", value="x" * 300 + "b")),
            Not(condition=_NOTHING),
        )
    ),
)
_LONG_SOURCES: Sequence[dict[str, JSON]] = (
    {"source": "x" * 300 + "a", "language": "en"},
    {"source": "x" * 300 + "c", "language": "en"},
    {"source": "x" * 300 + "c", "language": "ja"},
)


class FilterContract:
    """A part of the contract of stores; needs the fixtures ``store`` and ``index_id``."""

    @pytest.mark.parametrize("comparison", ["=", *COMPARISONS])
    @pytest.mark.parametrize("values", [NUMBERS, TEXTS], ids=["numbers", "texts"])
    async def test_values_are_compared_exactly(
        self, store: VectorStore, index_id: UUID, values: Sequence[JSON], comparison: str
    ) -> None:
        held: list[JSON] = [*values, True, False, None, [], {}, {"a": 1}, [[1]], "1", 1]
        held += [list(values[start::5]) for start in range(5)]
        points = await _filled(store, index_id, [{"meta": {"v": value}} for value in held])
        for value in values:
            wanted = _condition(comparison, value)
            for condition in (wanted, Not(condition=wanted)):
                await _agrees(store, points, condition)

    async def test_values_of_one_field_are_not_those_of_another(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        documents: list[dict[str, JSON]] = [
            {"language": "en", "meta": {"language": "ja", "a.b": 1, "a": {"b": 2}}},
            {"meta.a": 3, "meta": {"": 4, ".": 5, "a": 3}},
            {"language": "meta", "n": 6, "meta": {"n": [6, 7]}},
            {"meta": {"n": {"n": 9}}, "type": ["pdf"], "folder": {"x": "y"}},
            {"meta": {"n": 1}, "language": ["en", "ja"]},
        ]
        points = await _filled(store, index_id, documents)
        names = ("language", "meta", "meta.a", "meta.a.b", "meta.", "meta..", "n", "meta.n")
        for field in (*names, "type", "folder", "folder.x", "absent", "meta.language"):
            for value in ("en", "ja", "pdf", "y", *range(1, 10)):
                await _agrees(store, points, any_of(field, value))
                await _agrees(store, points, Compare(field=field, comparison=">=", value=value))

    async def test_many_conditions_at_once(self, store: VectorStore, index_id: UUID) -> None:
        documents = [
            {"language": "en" if n % 2 else "ja", "meta": {"n": n, "t": f"{n:03}"}}
            for n in range(60)
        ]
        points = await _filled(store, index_id, documents)
        conditions: Sequence[Condition] = (
            *(Not(condition=any_of("meta.n", n)) for n in range(12, 20)),
            any_of("language", "ja", "fr"),
            any_of("meta.n", *range(1000)),
            Compare(field="meta.n", comparison=">", value=10),
            Not(condition=Compare(field="meta.t", comparison=">=", value="050")),
        )
        await _agrees(store, points, *conditions)

    async def test_conditions_are_nested(self, store: VectorStore, index_id: UUID) -> None:
        documents = [*map(dict, DOCUMENTS), *_LONG_SOURCES]
        points = await _filled(store, index_id, documents)
        for condition in NESTED:
            await _agrees(store, points, condition)
            await _agrees(store, points, condition, any_of("language", "en", "ja"))
            await _agrees(store, points, Not(condition=condition))

    async def test_no_value_passes_nothing(self, store: VectorStore, index_id: UUID) -> None:
        points = await _filled(store, index_id, [{"language": "en"}, {}])
        nothing = AnyOf(field="language", values=())
        await _agrees(store, points, nothing)
        await _agrees(store, points, Not(condition=nothing))
        await _agrees(store, points, Not(condition=nothing), any_of("language", "en"))

    async def test_replaced_fields_no_longer_pass(self, store: VectorStore, index_id: UUID) -> None:
        old = {"language": "en", "meta": {"year": 2020, "tags": ["a", "b"], "gone": "x"}}
        (point,) = await _filled(store, index_id, [old])
        new = {"meta": {"year": [1999, 1.5], "tags": ["b"], "date": "2024-05-01"}}
        for fields in (new, old, {}):
            await store.update_fields(index_id, {point.chunk_id: fields})
            (found,) = await everything(store, index_id)
            assert found.fields == fields
            for condition in (
                any_of("language", "en"),
                any_of("meta.tags", "a"),
                any_of("meta.gone", "x"),
                Compare(field="meta.year", comparison=">", value=2000),
                Compare(field="meta.year", comparison="<", value=1.75),
                Compare(field="meta.date", comparison=">=", value="2024-05"),
            ):
                await _agrees(store, [found], condition)

    async def test_passages_are_left_out_by_their_ids(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        documents = [
            {"language": "en" if n % 2 else "ja", "meta": {"n": n}, "suggested": {"n": n % 3}}
            for n in range(40)
        ]
        points = await _filled(store, index_id, documents, words=True)
        for besides in ([], [points[3]], points[::2], points):
            ids = frozenset(point.chunk_id for point in besides)
            for conditions in ((), (_EN,), (any_of("suggested.n", 1), Not(condition=_JA))):
                wanted = Filter(conditions=conditions, besides=ids)
                left = [
                    point
                    for point in points
                    if point.chunk_id not in ids
                    and passes(point.fields, Filter(conditions=conditions))
                ]
                assert await store.count(index_id, wanted) == len(left)
                for exact in (False, True):
                    near = await store.search(
                        index_id, units(1, seed=5)[0], k=40, filter=wanted, exact=exact
                    )
                    assert [hit.chunk_id for hit in near] == nearest(left, units(1, seed=5)[0], 40)
                    said = await store.search_terms(
                        index_id, WORD, k=40, filter=wanted, exact=exact
                    )
                    assert {hit.chunk_id for hit in said} == {point.chunk_id for point in left}
                named = await store.documents_with(index_id, WORD.ids.tolist(), filter=wanted)
                assert named == {point.document_id for point in left}

    async def test_what_is_suggested_is_no_metadata(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        documents: list[dict[str, JSON]] = [
            {"meta": {"topic": "sea"}},
            {"meta": {}, "suggested": {"topic": "sea", "a.b": 2}},
            {"meta": {"topic": "sky"}, "suggested": {"topic": "sea"}},
            {"meta": {"suggested": {"topic": "sea"}, "suggested.topic": "sea"}},
            {"suggested.topic": "sea", "suggested": "sea"},
            {"suggested": {"topic": 7}},
        ]
        points = await _filled(store, index_id, documents)
        for field in ("meta.topic", "suggested.topic", "suggested.a.b", "meta.suggested.topic"):
            for value in ("sea", "sky", 2, 7):
                await _agrees(store, points, any_of(field, value))
                await _agrees(store, points, Not(condition=any_of(field, value)))
            await _agrees(store, points, Compare(field=field, comparison=">=", value=3))

    @pytest.mark.skipif(not NAUGHTY.exists(), reason="the list of naughty strings is not here")
    async def test_naughty_strings_are_values_like_any_other(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        lines = NAUGHTY.read_text(encoding="utf-8").split("\n")
        naughty = [json.loads(line)["text"] for line in lines if line]
        assert len(naughty) > 400
        points = await _filled(
            store,
            index_id,
            [
                {"source": text, "folder": [text, text + "/b"], "meta": {text: text, "n": n}}
                for n, text in enumerate(naughty)
            ],
        )
        assert [point.fields for point in await everything(store, index_id)] == [
            point.fields for point in sorted(points, key=lambda point: point.chunk_id)
        ]
        for number, text in enumerate(naughty):
            conditions = (
                any_of("meta.n", number),
                any_of("source", text),
                any_of("folder", f"{text}/b"),
                any_of(f"meta.{text}", text),
                Not(condition=any_of("source", f"{text}!")),
            )
            assert await store.count(index_id, Filter(conditions=conditions)) == 1, text
        for text in naughty[::40]:
            for comparison in COMPARISONS:
                await _agrees(
                    store, points, Compare(field="source", comparison=comparison, value=text)
                )


def _condition(comparison: str, value: JSON) -> Condition:
    for ordered in COMPARISONS:
        if comparison == ordered:
            return Compare(field="meta.v", comparison=ordered, value=value)
    return any_of("meta.v", value)


async def _filled(
    store: VectorStore, index_id: UUID, documents: Sequence[dict[str, JSON]], *, words: bool = False
) -> list[Point]:
    terms = Sparse(ids=WORD.ids, weights=WORD.weights) if words else None
    points = [
        replace(make_point(index_id, vector, fields), terms=terms)
        for vector, fields in zip(units(len(documents)), documents, strict=True)
    ]
    await store.upsert(index_id, points)
    return points


async def _agrees(store: VectorStore, points: Sequence[Point], *conditions: Condition) -> None:
    wanted = Filter(conditions=conditions)
    passing = [point for point in points if passes(point.fields, wanted)]
    index_id = points[0].index_id
    assert await store.count(index_id, wanted) == len(passing), conditions
    query = units(1, seed=5)[0]
    hits = await store.search(index_id, query, k=len(points), filter=wanted)
    assert [hit.chunk_id for hit in hits] == nearest(passing, query, len(points)), conditions
