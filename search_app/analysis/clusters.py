"""Clustering unit vectors: k-means, Ward's agglomeration and HDBSCAN; how many clusters.

On vectors of length 1 the squared distance is 2 - 2 cos, so k-means over them follows the cosine
(spherical k-means but for the length of the centres: Dhillon and Modha, 2001).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.analysis.requirements import require_passages
from search_app.errors import InvalidInputError
from search_app.types import Matrix

Labels = NDArray[np.int64]
"""The cluster of each row, (n,), from 0; -1: in none."""

NONE = -1
LEAST = 3
"""Passages that can be clustered at all."""

FEWEST = 2
"""Clusters that are a clustering."""

MINIBATCH_FROM = 20_000
"""Rows from which k-means looks at parts of them at a time (Sculley, 2010)."""

BATCH = 4_096
WARD_AT_MOST = 5_000
"""Rows of which Ward's agglomeration keeps all distances; of more, a sample is clustered."""

HDBSCAN_AT_MOST = 10_000
DENSITY_DIMENSIONS = 50
"""Principal components that HDBSCAN looks at: in hundreds of dimensions nothing is dense."""

CORE = 3
"""Neighbours that make a row of HDBSCAN dense; as many as a cluster, and few ever are."""

FRINGE = 0.05
"""Share of the clustered rows, those furthest from their centre, that no reach is told by."""

STARTS = 4
CANDIDATES = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40)
SUGGESTED_FROM = 2_000
"""Rows of the sample by which a number of clusters is suggested."""


class Method(StrEnum):
    """How clusters are found."""

    KMEANS = "k-means"
    AGGLOMERATIVE = "agglomerative"
    HDBSCAN = "hdbscan"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """How many clusters the silhouette speaks for.

    ``silhouettes`` has the mean silhouette of each number tried, on a sample of ``rows``; ``gap``
    is by how much the best is ahead of the next best: near 0, the number says little.
    """

    number: int
    gap: float
    silhouettes: Sequence[tuple[int, float]]
    rows: int


def read_method(text: str) -> Method:
    """Read the name of a method.

    Raises:
        InvalidInputError: there is none of that name.
    """
    if text == "kmeans":
        return Method.KMEANS
    if text not in tuple(Method):
        raise InvalidInputError(f"method {text[:40]!r} is not known; write {', '.join(Method)}")
    return Method(text)


def check_clusterable(vectors: Matrix, number: int | None) -> None:
    """See that there is something to cluster.

    Raises:
        InvalidInputError: too few passages, all vectors the same, or more clusters than vectors
            that differ.
    """
    require_passages(len(vectors), LEAST, "clustering")
    distinct = len(np.unique(vectors, axis=0)) if len(vectors) <= MINIBATCH_FROM else len(vectors)
    if distinct == 1 or not np.ptp(vectors, axis=0).any():
        raise InvalidInputError(
            f"all {len(vectors):,} passages have the same vector, so there is nothing to cluster; "
            "texts that differ are needed"
        )
    if number is not None and not FEWEST <= number < distinct:
        raise InvalidInputError(
            f"{number} clusters cannot be made of {distinct:,} vectors that differ; ask for 2 to "
            f"{max(2, distinct - 1):,}"
        )


def clusters_of(vectors: Matrix, method: Method, *, number: int, seed: int) -> Labels:
    """Cluster rows (n, d) of length 1; clusters are numbered by size, the largest is 0.

    ``number`` is how many; HDBSCAN takes it as the least size of a cluster and finds the number
    itself. Of fewer rows, or fewer that differ, come fewer clusters.
    """
    if method is not Method.HDBSCAN:
        number = min(number, len(vectors))
    match method:
        case Method.KMEANS:
            found = _kmeans(vectors, number, seed)
        case Method.AGGLOMERATIVE:
            found = _on_sample(vectors, WARD_AT_MOST, seed, lambda rows: _ward(rows, number))
        case Method.HDBSCAN:
            found = _on_sample(
                vectors, HDBSCAN_AT_MOST, seed, lambda rows: _hdbscan(rows, number, seed)
            )
    return by_size(found)


def by_size(labels: Labels) -> Labels:
    """Number clusters from 0 by size, equal ones by where they first occur; -1 stays."""
    inside = labels[labels != NONE]
    names, firsts, sizes = np.unique(inside, return_index=True, return_counts=True)
    order = np.lexsort((firsts, -sizes))
    renamed = dict(zip(names[order].tolist(), range(len(order)), strict=True))
    return np.array([renamed.get(label, NONE) for label in labels.tolist()], np.int64)


def centres_of(vectors: Matrix, labels: Labels) -> Matrix:
    """Give the mean vector of each cluster, brought to length 1, (clusters, d)."""
    number = int(labels.max(initial=NONE)) + 1
    sums = np.zeros((number, vectors.shape[1]), np.float32)
    inside = labels != NONE
    np.add.at(sums, labels[inside], vectors[inside])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    centres: Matrix = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return centres


def default_least_size(rows: int) -> int:
    """Choose the least size of a cluster for HDBSCAN: one row in two hundred, at least 5."""
    return min(max(5, rows // 200), max(2, rows // 2))


def suggested_number(vectors: Matrix, *, seed: int) -> Suggestion:
    """Suggest a number of clusters: the k of the highest silhouette on a sample, by k-means."""
    from sklearn.metrics import silhouette_score

    rows = sample_of(vectors, SUGGESTED_FROM, seed)
    distinct = len(np.unique(rows, axis=0))
    tried = [number for number in CANDIDATES if number <= max(2, min(distinct - 1, len(rows) // 3))]
    scores = []
    for number in tried:
        labels = _kmeans(rows, number, seed)
        several = len(set(labels.tolist())) > 1
        scores.append(float(silhouette_score(rows, labels)) if several else -1.0)
    ranked = sorted(scores, reverse=True)
    return Suggestion(
        number=tried[int(np.argmax(scores))],
        gap=ranked[0] - ranked[1] if len(ranked) > 1 else 0.0,
        silhouettes=tuple(zip(tried, scores, strict=True)),
        rows=len(rows),
    )


def sample_of(vectors: Matrix, most: int, seed: int) -> Matrix:
    """Draw at most so many rows, in their order."""
    return vectors if len(vectors) <= most else vectors[_places(len(vectors), most, seed)]


def _places(total: int, most: int, seed: int) -> NDArray[np.intp]:
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False))


def _kmeans(vectors: Matrix, number: int, seed: int) -> Labels:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    options: dict[str, Any] = {"n_clusters": number, "init": "k-means++", "random_state": seed}
    if len(vectors) >= MINIBATCH_FROM:
        model = MiniBatchKMeans(**options, n_init=STARTS, batch_size=BATCH)
    else:
        model = KMeans(**options, n_init=STARTS)
    with warnings.catch_warnings():
        # That fewer rows differ than there should be clusters, which the labels say anyway.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        found: Labels = model.fit_predict(vectors).astype(np.int64)
    return found


def _ward(vectors: Matrix, number: int) -> Labels:
    from sklearn.cluster import AgglomerativeClustering

    found: Labels = (
        AgglomerativeClustering(n_clusters=number, linkage="ward")
        .fit_predict(vectors)
        .astype(np.int64)
    )
    return found


def _hdbscan(vectors: Matrix, least: int, seed: int) -> Labels:
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    most = min(DENSITY_DIMENSIONS, *vectors.shape)
    reduced = PCA(n_components=most, random_state=seed).fit_transform(vectors)
    found: Labels = (
        HDBSCAN(
            min_cluster_size=max(2, least),
            min_samples=min(CORE, least),
            cluster_selection_method="leaf",
            copy=True,
        )
        .fit_predict(reduced)
        .astype(np.int64)
    )
    return np.maximum(found, NONE)


def _on_sample(vectors: Matrix, most: int, seed: int, cluster: Any) -> Labels:
    """Cluster at most so many rows; the others go to the nearest centre.

    A row in no cluster's reach stays in none where the method leaves any out: it is further from
    its nearest centre than nearly all the rows that were clustered.
    """
    if len(vectors) <= most:
        found: Labels = cluster(vectors)
        return found
    chosen = _places(len(vectors), most, seed)
    among: Labels = cluster(vectors[chosen])
    if among.max() == NONE:
        return np.full(len(vectors), NONE, np.int64)
    labels, near = nearest_centre(vectors, centres_of(vectors[chosen], among))
    if (among == NONE).any():
        own = near[chosen]
        reach = [np.quantile(own[among == label], FRINGE) for label in range(among.max() + 1)]
        labels[near < np.array(reach)[labels]] = NONE
    labels[chosen] = among
    return labels


def nearest_centre(vectors: Matrix, centres: Matrix) -> tuple[Labels, Matrix]:
    """Give the nearest centre of each row and its cosine."""
    cosines = vectors @ centres.T
    labels = cosines.argmax(axis=1).astype(np.int64)
    return labels, cosines[np.arange(len(labels)), labels]
