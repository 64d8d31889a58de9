"""How much nights of checks say against "at most one query in a hundred changes".

A betting e-process after Waudby-Smith and Ramdas (Estimating means of bounded random variables by
betting, 2024), begun anew every night as Shiryaev and Roberts do, so that a change is found
whenever it begins: M ← (M + 1) · E(night). While the null hypothesis holds, E has mean at most 1,
so M - n has mean at most 0 after n nights, and M reaches ALARM once in ALARM nights at most, on
average.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

NULL = 0.01
"""Share of queries that may change before it counts as change."""

ALARM = 2_000.0
"""Evidence at which a change is certain enough to be said."""

CONFIDENCE = 0.95

ALTERNATIVES = (0.02, 0.05, 0.1, 0.25, 0.6)
"""Shares of changed queries that are betted on, a process each, all with the same stake."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was gathered so far: one process for each of ALTERNATIVES."""

    processes: tuple[float, ...] = (0.0,) * len(ALTERNATIVES)

    @property
    def value(self) -> float:
        """Give the evidence: the mean of the processes, which is as safe as each of them."""
        return float(np.mean(self.processes))

    @property
    def alarm(self) -> bool:
        """Whether it is enough."""
        return self.value >= ALARM


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An observed share with its one-sided bounds, each at 95 %."""

    estimate: float | None
    low: float
    high: float


def updated(evidence: Evidence, *, changed: int, sampled: int) -> Evidence:
    """Add a night in which ``changed`` of ``sampled`` queries, drawn uniformly, had changed.

    Drawn without replacement the mean of E is smaller still (Hoeffding, 1963). A night without
    queries changes nothing.
    """
    check_counts(changed, sampled)
    if not sampled:
        return evidence
    bets = [night(changed, sampled, alternative) for alternative in ALTERNATIVES]
    # A value above ALARM says all there is to say, and numbers stay finite.
    processes = tuple(
        min((before + 1) * bet, ALARM * 1e6)
        for before, bet in zip(evidence.processes, bets, strict=True)
    )
    return Evidence(processes=processes)


def night(changed: int, sampled: int, alternative: float) -> float:
    """Give the likelihood of what was seen under an alternative, over that under NULL.

    The same as betting the share (alternative - NULL) / (NULL (1 - NULL)) of the stake on every
    query that it has changed.
    """
    won = np.log(alternative / NULL)
    lost = np.log((1 - alternative) / (1 - NULL))
    return float(np.exp(min(changed * won + (sampled - changed) * lost, 700.0)))


def interval(changed: int, sampled: int) -> Interval:
    """Give the share that changed, and one-sided Clopper-Pearson bounds for it."""
    check_counts(changed, sampled)
    if not sampled:
        return Interval(estimate=None, low=0.0, high=1.0)
    rest = sampled - changed
    low = float(betaincinv(changed, rest + 1, 1 - CONFIDENCE)) if changed else 0.0
    high = float(betaincinv(changed + 1, rest, CONFIDENCE)) if rest else 1.0
    return Interval(estimate=changed / sampled, low=low, high=high)


def average(nights: Sequence[tuple[int, int]]) -> Interval:
    """Give the bounds for nights together, each as ``(changed, sampled)``."""
    return interval(sum(changed for changed, _ in nights), sum(sampled for _, sampled in nights))


def check_counts(changed: int, sampled: int) -> None:
    """Raise ValueError for counts that cannot be."""
    if not 0 <= changed <= sampled:
        raise ValueError(f"{changed} of {sampled} queries cannot have changed")
