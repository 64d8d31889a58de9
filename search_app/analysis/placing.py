"""Where something lies on a map that was not there when it was made: a query, among its hits."""

import numpy as np

from search_app.types import Matrix

NEAREST = 10
"""Nearest passages by which a query is placed."""

_ROUNDS = 100
_AT_A_POINT = 1e-6


def placed(places: Matrix, cosines: Matrix) -> tuple[float, float]:
    """Give the place of a query by those of its hits (k, 2) and their cosines (k,), best first.

    It is the geometric median of the nearest, each weighted by how far its cosine is above that of
    the first hit which is not among them: where the hits lie in two regions, the place is in that
    of the greater weight, never in the void between (Weiszfeld, 1937).
    """
    floor = float(cosines[NEAREST]) if len(cosines) > NEAREST else float(cosines.min())
    near, weights = places[:NEAREST].astype(float), cosines[:NEAREST].astype(float) - floor
    # Where all are as near as each other, each counts as much.
    weights = weights + max(1e-9, float(weights.max()) * 0.05)
    at = np.average(near, axis=0, weights=weights)
    for _ in range(_ROUNDS):
        distances = np.linalg.norm(near - at, axis=1)
        pulls = weights / np.maximum(distances, _AT_A_POINT)
        at = np.average(near, axis=0, weights=pulls)
    x, y = at.tolist()
    return x, y
