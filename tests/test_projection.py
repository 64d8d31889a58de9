"""Laying vectors out in the plane, colouring them, and placing a query among its hits."""

import importlib.util
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from search_app.analysis import projection
from search_app.analysis.colouring import MOST_VALUES, Grouping, grouping_of
from search_app.analysis.placing import placed
from search_app.analysis.projection import (
    LEAST_FOR_UMAP,
    Projection,
    check_neighbours,
    neighbours_kept,
    projected,
    read_projection,
)
from search_app.errors import ConfigurationError, InvalidInputError
from search_app.types import Matrix

with_umap = pytest.mark.skipif(
    importlib.util.find_spec("umap") is None, reason="needs umap-learn: pip install 'unmoved[map]'"
)


def unit(rows: Any) -> Matrix:
    scaled: Matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def in_groups(each: int, groups: int = 4, dimensions: int = 16, seed: int = 0) -> Matrix:
    draw = np.random.default_rng(seed)
    centres = np.repeat(draw.standard_normal((groups, dimensions)), each, axis=0)
    return unit(centres + 0.25 * draw.standard_normal(centres.shape))


@with_umap
@pytest.mark.slow
def test_groups_lie_apart_and_the_same_seed_gives_the_same_bytes() -> None:
    vectors = in_groups(40)
    first, again, other = (projected(vectors, seed=seed) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert first.shape == (160, 2)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1
    group = np.repeat(np.arange(4), 40)
    distances = np.linalg.norm(first[:, None] - first[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (group[distances.argmin(axis=1)] == group).all()
    kept = neighbours_kept(vectors, first)
    by_luck = neighbours_kept(vectors, np.random.default_rng(0).random((160, 2), np.float32))
    assert kept is not None
    assert by_luck is not None
    assert kept > 2 * by_luck


@with_umap
@pytest.mark.slow
def test_equal_vectors_lie_together_on_a_map_by_umap() -> None:
    vectors = np.vstack([in_groups(10), in_groups(10)[:5], in_groups(10)[:5]])
    places = projected(vectors)
    assert len(np.unique(places, axis=0)) == len(places)
    for row in range(5):
        same = places[[row, 40 + row, 45 + row]]
        assert np.ptp(same, axis=0).max() < 0.05


@pytest.mark.parametrize("number", [1, 2, 3, 10, LEAST_FOR_UMAP - 1])
def test_few_passages_get_a_sane_layout_without_umap(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "_by_umap", lambda *_, **__: pytest.fail("too few for it"))
    places = projected(in_groups(number, groups=1))
    assert places.shape == (number, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == number
    if number > 1:
        assert np.abs(places).max() == 1


def test_two_passages_lie_on_a_line() -> None:
    places = projected(in_groups(2, groups=1))
    assert sorted(places[:, 0].tolist()) == [-1, 1]
    assert np.abs(places[:, 1]).max() < 1e-3


@pytest.mark.parametrize("number", [2, 10, 500])
def test_all_the_same_is_a_disc_around_one_place(number: int) -> None:
    places = projected(np.repeat(in_groups(1, groups=1), number, axis=0))
    assert len(np.unique(places, axis=0)) == number
    assert np.abs(places).max() <= 1


def test_no_passage_is_a_sentence() -> None:
    with pytest.raises(InvalidInputError, match="a map needs 1 passages or more and there is no"):
        projected(np.empty((0, 8), np.float32))


def test_without_the_package_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"unmoved\[map\].*pca"):
        projected(in_groups(10))
    assert projected(in_groups(10), method=Projection.PCA).shape == (40, 2)


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="write umap, pca"):
        read_projection("tsne")
    for neighbours in (1, 101):
        with pytest.raises(InvalidInputError, match="write a number from 2 to 100"):
            check_neighbours(neighbours)


@settings(deadline=None, max_examples=60)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.just(4)),
        elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
    )
)
def test_any_vectors_are_laid_out_within_bounds(rows: Matrix) -> None:
    rows[:, 0] += np.where(np.linalg.norm(rows, axis=1) == 0, 1, 0)
    vectors = unit(rows)
    places = projected(vectors, method=Projection.PCA)
    assert places.shape == (len(rows), 2)
    assert np.isfinite(places).all()
    assert np.abs(places).max() <= 1
    assert places.tobytes() == projected(vectors, method=Projection.PCA).tobytes()


def test_of_a_map_that_keeps_all_every_neighbour_is_kept() -> None:
    angles = np.linspace(0, 2, 60)
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    assert neighbours_kept(vectors, vectors) == 1
    assert neighbours_kept(vectors[:11], vectors[:11]) is None


def grouped(values: Sequence[object], **options: Any) -> Grouping:
    xy = np.zeros((len(values), 2), np.float32)
    texts = [json.dumps(value) for value in values]
    return grouping_of(texts, xy, **options)


def told(found: Grouping) -> list[tuple[str, str, int]]:
    return [(group.kind, group.label, group.count) for group in found.groups]


def test_the_commonest_values_have_a_colour_each_and_the_rest_share_one() -> None:
    values: list[object] = [f"v{n}" for n in range(30) for _ in range(30 - n)]
    found = grouped([*values, None, None])
    assert [group.label for group in found.groups[:3]] == ["v0", "v1", "v2"]
    assert len(found.groups) == MOST_VALUES + 2
    assert told(found)[-2:] == [("others", "", 55), ("none", "", 2)]
    assert not found.ordered
    assert np.bincount(found.codes)[0] == 30


def test_numbers_and_dates_go_from_low_to_high_in_steps() -> None:
    found = grouped([7, 1, 3, None])
    assert found.ordered
    assert told(found) == [("value", "1", 1), ("value", "3", 1), ("value", "7", 1), ("none", "", 1)]
    many = grouped(list(range(800)))
    assert many.ordered
    assert [group.count for group in many.groups] == [100] * 8
    assert many.groups[0].label == "0 – 99"
    days = grouped([f"2024-{month:02}-01" for month in range(1, 13)])
    assert days.ordered
    assert days.groups[0].label.startswith("2024-01-01")
    skewed = grouped([0] * 500 + list(range(1, 20)))
    assert sum(group.count for group in skewed.groups) == 519


def test_truth_lists_and_mixtures_are_values_like_any_other() -> None:
    assert told(grouped([True, 1, True])) == [("value", "true", 2), ("value", "1", 1)]
    assert told(grouped([["a", "b"], ["a"], []])) == [("value", "a", 2), ("none", "", 1)]
    assert told(grouped([["a", "a/b"]], last_of_several=True)) == [("value", "a/b", 1)]
    assert told(grouped(["x", 1, 1])) == [("value", "1", 2), ("value", "x", 1)]
    assert told(grouped([])) == []


def test_clusters_have_their_names_and_none_is_none() -> None:
    found = grouped([0, 0, 1, -1, None], names={0: "space", 1: ""})
    assert told(found) == [("value", "space", 2), ("value", "1", 1), ("none", "", 2)]
    assert not found.ordered


def test_a_group_is_named_where_most_of_it_lies() -> None:
    xy = np.array([(-0.9, -0.9)] * 3 + [(0.5, 0.5)] * 20 + [(0.9, -0.9)] * 2, np.float32)
    group = grouping_of(['"a"'] * 25, xy).groups[0]
    assert (group.x, group.y) == pytest.approx((0.5, 0.5), abs=1e-6)


def test_a_query_lies_where_most_of_its_hits_do_and_never_between() -> None:
    here = [(0.8 + n / 100, 0.8) for n in range(6)]
    there = [(-0.8, -0.8 + n / 100) for n in range(4)]
    cosines = np.linspace(0.9, 0.85, 11).astype(np.float32)
    x, y = placed(np.array([*here, *there, (0, 0)], np.float32), cosines)
    assert x == pytest.approx(0.82, abs=0.05)
    assert y == pytest.approx(0.8, abs=0.05)
    x, y = placed(np.array([(0.3, -0.2)], np.float32), np.array([0.5], np.float32))
    assert x == pytest.approx(0.3, abs=1e-6)
    assert y == pytest.approx(-0.2, abs=1e-6)
    x, y = placed(np.array([(0, 0), (1, 1)], np.float32), np.array([0.5, 0.5], np.float32))
    assert 0 <= x <= 1
    assert x == pytest.approx(y)
