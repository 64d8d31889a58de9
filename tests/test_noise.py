"""Marks of hits within noise: what is not marked holds whatever the noise does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search_app.fusion import DENSE_WEIGHT, Fused, Method, fuse
from search_app.noise import (
    Placing,
    distance,
    measured,
    movement,
    placing,
    widest_distance,
    within_noise,
)
from search_app.types import Scored

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Hit:
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)


def unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def ident(number: int) -> UUID:
    return UUID(int=number)


def listed(scores: Rows, most: int) -> list[Scored]:
    """Give a store's list: best first, ties by id."""
    order = np.lexsort((np.arange(len(scores)), -scores))[:most]
    return [
        Scored(chunk_id=ident(number), run_id=ident(0), score=float(scores[number]))
        for number in order.tolist()
    ]


def semantic(score: float, rank: int = 1) -> Hit:
    return Hit(score, {"dense": score}, {"dense": rank})


SEMANTIC = Placing(
    lists=frozenset(["dense"]), dense=np.array([0.9, 0.1]), weight=0.4, method="minmax"
)


def moved(draw: np.random.Generator, query: Rows, noise: float, towards: Rows) -> Rows:
    """Move a query to another one at exactly that 1 - cos, in the worst direction there is."""
    across = towards - (towards @ query) * query
    if np.linalg.norm(across) < 1e-9:
        across = unit(draw.normal(size=query.shape))
        across -= (across @ query) * query
    cosine = 1 - noise
    return cosine * query + np.sqrt(1 - cosine**2) * unit(across)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-8, 1e-5, 1e-3, 1e-2]),
    st.sampled_from(["semantic", "minmax", "rrf"]),
    st.sampled_from([5, 20, 60]),
    st.sampled_from(["vectors", "scores"]),
)
def test_what_is_not_marked_keeps_its_order(
    seed: int, noise: float, method: str, most: int, known: str
) -> None:
    draw = np.random.default_rng(seed)
    centre = unit(draw.normal(size=12))
    # Near each other, as the vectors of real models are; some documents twice.
    documents = unit(centre + 0.25 * draw.normal(size=(40, 12)))
    documents[5:8] = documents[0]
    query = unit(centre + 0.2 * draw.normal(size=12))
    words = np.round(draw.gamma(1.0, 3.0, 40) * (draw.random(40) < 0.5), 1)

    def ranked(vector: Rows) -> tuple[dict[str, list[Scored]], list[Fused]]:
        lists = {"dense": listed(documents @ vector, most)}
        if method != "semantic":
            lists["bm25"] = [each for each in listed(words, most) if each.score > 0]
        weights = {"dense": DENSE_WEIGHT, "bm25": 1 - DENSE_WEIGHT}
        if method == "semantic":
            return lists, [
                Fused(
                    chunk_id=each.chunk_id,
                    run_id=each.run_id,
                    score=each.score,
                    parts={"dense": each.score},
                    ranks={"dense": rank},
                )
                for rank, each in enumerate(lists["dense"], start=1)
            ]
        fusion: Method = "rrf" if method == "rrf" else "minmax"
        return lists, fuse(lists, weights=weights, method=fusion, depth=most)

    lists, hits = ranked(query)
    placed = placing(
        lists, weight=DENSE_WEIGHT, method="rrf" if method == "rrf" else "minmax", depth=most
    )
    safe = []
    for one, other in pairwise(hits):
        apart = None
        if known == "vectors":
            apart = distance(documents[one.chunk_id.int], documents[other.chunk_id.int])
        first, second = (Hit(each.score, each.parts, each.ranks) for each in (one, other))
        if within_noise(first, second, placed, noise, apart) is False:
            safe.append((one.chunk_id, other.chunk_id))
    for one_id, other_id in safe:
        worst = moved(draw, query, noise, documents[other_id.int] - documents[one_id.int])
        for again in (worst, moved(draw, query, noise, draw.normal(size=12))):
            places = {each.chunk_id: place for place, each in enumerate(ranked(again)[1])}
            # One that fell out of the lists altogether is behind everything.
            assert places.get(one_id, 99) <= places.get(other_id, 99)


def test_the_bound_is_reached() -> None:
    # Two documents 60 degrees apart, the query between them: noise along their difference swaps
    # them as soon as it may.
    first, second = (np.array([np.cos(angle), np.sin(angle)]) for angle in (-np.pi / 6, np.pi / 6))
    query = np.array([np.cos(-0.01), np.sin(-0.01)])
    gap = float(query @ first - query @ second)
    apart = distance(first, second)
    hits = semantic(float(query @ first)), semantic(float(query @ second), 2)
    assert apart == pytest.approx(1.0)
    assert widest_distance(*hits) == pytest.approx(apart)
    least = (gap / apart) ** 2 / 2
    assert within_noise(*hits, SEMANTIC, least * 1.001, apart) is True
    assert within_noise(*hits, SEMANTIC, least * 0.999, apart) is False
    # The swap itself needs 1 - cos of an angle of 0.02, which is the same but for rounding.
    assert least == pytest.approx(1 - np.cos(0.01), rel=0.01)


def test_without_noise_only_ties_are_marked() -> None:
    one, other = semantic(0.5), semantic(np.nextafter(0.5, 0), 2)
    assert within_noise(one, other, SEMANTIC, 0.0) is False
    assert within_noise(one, semantic(0.5, 2), SEMANTIC, 0.0) is True
    assert movement(0.0) == 0


def test_words_have_no_noise() -> None:
    words = Placing(lists=frozenset(["bm25"]), dense=np.empty(0), weight=0.4, method="minmax")
    near = Hit(3.0, {"bm25": 3.0}, {"bm25": 1}), Hit(2.9999999, {"bm25": 2.9999999}, {"bm25": 2})
    for noise in (0.0, 0.1, None):
        assert within_noise(*near, words, noise) is False
        assert within_noise(near[0], near[0], words, noise) is True


def test_what_was_not_measured_is_not_known() -> None:
    near = semantic(0.5), semantic(0.499999, 2)
    assert within_noise(*near, SEMANTIC, None) is None
    # A tie is one whatever the noise.
    assert within_noise(near[0], near[0], SEMANTIC, None) is True
    one, other = (Hit(score, {"dense": 0.5, "rerank": score}, {"dense": 1}) for score in (2.0, 1.0))
    assert within_noise(one, other, SEMANTIC, 0.01) is None
    assert within_noise(one, one, SEMANTIC, 0.0) is True
    assert within_noise(one, semantic(0.4, 2), SEMANTIC, 0.0) is None


def test_where_words_decide_hybrid_hits_are_not_marked() -> None:
    dense = np.linspace(0.9, 0.7, 100)
    both = Placing(lists=frozenset(["dense", "bm25"]), dense=dense, weight=0.4, method="minmax")
    one = Hit(1.0, {"dense": 0.9, "bm25": 20.0}, {"dense": 1, "bm25": 1})
    other = Hit(0.4, {"dense": 0.9, "bm25": 5.0}, {"dense": 2, "bm25": 70})
    assert within_noise(one, other, both, 1e-4) is False
    # The same words, and little between their meanings.
    third = Hit(0.998, {"dense": 0.899, "bm25": 20.0}, {"dense": 2, "bm25": 2})
    assert within_noise(one, third, both, 1e-5) is True
    assert within_noise(one, third, both, 1e-9) is False
    # The whole list lies within the noise.
    assert within_noise(one, third, both, 0.02) is True
    unweighted = Placing(lists=both.lists, dense=dense, weight=0.0, method="minmax")
    assert within_noise(one, third, unweighted, 0.02) is False


def test_hits_too_deep_for_a_score_are_judged_by_their_lists() -> None:
    both = Placing(
        lists=frozenset(["dense", "bm25"]),
        dense=np.linspace(0.9, 0.7, 100),
        weight=0.4,
        method="rrf",
    )

    def deep(name: str, score: float, rank: int) -> Hit:
        return Hit(0.0, {name: score}, {name: rank})

    assert within_noise(deep("dense", 0.6, 101), deep("dense", 0.5, 102), both, 1e-6) is False
    assert within_noise(deep("dense", 0.6, 101), deep("dense", 0.5999, 102), both, 1e-6) is True
    assert within_noise(deep("bm25", 2.0, 101), deep("bm25", 1.9999, 102), both, 0.01) is False
    assert within_noise(deep("bm25", 2.0, 101), deep("bm25", 2.0, 102), both, 0.0) is True
    assert within_noise(deep("bm25", 2.0, 101), deep("dense", 0.6, 102), both, 0.01) is None
    assert within_noise(deep("bm25", 2.0, 101), deep("dense", 0.6, 102), both, 0.0) is False


def test_the_larger_of_what_was_measured_counts() -> None:
    assert measured(1e-4, None) == 1e-4
    assert measured(0.0, 3e-3) == 3e-3
    assert measured(1e-2, 3e-3) == 1e-2
    assert measured(float("nan"), None) is None
