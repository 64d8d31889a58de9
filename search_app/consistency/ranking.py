"""Whether lists of nearest documents changed, and beyond what repeated sends explain.

A *list* is the set of the k best documents. Lists are compared by pairs: a document i that one list
has and j that it has not, where the other ranks j before i. Pairs whose scores lie nearer than the
tolerance are near-ties; their swaps are counted and decide nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Positions = NDArray[np.int64]

SHARE = 0.05
"""Share of the usual spread of a list, best score less k-th, below which a gap is a near-tie."""

BEYOND = 40
"""Documents after the k-th that are kept of every list: where those come from that push in."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two documents by their columns, with what i led by at least and is behind by at least."""

    i: int
    j: int
    lead: float
    loss: float


class Nearest:
    """Finds the best documents of many queries while vectors stream by, in constant memory."""

    def __init__(self, queries: Rows, depth: int) -> None:
        """Take query vectors (n, d), and how many documents to keep for each."""
        self._queries = np.ascontiguousarray(queries, np.float32)
        self._depth = depth
        self._seen = 0
        rows = len(self._queries)
        self._scores = np.empty((rows, 0), np.float32)
        self._positions = np.empty((rows, 0), np.int64)

    def add(self, vectors: Rows) -> None:
        """Look at the next stored vectors (m, d); they are numbered on in the order given."""
        scores = self._queries @ vectors.T
        positions = np.arange(self._seen, self._seen + len(vectors))
        self._seen += len(vectors)
        if self._scores.shape[1] == self._depth:
            # Most blocks have little that is better than what is known.
            floor = self._scores.min(axis=1, keepdims=True)
            columns = np.flatnonzero((scores > floor).any(axis=0))
            scores, positions = scores[:, columns], positions[columns]
        if not len(positions):
            return
        everything = np.concatenate([self._scores, scores], axis=1)
        known = np.broadcast_to(positions, scores.shape)
        numbers = np.concatenate([self._positions, known], axis=1)
        if everything.shape[1] > self._depth:
            best = np.argpartition(-everything, self._depth - 1, axis=1)[:, : self._depth]
            everything = np.take_along_axis(everything, best, axis=1)
            numbers = np.take_along_axis(numbers, best, axis=1)
        self._scores, self._positions = everything, numbers

    @property
    def seen(self) -> int:
        """How many vectors went by."""
        return self._seen

    def best(self) -> tuple[Positions, Rows]:
        """Give the numbers and scores (n, depth) of the best, best first, equal ones by number."""
        order = np.lexsort((self._positions, -self._scores), axis=1)
        return (
            np.take_along_axis(self._positions, order, axis=1),
            np.take_along_axis(self._scores, order, axis=1),
        )


def tolerance_of(scores: Rows, k: int) -> float:
    """Give the gap below which two documents count as tied.

    Args:
        scores: of reference lists (n, k or more), best first.
        k: length of a list; with fewer documents, all of them are the list.
    """
    if not scores.size:
        return 0.0
    last = min(k, scores.shape[1]) - 1
    return SHARE * float(np.median(scores[:, 0] - scores[:, last]))


def first_k(scores: Rows, k: int) -> NDArray[np.intp]:
    """Give the columns of the k best of one row of scores, best first, equal ones by column."""
    return np.argsort(-scores, kind="stable")[:k]


def material_change(before: Rows, after: Rows, k: int, tolerance: float) -> Pair | None:
    """Find the pair that is reversed most surely, or None where nothing changed materially.

    Args:
        before: scores (sends, documents) of the candidates in every reference send.
        after: likewise in tonight's sends.
        k: length of a list.
        tolerance: gap of a near-tie.

    Returns:
        A pair with i in the first reference list and j not, i ahead by more than the tolerance in
        *all* reference sends and behind in *all* of tonight's.
    """
    inside = first_k(before[0], k)
    outside = np.setdiff1d(np.arange(before.shape[1]), inside)
    if not len(outside):
        return None
    lead = (before[:, inside, None] - before[:, None, outside]).min(axis=0)
    loss = (after[:, None, outside] - after[:, inside, None]).min(axis=0)
    sure = np.where((lead > tolerance) & (loss > 0), np.minimum(lead, loss), -np.inf)
    row, column = np.unravel_index(int(np.argmax(sure)), sure.shape)
    if not np.isfinite(sure[row, column]):
        return None
    return Pair(
        i=int(inside[row]),
        j=int(outside[column]),
        lead=float(lead[row, column]),
        loss=float(loss[row, column]),
    )


def beyond_tolerance(one: Rows, other: Rows, k: int, tolerance: float) -> bool:
    """Say whether two sends of one night give lists that differ by more than near-ties.

    Args:
        one: scores (documents) of the candidates at one send.
        other: at the other.
        k: length of a list.
        tolerance: gap of a near-tie, either way.
    """
    return (
        material_change(one[None], other[None], k, tolerance) is not None
        or material_change(other[None], one[None], k, tolerance) is not None
    )


def differ(one: Rows, other: Rows, k: int) -> bool:
    """Say whether two sends give other lists at all, order within them aside."""
    return set(first_k(one, k).tolist()) != set(first_k(other, k).tolist())


def kendall_tau_b(one: Rows, other: Rows) -> float | None:
    """Give Kendall's τ-b of two scorings of the same documents; None where one has ties alone."""
    left = np.sign(one[:, None] - one[None, :])
    right = np.sign(other[:, None] - other[None, :])
    norm = np.sqrt((left**2).sum() * (right**2).sum())
    return float((left * right).sum() / norm) if norm else None
