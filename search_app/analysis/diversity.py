"""How much passages differ from each other, as two numbers whose formulas are named."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_app.analysis.requirements import require_passages
from search_app.types import Matrix

LEAST = 2
DRAWS = 20
"""Draws of equal size by which groups of different sizes are compared."""

FORMULAS = {
    "mean_distance": "1 - (‖Σv‖² - n) / (n (n - 1)): the mean of 1 - cos over all pairs",
    "vendi": "exp(-Σ λ ln λ) over the eigenvalues λ of K / n, K the cosines of all pairs "
    "(Friedman and Dieng, 2023): as many passages as if none were like another",
}


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """The diversity of n passages; see ``FORMULAS``.

    ``vendi`` is 1 where all are the same and n where each is orthogonal to all others.
    """

    n: int
    mean_distance: float
    vendi: float


@dataclass(frozen=True, kw_only=True)
class GroupDiversity:
    """The diversity of a group, and its Vendi score at the size that all groups have.

    A Vendi score rises with n; ``vendi_at_size`` is the mean over draws of ``size`` passages.
    """

    name: str
    diversity: Diversity
    size: int
    vendi_at_size: float


def diversity_of(vectors: Matrix) -> Diversity:
    """Measure unit rows (n, d) with n >= 2.

    Raises:
        InvalidInputError: fewer than two.
    """
    require_passages(len(vectors), LEAST, "diversity")
    return Diversity(
        n=len(vectors), mean_distance=mean_distance(vectors), vendi=vendi_score(vectors)
    )


def mean_distance(vectors: Matrix) -> float:
    """Give the mean 1 - cos of all pairs of unit rows, from their sum alone."""
    n = len(vectors)
    total = vectors.sum(axis=0, dtype=np.float64)
    own = float(np.einsum("ij,ij->", vectors, vectors, dtype=np.float64))
    return max(0.0, 1 - (float(total @ total) - own) / (n * (n - 1)))


def vendi_score(vectors: Matrix) -> float:
    """Give the exponential of the entropy of the eigenvalues of K / n.

    V Vᵀ / n and Vᵀ V / n have the same eigenvalues but for zeros; the smaller one is taken.
    """
    exact = vectors.astype(np.float64)
    n, dimensions = exact.shape
    gram = exact @ exact.T if n < dimensions else exact.T @ exact
    eigenvalues = np.linalg.eigvalsh(gram / n)
    shares = eigenvalues[eigenvalues > np.finfo(np.float64).eps]
    shares = shares / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def by_group(
    vectors: Matrix, names: Sequence[str | None], *, seed: int = 0
) -> list[GroupDiversity]:
    """Measure the rows of each name, in the order of the names; those without one are left out.

    Groups of fewer than two are left out too.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            rows.setdefault(name, []).append(row)
    groups = {name: np.array(rows[name]) for name in sorted(rows) if len(rows[name]) >= LEAST}
    if not groups:
        return []
    size = min(len(each) for each in groups.values())
    draw = np.random.default_rng(seed)
    found = []
    for name, members in groups.items():
        times = 1 if len(members) == size else DRAWS
        scores = [
            vendi_score(vectors[draw.choice(members, size, replace=False)]) for _ in range(times)
        ]
        found.append(
            GroupDiversity(
                name=name,
                diversity=diversity_of(vectors[members]),
                size=size,
                vendi_at_size=float(np.mean(scores)),
            )
        )
    return found
