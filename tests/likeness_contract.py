"""What every store must make of examples for and against: one ranking, whoever keeps them."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import numpy as np
import pytest

from search_app.filters import Filter, without
from search_app.likeness import direction
from search_app.stores.base import Membership, VectorStore
from search_app.types import Point, Vector
from tests.points import any_of, by_id, make_point, make_points, units, vector_of

SIDES: Sequence[tuple[int, int]] = ((1, 0), (3, 0), (1, 1), (2, 3), (5, 1))
"""Numbers of examples for and against."""


def expected(points: Sequence[Point], like: Sequence[Point], unlike: Sequence[Point]) -> list[UUID]:
    """Rank what is no example by the formula, in float64."""
    wanted = np.mean([vector_of(point).astype(np.float64) for point in like], axis=0)
    asked = wanted
    if unlike:
        against = np.mean([vector_of(point).astype(np.float64) for point in unlike], axis=0)
        asked = wanted + (wanted - against)
    given = {point.chunk_id for point in (*like, *unlike)}
    scored = [
        (-float(vector_of(point).astype(np.float64) @ asked), point.chunk_id)
        for point in points
        if point.chunk_id not in given
    ]
    return [chunk_id for _, chunk_id in sorted(scored)]


async def stored(store: VectorStore, index_id: UUID, examples: Sequence[Point]) -> list[Vector]:
    """Fetch the vectors of examples, as a recommendation does."""
    fetched = await store.fetch(index_id, [point.chunk_id for point in examples])
    return [vector_of(point) for point in fetched]


class LikenessContract:
    """Asking a store with the direction of examples that it keeps itself."""

    @pytest.mark.parametrize(("many_like", "many_unlike"), SIDES)
    async def test_examples_rank_as_their_formula_says(
        self, store: VectorStore, index_id: UUID, many_like: int, many_unlike: int
    ) -> None:
        points = by_id(make_points(index_id, units(60, seed=5)))
        await store.upsert(index_id, points)
        like, unlike = points[:many_like], points[many_like : many_like + many_unlike]
        asked = direction(
            await stored(store, index_id, like), await stored(store, index_id, unlike)
        )
        besides = frozenset(point.chunk_id for point in (*like, *unlike))
        left = len(points) - len(besides)
        for exact in (False, True):
            hits = await store.search(
                index_id, asked, k=left, filter=without(None, besides), exact=exact
            )
            assert [hit.chunk_id for hit in hits] == expected(points, like, unlike)

    @pytest.mark.parametrize("exact", [False, True])
    async def test_hits_come_with_their_stored_vectors_where_they_are_wanted(
        self, store: VectorStore, index_id: UUID, *, exact: bool
    ) -> None:
        points = by_id(make_points(index_id, units(30, seed=7)))
        await store.upsert(index_id, points)
        known = {point.chunk_id: vector_of(point).tobytes() for point in points}
        asked = units(1, seed=8)[0]
        hits = await store.search(index_id, asked, k=12, exact=exact, vectors=True)
        assert len(hits) == 12
        for hit in hits:
            assert hit.vector is not None
            assert hit.vector.dtype == np.float32
            assert hit.vector.tobytes() == known[hit.chunk_id]
        plain = await store.search(index_id, asked, k=12, exact=exact)
        assert plain == hits
        assert all(hit.vector is None for hit in plain)

    async def test_vectors_are_read_without_the_rest(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = by_id(make_points(index_id, units(9, seed=9)))
        await store.upsert(index_id, points)
        wanted = [points[4].chunk_id, uuid4(), points[1].chunk_id, points[4].chunk_id]
        found = await store.vectors(index_id, wanted)
        assert {key: vector.tobytes() for key, vector in found.items()} == {
            point.chunk_id: vector_of(point).tobytes() for point in (points[1], points[4])
        }
        assert await store.vectors(index_id, []) == {}

    async def test_means_are_those_of_the_points_of_each_group(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        points = by_id(make_points(index_id, units(600, seed=10)))
        await store.upsert(index_id, points)
        # One point in ten is in two groups, every seventh of what is asked for is not there.
        members = [(point.chunk_id, place % 3) for place, point in enumerate(points)]
        members += [(point.chunk_id, 7) for point in points[::10]]
        members += [(uuid4(), place % 4) for place in range(100)]
        membership = Membership(
            chunk_ids=[chunk_id for chunk_id, _ in members], groups=[group for _, group in members]
        )
        means = await store.means(index_id, membership)
        known = {point.chunk_id: vector_of(point).astype(np.float64) for point in points}
        # A group of none that are there has no mean.
        assert set(means) == {0, 1, 2, 7}
        for group, mean in means.items():
            rows = [known[key] for key, own in members if own == group and key in known]
            assert mean.number == len(rows)
            np.testing.assert_allclose(mean.vector, np.mean(rows, axis=0), atol=1e-7)
        assert await store.means(index_id, Membership(chunk_ids=[], groups=[])) == {}

    async def test_filters_hold_beside_examples(self, store: VectorStore, index_id: UUID) -> None:
        points = by_id(
            [
                make_point(index_id, vector, {"language": "ja" if number % 2 else "en"})
                for number, vector in enumerate(units(40, seed=6))
            ]
        )
        await store.upsert(index_id, points)
        like, unlike = points[:2], points[2:4]
        asked = direction(
            await stored(store, index_id, like), await stored(store, index_id, unlike)
        )
        japanese = {point.chunk_id for point in points if point.fields["language"] == "ja"}
        besides = frozenset(point.chunk_id for point in (*like, *unlike))
        given = Filter(conditions=(any_of("language", "ja"),), besides=besides)
        hits = await store.search(index_id, asked, k=40, filter=given)
        ranked = [each for each in expected(points, like, unlike) if each in japanese]
        assert [hit.chunk_id for hit in hits] == ranked

    async def test_opposite_examples_point_away_from_what_is_against(
        self, store: VectorStore, index_id: UUID
    ) -> None:
        axes = np.eye(8, dtype=np.float32)
        near, far = make_point(index_id, axes[0]), make_point(index_id, axes[1])
        await store.upsert(index_id, [near, far])
        hits = await store.search(index_id, direction([axes[0]], [axes[1]]), k=2)
        assert [hit.chunk_id for hit in hits] == [near.chunk_id, far.chunk_id]
        assert hits[0].score == pytest.approx(2 / np.sqrt(5), abs=1e-6)
        assert hits[1].score == pytest.approx(-1 / np.sqrt(5), abs=1e-6)
