"""Would the clusters be the same with other noise of the model, or with other passages?

Hennig (Cluster-wise assessment of cluster stability, 2007): cluster again what was moved or drawn
anew, and take for each cluster the largest Jaccard coefficient with any new one. Means below 0.5
are clusters that dissolve, from 0.75 on they are stable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_app.analysis.clusters import NONE, Labels
from search_app.types import Matrix

STABLE, DISSOLVES = 0.75, 0.5
"""Mean Jaccard coefficient from which a cluster counts as stable, and below which as none."""

SHARE = 0.8
"""Of the rows, drawn without replacement for each resampling."""

MOST_DRAWN = 10_000

Cluster = Callable[[Matrix, int], Labels]
"""Clusters rows as before, given a seed."""


@dataclass(frozen=True, kw_only=True)
class Stability:
    """What repeats came to, one value each, and the mean Jaccard coefficient of each cluster.

    ``distance`` is the 1 - cos by which every vector was moved, ``rows`` how many were clustered
    in each repeat.
    """

    aris: Sequence[float]
    jaccards: Sequence[float]
    rows: int
    distance: float = 0.0

    @property
    def ari(self) -> float:
        """The mean adjusted Rand index between the clustering and its repeats."""
        return float(np.mean(self.aris))


def under_noise(
    vectors: Matrix,
    labels: Labels,
    cluster: Cluster,
    *,
    distance: float,
    repeats: int,
    seed: int,
) -> Stability:
    """Move every vector by a 1 - cos of ``distance`` in a random direction, and cluster again.

    The seed of the clustering stays, so that what differs comes from the noise. Noise of 0 moves
    nothing, and nothing is clustered again.
    """
    number = int(labels.max(initial=NONE)) + 1
    if distance == 0:
        return Stability(aris=[1.0], jaccards=[1.0] * number, rows=len(vectors))
    draw = np.random.default_rng(seed)
    again = [cluster(moved(vectors, distance, draw), seed) for _ in range(repeats)]
    return Stability(
        aris=[_ari(labels, each) for each in again],
        jaccards=_mean([best_jaccards(labels, each, number) for each in again]),
        rows=len(vectors),
        distance=distance,
    )


def under_resampling(
    vectors: Matrix, labels: Labels, cluster: Cluster, *, repeats: int, seed: int
) -> Stability:
    """Cluster parts of the rows again, each with a seed of its own, and compare on those rows."""
    number = int(labels.max(initial=NONE)) + 1
    draw = np.random.default_rng(seed)
    size = max(2, min(round(SHARE * len(vectors)), MOST_DRAWN))
    aris, jaccards = [], []
    for repeat in range(repeats):
        rows = np.sort(draw.choice(len(vectors), size, replace=False))
        again = cluster(vectors[rows], seed + repeat + 1)
        aris.append(_ari(labels[rows], again))
        jaccards.append(best_jaccards(labels[rows], again, number))
    return Stability(aris=aris, jaccards=_mean(jaccards), rows=size)


def moved(vectors: Matrix, distance: float, draw: np.random.Generator) -> Matrix:
    """Turn unit rows (n, d) so that each has a cosine of 1 - ``distance`` with where it was."""
    noise = draw.standard_normal(vectors.shape, np.float32)
    noise -= np.einsum("ij,ij->i", vectors, noise)[:, None] * vectors
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    cosine = 1 - distance
    turned: Matrix = (cosine * vectors + np.sqrt(1 - cosine**2) * noise).astype(np.float32)
    return turned


def best_jaccards(labels: Labels, again: Labels, number: int) -> NDArray[np.float64]:
    """Give for each of ``number`` clusters the largest Jaccard coefficient with a new one.

    NaN for a cluster of which no row is there.
    """
    others = int(again.max(initial=NONE)) + 1
    both = (labels != NONE) & (again != NONE)
    shared = np.zeros((number, max(others, 1)))
    np.add.at(shared, (labels[both], again[both]), 1)
    mine = np.bincount(labels[labels != NONE], minlength=number)[:, None]
    theirs = np.bincount(again[again != NONE], minlength=max(others, 1))[None, :]
    union = mine + theirs - shared
    shares = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    best: NDArray[np.float64] = shares.max(axis=1)
    best[mine[:, 0] == 0] = np.nan
    return best


def _ari(labels: Labels, again: Labels) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(labels, again))


def _mean(jaccards: Sequence[NDArray[np.float64]]) -> list[float]:
    stacked = np.stack(jaccards) if jaccards else np.empty((0, 0))
    there = np.isfinite(stacked)
    sums = np.where(there, stacked, 0).sum(axis=0)
    return [float(each) for each in sums / np.maximum(there.sum(axis=0), 1)]
