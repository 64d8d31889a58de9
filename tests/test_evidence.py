"""That evidence grows when queries change, and hardly ever when they do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from search_app.consistency.evidence import (
    ALARM,
    ALTERNATIVES,
    NULL,
    Evidence,
    average,
    interval,
    night,
    updated,
)

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("sampled", [1, 43, 299])
def test_a_night_is_a_fair_bet_under_the_null(alternative: float, sampled: int) -> None:
    seen = np.arange(sampled + 1)
    mean = sum(
        binom.pmf(changed, sampled, NULL) * night(int(changed), sampled, alternative)
        for changed in seen
    )
    # Numbers stay finite at the cost of the bettor.
    assert mean <= 1 + 1e-9
    if sampled <= 43:
        assert mean == pytest.approx(1.0, rel=1e-9)


@given(COUNTS, st.sampled_from(ALTERNATIVES))
def test_a_night_is_the_product_of_bets_on_single_queries(
    counts: tuple[int, int], alternative: float
) -> None:
    changed, sampled = counts
    stake = (alternative - NULL) / (NULL * (1 - NULL))
    bets = [np.log(1 + stake * (1 - NULL))] * changed + [np.log(1 - stake * NULL)] * (
        sampled - changed
    )
    expected = min(float(np.sum(bets)), 700.0)
    assert np.log(night(changed, sampled, alternative)) == pytest.approx(expected, abs=1e-6)


@given(COUNTS)
def test_more_change_is_more_evidence(counts: tuple[int, int]) -> None:
    changed, sampled = counts
    before = Evidence(processes=(3.0,) * len(ALTERNATIVES))
    if changed:
        less = updated(before, changed=changed - 1, sampled=sampled).value
        assert updated(before, changed=changed, sampled=sampled).value >= less


@given(COUNTS)
def test_bounds_are_those_of_clopper_and_pearson(counts: tuple[int, int]) -> None:
    changed, sampled = counts
    found = interval(changed, sampled)
    higher = binomtest(changed, sampled, alternative="less").proportion_ci(0.95, "exact")
    lower = binomtest(changed, sampled, alternative="greater").proportion_ci(0.95, "exact")
    assert found.high == pytest.approx(higher.high, abs=1e-9)
    assert found.low == pytest.approx(lower.low, abs=1e-9)
    assert found.estimate == changed / sampled


def test_unchanged_queries_bound_the_share_as_published() -> None:
    assert interval(0, 43).high == pytest.approx(0.067, abs=5e-4)
    assert interval(0, 299).high < 0.01 < interval(0, 298).high
    assert (interval(0, 0).estimate, interval(0, 0).low, interval(0, 0).high) == (None, 0.0, 1.0)
    assert average([(0, 43)] * 7) == interval(0, 301)


def test_nights_without_queries_say_nothing_and_nonsense_is_refused() -> None:
    evidence = Evidence(processes=(1.0, 2.0, 3.0, 4.0, 5.0))
    assert updated(evidence, changed=0, sampled=0) == evidence
    for changed, sampled in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="cannot have changed"):
            updated(evidence, changed=changed, sampled=sampled)


def _first_alarms(share: float, sampled: int, nights: int, episodes: int) -> NDArray[np.int64]:
    """Give the night of the first alarm of many simulated collections; one too many for none."""
    draw = np.random.default_rng(20)
    alarms = np.full(episodes, nights + 1, np.int64)
    for episode in range(episodes):
        evidence = Evidence()
        for number, changed in enumerate(draw.binomial(sampled, share, nights), start=1):
            evidence = updated(evidence, changed=int(changed), sampled=sampled)
            if evidence.alarm:
                alarms[episode] = number
                break
    return alarms


EPISODES, HORIZON = 4_000, 200
"""Simulated collections, and the nights that each is checked: 800,000 nights for each sample."""


def _alarmed(draws: NDArray[np.int64], sampled: int) -> NDArray[np.bool_]:
    """Say which of many collections (episodes, nights) ever gave an alarm, all of them at once."""
    seen = np.arange(sampled + 1)
    bets = np.array(
        [[night(int(changed), sampled, each) for changed in seen] for each in ALTERNATIVES]
    )
    processes = np.zeros((len(ALTERNATIVES), len(draws)))
    alarmed = np.zeros(len(draws), np.bool_)
    for changed in draws.T:
        processes = np.minimum((processes + 1) * bets[:, changed], ALARM * 1e6)
        alarmed |= processes.mean(axis=0) >= ALARM
    return alarmed


def test_the_simulation_is_the_code() -> None:
    draws = np.random.default_rng(3).binomial(43, 0.03, (20, 10))
    expected = []
    for episode in draws.tolist():
        evidence, alarm = Evidence(), False
        for changed in episode:
            evidence = updated(evidence, changed=changed, sampled=43)
            alarm = alarm or evidence.alarm
        expected.append(alarm)
    assert _alarmed(draws, 43).tolist() == expected
    assert 0 < sum(expected) < 20


@pytest.mark.parametrize("sampled", [43, 299])
@pytest.mark.parametrize("seed", [1, 2])
def test_false_alarms_are_rarer_than_promised(sampled: int, seed: int) -> None:
    # At the very edge of the null hypothesis. The sum of evidence over n nights has mean n, so by
    # Markov's inequality (over all nights at once: Doob's) an alarm within n nights has a
    # probability of at most n / ALARM: here, one collection in ten.
    draws = np.random.default_rng(seed).binomial(sampled, NULL, (EPISODES, HORIZON))
    share = HORIZON / ALARM
    spread = np.sqrt(share * (1 - share) / EPISODES)
    assert _alarmed(draws, sampled).mean() <= share + 3 * spread


@pytest.mark.parametrize("sampled", [43, 299])
def test_false_alarms_are_rarer_still_where_less_changes(sampled: int) -> None:
    draws = np.random.default_rng(5).binomial(sampled, NULL / 2, (EPISODES, HORIZON))
    assert _alarmed(draws, sampled).sum() <= 5


@pytest.mark.parametrize("sampled", [43, 299])
def test_alarms_come_at_most_once_in_as_many_nights_as_promised(sampled: int) -> None:
    # Begun anew after each: 200,000 nights one after the other, in 100 collections.
    draw = np.random.default_rng(11)
    seen = np.arange(sampled + 1)
    bets = np.array(
        [[night(int(changed), sampled, each) for changed in seen] for each in ALTERNATIVES]
    )
    processes, alarms = np.zeros((len(ALTERNATIVES), 100)), 0
    for changed in draw.binomial(sampled, NULL, (int(ALARM), 100)):
        processes = np.minimum((processes + 1) * bets[:, changed], ALARM * 1e6)
        over = processes.mean(axis=0) >= ALARM
        alarms += int(over.sum())
        processes[:, over] = 0
    expected = ALARM * 100 / ALARM
    # Alarms of a process that is begun anew are spread no wider than those of a Poisson process.
    assert alarms <= expected + 3 * np.sqrt(expected)
    assert alarms > 0


@given(COUNTS, st.sampled_from(ALTERNATIVES))
def test_a_night_is_a_ratio_of_binomial_likelihoods(
    counts: tuple[int, int], alternative: float
) -> None:
    changed, sampled = counts
    expected = binom.logpmf(changed, sampled, alternative) - binom.logpmf(changed, sampled, NULL)
    assert np.log(night(changed, sampled, alternative)) == pytest.approx(
        min(expected, 700.0), abs=1e-6
    )


def test_bounds_are_those_of_published_tables() -> None:
    # The rule of three, and the "exact" intervals for 4 of 20 and 10 of 100 at two-sided 90 %.
    assert interval(0, 100).high == pytest.approx(0.0295, abs=5e-5)
    assert (interval(4, 20).low, interval(4, 20).high) == pytest.approx((0.0714, 0.4010), abs=5e-5)
    assert (interval(10, 100).low, interval(10, 100).high) == pytest.approx(
        (0.0553, 0.1637), abs=5e-5
    )
    assert (interval(20, 20).low, interval(20, 20).high) == pytest.approx((0.8609, 1.0), abs=5e-5)


def test_a_change_of_one_query_in_ten_is_found_within_four_nights() -> None:
    assert (_first_alarms(0.1, 43, 4, 400) <= 4).mean() >= 0.95
