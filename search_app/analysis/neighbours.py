"""The nearest neighbours of every vector among all others, exactly, in blocks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_app.types import Matrix

BLOCK = 512
"""Rows compared with all others at once: 200 MB of scores at 100,000 rows."""

Places = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbourhood:
    """For each row its k nearest others, nearest first: places and 1 - cos, both (n, k)."""

    places: Places
    distances: Matrix


def neighbourhood(vectors: Matrix, k: int) -> Neighbourhood:
    """Compare unit rows (n, d) each with each; k is at most n - 1.

    Memory is that of one block against all rows; time grows with n²: 100,000 rows of 384 take
    minutes.
    """
    number = len(vectors)
    k = min(k, number - 1)
    places = np.empty((number, k), np.intp)
    distances = np.empty((number, k), np.float32)
    for start in range(0, number if k > 0 else 0, BLOCK):
        end = min(start + BLOCK, number)
        cosines = vectors[start:end] @ vectors.T
        cosines[np.arange(end - start), np.arange(start, end)] = -np.inf
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        scores = np.take_along_axis(cosines, best, axis=1)
        order = np.lexsort((best, -scores), axis=1)
        places[start:end] = np.take_along_axis(best, order, axis=1)
        distances[start:end] = 1 - np.take_along_axis(scores, order, axis=1)
    # Rounding takes equal vectors a hair beyond 1.
    return Neighbourhood(places=places, distances=np.maximum(distances, 0))


def distinct(vectors: Matrix) -> tuple[Places, Places]:
    """Give the first row of each distinct vector, and for every row which of these it equals."""
    rows = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.strides[0] or 4)))
    _, firsts, which = np.unique(rows.ravel(), return_index=True, return_inverse=True)
    return firsts.astype(np.intp), which.astype(np.intp)
