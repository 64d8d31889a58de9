"""How far two answers lie apart, how they cluster, and noise of a given size. No I/O."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from search_app.errors import ConfigurationError, InvalidInputError
from search_app.types import Matrix

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]

CLUSTERS = 10
"""As many as in the published experiment."""

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds with Student's t interval at 95 %; of one seed, both ends are its value."""

    mean: float
    low: float
    high: float
    values: Sequence[float]


def unit_rows(vectors: Matrix) -> Numbers:
    """Bring rows (n, d) to length 1, in float64."""
    exact = vectors.astype(np.float64)
    rows: Numbers = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return rows


def equal_rows(left: Matrix, right: Matrix) -> NDArray[np.bool_]:
    """Say which rows (n, d) float32 are equal to the bit."""
    bits = (np.ascontiguousarray(left).view(np.uint32), np.ascontiguousarray(right).view(np.uint32))
    same: NDArray[np.bool_] = (bits[0] == bits[1]).all(axis=1)
    return same


def distances(left: Matrix, right: Matrix) -> Numbers:
    """Give 1 − cos of each pair of rows (n, d); exactly 0 where they are equal to the bit.

    As half the squared difference of unit vectors: near 1 a cosine itself has no digits left.
    """
    apart = unit_rows(left) - unit_rows(right)
    found: Numbers = np.einsum("ij,ij->i", apart, apart) / 2
    found[equal_rows(left, right)] = 0.0
    return found


def noisy(vectors: Matrix, *, lowest: float, share: float, seed: int) -> Matrix:
    """Add Gaussian noise of one size, so that the lowest cosine to the original is ``lowest``.

    What of the noise g lies along a vector x changes its length only and is left out; then the
    angle is tan θ = σ|g|, and the row with the longest g sets σ.

    Args:
        vectors: (n, d) float32, any lengths; the answer has rows of length 1.
        lowest: cosine in (0, 1); reached to the rounding of float32.
        share: of the rows, drawn by the seed, that get noise; at least one does. The rest keep
            their bits.
        seed: of the draw and the noise.

    Raises:
        InvalidInputError: ``lowest`` or ``share`` cannot be meant.
    """
    if not 0 < lowest < 1 or not 0 < share <= 1:
        raise InvalidInputError(
            f"noise {lowest:g}@{share:g}: the lowest cosine lies between 0 and 1, the share above "
            "0 and at most 1"
        )
    random = np.random.default_rng(seed)
    number = max(1, round(share * len(vectors)))
    places = np.sort(random.choice(len(vectors), number, replace=False))
    rows = unit_rows(vectors[places])
    noise = random.standard_normal(rows.shape)
    along = np.einsum("ij,ij->i", rows, noise)
    noise -= along[:, None] * rows
    tangent = np.sqrt(1 - lowest**2) / lowest
    moved = rows + noise * (tangent / np.linalg.norm(noise, axis=1).max())
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    answer = vectors.copy()
    answer[places] = moved.astype(np.float32)
    return answer


def require_clustering() -> None:
    """Refuse early where scikit-learn is not installed.

    Raises:
        ConfigurationError: says how to install it.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ConfigurationError(
            "ingest study determinism needs the package scikit-learn: pip install 'unmoved[study]'"
        )


def clusters_of(vectors: Matrix, number: int = CLUSTERS) -> Labels:
    """Cluster rows as the publication did: AgglomerativeClustering of scikit-learn (Ward)."""
    from sklearn.cluster import AgglomerativeClustering

    labels: Labels = (
        AgglomerativeClustering(n_clusters=number).fit_predict(vectors).astype(np.int64)
    )
    return labels


def adjusted_rand(left: Labels, right: Labels) -> float:
    """Give the adjusted Rand index of two clusterings (Hubert and Arabie, 1985)."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(left, right))


def interval_of(values: Sequence[float], *, most: float = 1.0) -> Interval:
    """Sum up values of several seeds, one at least; the interval ends at ``most``."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(mean=mean, low=mean, high=mean, values=tuple(values))
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = spread * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Interval(
        mean=mean, low=max(-1.0, mean - reach), high=min(most, mean + reach), values=tuple(values)
    )
