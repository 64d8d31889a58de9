"""What moved between two sets of vectors of the same texts, and what it goes with. No model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ingest.study.features import FEATURES, Feature, features_of
from ingest.study.measures import distances, equal_rows, unit_rows
from search_app.consistency.ranking import BEYOND, material_change, tolerance_of
from search_app.consistency.spaces import RELATED, cka
from search_app.errors import InvalidInputError
from search_app.list_measures import overlap
from search_app.types import Matrix

Numbers = NDArray[np.float64]

CLAIM = 0.3
"""Rank correlation below which nothing is claimed: its interval, and its partial, must pass it."""

CONFIDENCE = 0.95
FEWEST = 20
"""Texts below which no correlation is looked at."""

MOST_QUERIES = 2000
"""Texts whose lists are compared, the others being drawn from all."""

SAME_SPACE = 0.9
"""Median cosine from which both sets are taken to lie in one space."""

ROTATED = 0.99
"""Median cosine of texts that a rotation was not fitted on, from which it explains everything."""

_BLOCK = 256
_SEED = 1


class Kinship(StrEnum):
    """What the two sets are to each other."""

    EQUAL = "equal"
    SAME = "the same space"
    ROTATED = "rotated"
    RELATED = "related"
    UNRELATED = "unrelated"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Some numbers, summed up."""

    lowest: float
    median: float
    p90: float
    p99: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Nearest texts of each of ``queries`` texts among all others, in both sets.

    ``changed`` lists have other members, ``material`` ones beyond the tolerance.
    """

    k: int
    queries: int
    overlap: float
    changed: int
    material: int
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's ρ of the distance with a feature, and with all other features held fixed.

    ``low`` to ``high`` is a 95 % interval over all features together (Bonferroni), by Fisher's z
    with the variance of Bonett and Wright (Psychometrika 65, 2000).
    """

    feature: Feature
    rho: float
    low: float
    high: float
    partial: float

    @property
    def claimed(self) -> bool:
        """Say whether it is strong and sure enough to be told."""
        surely = min(abs(self.low), abs(self.high)) if self.low * self.high > 0 else 0.0
        return surely >= CLAIM and self.partial * self.rho > 0 and abs(self.partial) >= CLAIM


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How the spaces lie to each other; ``fitted`` is the median cosine after a rotation.

    The rotation is fitted on one half of the texts (orthogonal Procrustes, Schönemann 1966) and
    tried on the other. ``cka`` is linear CKA (Kornblith et al., ICML 2019).
    """

    kinship: Kinship
    cka: float
    direct: float
    fitted: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that two sets of vectors say."""

    texts: int
    dimensions: int
    distance: Spread
    equal: int
    norms: tuple[Spread, Spread]
    lists: Lists
    correlations: Sequence[Correlation]
    geometry: Geometry

    @property
    def strongest(self) -> Correlation | None:
        """The feature that the distance goes with most, where one may be claimed."""
        claimed = [each for each in self.correlations if each.claimed]
        return max(claimed, key=lambda each: abs(each.partial), default=None)


def compare(
    left: Matrix, right: Matrix, texts: Sequence[str], *, k: int = 10, batch: int | None = None
) -> Comparison:
    """Compare vectors (n, d) of the same n texts.

    Raises:
        InvalidInputError: the shapes differ, or there are fewer than two texts or other ones.
    """
    if left.shape != right.shape:
        raise InvalidInputError(
            f"the shapes differ: {_shape(left)} and {_shape(right)}; both must be of the same "
            "texts, in the same order, and of as many dimensions"
        )
    if len(texts) != len(left):
        raise InvalidInputError(f"{len(texts):,} texts for {len(left):,} vectors")
    if len(texts) < 2:  # noqa: PLR2004 - a list needs another text
        raise InvalidInputError("one text alone has no neighbours; two are needed")
    apart = distances(left, right)
    return Comparison(
        texts=len(texts),
        dimensions=left.shape[1],
        distance=_spread(apart),
        equal=int(equal_rows(left, right).sum()),
        norms=(_spread(_norms(left)), _spread(_norms(right))),
        lists=_lists(unit_rows(left), unit_rows(right), k),
        correlations=correlations(apart, features_of(texts, batch=batch)),
        geometry=_geometry(left, right, apart),
    )


def correlations(apart: Numbers, features: Mapping[str, Numbers]) -> list[Correlation]:
    """Correlate a distance (n,) with features that vary, the strongest partial first."""
    usable = {name: values for name, values in features.items() if np.ptp(values) > 0}
    if len(apart) < max(FEWEST, 2 * len(usable) + 3) or not usable or not np.ptp(apart):
        return []
    ranks = np.stack([stats.rankdata(values) for values in (apart, *usable.values())])
    together = np.corrcoef(ranks)
    # Features may be copies of each other: what only both could explain is halved between them.
    inverse = np.linalg.pinv(together)
    found = []
    for place, name in enumerate(usable, start=1):
        rho = float(together[0, place])
        scale = float(np.sqrt(abs(inverse[0, 0] * inverse[place, place])))
        low, high = _interval(rho, len(apart), len(usable))
        partial = float(np.clip(-inverse[0, place] / scale, -1, 1)) if scale else 0.0
        found.append(
            Correlation(feature=FEATURES[name], rho=rho, low=low, high=high, partial=partial)
        )
    return sorted(found, key=lambda each: -abs(each.partial))


def _interval(rho: float, number: int, tests: int) -> tuple[float, float]:
    z = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    error = np.sqrt((1 + rho**2 / 2) / (number - 3))
    reach = float(stats.norm.ppf(1 - (1 - CONFIDENCE) / (2 * tests))) * error
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def _lists(left: Numbers, right: Numbers, k: int) -> Lists:
    """Compare who is near whom, each text asked among all others."""
    asked = np.arange(len(left))
    if len(asked) > MOST_QUERIES:
        draw = np.random.default_rng(_SEED).choice(len(asked), MOST_QUERIES, replace=False)
        asked = np.sort(draw)
    k = min(k, len(left) - 1)
    rows = (left.astype(np.float32), right.astype(np.float32))
    best = [_best(each, asked, k) for each in rows]
    tolerance = tolerance_of(best[0][1], k)
    shared, changed, material = [], 0, 0
    for place, query in enumerate(asked.tolist()):
        lists = [columns[place, :k].tolist() for columns, _ in best]
        shared.append(overlap(*lists))
        if shared[-1] == 1:
            continue
        changed += 1
        both = np.union1d(best[0][0][place], best[1][0][place])
        scores = [each[both] @ each[query] for each in rows]
        material += material_change(scores[0][None], scores[1][None], k, tolerance) is not None
    return Lists(
        k=k,
        queries=len(asked),
        overlap=float(np.mean(shared)),
        changed=changed,
        material=material,
        tolerance=tolerance,
    )


def _best(rows: Matrix, asked: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], Matrix]:
    """Give columns and scores of the nearest others, best first, equal ones by column."""
    depth = min(k + BEYOND, len(rows) - 1)
    columns = np.empty((len(asked), depth), np.int64)
    best = np.empty((len(asked), depth), np.float32)
    for start in range(0, len(asked), _BLOCK):
        block = asked[start : start + _BLOCK]
        scores = rows[block] @ rows.T
        # No text is its own neighbour.
        scores[np.arange(len(block)), block] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        columns[start : start + len(block)] = order
        best[start : start + len(block)] = np.take_along_axis(scores, order, axis=1)
    return columns, best


def _geometry(left: Matrix, right: Matrix, apart: Numbers) -> Geometry:
    one, other = unit_rows(left), unit_rows(right)
    direct = 1 - float(np.median(apart))
    alignment = linear_cka(one, other)
    fitted = _fitted(one, other)
    if not apart.any():
        kinship = Kinship.EQUAL
    elif direct >= SAME_SPACE:
        kinship = Kinship.SAME
    elif fitted >= ROTATED:
        kinship = Kinship.ROTATED
    else:
        kinship = Kinship.RELATED if alignment >= RELATED else Kinship.UNRELATED
    return Geometry(kinship=kinship, cka=alignment, direct=direct, fitted=fitted)


def linear_cka(left: Numbers, right: Numbers) -> float:
    """Give linear CKA of rows (n, d) and (n, e), 0 to 1; 1 for spaces alike up to a rotation.

    See ``spaces.cka``; on a sample of texts where there are many.
    """
    places = _sample(len(left), MOST_QUERIES)
    if len(places) < 4:  # noqa: PLR2004 - the estimator divides by n - 3
        return 1.0 if np.array_equal(left, right) else 0.0
    grams = (left[places] @ left[places].T, right[places] @ right[places].T)
    return float(np.clip(cka(*grams), 0, 1))


def _fitted(left: Numbers, right: Numbers) -> float:
    """Rotate half of the texts onto their other vectors; give the median cosine of the rest."""
    order = np.random.default_rng(_SEED).permutation(len(left))
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    # With fewer texts than dimensions, the rotation is one of the spaces that they span.
    (one, a), (other, b) = (np.linalg.qr(each[train].T) for each in (left, right))
    u, _, v = np.linalg.svd(a @ b.T)
    turned = left[test] @ one @ u @ v @ other.T
    return float(np.median(np.einsum("ij,ij->i", turned, right[test])))


def _sample(number: int, most: int) -> NDArray[np.int64]:
    if number <= most:
        return np.arange(number)
    return np.sort(np.random.default_rng(_SEED).choice(number, most, replace=False))


def _norms(vectors: Matrix) -> Numbers:
    lengths: Numbers = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return lengths


def _spread(values: Numbers) -> Spread:
    low, half, most, nearly, top = np.quantile(values, [0, 0.5, 0.9, 0.99, 1]).tolist()
    return Spread(lowest=low, median=half, p90=most, p99=nearly, highest=top)


def _shape(vectors: Matrix) -> str:
    return " × ".join(f"{size:,}" for size in vectors.shape)
