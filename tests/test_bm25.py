"""Weights of passages and queries: their product is BM25, as written in the textbooks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.bm25 import USUAL_LENGTH, Weighting, first_average, passage_terms, query_terms

WEIGHTING = Weighting(analyzer="bigram", version=1, k1=1.2, b=0.75, average_length=4.0)
COUNTS = st.dictionaries(st.integers(0, 999_999_999), st.integers(1, 50), max_size=30)


def score(query: dict[int, int], passage: dict[int, int], having: dict[int, int], n: int) -> float:
    """Okapi BM25 over plain dictionaries."""
    length = sum(passage.values())
    total = 0.0
    for term, often in query.items():
        if term not in passage or having.get(term, 0) == 0:
            continue
        idf = math.log(1 + (n - having[term] + 0.5) / (having[term] + 0.5))
        tf = passage[term]
        total += often * idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / 4.0))
    return total


def test_a_known_score() -> None:
    passage = passage_terms({7: 2, 9: 1, 3: 1}, WEIGHTING)
    query = query_terms({9: 1, 7: 1, 5: 1}, {7: 1, 9: 10}, passages=10)
    assert passage.ids.tolist() == [3, 7, 9]
    assert query.ids.tolist() == [7, 9]
    found = float(query.weights @ passage.weights[[1, 2]])
    # idf(7) = ln(1 + 9.5 / 1.5), idf(9) = ln(1 + 0.5 / 10.5); the passage has average length.
    assert found == pytest.approx(1.99243 * 1.375 + 0.046520 * 1.0, abs=1e-4)


@given(COUNTS, COUNTS, st.integers(1, 1000))
def test_weights_multiply_to_bm25(
    query: dict[int, int], passage: dict[int, int], passages: int
) -> None:
    having = dict.fromkeys([*query, *passage], min(3, passages))
    asked = query_terms(query, having, passages)
    stored = passage_terms(passage, WEIGHTING)
    _, first, second = np.intersect1d(asked.ids, stored.ids, return_indices=True)
    found = float((asked.weights[first].astype(float) * stored.weights[second]).sum())
    assert found == pytest.approx(score(query, passage, having, passages), rel=1e-5, abs=1e-6)


@given(COUNTS)
def test_stored_weights_are_what_stores_take(counts: dict[int, int]) -> None:
    passage = passage_terms(counts, WEIGHTING)
    assert passage.ids.dtype == np.int32
    assert passage.weights.dtype == np.float32
    assert (np.diff(passage.ids) > 0).all()
    assert ((passage.weights > 0) & (passage.weights < WEIGHTING.k1 + 1)).all()


def test_a_term_in_every_passage_still_counts_a_little() -> None:
    query = query_terms({1: 1}, {1: 100}, passages=100)
    assert 0 < query.weights[0] < 0.01


def test_counts_that_lag_behind_do_no_harm() -> None:
    # A term counted in between: more passages have it than there are.
    query = query_terms({1: 1}, {1: 12}, passages=10)
    assert np.isfinite(query.weights).all()
    assert query.weights[0] > 0


def test_few_passages_hardly_set_the_average() -> None:
    assert first_average(0, 0) == USUAL_LENGTH
    assert first_average(3 * 4, 3) == pytest.approx(114.8, abs=0.1)
    assert first_average(512 * 300, 512) == pytest.approx(280, abs=1)
