"""Two rankings become one."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.fusion import coverage, fuse
from search_app.types import Scored

RUN = UUID(int=0)
WEIGHTS = {"dense": 0.4, "bm25": 0.6}


def scored(*pairs: tuple[int, float]) -> list[Scored]:
    return [Scored(chunk_id=UUID(int=key), run_id=RUN, score=score) for key, score in pairs]


def order(dense: Sequence[Scored], bm25: Sequence[Scored], method: str = "minmax") -> list[int]:
    fused = fuse({"dense": dense, "bm25": bm25}, weights=WEIGHTS, method=method)  # type: ignore[arg-type] # a parameter of the test
    return [each.chunk_id.int for each in fused]


def test_scores_are_scaled_and_added() -> None:
    dense = scored((1, 0.9), (2, 0.85), (3, 0.8))
    bm25 = scored((2, 20.0), (4, 15.0), (1, 10.0))
    fused = {
        each.chunk_id.int: each for each in fuse({"dense": dense, "bm25": bm25}, weights=WEIGHTS)
    }
    assert fused[2].score == pytest.approx(0.4 * 0.5 + 0.6)
    assert fused[1].score == pytest.approx(0.4)
    assert fused[4].score == pytest.approx(0.3)
    assert fused[3].score == pytest.approx(0.0)
    assert fused[2].parts == {"dense": 0.85, "bm25": 20.0}
    assert fused[2].ranks == {"dense": 2, "bm25": 1}
    assert fused[4].ranks == {"bm25": 2}
    assert order(dense, bm25) == [2, 1, 4, 3]


def test_ranks_are_added() -> None:
    fused = fuse(
        {"dense": scored((1, 9.0), (2, 1.0)), "bm25": scored((2, 5.0))},
        weights=WEIGHTS,
        method="rrf",
    )
    assert [each.chunk_id.int for each in fused] == [2, 1]
    assert fused[0].score == pytest.approx(0.4 / 62 + 0.6 / 61)


def test_an_empty_list_leaves_the_other_as_it_was() -> None:
    dense = scored((3, 0.9), (1, 0.8), (2, 0.7))
    assert order(dense, []) == [3, 1, 2]
    assert order([], dense) == [3, 1, 2]
    assert order([], []) == []


def test_hits_that_score_alike_are_all_the_best() -> None:
    assert order(scored((1, 0.5)), scored((2, 3.0), (3, 3.0))) == [2, 3, 1]


@given(st.data(), st.sampled_from(["minmax", "rrf"]))
def test_the_order_is_whole_and_does_not_depend_on_ties_given(
    data: st.DataObject, method: str
) -> None:
    lists = {}
    for name in WEIGHTS:
        keys = data.draw(st.lists(st.integers(1, 40), unique=True))
        scores = sorted(
            data.draw(st.lists(st.integers(0, 5), min_size=len(keys), max_size=len(keys))),
            reverse=True,
        )
        lists[name] = scored(
            *((key, float(score)) for key, score in zip(keys, scores, strict=True))
        )
    fused = fuse(lists, weights=WEIGHTS, method=method)  # type: ignore[arg-type] # a parameter of the test
    assert {each.chunk_id for each in fused} == {
        each.chunk_id for found in lists.values() for each in found
    }
    assert fused == sorted(fused, key=lambda each: (-each.score, each.chunk_id.bytes))


def test_words_count_for_less_where_no_passage_has_most_of_them() -> None:
    assert coverage(10.0, 10.0) == coverage(30.0, 10.0) == coverage(1.0, 0.0) == 1.0
    assert coverage(2.5, 10.0) == pytest.approx(0.5)
    assert coverage(0.0, 10.0) == 0.0
    shares = [coverage(best, 10.0) for best in (0.5, 1.0, 4.0, 8.0, 10.0)]
    assert shares == sorted(shares)
