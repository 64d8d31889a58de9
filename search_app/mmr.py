"""Maximal marginal relevance: hits that are relevant and not like those before them.

Carbonell and Goldstein (1998): the next hit is the one with the largest
λ · relevance - (1 - λ) · the largest cosine to a hit chosen before. Relevance is the score of the
search; both are scaled to 0 to 1 over what is reordered, since the cosines of one model lie in
another range than those of the next. λ = 1 changes nothing.
"""

from collections.abc import Sequence

import numpy as np

from search_app.types import Matrix, Vector

POOL = 100
"""Hits that are reordered: the same for every page of a result, so that no hit is met twice."""


def mmr_order(
    vectors: Sequence[Vector | None], scores: Sequence[float], weight: float
) -> list[int]:
    """Give the places of hits in their new order.

    Args:
        vectors: unit vectors of the hits; one without a vector is like no other.
        scores: that ranked them, higher is better.
        weight: λ, 0 to 1.
    """
    if not scores:
        return []
    given = np.array(scores, np.float64)
    spread = float(np.ptp(given))
    relevance = (given - given.min()) / spread if spread > 0 else np.ones(len(given))
    likeness = _likeness(vectors)
    nearest = np.zeros(len(given))
    left = list(range(len(given)))
    order: list[int] = []
    while left:
        gains = weight * relevance[left] - (1 - weight) * nearest[left]
        place = left.pop(int(np.argmax(gains)))
        order.append(place)
        nearest = np.maximum(nearest, likeness[place])
    return order


def _likeness(vectors: Sequence[Vector | None]) -> Matrix:
    """Give the cosines of all pairs, scaled to 0 to 1 over pairs of two that have vectors."""
    dimensions = next((len(each) for each in vectors if each is not None), 1)
    empty = np.zeros(dimensions, np.float32)
    rows: Matrix = np.stack([empty if each is None else each for each in vectors])
    cosines: Matrix = rows @ rows.T
    known = np.array([each is not None for each in vectors])
    pairs = known[:, None] & known[None, :] & ~np.eye(len(rows), dtype=bool)
    if not pairs.any():
        return np.zeros_like(cosines)
    low, high = cosines[pairs].min(), cosines[pairs].max()
    scaled = (cosines - low) / (high - low) if high > low else np.ones_like(cosines)
    return np.where(pairs, scaled, np.float32(0))
