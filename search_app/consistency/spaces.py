"""How two sets of vectors of the same texts are related: turned, alike, or not at all."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from search_app.types import Matrix

FEWEST = 12
"""Texts below which nothing is said."""

ROTATED = 1e-5
"""Largest difference of inner products that rounding leaves of a rotation."""

RELATED = 0.8
"""Alignment above which one model is taken for a relative of the other."""


class Relation(StrEnum):
    """What one model is to another."""

    ROTATED = "rotated"
    """A rotation of the same space."""
    RELATED = "related"
    """A fine-tuned one for instance, or a coarser one."""
    UNRELATED = "unrelated"


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """The relation of two sets, with the alignment that it rests on (1: alike)."""

    relation: Relation
    alignment: float
    texts: int


def compare_spaces(one: Matrix, other: Matrix) -> Spaces | None:
    """Say how two sets of unit vectors (n, d), (n, e) of the same n texts are related.

    An orthogonal map between them exists where, and only where, all inner products are equal; that
    needs no more texts than there are, where fitting the map would need more than d of them. For
    the rest: linear CKA (Kornblith et al., 2019) from the unbiased estimate of HSIC (Song et al.,
    2012), since the biased one comes near 1 for any two sets of fewer texts than dimensions.

    Returns:
        None for fewer than FEWEST texts.
    """
    if len(one) < FEWEST:
        return None
    left, right = _inner(one), _inner(other)
    if np.abs(left - right).max() <= ROTATED:
        return Spaces(relation=Relation.ROTATED, alignment=1.0, texts=len(one))
    alignment = cka(left, right)
    relation = Relation.RELATED if alignment >= RELATED else Relation.UNRELATED
    return Spaces(relation=relation, alignment=alignment, texts=len(one))


def _inner(vectors: Matrix) -> NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    found: NDArray[np.float64] = exact @ exact.T
    return found


def cka(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Give the unbiased linear CKA of two Gram matrices (n, n), n at least 4; at most about 1."""
    both = hsic(left, right)
    scale = hsic(left, left) * hsic(right, right)
    return float(both / np.sqrt(scale)) if scale > 0 else 0.0


def hsic(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Estimate the Hilbert-Schmidt independence criterion without bias (Song et al., 2012, eq. 5).

    Args:
        left: Gram matrix (n, n) of n texts, at least 4, in one space.
        right: likewise of the same texts in the other.
    """
    n = len(left)
    a, b = left.copy(), right.copy()
    np.fill_diagonal(a, 0)
    np.fill_diagonal(b, 0)
    trace = float(np.einsum("ij,ji->", a, b))
    sums = float(a.sum() * b.sum()) / ((n - 1) * (n - 2))
    cross = 2 * float(a.sum(axis=0) @ b.sum(axis=1)) / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))
