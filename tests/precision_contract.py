"""What every vector store must keep to whatever numbers it searches by."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import numpy as np
import pytest

from search_app.errors import StoreRefusedError
from search_app.filters import Compare, Filter
from search_app.stores.base import VectorStore
from search_app.types import Matrix, Point, Precision
from tests.points import by_id, everything, make_points, nearest, same, units, vector_of

ROWS, CLUSTERS, LONG = 1_500, 25, 128
"""Sixty vectors a cluster: any form that tells clusters apart has them all among its candidates."""

QUERIES = 40

RECALL = 0.95
"""Least share of the true ten nearest, as for the default form.

Ten of a cluster are wanted. Its sixty are nearer than all others by far, in bits too (the clusters
are 90° apart give or take 5°, that is 64 of 128 bits; within one, vectors are some 25° apart, 18
bits), and every form scores far more than sixty, or tells numbers apart to better than 1 in 100
and scores twice as many as wanted. So what is missing is what the walk through a graph misses.
"""


def clustered(seed: int = 1) -> Matrix:
    """Make unit vectors in clusters, those of one cluster CLUSTERS rows apart."""
    centres = np.tile(units(CLUSTERS, LONG, seed=99), (ROWS // CLUSTERS, 1))
    near = centres + 0.3 * units(ROWS, LONG, seed=seed)
    vectors: Matrix = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    return vectors


@dataclass(frozen=True, kw_only=True)
class Forms:
    """The same vectors in an index for each precision that the store has."""

    points: Mapping[Precision, list[Point]]
    queries: Matrix = field(default_factory=lambda: clustered(seed=2)[:QUERIES])


class PrecisionContract:
    """Tests that stores inherit through StoreContract."""

    @pytest.fixture
    async def forms(self, store: VectorStore) -> AsyncIterator[Forms]:
        points = {precision: make_points(uuid4(), clustered()) for precision in store.precisions}
        for precision, some in points.items():
            await store.create(some[0].index_id, LONG, precision)
            await store.upsert(some[0].index_id, some)
            await store.optimize(some[0].index_id)
        yield Forms(points=points)
        for some in points.values():
            await store.drop(some[0].index_id)

    async def test_every_precision_keeps_bits_scores_exactly_and_finds_nearly_all(
        self, store: VectorStore, forms: Forms
    ) -> None:
        sizes = {}
        for precision, points in forms.points.items():
            index_id, found = points[0].index_id, 0
            at = {point.chunk_id: point for point in points}
            for query in forms.queries:
                exact = await store.search(index_id, query, k=10, exact=True)
                assert [hit.chunk_id for hit in exact] == nearest(points, query, 10)
                hits = await store.search(index_id, query, k=10)
                for hit in hits:
                    expected = float(vector_of(at[hit.chunk_id]).astype(np.float64) @ query)
                    assert hit.score == pytest.approx(expected, abs=1e-6)
                order = [(-hit.score, hit.chunk_id) for hit in hits]
                assert order == sorted(order)
                found += len({hit.chunk_id for hit in hits} & {hit.chunk_id for hit in exact})
            assert found >= RECALL * 10 * QUERIES, precision
            assert same(await everything(store, index_id), by_id(points))
            sizes[precision] = size = await store.size(index_id)
            # The exact vectors are always among it.
            assert size.whole >= 4 * LONG * ROWS
            assert 0 < size.searched <= size.whole
        smaller = [sizes[each].searched for each in reversed(Precision) if each in sizes]
        assert smaller == sorted(set(smaller))

    async def test_no_precision_returns_too_few_of_what_passes(
        self, store: VectorStore, forms: Forms
    ) -> None:
        for points in forms.points.values():
            for least in (ROWS - 25, ROWS // 2):
                late = Compare(field="meta.n", comparison=">=", value=least)
                for query in forms.queries[:5]:
                    for k in (10, 100):
                        hits = await store.search(
                            points[0].index_id, query, k=k, filter=Filter(conditions=(late,))
                        )
                        passing = {point.chunk_id for point in points[least:]}
                        assert len(hits) == min(k, len(passing))
                        assert {hit.chunk_id for hit in hits} <= passing

    @pytest.mark.parametrize("precision", Precision)
    async def test_a_precision_that_a_store_has_not_is_refused_with_those_it_has(
        self, store: VectorStore, precision: Precision
    ) -> None:
        index_id = uuid4()
        if precision in store.precisions:
            await store.create(index_id, LONG, precision)
            await store.create(index_id, LONG, precision)
            await store.create(index_id, LONG)
            await store.drop(index_id)
            return
        with pytest.raises(StoreRefusedError, match=" or ".join(store.precisions)):
            await store.create(index_id, LONG, precision)
        with pytest.raises(StoreRefusedError):
            await store.count(index_id)

    async def test_another_precision_for_an_index_that_is_there_is_refused(
        self, store: VectorStore
    ) -> None:
        index_id = uuid4()
        await store.create(index_id, LONG)
        await store.create(index_id, LONG, store.precisions[0])
        for other in store.precisions[1:]:
            with pytest.raises(StoreRefusedError, match=f"{store.precisions[0]}, not as {other}"):
                await store.create(index_id, LONG, other)
        await store.drop(index_id)

    async def test_the_size_follows_what_is_written(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        before = (await store.size(index_id)).whole
        await store.upsert(index_id, make_points(index_id, units(500)))
        assert (await store.size(index_id)).whole > before
