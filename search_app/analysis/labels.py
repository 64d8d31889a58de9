"""Labels for documents: by descriptions, by labelled neighbours, or by a trained classifier.

What is classified is a document: the mean vector of its passages. So passages of one document never
are on both sides of a cross-validation; documents that belong together are kept together by groups.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from search_app.analysis.calibration import Calibration, calibration_of
from search_app.errors import InvalidInputError
from search_app.types import Matrix

FOLDS = 5
LEAST_LABELLED = 10
LEAST_PER_LABEL = 2
FEWEST = 2
"""Labels that can be told apart."""

NEIGHBOURS = 10
TREES = 300
PENALTY = 0.03
"""C of logistic regression over standardised numbers."""

CLOSENESS = 0.01
"""How much nearer a neighbour must be to count e times as much, as 1 - cos."""

DRAWS = 1_000
"""Bootstrap draws of documents for an interval."""

TEMPERATURE = 0.02
"""Of zero-shot probabilities where there are no labelled documents to fit it by."""

CONFIDENCE = 0.95

Numbers = NDArray[np.float64]
Truth = NDArray[np.int64]


class Classifier(StrEnum):
    """How a label is chosen."""

    ZERO_SHOT = "zero-shot"
    KNN = "knn"
    LOGISTIC = "logistic"
    FOREST = "forest"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A measure with its 95 % interval: percentiles over bootstrap draws of documents."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """How one label fares: of its ``support`` documents, and of those it was given to."""

    label: str
    support: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """How well labels are chosen for documents that were not seen in training.

    ``probabilities`` is (documents, labels), each row predicted by a model that had not seen the
    document. ``confusion[i][j]`` counts documents of label i that were given label j. ``baseline``
    is the accuracy of always giving the commonest label.
    """

    labels: Sequence[str]
    documents: int
    folds: int
    accuracy: Spread
    macro_f1: Spread
    baseline: float
    each: Sequence[LabelScore]
    confusion: Sequence[Sequence[int]]
    calibration: Calibration
    probabilities: Numbers


Fit = Callable[[Matrix, Truth, int], Any]
"""Gives something with ``predict_proba`` for all labels, trained on rows, labels and a seed."""


def read_classifier(text: str) -> Classifier:
    """Read the name of a method.

    Raises:
        InvalidInputError: there is none of that name.
    """
    if text not in tuple(Classifier):
        raise InvalidInputError(f"method {text[:40]!r} is not known; write {', '.join(Classifier)}")
    return Classifier(text)


def check_labelled(given: Sequence[str], field: str) -> None:
    """See that labels can be learnt from.

    Raises:
        InvalidInputError: says what is missing.
    """
    counts = Counter(given)
    if len(given) < LEAST_LABELLED:
        raise InvalidInputError(
            f"{len(given)} documents have the field {field!r}; {LEAST_LABELLED} or more are "
            "needed to learn from, or use zero-shot with the names of labels"
        )
    if len(counts) < FEWEST:
        raise InvalidInputError(
            f"all {len(given):,} documents that have the field {field!r} say "
            f"{next(iter(counts))!r}; two values or more are needed to tell apart"
        )
    rare = [label for label, count in counts.items() if count < LEAST_PER_LABEL]
    if len(counts) - len(rare) < FEWEST:
        raise InvalidInputError(
            f"field {field!r} has {len(counts):,} values on {len(given):,} documents, so hardly "
            f"any is on {LEAST_PER_LABEL} documents; labels that documents share are needed"
        )


def trained(method: Classifier, vectors: Matrix, truth: Truth, seed: int) -> Any:
    """Train a classifier on unit rows (n, d)."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    match method:
        case Classifier.KNN:
            number = min(NEIGHBOURS, len(vectors))
            model = KNeighborsClassifier(number, weights=_closeness, metric="euclidean")
        case Classifier.LOGISTIC:
            # What all vectors of a model share says nothing, and keeps the solver busy for long.
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300, tol=1e-3)
            )
        case _:
            model = RandomForestClassifier(TREES, max_features="sqrt", random_state=seed, n_jobs=2)
    return model.fit(vectors, truth)


def _closeness(distances: Numbers) -> Numbers:
    """Weigh neighbours by e to the power of their cosine over ``CLOSENESS``, up to a factor."""
    squares = distances**2 / 2
    weights: Numbers = np.exp(-(squares - squares.min(axis=1, keepdims=True)) / CLOSENESS)
    return weights


def cross_validated(
    method: Classifier,
    vectors: Matrix,
    given: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    folds: int = FOLDS,
) -> Report:
    """Train on all folds but one, predict that one, for each; labels stay equally frequent.

    Args:
        method: knn, logistic or forest.
        vectors: of documents, (n, d).
        given: the label of each.
        groups: documents of one group are never on both sides.
        seed: of the folds and of what draws at random.
        folds: at most; a label with fewer documents lowers it to two at least.
    """
    labels = sorted(set(given))
    truth = np.array([labels.index(each) for each in given], np.int64)
    folds = max(2, min(folds, *Counter(given).values()))
    probabilities = np.zeros((len(given), len(labels)))
    for train, test in _splits(truth, groups, folds, seed):
        model = trained(method, vectors[train], truth[train], seed)
        probabilities[np.ix_(test, model.classes_)] = model.predict_proba(vectors[test])
    return report_of(labels, truth, probabilities, folds=folds, seed=seed)


def _splits(truth: Truth, groups: Sequence[str] | None, folds: int, seed: int) -> Any:
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    empty = np.zeros(len(truth))
    with warnings.catch_warnings():
        # A label with one document is in one fold only, and is then never found; the report says.
        warnings.filterwarnings("ignore", message="The least populated class")
        if groups is None:
            splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
            return list(splitter.split(empty, truth))
        if len(set(groups)) < folds:
            raise InvalidInputError(
                f"the documents are of {len(set(groups))} groups; {folds} or more are needed"
            )
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        return list(splitter.split(empty, truth, list(groups)))


def report_of(
    labels: Sequence[str], truth: Truth, probabilities: Numbers, *, folds: int, seed: int
) -> Report:
    """Sum up what was predicted for documents whose label is known."""
    chosen = probabilities.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, chosen), 1)
    precision, recall, f1 = _scores(confusion)
    support = confusion.sum(axis=1)
    draw = np.random.default_rng(seed)
    accuracies, f1s = [], []
    for _ in range(DRAWS):
        rows = draw.integers(0, len(truth), len(truth))
        drawn = np.zeros_like(confusion)
        np.add.at(drawn, (truth[rows], chosen[rows]), 1)
        accuracies.append(np.trace(drawn) / len(rows))
        there = drawn.sum(axis=1) > 0
        f1s.append(_scores(drawn)[2][there].mean())
    return Report(
        labels=labels,
        documents=len(truth),
        folds=folds,
        accuracy=spread_of(float(np.trace(confusion) / len(truth)), accuracies),
        macro_f1=spread_of(float(f1[support > 0].mean()), f1s),
        baseline=float(support.max() / len(truth)),
        each=[
            LabelScore(
                label=label,
                support=int(support[place]),
                precision=float(precision[place]),
                recall=float(recall[place]),
                f1=float(f1[place]),
            )
            for place, label in enumerate(labels)
        ],
        confusion=confusion.tolist(),
        calibration=calibration_of(probabilities, truth),
        probabilities=probabilities,
    )


def _scores(confusion: NDArray[np.int64]) -> tuple[Numbers, Numbers, Numbers]:
    hits = np.diagonal(confusion).astype(np.float64)
    given, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = np.divide(hits, given, out=np.zeros_like(hits), where=given > 0)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=support > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)
    return precision, recall, f1


def spread_of(value: float, draws: Sequence[float]) -> Spread:
    """Give a measure with the interval that bootstrap draws of it span."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Spread(value=value, low=float(low), high=float(high))


def zero_shot(documents: Matrix, labels: Matrix, temperature: float) -> Numbers:
    """Give probabilities (documents, labels): softmax of the cosines over a temperature."""
    logits = (documents @ labels.T).astype(np.float64) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    shares: Numbers = weights / weights.sum(axis=1, keepdims=True)
    return shares


def fitted_temperature(documents: Matrix, labels: Matrix, truth: Truth) -> float:
    """Give the temperature of the least log loss on labelled documents (Guo et al., 2017)."""

    def loss(logarithm: float) -> float:
        shares = zero_shot(documents, labels, float(np.exp(logarithm)))
        return float(-np.log(np.clip(shares[np.arange(len(truth)), truth], 1e-12, 1)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-8.0, 2.0), method="bounded").x))


def zero_shot_report(
    documents: Matrix, vectors: Matrix, labels: Sequence[str], truth: Truth, *, seed: int
) -> Report:
    """Judge zero-shot labels; each fold's temperature is fitted on the other folds."""
    counts = np.bincount(truth, minlength=len(labels))
    folds = max(2, min(FOLDS, int(counts[counts > 0].min())))
    probabilities = np.zeros((len(truth), len(labels)))
    for train, test in _splits(truth, None, folds, seed):
        temperature = fitted_temperature(documents[train], vectors, truth[train])
        probabilities[test] = zero_shot(documents[test], vectors, temperature)
    return report_of(labels, truth, probabilities, folds=folds, seed=seed)
