"""What every vector store must make of terms: keyword search, scored and cut alike everywhere.

Weights are mostly eighths and queries quarters: their products and sums are exact in float32 in any
order, so that every store must give the same scores and break the same ties.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import numpy as np
import pytest

from search_app.bm25 import HIGHEST_WEIGHT
from search_app.errors import StoreRefusedError
from search_app.filters import Compare, Filter, passes
from search_app.lexical import TERM_IDS
from search_app.stores.base import MAX_K, VectorStore
from search_app.stores.points import MOST_TERMS
from search_app.types import JSON, Point, Scored, Sparse, TermQuery
from tests.points import (
    CONDITIONS,
    DIMENSIONS,
    DOCUMENTS,
    any_of,
    best_by_terms,
    by_id,
    everything,
    make_point,
    sparse,
    term_query,
    units,
)

PASSAGES = 800
VOCABULARY = [0, *random.Random(1).sample(range(1, TERM_IDS - 1), 398), TERM_IDS - 1]
"""Term ids, the commonest first."""

_SHARES = 1 / np.arange(1, len(VOCABULARY) + 1)
_SHARES /= _SHARES.sum()

IDS = np.array([3, 7], np.int32)
WEIGHTS = np.array([0.5, 1.5], np.float32)

BAD_TERMS: Mapping[str, Sparse] = {
    "descending": Sparse(ids=IDS[::-1], weights=WEIGHTS),
    "twice": Sparse(ids=np.array([3, 3], np.int32), weights=WEIGHTS),
    "negative id": Sparse(ids=np.array([-1, 3], np.int32), weights=WEIGHTS),
    "id too high": Sparse(ids=np.array([3, TERM_IDS], np.int32), weights=WEIGHTS),
    "int64 ids": Sparse(ids=IDS.astype(np.int64), weights=WEIGHTS),
    "float64 weights": Sparse(ids=IDS, weights=WEIGHTS.astype(np.float64)),
    "zero": Sparse(ids=IDS, weights=np.array([0, 1], np.float32)),
    "negative": Sparse(ids=IDS, weights=np.array([1, -0.5], np.float32)),
    "nan": Sparse(ids=IDS, weights=np.array([1, np.nan], np.float32)),
    "infinity": Sparse(ids=IDS, weights=np.array([np.inf, 1], np.float32)),
    "too heavy": Sparse(ids=IDS, weights=np.array([HIGHEST_WEIGHT + 1e-3, 1], np.float32)),
    "more ids": Sparse(ids=IDS, weights=WEIGHTS[:1]),
    "more weights": Sparse(ids=IDS[:1], weights=WEIGHTS),
    "only weights": Sparse(ids=IDS[:0], weights=WEIGHTS),
    "matrix": Sparse(ids=IDS.reshape(1, 2), weights=WEIGHTS.reshape(1, 2)),
    "too many": sparse(dict.fromkeys(range(MOST_TERMS + 1), 1.0)),
}


class TermContract:
    """A part of the contract of stores; needs the fixtures ``store`` and ``index_id``."""

    @pytest.fixture
    async def passages(self, store: VectorStore, index_id: UUID) -> list[Point]:
        """Fill an index with passages whose terms are as unevenly common as words are."""
        points = make_passages(index_id)
        await store.upsert(index_id, points)
        await store.optimize(index_id)
        return points

    # Searching

    @pytest.mark.parametrize("k", [1, 10, 100, MAX_K])
    async def test_terms_rank_by_inner_product(
        self, store: VectorStore, passages: list[Point], k: int
    ) -> None:
        for query in make_queries(passages, 15, seed=3):
            hits = await store.search_terms(passages[0].index_id, query, k=k, exact=True)
            assert _pairs(hits) == best_by_terms(passages, query, k)
            assert {hit.run_id for hit in hits} <= {passages[0].run_id}

    @pytest.mark.parametrize("k", [1, 10, 100, MAX_K])
    async def test_inexact_search_finds_enough_and_scores_it_right(
        self, store: VectorStore, passages: list[Point], k: int
    ) -> None:
        found = wanted = 0
        for query in make_queries(passages, 40, seed=4):
            hits = await store.search_terms(passages[0].index_id, query, k=k)
            scores = dict(best_by_terms(passages, query, MAX_K))
            assert len(hits) == min(k, len(scores))
            assert _pairs(hits) == sorted(
                ((hit.chunk_id, scores[hit.chunk_id]) for hit in hits),
                key=lambda each: (-each[1], each[0]),
            )
            found += len(set(_pairs(hits)) & set(best_by_terms(passages, query, k)))
            wanted += len(hits)
        assert found >= 0.95 * wanted

    async def test_any_weights_are_summed_nearly_exactly(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        draw = np.random.default_rng(5)
        points = [
            make_point(
                index_id,
                units(1)[0],
                terms=sparse(
                    {
                        number: float(draw.uniform(1e-6, HIGHEST_WEIGHT))
                        for number in draw.choice(VOCABULARY, 60, replace=False).tolist()
                    }
                ),
            )
            for _ in range(60)
        ]
        await store.upsert(index_id, points)
        query = term_query({number: float(draw.uniform(1e-6, 12)) for number in VOCABULARY[:60]})
        hits = await store.search_terms(index_id, query, k=100, exact=True)
        expected = best_by_terms(points, query)
        assert [hit.chunk_id for hit in hits] == [chunk_id for chunk_id, _ in expected]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected])

    async def test_equal_term_scores_are_ordered_and_cut_by_id(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        index_id, terms = passages[0].index_id, sparse({VOCABULARY[3]: 2, VOCABULARY[-2]: 2.125})
        twins = [make_point(index_id, vector, terms=terms) for vector in units(400, seed=6)]
        best = make_point(
            index_id, units(1)[0], terms=sparse({VOCABULARY[3]: 2.125, VOCABULARY[-2]: 2.125})
        )
        await store.upsert(index_id, [*twins, best])
        query = term_query({VOCABULARY[3]: 1, VOCABULARY[-2]: 8}, [*passages, *twins, best])
        order = [best.chunk_id, *(point.chunk_id for point in by_id(twins))]
        for k in (1, 2, 10, 150, 401):
            for exact in (False, True):
                hits = await store.search_terms(index_id, query, k=k, exact=exact)
                assert [hit.chunk_id for hit in hits] == order[:k]

    async def test_only_what_shares_a_term_is_found(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        one, other, none = (
            make_point(index_id, vector, terms=terms)
            for vector, terms in zip(
                units(3), (sparse({0: 1, TERM_IDS - 1: 2}), sparse({1: 2.125}), None), strict=True
            )
        )
        await store.upsert(index_id, [one, other, none])
        for exact in (False, True):
            for asked, expected in (
                ({0: 0.5}, [(one.chunk_id, 0.5)]),
                ({TERM_IDS - 1: 0.5}, [(one.chunk_id, 1.0)]),
                ({0: 4, 1: 1}, [(one.chunk_id, 4.0), (other.chunk_id, 2.125)]),
                ({2: 9}, []),
                ({}, []),
            ):
                hits = await store.search_terms(index_id, term_query(asked), k=MAX_K, exact=exact)
                assert _pairs(hits) == expected

    @pytest.mark.parametrize("k", [0, -1, MAX_K + 1])
    async def test_k_of_terms_out_of_range_is_a_value_error(
        self, store: VectorStore, index_id: UUID, k: int
    ) -> None:
        with pytest.raises(ValueError, match=str(MAX_K)):
            await store.search_terms(index_id, term_query({1: 1}), k=k)

    async def test_wrong_frequencies_spoil_nothing(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        index_id = passages[0].index_id
        for query in make_queries(passages, 3, seed=7):
            turned = query.passages.max() + 1 - query.passages
            for wrong in (turned, np.ones_like(turned), turned * 10**6):
                asked = replace(query, passages=wrong)
                for k in (1, 10, MAX_K):
                    hits = await store.search_terms(index_id, asked, k=k, exact=True)
                    assert _pairs(hits) == best_by_terms(passages, query, k)
                    hits = await store.search_terms(index_id, asked, k=k)
                    assert len(hits) == len(best_by_terms(passages, query, k))

    # Filters

    async def test_filters_pass_the_same_for_terms(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = [
            make_point(
                index_id, vector, fields, terms=sparse({1: 1, 10 + number: 0.125 * (1 + number)})
            )
            for number, (vector, fields) in enumerate(
                zip(units(len(DOCUMENTS)), DOCUMENTS, strict=True)
            )
        ]
        await store.upsert(index_id, points)
        asked = {1: 1.0} | {10 + number: 1.0 for number in range(0, len(DOCUMENTS), 2)}
        query = term_query(asked, points)
        for condition in CONDITIONS:
            wanted = Filter(conditions=(condition,))
            passing = [point for point in points if passes(point.fields, wanted)]
            for exact in (False, True):
                hits = await store.search_terms(
                    index_id, query, k=len(points), filter=wanted, exact=exact
                )
                assert _pairs(hits) == best_by_terms(passing, query)
            documents = await store.documents_with(index_id, [1], filter=wanted)
            assert documents == {point.document_id for point in passing}

    async def test_filtered_search_by_terms_never_returns_too_few(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        index_id = passages[0].index_id
        for query in make_queries(passages, 4, seed=8):
            for first in (790, 500, 0):
                wanted = Filter(conditions=(Compare(field="meta.n", comparison=">=", value=first),))
                passing = passages[first:]
                for k in (1, 10, MAX_K):
                    expected = best_by_terms(passing, query, k)
                    hits = await store.search_terms(index_id, query, k=k, filter=wanted, exact=True)
                    assert _pairs(hits) == expected
                    hits = await store.search_terms(index_id, query, k=k, filter=wanted)
                    assert len(hits) == len(expected)
                    assert {h.chunk_id for h in hits} <= {p.chunk_id for p in passing}
        everything_passes = Filter(conditions=())
        hits = await store.search_terms(
            index_id, query, k=MAX_K, filter=everything_passes, exact=True
        )
        assert _pairs(hits) == best_by_terms(passages, query)

    # Documents

    async def test_documents_with_a_term_are_named_once(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        index_id = passages[0].index_id
        document_ids = [uuid4() for _ in range(40)]
        placed = [
            replace(point, document_id=document_ids[number % 40])
            for number, point in enumerate(passages)
        ]
        await store.upsert(index_id, placed)
        draw = random.Random(9)
        wanted = Filter(conditions=(Compare(field="meta.n", comparison="<", value=100),))
        for number in (0, 1, 3, 10):
            asked = draw.sample(VOCABULARY, number) + [5] * (number > 1)
            having = [p for p in placed if p.terms is not None and set(asked) & set(_ids(p))]
            found = await store.documents_with(index_id, [*asked, *asked[:1]])
            assert found == {point.document_id for point in having}
            found = await store.documents_with(index_id, asked, filter=wanted)
            assert found == {p.document_id for p in having if p.fields["meta"]["n"] < 100}

    # Writing

    async def test_terms_are_replaced_with_their_point(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        index_id = passages[0].index_id
        run, document = uuid4(), uuid4()
        old = [p.terms for p in passages]
        moved = [
            replace(point, terms=terms, run_id=run, document_id=document)
            for point, terms in zip(passages, old[1:] + old[:1], strict=True)
        ]
        await store.upsert(index_id, moved[:300])
        now = [*moved[:300], *passages[300:]]
        for query in make_queries(now, 10, seed=10):
            hits = await store.search_terms(index_id, query, k=MAX_K, exact=True)
            assert _pairs(hits) == best_by_terms(now, query)
            runs = {hit.chunk_id: hit.run_id for hit in hits}
            expected = {p.chunk_id: p.run_id for p in now if p.chunk_id in runs}
            assert runs == expected
        assert document in await store.documents_with(index_id, VOCABULARY)

    @pytest.mark.parametrize("terms", [None, sparse({})], ids=["none", "empty"])
    async def test_writing_without_terms_removes_them(
        self, store: VectorStore, passages: list[Point], terms: Sparse | None
    ) -> None:
        index_id = passages[0].index_id
        bare = [replace(point, terms=terms) for point in passages[:500]]
        await store.upsert(index_id, bare)
        now = [*bare, *passages[500:]]
        for query in make_queries(passages, 10, seed=11):
            hits = await store.search_terms(index_id, query, k=MAX_K, exact=True)
            assert _pairs(hits) == best_by_terms(now, query)
        found = await store.documents_with(index_id, VOCABULARY)
        assert found == {p.document_id for p in passages[500:] if p.terms is not None}
        assert await store.count(index_id) == len(passages)
        await store.upsert(index_id, passages[:500])
        hits = await store.search_terms(index_id, query, k=MAX_K, exact=True)
        assert _pairs(hits) == best_by_terms(passages, query)

    async def test_terms_go_with_deleted_points_and_follow_changed_fields(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        index_id = passages[0].index_id
        changes: dict[UUID, Mapping[str, JSON]] = {
            point.chunk_id: {"language": "ja"} for point in passages[::3]
        }
        await store.update_fields(index_id, changes)
        await store.delete(index_id, [point.chunk_id for point in passages[::2]])
        wanted = Filter(conditions=(any_of("language", "ja"),))
        left = passages[1::2]
        japanese = [point for point in left if point.chunk_id in changes]
        for query in make_queries(passages, 10, seed=12):
            hits = await store.search_terms(index_id, query, k=MAX_K, exact=True)
            assert _pairs(hits) == best_by_terms(left, query)
            hits = await store.search_terms(index_id, query, k=MAX_K, filter=wanted, exact=True)
            assert _pairs(hits) == best_by_terms(japanese, query)
        found = await store.documents_with(index_id, VOCABULARY, filter=wanted)
        assert found == {p.document_id for p in japanese if p.terms is not None}

    async def test_terms_are_kept_per_index_and_dropped_with_it(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        other, query = uuid4(), term_query({VOCABULARY[0]: 1})
        await store.create(other, DIMENSIONS)
        assert await store.search_terms(other, query, k=10, exact=True) == []
        twin = replace(passages[0], index_id=other, terms=sparse({VOCABULARY[0]: 0.125}))
        await store.upsert(other, [twin])
        hits = await store.search_terms(other, query, k=10, exact=True)
        assert _pairs(hits) == [(twin.chunk_id, 0.125)]
        await store.drop(other)
        await store.create(other, DIMENSIONS)
        assert await store.search_terms(other, query, k=10) == []
        assert await store.documents_with(other, VOCABULARY) == set()
        await store.drop(other)
        hits = await store.search_terms(passages[0].index_id, query, k=MAX_K, exact=True)
        assert _pairs(hits) == best_by_terms(passages, query)

    async def test_reading_gives_no_terms_back(
        self, store: VectorStore, passages: list[Point]
    ) -> None:
        index_id = passages[0].index_id
        found = await store.fetch(index_id, [point.chunk_id for point in passages])
        assert [point.terms for point in found] == [None] * len(passages)
        assert {point.terms for point in await store.scan(index_id)} == {None}

    @pytest.mark.parametrize("terms", BAD_TERMS.values(), ids=BAD_TERMS)
    async def test_terms_that_do_not_fit_are_refused(
        self, store: VectorStore, index_id: UUID, terms: Sparse
    ) -> None:
        kept = make_point(index_id, units(1)[0], terms=sparse({3: 1}))
        await store.upsert(index_id, [kept])
        bad = make_point(index_id, units(1)[0], terms=terms)
        good = make_point(index_id, units(1)[0], terms=sparse({3: 2}))
        for points in ([good, bad], [bad, good], [replace(bad, chunk_id=kept.chunk_id)]):
            with pytest.raises(StoreRefusedError, match="terms"):
                await store.upsert(index_id, points)
        assert [point.chunk_id for point in await everything(store, index_id)] == [kept.chunk_id]
        hits = await store.search_terms(index_id, term_query({3: 1, 7: 1}), k=10, exact=True)
        assert _pairs(hits) == [(kept.chunk_id, 1.0)]

    @pytest.mark.parametrize("number", [1, 700, 2_500, MOST_TERMS])
    async def test_few_and_many_terms(
        self, store: VectorStore, index_id: UUID, number: int
    ) -> None:
        ids = sorted(random.Random(number).sample(range(TERM_IDS), number))
        points = [
            make_point(index_id, vector, terms=sparse(dict.fromkeys(ids[start:], 1.125)))
            for start, vector in enumerate(units(min(number, 3)))
        ]
        await store.upsert(index_id, points)
        await store.optimize(index_id)
        query = term_query(dict.fromkeys(ids, 0.25), points)
        for exact in (False, True):
            hits = await store.search_terms(index_id, query, k=10, exact=exact)
            assert _pairs(hits) == best_by_terms(points, query)
        found = await store.documents_with(index_id, ids[:1])
        assert found == {points[0].document_id}

    async def test_terms_the_caller_changes_later_do_not_reach_in(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        terms = sparse({3: 1, 7: 2})
        point = make_point(index_id, units(1)[0], terms=terms)
        await store.upsert(index_id, [point])
        terms.ids[:] = (8, 9)
        terms.weights[:] = 0.5
        hits = await store.search_terms(index_id, term_query({3: 1, 7: 1, 8: 1}), k=1, exact=True)
        assert _pairs(hits) == [(point.chunk_id, 3.0)]

    async def test_writers_at_once_leave_each_point_with_its_own_terms(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        chunk_ids = [uuid4() for _ in range(60)]
        batches = [
            [
                make_point(index_id, vector, {"n": writer}, key, sparse({writer: 1, 100: 0.5}))
                for key, vector in zip(
                    random.Random(writer).sample(chunk_ids, 40), units(40, seed=writer), strict=True
                )
            ]
            for writer in range(8)
        ]
        await asyncio.gather(*(store.upsert(index_id, batch) for batch in batches))
        found = await everything(store, index_id)
        for writer in range(8):
            hits = await store.search_terms(index_id, term_query({writer: 1}), k=100, exact=True)
            written = [(point.chunk_id, 1.0) for point in found if point.fields["n"] == writer]
            assert _pairs(hits) == sorted(written)
        hits = await store.search_terms(index_id, term_query({100: 1}), k=100, exact=True)
        assert [hit.chunk_id for hit in hits] == [point.chunk_id for point in found]

    async def test_any_sequence_of_writes_searches_as_a_dictionary_would(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        draw, numbers = random.Random(13), np.random.default_rng(13)
        chunk_ids = [uuid4() for _ in range(60)]
        model: dict[UUID, Point] = {}
        for step in range(60):
            chosen = draw.sample(chunk_ids, draw.randint(1, 20))
            action = draw.choice(["upsert", "upsert", "upsert", "delete", "update", "optimize"])
            if action == "upsert":
                batch = [
                    make_point(index_id, units(1)[0], {"n": step}, key, _drawn(numbers))
                    for key in chosen
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
            points = list(model.values())
            (query,) = make_queries(points, 1, seed=step)
            wanted = Filter(conditions=(Compare(field="n", comparison=">=", value=step // 2),))
            passing = [point for point in points if passes(point.fields, wanted)]
            for k in (3, 100):
                hits = await store.search_terms(index_id, query, k=k, exact=True)
                assert _pairs(hits) == best_by_terms(points, query, k)
                hits = await store.search_terms(index_id, query, k=k, filter=wanted, exact=True)
                assert _pairs(hits) == best_by_terms(passing, query, k)


def make_passages(index_id: UUID, number: int = PASSAGES, seed: int = 14) -> list[Point]:
    """Make passages of 0 to 30 terms drawn by Zipf's law, ``meta.n`` counting from 0."""
    draw = np.random.default_rng(seed)
    return [
        make_point(index_id, vector, {"language": "en", "meta": {"n": place}}, terms=_drawn(draw))
        for place, vector in enumerate(units(number))
    ]


def _drawn(draw: np.random.Generator) -> Sparse | None:
    size = int(draw.integers(30))
    if size == 0:
        return None
    chosen = draw.choice(VOCABULARY, size, replace=False, p=_SHARES).tolist()
    eighths = draw.integers(1, 18, size=size).tolist()
    return sparse({number: eighth / 8 for number, eighth in zip(chosen, eighths, strict=True)})


def make_queries(points: Sequence[Point], number: int, seed: int) -> list[TermQuery]:
    """Draw queries of 1 to 12 terms, rarer ones mostly heavier, as IDF has it."""
    draw = random.Random(seed)
    queries = []
    for _ in range(number):
        asked = {draw.choice(VOCABULARY): 0.25 for _ in range(draw.randint(1, 12))}
        counted = term_query(asked, points).passages.tolist()
        idf = {
            term: max(1, round(4 * float(np.log1p(PASSAGES / having)))) / 4
            for term, having in zip(sorted(asked), counted, strict=True)
        }
        queries.append(term_query(idf, points))
    return queries


def _ids(point: Point) -> list[int]:
    return [] if point.terms is None else point.terms.ids.tolist()


def _pairs(hits: Sequence[Scored]) -> list[tuple[UUID, float]]:
    return [(hit.chunk_id, hit.score) for hit in hits]
