"""How good a clustering is: by itself, and against what a metadata field says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_app.analysis.clusters import FEWEST, NONE, Labels
from search_app.types import JSON, Matrix

SILHOUETTE_AT_MOST = 5_000
"""Rows of the sample that silhouettes are computed on: they compare every row with every other."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What the vectors alone say of a clustering; rows in no cluster are left out.

    ``silhouette`` is the mean over a sample of ``silhouette_rows`` (Rousseeuw, 1987; higher is
    better, at most 1), ``silhouettes`` that of each cluster. ``davies_bouldin`` (1979): lower is
    better. All are None where there are fewer than two clusters.
    """

    silhouette: float | None
    silhouettes: Sequence[float | None]
    silhouette_rows: int
    davies_bouldin: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How clusters agree with a field, over the ``rows`` that have it and are in a cluster.

    ``ari``: adjusted Rand index (Hubert and Arabie, 1985). ``nmi``: mutual information over the
    arithmetic mean of both entropies, which is the same number as ``v_measure`` (Rosenberg and
    Hirschberg, 2007), the harmonic mean of homogeneity and completeness.
    """

    field: str
    rows: int
    values: int
    ari: float
    nmi: float
    homogeneity: float
    completeness: float
    v_measure: float


def quality_of(vectors: Matrix, labels: Labels, *, seed: int) -> Quality:
    """Judge a clustering of rows (n, d) by the rows alone."""
    from sklearn.metrics import davies_bouldin_score, silhouette_samples

    number = int(labels.max(initial=NONE)) + 1
    inside = np.flatnonzero(labels != NONE)
    empty = Quality(
        silhouette=None, silhouettes=[None] * number, silhouette_rows=0, davies_bouldin=None
    )
    if not FEWEST <= number < len(inside):
        return empty
    rows = inside
    if len(inside) > SILHOUETTE_AT_MOST:
        draw = np.random.default_rng(seed)
        rows = np.sort(draw.choice(inside, SILHOUETTE_AT_MOST, replace=False))
    drawn = labels[rows]
    if not FEWEST <= len(np.unique(drawn)) < len(drawn):
        return empty
    each = silhouette_samples(vectors[rows], drawn)
    return Quality(
        silhouette=float(each.mean()),
        silhouettes=[
            float(each[drawn == cluster].mean()) if (drawn == cluster).any() else None
            for cluster in range(number)
        ],
        silhouette_rows=len(rows),
        davies_bouldin=float(davies_bouldin_score(vectors[inside], labels[inside])),
    )


def agreement_with(labels: Labels, values: Sequence[JSON], field: str) -> Agreement | None:
    """Compare clusters with the value of a field for each row; None where nothing can be."""
    from sklearn import metrics

    kept = [
        (label, str(value))
        for label, value in zip(labels.tolist(), values, strict=True)
        if label != NONE and value is not None
    ]
    if not kept:
        return None
    found, given = zip(*kept, strict=True)
    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(given, found)
    return Agreement(
        field=field,
        rows=len(kept),
        values=len(set(given)),
        ari=float(metrics.adjusted_rand_score(given, found)),
        nmi=float(metrics.normalized_mutual_info_score(given, found)),
        homogeneity=float(homogeneity),
        completeness=float(completeness),
        v_measure=float(v_measure),
    )
