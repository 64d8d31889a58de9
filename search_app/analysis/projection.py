"""A map of vectors: every passage a place in the plane, those that mean similar things together.

UMAP (McInnes, Healy and Melville, 2018) by umap-learn, over exact nearest neighbours and begun at
the principal components, so that the same vectors and the same seed give the same bytes on the same
machine. What is too little for that, and what equals something else, is laid out here.
"""

import importlib.util
import warnings
from enum import StrEnum
from typing import Any

import numpy as np

from search_app.analysis.neighbours import distinct, neighbourhood
from search_app.analysis.requirements import require_passages
from search_app.errors import ConfigurationError, InvalidInputError
from search_app.types import Matrix

NEIGHBOURS = 15
"""Nearest others that a passage is kept near to; fewer show small groups, more the large lines."""

FEWEST_NEIGHBOURS, MOST_NEIGHBOURS = 2, 100
MIN_DISTANCE = 0.1
"""How near the closest come, where neighbours are about 1 apart."""

LEAST_FOR_UMAP = 16
"""Vectors that differ from which neighbours say more than principal components do."""

FROM_EACH = 10
"""Nearest neighbours by which it is told how much of the vectors a map keeps."""

JUDGED_BY = 1_000
"""Passages by which that is told, drawn by the seed, each against all."""

_SPREAD_OF_EQUALS = 0.004
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


class Projection(StrEnum):
    """How places are found."""

    UMAP = "umap"
    PCA = "pca"


def read_projection(text: str) -> Projection:
    """Read the name of a way to find places.

    Raises:
        InvalidInputError: there is none of that name.
    """
    if text not in tuple(Projection):
        raise InvalidInputError(f"method {text[:40]!r} is not known; write {', '.join(Projection)}")
    return Projection(text)


def require_umap() -> None:
    """Refuse early where umap-learn is not installed.

    Raises:
        ConfigurationError: says how to install it, and what does without.
    """
    if importlib.util.find_spec("umap") is None:
        raise ConfigurationError(
            "a map by umap needs the package umap-learn; run: pip install 'unmoved[map]', or take "
            "the method pca, which needs nothing"
        )


def check_neighbours(neighbours: int) -> None:
    """See that a number of neighbours can be meant.

    Raises:
        InvalidInputError: it cannot.
    """
    if not FEWEST_NEIGHBOURS <= neighbours <= MOST_NEIGHBOURS:
        raise InvalidInputError(
            f"{neighbours} neighbours were asked for; write a number from {FEWEST_NEIGHBOURS} to "
            f"{MOST_NEIGHBOURS}"
        )


def projected(
    vectors: Matrix,
    *,
    method: Projection = Projection.UMAP,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
) -> Matrix:
    """Give each unit row (n, d) a place in the plane, (n, 2) float32 from -1 to 1.

    Equal vectors lie on a small disc around one place. Fewer than ``LEAST_FOR_UMAP`` vectors that
    differ, or as few as there are neighbours, are laid out by their principal components.

    Raises:
        InvalidInputError: there is no vector.
        ConfigurationError: umap-learn is wanted and missing.
    """
    require_passages(len(vectors), 1, "a map")
    firsts, which = distinct(vectors)
    rows = vectors[firsts]
    start = _principal(rows)
    places = start
    if method is Projection.UMAP and len(rows) >= max(LEAST_FOR_UMAP, neighbours + 1):
        places = _by_umap(rows, start, neighbours=neighbours, seed=seed)
    return _apart(_framed(places), which)


def _principal(rows: Matrix) -> Matrix:
    """Give the first two principal components, each with a sign that does not depend on luck."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    found = np.zeros((len(rows), 2))
    _, directions = np.linalg.eigh(centred.T @ centred)
    count = min(2, directions.shape[1])
    chosen = directions[:, ::-1][:, :count]
    largest = chosen[np.abs(chosen).argmax(axis=0), np.arange(count)]
    found[:, :count] = centred @ (chosen * np.where(largest < 0, -1.0, 1.0))
    return found.astype(np.float32)


def _by_umap(rows: Matrix, start: Matrix, *, neighbours: int, seed: int) -> Matrix:
    require_umap()
    near = neighbourhood(rows, neighbours - 1)
    own = np.arange(len(rows))[:, None]
    # UMAP counts a row among its own neighbours; on unit vectors, distance² is 2 - 2 cos.
    distances = np.sqrt(2 * near.distances)
    known = (
        np.hstack([own, near.places]).astype(np.int32),
        np.hstack([np.zeros_like(own, np.float32), distances]).astype(np.float32),
    )
    with warnings.catch_warnings():
        # That it lacks TensorFlow, and cannot place further vectors on a map, which is not wanted.
        warnings.simplefilter("ignore")
        from umap import UMAP

        model: Any = UMAP(
            n_neighbors=neighbours,
            min_dist=MIN_DISTANCE,
            metric="euclidean",
            init=_framed(start) * np.float32(10),
            precomputed_knn=(*known, None),
            random_state=seed,
            n_jobs=1,
        )
        found = model.fit_transform(rows)
    places: Matrix = np.asarray(found, np.float32)
    return places


def _framed(places: Matrix) -> Matrix:
    """Move and scale places so that all lie between -1 and 1, keeping their shape."""
    low, high = places.min(axis=0), places.max(axis=0)
    reach = float((high - low).max()) / 2
    framed: Matrix = ((places - (low + high) / 2) / (reach or 1)).astype(np.float32)
    return framed


def _apart(places: Matrix, which: Any) -> Matrix:
    """Lay equal vectors on a disc around their place: seeds of a sunflower (Vogel, 1979)."""
    order = np.argsort(which, kind="stable")
    counts = np.bincount(which)
    nth = np.empty(len(which), np.float64)
    nth[order] = np.concatenate([np.arange(count) for count in counts])
    several = counts[which] > 1
    radius = np.where(several, _SPREAD_OF_EQUALS * np.sqrt(nth), 0.0)
    # However many there are, they stay a spot, unless there is nothing else.
    widest = 1.0 if len(counts) == 1 else 0.05
    radius *= np.minimum(1.0, widest / (_SPREAD_OF_EQUALS * np.sqrt(counts[which])))
    angle = nth * _GOLDEN_ANGLE
    moved: Matrix = places[which] + np.column_stack(
        [radius * np.cos(angle), radius * np.sin(angle)]
    ).astype(np.float32)
    return np.clip(moved, -1, 1)


def neighbours_kept(
    vectors: Matrix, places: Matrix, *, k: int = FROM_EACH, seed: int = 0
) -> float | None:
    """Say which share of the k nearest by vector are among the k nearest on the map, on average.

    Told by at most ``JUDGED_BY`` passages drawn by the seed, each against all; None where there
    are no more than k others. 1 is a map that keeps every neighbourhood; what nothing but luck
    would keep is k / (n - 1).
    """
    if len(vectors) <= k + 1:
        return None
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.choice(len(vectors), min(JUDGED_BY, len(vectors)), replace=False))
    shares = []
    for row in rows.tolist():
        distances = ((places - places[row]) ** 2).sum(axis=1)
        cosines = vectors @ vectors[row]
        distances[row], cosines[row] = np.inf, -np.inf
        near = np.argpartition(distances, k)[:k]
        alike = np.argpartition(-cosines, k)[:k]
        shares.append(len(np.intersect1d(near, alike)) / k)
    return float(np.mean(shares))
