"""What every vector store must do; each store's test class inherits these tests."""

import asyncio
import json
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from uuid import UUID, uuid4

import numpy as np
import pytest

from search_app.errors import StoreRefusedError
from search_app.filters import Compare, Condition, Filter, Not, passes
from search_app.stores.base import MAX_K, Membership, Taken, VectorStore, owners_of
from search_app.types import JSON, Point, Vector
from tests.filter_contract import FilterContract
from tests.likeness_contract import LikenessContract
from tests.points import (
    CONDITIONS,
    DIMENSIONS,
    DOCUMENTS,
    any_of,
    by_id,
    everything,
    make_point,
    make_points,
    nearest,
    same,
    sparse,
    term_query,
    units,
    vector_of,
)
from tests.precision_contract import PrecisionContract
from tests.term_contract import TermContract

MANY = 1_200
MANY_DIMENSIONS = 24

CALLS: Mapping[str, Callable[[VectorStore, UUID], Awaitable[object]]] = {
    "upsert": lambda store, key: store.upsert(key, make_points(key, units(1))),
    "update_fields": lambda store, key: store.update_fields(key, {uuid4(): {}}),
    "delete": lambda store, key: store.delete(key, [uuid4()]),
    "search": lambda store, key: store.search(key, units(1)[0], k=1),
    "exact search": lambda store, key: store.search(key, units(1)[0], k=1, exact=True),
    "search_terms": lambda store, key: store.search_terms(key, term_query({1: 1}), k=1),
    "documents_with": lambda store, key: store.documents_with(key, [1]),
    "fetch": lambda store, key: store.fetch(key, [uuid4()]),
    "vectors": lambda store, key: store.vectors(key, [uuid4()]),
    "means": lambda store, key: store.means(key, Membership(chunk_ids=[uuid4()], groups=[0])),
    "scan": lambda store, key: store.scan(key),
    "survey": lambda store, key: store.survey(key),
    "count": lambda store, key: store.count(key),
    "optimize": lambda store, key: store.optimize(key),
    "size": lambda store, key: store.size(key),
}


class StoreContract(FilterContract, TermContract, PrecisionContract, LikenessContract, ABC):
    """Inherit as ``class TestX(StoreContract)`` and give the ``store`` fixture."""

    @pytest.fixture
    @abstractmethod
    def store(self) -> AsyncIterator[VectorStore] | VectorStore:
        """Give a store that works, and close it afterwards."""

    @pytest.fixture
    async def index_id(self, store: VectorStore) -> AsyncIterator[UUID]:
        index_id = uuid4()
        await store.create(index_id, DIMENSIONS)
        yield index_id
        await store.drop(index_id)

    @pytest.fixture
    async def many(self, store: VectorStore) -> AsyncIterator[list[Point]]:
        """Fill an index so that approximate search is approximate where it ever is."""
        index_id = uuid4()
        await store.create(index_id, MANY_DIMENSIONS)
        points = make_points(index_id, units(MANY, MANY_DIMENSIONS))
        await store.upsert(index_id, points)
        await store.optimize(index_id)
        yield points
        await store.drop(index_id)

    async def test_ping_returns(self, store: VectorStore) -> None:
        await store.ping()

    async def test_has_a_name(self, store: VectorStore) -> None:
        assert store.name

    # Indexes

    async def test_creating_again_changes_nothing(self, store: VectorStore, index_id: UUID) -> None:
        points = by_id(make_points(index_id, units(3)))
        await store.upsert(index_id, points)
        await store.create(index_id, DIMENSIONS)
        assert same(await everything(store, index_id), points)

    async def test_creating_with_other_dimensions_is_refused(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        with pytest.raises(StoreRefusedError, match=str(DIMENSIONS)):
            await store.create(index_id, DIMENSIONS + 1)
        await store.upsert(index_id, make_points(index_id, units(1)))

    @pytest.mark.parametrize("dimensions", [0, -1])
    async def test_no_dimensions_are_refused(self, store: VectorStore, dimensions: int) -> None:
        with pytest.raises(StoreRefusedError):
            await store.create(uuid4(), dimensions)

    async def test_creating_the_same_index_at_once_is_creating_it(self, store: VectorStore) -> None:
        index_id = uuid4()
        await asyncio.gather(*(store.create(index_id, DIMENSIONS) for _ in range(5)))
        assert await store.count(index_id) == 0
        await store.drop(index_id)

    async def test_dropping_forgets_points_and_dimensions(self, store: VectorStore) -> None:
        index_id = uuid4()
        await store.create(index_id, DIMENSIONS)
        await store.upsert(index_id, make_points(index_id, units(3)))
        await store.drop(index_id)
        await store.drop(index_id)
        await store.create(index_id, DIMENSIONS + 1)
        assert await store.count(index_id) == 0
        await store.drop(index_id)

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    async def test_an_index_that_was_not_created_is_refused(
        self, store: VectorStore, call: Callable[[VectorStore, UUID], Awaitable[object]]
    ) -> None:
        with pytest.raises(StoreRefusedError):
            await call(store, uuid4())
        dropped = uuid4()
        await store.create(dropped, DIMENSIONS)
        await store.count(dropped)
        await store.drop(dropped)
        with pytest.raises(StoreRefusedError):
            await call(store, dropped)

    async def test_an_empty_index_answers_with_nothing(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        await store.optimize(index_id)
        assert await store.search(index_id, units(1)[0], k=10) == []
        assert await store.search(index_id, units(1)[0], k=10, exact=True) == []
        assert await store.fetch(index_id, [uuid4()]) == []
        assert await store.scan(index_id) == []
        assert await store.count(index_id) == 0

    async def test_indexes_side_by_side_do_not_mix(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        other = uuid4()
        await store.create(other, DIMENSIONS + 1)
        points = by_id(make_points(index_id, units(3)))
        twins = [
            make_point(other, vector, chunk_id=point.chunk_id)
            for point, vector in zip(points, units(3, DIMENSIONS + 1), strict=True)
        ]
        await store.upsert(index_id, points)
        await store.upsert(other, twins)
        await store.delete(other, [twins[0].chunk_id])
        await store.update_fields(other, {twins[1].chunk_id: {"language": "ja"}})
        assert same(await everything(store, index_id), points)
        assert len(await store.search(other, vector_of(twins[0]), k=10)) == 2
        await store.drop(other)
        assert same(await everything(store, index_id), points)

    # Writing

    async def test_writing_twice_is_writing_once(self, store: VectorStore, index_id: UUID) -> None:
        points = by_id(make_points(index_id, units(20)))
        await store.upsert(index_id, points)
        await store.upsert(index_id, points)
        assert await store.count(index_id) == 20
        assert same(await everything(store, index_id), points)

    async def test_writing_replaces_vector_fields_and_provenance(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        old, kept = make_points(index_id, units(2))
        new = replace(
            make_point(index_id, units(1, seed=2)[0], {"type": "pdf"}, old.chunk_id),
            run_id=uuid4(),
            model_version_id=uuid4(),
        )
        await store.upsert(index_id, [old, kept])
        await store.upsert(index_id, [new])
        assert same(await everything(store, index_id), by_id([new, kept]))
        hits = await store.search(index_id, vector_of(new), k=2)
        assert [(hit.chunk_id, hit.run_id) for hit in hits][:1] == [(new.chunk_id, new.run_id)]

    async def test_writing_nothing_is_nothing(self, store: VectorStore, index_id: UUID) -> None:
        await store.upsert(index_id, [])
        await store.update_fields(index_id, {})
        assert await store.count(index_id) == 0

    async def test_vectors_keep_every_bit(self, store: VectorStore, index_id: UUID) -> None:
        odd = np.array(
            [-0.0, 0.0, 1e-45, -1e-45, 1.1754942e-38, np.nextafter(np.float32(1), 0), 0.1, 1 / 3],
            np.float32,
        )
        points = by_id([make_point(index_id, odd), *make_points(index_id, units(50))])
        await store.upsert(index_id, points)
        await store.optimize(index_id)
        assert same(await everything(store, index_id), points)
        assert same(await store.fetch(index_id, [point.chunk_id for point in points]), points)
        assert vector_of(points[0]).dtype == np.float32

    @pytest.mark.parametrize("dimensions", [1, 384, 4000])
    async def test_few_and_many_dimensions(self, store: VectorStore, dimensions: int) -> None:
        index_id = uuid4()
        await store.create(index_id, dimensions)
        points = by_id(make_points(index_id, units(5, dimensions)))
        await store.upsert(index_id, points)
        await store.optimize(index_id)
        assert same(await everything(store, index_id), points)
        query = units(1, dimensions, seed=2)[0]
        for exact in (False, True):
            hits = await store.search(index_id, query, k=5, exact=exact)
            assert [hit.chunk_id for hit in hits] == nearest(points, query, 5)
        await store.drop(index_id)

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            *DOCUMENTS,
            {"meta": {"quotes": "' \" \\ \\u0000 \\\\u0000 \n \t \x01 \x7f $1 :x %s {}"}},
            {"meta": {"deep": [[[{"a": [None, True, 1.25, -7, "é\u0301 👩\u200d🔬"]}]]]}},
            {"meta": {"long": "ぬ" * 20_000, "number": 123456789012345}},
        ],
    )
    async def test_fields_come_back_equal(
        self, store: VectorStore, index_id: UUID, fields: Mapping[str, JSON]
    ) -> None:
        point = make_point(index_id, units(1)[0], fields)
        await store.upsert(index_id, [point])
        assert [found.fields for found in await store.scan(index_id)] == [fields]
        other = {**fields, "type": "pdf"}
        await store.update_fields(index_id, {point.chunk_id: other})
        assert [found.fields for found in await store.scan(index_id)] == [other]

    @pytest.mark.parametrize(
        "fields",
        [
            {"source": "a\x00b"},
            {"meta": {"a\x00b": 1}},
            {"meta": {"a": ["x", {"b": "\x00"}]}},
            {"source": "half a pair \ud83d"},
            {"meta": {"n": float("nan")}},
            {"meta": {"n": float("inf")}},
            {"meta": {"n": object()}},
        ],
        ids=["nul", "nul-in-key", "nul-deep", "surrogate", "nan", "infinity", "object"],
    )
    async def test_fields_that_are_not_storable_are_refused(
        self, store: VectorStore, index_id: UUID, fields: Mapping[str, JSON]
    ) -> None:
        good = make_points(index_id, units(3))
        with pytest.raises(StoreRefusedError):
            await store.upsert(index_id, [*good, make_point(index_id, units(1)[0], fields)])
        assert await store.count(index_id) == 0
        await store.upsert(index_id, good)
        with pytest.raises(StoreRefusedError):
            await store.update_fields(index_id, {good[0].chunk_id: {}, good[1].chunk_id: fields})
        assert same(await everything(store, index_id), by_id(good))

    @pytest.mark.parametrize(
        "vector",
        [
            units(1, DIMENSIONS - 1)[0],
            units(1, DIMENSIONS + 1)[0],
            units(1),
            np.full(DIMENSIONS, np.nan, np.float32),
            np.array([np.inf, *[0] * (DIMENSIONS - 1)], np.float32),
            np.zeros(DIMENSIONS, np.float64),
        ],
        ids=["short", "long", "matrix", "nan", "infinity", "float64"],
    )
    async def test_vectors_that_do_not_fit_are_refused(
        self, store: VectorStore, index_id: UUID, vector: Vector
    ) -> None:
        for _ in ("an empty index", "a filled one"):
            for exact in (False, True):
                with pytest.raises(StoreRefusedError):
                    await store.search(index_id, vector, k=1, exact=exact)
            before = await everything(store, index_id)
            with pytest.raises(StoreRefusedError):
                await store.upsert(
                    index_id,
                    [*make_points(index_id, units(3)), make_point(index_id, vector)],
                )
            assert same(await everything(store, index_id), before)
            await store.upsert(index_id, make_points(index_id, units(2)))

    async def test_a_point_without_a_vector_is_refused(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        one, other = make_points(index_id, units(2))
        with pytest.raises(StoreRefusedError):
            await store.upsert(index_id, [one, replace(other, vector=None)])
        assert await store.count(index_id) == 0

    async def test_a_point_of_another_index_is_refused(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        one, stray = *make_points(index_id, units(1)), *make_points(uuid4(), units(1))
        with pytest.raises(StoreRefusedError):
            await store.upsert(index_id, [one, stray])
        assert await store.count(index_id) == 0

    async def test_an_id_given_twice_is_refused(self, store: VectorStore, index_id: UUID) -> None:
        one, other = make_points(index_id, units(2))
        with pytest.raises(StoreRefusedError):
            await store.upsert(index_id, [one, replace(other, chunk_id=one.chunk_id)])
        assert await store.count(index_id) == 0

    async def test_what_the_caller_changes_later_does_not_reach_in(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        vector, fields = units(1)[0], {"meta": {"tags": ["a"]}}
        given = make_point(index_id, vector.copy(), json.loads(json.dumps(fields)))
        await store.upsert(index_id, [given])
        for point in (given, *await store.fetch(index_id, [given.chunk_id])):
            vector_of(point)[:] = 0
            point.fields["meta"]["tags"].append("b")
        expected = make_point(index_id, vector, fields, given.chunk_id)
        found = await store.fetch(index_id, [given.chunk_id])
        assert same(found, [replace(expected, document_id=given.document_id)])

    async def test_writers_of_the_same_ids_at_once_all_succeed(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        chunk_ids = [uuid4() for _ in range(60)]
        batches = []
        for writer in range(8):
            vectors = units(60, seed=writer)
            chosen = random.Random(writer).sample(range(60), 40)
            batches.append(
                [make_point(index_id, vectors[n], {"n": writer}, chunk_ids[n]) for n in chosen]
            )
        await asyncio.gather(*(store.upsert(index_id, batch) for batch in batches))
        found = await everything(store, index_id)
        assert {p.chunk_id for p in found} == {p.chunk_id for batch in batches for p in batch}
        assert len(found) == len({point.chunk_id for point in found})
        written = {(p.chunk_id, p.fields["n"]): p for batch in batches for p in batch}
        assert same(found, [written[p.chunk_id, p.fields["n"]] for p in found])

    async def test_update_fields_leaves_everything_else_alone(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = by_id(make_points(index_id, units(5)))
        await store.upsert(index_id, points)
        changes = {points[1].chunk_id: {"language": "ja"}, points[3].chunk_id: {}, uuid4(): {}}
        await store.update_fields(index_id, changes)
        expected = [replace(p, fields=changes.get(p.chunk_id, p.fields)) for p in points]
        assert same(await everything(store, index_id), expected)
        wanted = Filter(conditions=(any_of("language", "ja"),))
        hits = await store.search(index_id, vector_of(points[0]), k=5, filter=wanted)
        assert [hit.chunk_id for hit in hits] == [points[1].chunk_id]

    async def test_delete_removes_the_given_and_no_more(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = by_id(make_points(index_id, units(6)))
        await store.upsert(index_id, points)
        await store.delete(index_id, [])
        assert await store.count(index_id) == 6
        gone = [points[0].chunk_id, points[4].chunk_id, uuid4(), points[0].chunk_id]
        for _ in range(2):
            await store.delete(index_id, gone)
            assert same(await everything(store, index_id), [*points[1:4], points[5]])
        hits = await store.search(index_id, vector_of(points[0]), k=6)
        assert {hit.chunk_id for hit in hits} == {p.chunk_id for p in [*points[1:4], points[5]]}
        await store.upsert(index_id, points)
        assert same(await everything(store, index_id), points)

    # Reading

    async def test_fetch_is_ordered_and_leaves_out_what_is_missing(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = by_id(make_points(index_id, units(10)))
        await store.upsert(index_id, points)
        wanted = [points[7].chunk_id, uuid4(), points[2].chunk_id, points[7].chunk_id]
        assert same(await store.fetch(index_id, wanted), [points[2], points[7]])
        assert await store.fetch(index_id, []) == []

    @pytest.mark.parametrize("page", [1, 7, 50, 1000])
    async def test_scan_gives_every_point_once_in_order(
        self, store: VectorStore, index_id: UUID, page: int
    ) -> None:
        edges = [UUID(int=0), UUID(int=2**128 - 1), UUID(int=2**127), UUID(int=2**127 - 1)]
        points = make_points(index_id, units(50))
        points += [make_point(index_id, units(1)[0], chunk_id=edge) for edge in edges]
        await store.upsert(index_id, points)
        assert same(await everything(store, index_id, page=page), by_id(points))

    async def test_many_points_in_one_call(self, store: VectorStore) -> None:
        index_id = uuid4()
        await store.create(index_id, 384)
        # More than a request of a few megabytes holds, were they sent over a network.
        points = by_id(make_points(index_id, units(2_500, 384)))
        await store.upsert(index_id, points)
        chunk_ids = [point.chunk_id for point in points]
        assert same(await store.fetch(index_id, chunk_ids), points)
        assert len(await store.scan(index_id, limit=2_400)) == 2_400
        fields = {key: {"n": place % 30} for place, key in enumerate(chunk_ids)}
        await store.update_fields(index_id, fields)
        changed = [replace(point, fields=fields[point.chunk_id]) for point in points]
        found = await store.scan(index_id, after=chunk_ids[9], limit=10_000, vectors=True)
        assert same(found, changed[10:])
        await store.delete(index_id, chunk_ids[3:])
        assert same(await everything(store, index_id), changed[:3])
        await store.drop(index_id)

    async def test_nothing_comes_after_the_last_id(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        last = make_point(index_id, units(1)[0], chunk_id=UUID(int=2**128 - 1))
        await store.upsert(index_id, [last])
        assert await store.scan(index_id, after=UUID(int=2**128 - 2)) == [last]
        assert await store.scan(index_id, after=last.chunk_id) == []

    async def test_ids_are_the_same_in_any_spelling(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        point = make_point(
            index_id, units(1)[0], chunk_id=UUID("{ABCDEFAB-CDEF-4BCD-8FAB-CDEFABCDEFAB}")
        )
        await store.upsert(index_id, [point])
        same_id = UUID("abcdefabcdef4bcd8fabcdefabcdefab")
        assert same(await store.fetch(index_id, [same_id]), [point])
        await store.delete(index_id, [same_id])
        assert await store.count(index_id) == 0

    async def test_a_survey_tells_the_same_as_a_scan(
        self, store: VectorStore, many: list[Point]
    ) -> None:
        index_id, after, surveyed = many[0].index_id, None, 0
        while len((page := await store.survey(index_id, after=after, limit=500)).chunk_ids):
            points = await store.scan(index_id, after=after, limit=500, vectors=True)
            assert list(page.chunk_ids) == [point.chunk_id.bytes for point in points]
            assert list(page.owners) == [owners_of(point) for point in points]
            assert [json.loads(fields) for fields in page.fields] == [p.fields for p in points]
            assert list(page.digests) == [
                sha256(vector_of(point).astype("<f4").tobytes()).digest() for point in points
            ]
            after, surveyed = points[-1].chunk_id, surveyed + len(points)
        assert surveyed == len(many)

    async def test_a_copy_is_what_would_have_been_written(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        source = uuid4()
        await store.create(source, DIMENSIONS)
        there = [
            replace(point, terms=sparse({7: 0.5 + number / 64}))
            for number, point in enumerate(by_id(make_points(source, units(12))))
        ]
        await store.upsert(source, there)
        # One is there already, in another form.
        await store.upsert(index_id, [replace(there[0], index_id=index_id, vector=units(13)[12])])
        before = await store.scan(index_id, vectors=True)
        # Those of a stretch, one of them left out.
        taken = [*there[:3], *there[4:8]]
        copied = await store.copy(
            Taken(
                source_id=source,
                index_id=index_id,
                after=None,
                last=there[7].chunk_id,
                besides=[there[3].chunk_id],
            )
        )
        after = await store.scan(index_id, vectors=True)
        query = term_query({7: 1}, there)
        found = [each.chunk_id for each in await store.search_terms(index_id, query, k=20)]
        if copied:
            assert same(after, [replace(point, index_id=index_id) for point in taken])
            assert found == [point.chunk_id for point in taken[::-1]]
        else:
            assert same(after, before)
            assert found == [there[0].chunk_id]
        assert len(await store.scan(source)) == len(there)
        await store.drop(source)

    async def test_scan_starts_after_ids_that_are_not_there(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = by_id(make_points(index_id, units(20)))
        await store.upsert(index_id, points)
        await store.delete(index_id, [points[9].chunk_id])
        after = await store.scan(index_id, after=points[9].chunk_id, limit=3)
        assert after == points[10:13]
        assert [point.vector for point in after] == [None] * 3

    # Searching

    @pytest.mark.parametrize("k", [1, 10, 100, MAX_K])
    async def test_search_ranks_by_inner_product(
        self, store: VectorStore, many: list[Point], k: int
    ) -> None:
        index_id = many[0].index_id
        at = {point.chunk_id: point for point in many}
        for query in units(5, MANY_DIMENSIONS, seed=2):
            exact = await store.search(index_id, query, k=k, exact=True)
            assert [hit.chunk_id for hit in exact] == nearest(many, query, k)
            found = await store.search(index_id, query, k=k)
            assert len(found) == k
            order = [(-hit.score, hit.chunk_id) for hit in found]
            assert order == sorted(order)
            for hit in [*exact, *found]:
                expected = float(vector_of(at[hit.chunk_id]).astype(np.float64) @ query)
                assert hit.score == pytest.approx(expected, abs=1e-6)
                assert hit.run_id == at[hit.chunk_id].run_id

    async def test_approximate_search_finds_nearly_all(
        self, store: VectorStore, many: list[Point]
    ) -> None:
        index_id = many[0].index_id
        found = wanted = 0
        for query in units(40, MANY_DIMENSIONS, seed=3):
            hits = await store.search(index_id, query, k=10)
            found += len({hit.chunk_id for hit in hits} & set(nearest(many, query, 10)))
            wanted += 10
        assert found >= 0.95 * wanted

    @pytest.mark.parametrize("k", [0, -1, MAX_K + 1])
    async def test_k_out_of_range_is_a_value_error(
        self, store: VectorStore, index_id: UUID, k: int
    ) -> None:
        with pytest.raises(ValueError, match=str(MAX_K)):
            await store.search(index_id, units(1)[0], k=k)

    async def test_k_beyond_the_number_of_points_gives_all(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = make_points(index_id, units(7))
        await store.upsert(index_id, points)
        for k in (7, 8, MAX_K):
            hits = await store.search(index_id, vector_of(points[0]), k=k)
            assert [hit.chunk_id for hit in hits] == nearest(points, vector_of(points[0]), 7)

    async def test_equal_scores_are_ordered_and_cut_by_id(
        self, store: VectorStore, many: list[Point]
    ) -> None:
        index_id = many[0].index_id
        query, near = units(2, MANY_DIMENSIONS, seed=4)
        near = ((query + 0.1 * near) / np.linalg.norm(query + 0.1 * near)).astype(np.float32)
        twins = [make_point(index_id, near) for _ in range(400)]
        best = make_point(index_id, query)
        await store.upsert(index_id, [*twins, best])
        order = [best.chunk_id, *(point.chunk_id for point in by_id(twins))]
        for k in (1, 2, 10, 150, 401):
            for exact in (False, True):
                hits = await store.search(index_id, query, k=k, exact=exact)
                assert [hit.chunk_id for hit in hits] == order[:k]

    async def test_opposite_and_zero_products_have_their_sign(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        axes = np.eye(DIMENSIONS, dtype=np.float32)
        points = make_points(index_id, np.stack([-axes[0], axes[1], axes[0]]))
        await store.upsert(index_id, points)
        hits = await store.search(index_id, axes[0], k=3)
        assert [str(hit.score) for hit in hits] == ["1.0", "0.0", "-1.0"]

    @pytest.mark.parametrize("condition", CONDITIONS, ids=str)
    async def test_filters_pass_what_they_mean(
        self, store: VectorStore, index_id: UUID, condition: Condition
    ) -> None:
        points = [
            make_point(index_id, vector, fields)
            for vector, fields in zip(units(len(DOCUMENTS)), DOCUMENTS, strict=True)
        ]
        await store.upsert(index_id, points)
        for conditions in ((condition,), (condition, Not(condition=any_of("language", "fr")))):
            wanted = Filter(conditions=conditions)
            passing = [point for point in points if passes(point.fields, wanted)]
            assert await store.count(index_id, wanted) == len(passing)
            query = units(1, seed=5)[0]
            for exact in (False, True):
                hits = await store.search(
                    index_id, query, k=len(DOCUMENTS), filter=wanted, exact=exact
                )
                assert [hit.chunk_id for hit in hits] == nearest(passing, query, len(DOCUMENTS))

    async def test_filtered_search_never_returns_too_few(
        self, store: VectorStore, many: list[Point]
    ) -> None:
        index_id, query = many[0].index_id, units(1, MANY_DIMENSIONS, seed=6)[0]
        farthest = nearest(many, -query, 30)
        await store.update_fields(index_id, {key: {"language": "ja"} for key in farthest})
        await store.optimize(index_id)
        wanted = Filter(conditions=(any_of("language", "ja"),))
        passing = [point for point in many if point.chunk_id in set(farthest)]
        for k in (1, 10, 29, 30, 31, MAX_K):
            hits = await store.search(index_id, query, k=k, filter=wanted)
            assert [hit.chunk_id for hit in hits] == nearest(passing, query, k)
            hits = await store.search(index_id, query, k=k, filter=Filter(conditions=()))
            assert len(hits) == k
        assert await store.count(index_id, wanted) == 30
        assert await store.count(index_id) == MANY

    async def test_half_passing_filter_finds_the_nearest(
        self, store: VectorStore, many: list[Point]
    ) -> None:
        wanted = Filter(conditions=(Compare(field="meta.n", comparison="<", value=MANY // 2),))
        passing = [point for point in many if passes(point.fields, wanted)]
        found = 0
        for query in units(20, MANY_DIMENSIONS, seed=7):
            hits = await store.search(many[0].index_id, query, k=10, filter=wanted)
            assert len(hits) == 10
            assert {hit.chunk_id for hit in hits} <= {point.chunk_id for point in passing}
            found += len({hit.chunk_id for hit in hits} & set(nearest(passing, query, 10)))
        assert found >= 0.95 * 200

    async def test_optimizing_at_once_and_again_changes_no_point(
        self, store: VectorStore, many: list[Point]
    ) -> None:
        index_id = many[0].index_id
        await asyncio.gather(*(store.optimize(index_id) for _ in range(3)))
        assert same(await everything(store, index_id), by_id(many))

    async def test_any_sequence_of_writes_ends_as_in_a_dictionary(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        draw = random.Random(8)
        vectors = units(400, seed=8)
        chunk_ids = [uuid4() for _ in range(40)]
        model: dict[UUID, Point] = {}
        for step in range(60):
            chosen = draw.sample(chunk_ids, draw.randint(1, 12))
            action = draw.choice(["upsert", "upsert", "delete", "update", "optimize"])
            if action == "upsert":
                batch = [
                    make_point(index_id, draw.choice(vectors), {"n": step}, key) for key in chosen
                ]
                await store.upsert(index_id, batch)
                model |= {point.chunk_id: point for point in batch}
            elif action == "delete":
                await store.delete(index_id, chosen)
                model = {key: point for key, point in model.items() if key not in chosen}
            elif action == "update":
                await store.update_fields(index_id, {key: {"n": -step} for key in chosen})
                model |= {
                    key: replace(model[key], fields={"n": -step}) for key in chosen if key in model
                }
            else:
                await store.optimize(index_id)
            query, points = draw.choice(vectors), by_id(list(model.values()))
            assert same(await everything(store, index_id, page=9), points)
            hits = await store.search(index_id, query, k=5)
            assert [hit.chunk_id for hit in hits] == nearest(points, query, 5)
