"""A number of a document predicted from its vector: ridge regression or a random forest."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from search_app.analysis.labels import DRAWS, FOLDS, LEAST_LABELLED, TREES, Spread, spread_of
from search_app.errors import InvalidInputError
from search_app.types import Matrix

LARGEST = 1e100
"""Of numbers further from 0 than this, squares have no number."""

Numbers = NDArray[np.float64]


class Regressor(StrEnum):
    """How a number is predicted."""

    RIDGE = "ridge"
    FOREST = "forest-regression"


@dataclass(frozen=True, kw_only=True, eq=False)
class RegressionReport:
    """How well numbers are predicted for documents that were not seen in training.

    ``r2`` is the share of the variance explained, 0 for always saying the mean; ``mae`` the mean
    absolute error, beside ``baseline_mae``, that of always saying the median; ``spearman`` the
    rank correlation.
    """

    documents: int
    folds: int
    r2: Spread
    mae: Spread
    rmse: float
    spearman: float
    baseline_mae: float
    predictions: Numbers


def check_numbers(values: Sequence[float], field: str) -> None:
    """See that there are numbers to learn from.

    Raises:
        InvalidInputError: says what is missing.
    """
    if len(values) < LEAST_LABELLED:
        raise InvalidInputError(
            f"{len(values)} documents have a number in the field {field!r}; {LEAST_LABELLED} or "
            "more are needed to learn from"
        )
    if max(map(abs, values)) > LARGEST:
        raise InvalidInputError(
            f"the field {field!r} has a number as large as {max(values, key=abs):g}; numbers up to "
            f"{LARGEST:g} can be learnt from"
        )
    if len(set(values)) == 1:
        raise InvalidInputError(
            f"all {len(values):,} documents have {values[0]:g} in the field {field!r}; numbers "
            "that differ are needed"
        )


def trained(method: Regressor, vectors: Matrix, values: Numbers, seed: int) -> Any:
    """Train a regression on unit rows (n, d)."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import RidgeCV

    if method is Regressor.RIDGE:
        return RidgeCV(alphas=np.logspace(-3, 2, 11)).fit(vectors, values)
    return RandomForestRegressor(TREES, max_features="sqrt", random_state=seed, n_jobs=2).fit(
        vectors, values
    )


def cross_validated(
    method: Regressor,
    vectors: Matrix,
    values: Numbers,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    folds: int = FOLDS,
) -> RegressionReport:
    """Train on all folds but one, predict that one, for each; groups are kept together."""
    from sklearn.model_selection import GroupKFold, KFold

    if groups is None:
        splits = KFold(folds, shuffle=True, random_state=seed).split(vectors)
    elif len(set(groups)) < folds:
        raise InvalidInputError(
            f"the documents are of {len(set(groups))} groups; {folds} or more are needed"
        )
    else:
        splits = GroupKFold(folds, shuffle=True, random_state=seed).split(
            vectors, values, list(groups)
        )
    predictions = np.zeros(len(values))
    for train, test in splits:
        predictions[test] = trained(method, vectors[train], values[train], seed).predict(
            vectors[test]
        )
    return _report(values, predictions, folds, seed)


def _report(values: Numbers, predictions: Numbers, folds: int, seed: int) -> RegressionReport:
    errors = values - predictions
    draw = np.random.default_rng(seed)
    drawn = [draw.integers(0, len(values), len(values)) for _ in range(DRAWS)]
    varied = [rows for rows in drawn if np.ptp(values[rows]) > 0]
    constant = np.ptp(predictions) == 0
    return RegressionReport(
        documents=len(values),
        folds=folds,
        r2=spread_of(_r2(values, errors), [_r2(values[rows], errors[rows]) for rows in varied]),
        mae=spread_of(
            float(np.abs(errors).mean()), [float(np.abs(errors[rows]).mean()) for rows in drawn]
        ),
        rmse=float(np.sqrt((errors**2).mean())),
        spearman=0.0 if constant else float(stats.spearmanr(values, predictions).statistic),
        baseline_mae=float(np.abs(values - np.median(values)).mean()),
        predictions=predictions,
    )


def _r2(values: Numbers, errors: Numbers) -> float:
    return 1 - float((errors**2).sum() / ((values - values.mean()) ** 2).sum())
