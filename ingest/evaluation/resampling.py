"""What chance may have to do with a mean over queries: intervals and a test by resampling.

Intervals are percentile bootstrap intervals over queries (Efron, 1979; Sakai, "Evaluating
Evaluation Metrics based on the Bootstrap", 2006): queries are drawn with replacement, both settings
with the same draw. The test is the paired randomisation test over queries (Fisher, 1935; Smucker,
Allan and Carterette, 2007): were the settings alike, each query's difference could as well have had
the other sign. Both are seeded, so that the same scores give the same figures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0
_BLOCK = 2_000_000
"""Most numbers drawn at once, 16 MB."""
_ROUNDING = 1e-12
"""Sums of the same numbers in another order differ by less."""

Values = NDArray[np.float64]
"""One number per query, shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over queries and its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean paired difference, its interval, and the two-sided p of the randomisation test."""

    difference: float
    low: float
    high: float
    p: float


def mean_of(values: Values) -> Mean:
    """Give the mean of one number or more, with its bootstrap interval."""
    low, high = _interval(values)
    return Mean(mean=float(values.mean()), low=low, high=high)


def difference_of(values: Values, others: Values) -> Difference:
    """Compare two settings over the same queries: ``values`` minus ``others``."""
    differences = values - others
    low, high = _interval(differences)
    return Difference(
        difference=float(differences.mean()),
        low=low,
        high=high,
        p=randomisation_p(differences),
    )


def lower_bound(values: Values, confidence: float = CONFIDENCE) -> float:
    """Give the one-sided lower bound of a mean, by the same bootstrap."""
    return float(np.quantile(_resampled_means(values), 1 - confidence))


def randomisation_p(differences: Values) -> float:
    """Test whether paired differences are about 0, two-sided.

    Of few queries all sign patterns are gone through, and p is exact; of more, ``RESAMPLES`` are
    drawn, and the observed one counts among them, so that p is never 0.
    """
    # Those that are 0 stay so whatever their sign.
    moved = differences[differences != 0]
    observed = abs(moved.sum()) - _ROUNDING
    if 2**moved.size <= RESAMPLES:
        patterns = np.arange(2**moved.size)[:, None] >> np.arange(moved.size) & 1
        return float((np.abs((patterns * 2 - 1) @ moved) >= observed).mean())
    generator = np.random.default_rng(SEED)
    extreme = 0
    for rows in _blocks(moved.size):
        signs = generator.integers(0, 2, (rows, moved.size), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= observed).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def _interval(values: Values) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(_resampled_means(values), [tail, 1 - tail])
    return float(low), float(high)


def _resampled_means(values: Values) -> Values:
    generator = np.random.default_rng(SEED)
    return np.concatenate(
        [
            values[generator.integers(0, values.size, (rows, values.size))].mean(axis=1)
            for rows in _blocks(values.size)
        ]
    )


def _blocks(width: int) -> Iterator[int]:
    """Part the resamples into blocks of rows that fit into memory."""
    most = max(1, _BLOCK // width)
    for start in range(0, RESAMPLES, most):
        yield min(most, RESAMPLES - start)
