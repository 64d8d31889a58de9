"""Whether probabilities mean what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

BINS = 10


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Predictions whose probability lies between ``low`` and ``high``.

    ``confidence`` is their mean probability, ``accuracy`` the share that was right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How probabilities and outcomes go together.

    ``ece``: expected calibration error over ``BINS`` bins of equal width (Naeini et al., 2015).
    ``brier``: mean over documents of the squared difference between probabilities and truth,
    summed over labels (Brier, 1950), 0 to 2. ``log_loss``: mean -ln of the truth's probability.
    """

    ece: float
    brier: float
    log_loss: float
    bins: Sequence[Bin]


def calibration_of(probabilities: Numbers, truth: NDArray[np.int64]) -> Calibration:
    """Judge probabilities (n, labels) by the true label of each row."""
    chosen = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(truth)), chosen]
    right = chosen == truth
    wanted = np.zeros_like(probabilities)
    wanted[np.arange(len(truth)), truth] = 1
    bins = _bins(confidence, right)
    ece = sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / len(truth)
    given = np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, 1)
    return Calibration(
        ece=float(ece),
        brier=float(((probabilities - wanted) ** 2).sum(axis=1).mean()),
        log_loss=float(-np.log(given).mean()),
        bins=bins,
    )


def _bins(confidence: Numbers, right: NDArray[np.bool_]) -> list[Bin]:
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = []
    for place in range(BINS):
        inside = which == place
        if inside.any():
            found.append(
                Bin(
                    low=place / BINS,
                    high=(place + 1) / BINS,
                    count=int(inside.sum()),
                    confidence=float(confidence[inside].mean()),
                    accuracy=float(right[inside].mean()),
                )
            )
    return found
