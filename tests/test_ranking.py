"""That lists are compared by pairs, near-ties aside, and found in streams of vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.consistency.ranking import (
    Nearest,
    beyond_tolerance,
    differ,
    first_k,
    kendall_tau_b,
    material_change,
    tolerance_of,
)


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12), st.integers(1, 15))
def test_streams_give_the_best_of_all(seed: int, number: int, block: int, depth: int) -> None:
    draw = np.random.default_rng(seed)
    # Small whole numbers, so that ties abound and sums are exact.
    vectors = draw.integers(-2, 3, (number, 4)).astype(np.float32)
    queries = draw.integers(-2, 3, (3, 4)).astype(np.float32)
    nearest = Nearest(queries, depth)
    for start in range(0, number, block):
        nearest.add(vectors[start : start + block])
    positions, found = nearest.best()
    assert nearest.seen == number
    assert positions.shape == (3, min(depth, number))
    everything = queries @ vectors.T
    for row in range(3):
        assert found[row].tolist() == sorted(everything[row].tolist(), reverse=True)[:depth]
        assert everything[row][positions[row]].tolist() == found[row].tolist()
        assert len(set(positions[row].tolist())) == len(positions[row])


def test_a_reversed_pair_counts_only_in_all_sends_and_beyond_the_tolerance() -> None:
    before = scores([0.9, 0.8, 0.7, 0.1], [0.9, 0.81, 0.7, 0.1])
    swapped = scores([0.9, 0.6, 0.7, 0.1])
    found = material_change(before, swapped, 2, 0.05)
    assert found is not None
    assert (found.i, found.j) == (1, 2)
    assert found.lead == pytest.approx(0.1)
    assert found.loss == pytest.approx(0.1)
    # One send of tonight that still has them in order is enough to doubt.
    assert material_change(before, np.vstack([swapped, before[:1]]), 2, 0.05) is None
    # A near-tie before is none, and neither is one in a single reference send.
    assert material_change(before, swapped, 2, 0.11) is None
    assert (
        material_change(np.vstack([before, scores([0.9, 0.71, 0.7, 0.1])]), swapped, 2, 0.05)
        is None
    )
    # Everything is in the list.
    assert material_change(before, swapped, 4, 0.0) is None


@given(
    st.lists(st.integers(0, 9), min_size=6, max_size=6),
    st.lists(st.integers(0, 9), min_size=6, max_size=6),
    st.integers(1, 6),
)
def test_lists_that_are_equal_have_not_changed(one: list[int], other: list[int], k: int) -> None:
    left, right = np.array(one, np.float32), np.array(other, np.float32)
    assert not beyond_tolerance(left, left, k, 0.0)
    assert beyond_tolerance(left, right, k, 0.5) == beyond_tolerance(right, left, k, 0.5)
    if beyond_tolerance(left, right, k, 0.5):
        assert differ(left, right, k)


def test_the_tolerance_is_a_share_of_the_usual_spread() -> None:
    lists = scores([1.0, 0.9, 0.8], [1.0, 0.7, 0.6], [1.0, 0.5, 0.4])
    assert tolerance_of(lists, 3) == pytest.approx(0.05 * 0.4)
    assert tolerance_of(lists, 2) == pytest.approx(0.05 * 0.3)
    assert tolerance_of(lists, 10) == pytest.approx(0.05 * 0.4)
    assert tolerance_of(np.empty((0, 3), np.float32), 3) == 0.0


def test_measures_of_likeness() -> None:
    assert first_k(np.array([0.5, 0.9, 0.9]), 2).tolist() == [1, 2]
    one = np.array([3.0, 2.0, 1.0], np.float32)
    assert kendall_tau_b(one, one) == pytest.approx(1.0)
    assert kendall_tau_b(one, -one) == pytest.approx(-1.0)
    assert kendall_tau_b(one, np.zeros(3, np.float32)) is None
