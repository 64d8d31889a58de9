"""Maximal marginal relevance: hits that are relevant and not like those before them.

Carbonell and Goldstein (1998): the next hit is the one with the largest
λ · relevance - (1 - λ) · the largest cosine to a hit chosen before. Relevance is the score of the
search, scaled to 0 to 1 over what is reordered. λ = 1 changes nothing.
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
    dimensions = next((len(each) for each in vectors if each is not None), 1)
    empty = np.zeros(dimensions, np.float32)
    rows: Matrix = np.stack([empty if each is None else each for each in vectors])
    cosines = rows @ rows.T
    nearest = np.zeros(len(given))
    left = list(range(len(given)))
    order: list[int] = []
    while left:
        gains = weight * relevance[left] - (1 - weight) * nearest[left]
        place = left.pop(int(np.argmax(gains)))
        order.append(place)
        nearest = np.maximum(nearest, cosines[place])
    return order
