"""The two kinds of query that Qdrant is asked, and our arithmetic that ranks its answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from qdrant_client import models

from search_app.stores.points import inner_products
from search_app.stores.qdrant_payload import DENSE, SPARSE
from search_app.types import TermQuery, Vector

_UNIT = 2.0**-24
"""Relative error of one float32 operation."""


class Query(ABC):
    """What is looked for in one of the two vectors of a point."""

    using: str
    """The name of that vector."""

    vectors = False
    """Whether what is found comes with its vector."""

    @abstractmethod
    def sent(self) -> list[float] | models.SparseVector:
        """Give the query as the client sends it."""

    @abstractmethod
    def clearly_below(self, score: float) -> float:
        """Give a score that is below another whatever rounding did to both.

        Qdrant sums in float32, in any order.
        """

    @abstractmethod
    def scores(self, held: Sequence[Any]) -> Vector:
        """Score vectors as Qdrant gave them; equal ones equal to the last bit.

        The score is -inf where a vector is no answer at all.
        """


class DenseQuery(Query):
    """A vector of the index's dimensions."""

    using = DENSE

    def __init__(self, vector: Vector, *, vectors: bool = False) -> None:
        self._vector = vector
        self.vectors = vectors

    def sent(self) -> list[float]:
        """Give the numbers."""
        numbers: list[float] = self._vector.tolist()
        return numbers

    def clearly_below(self, score: float) -> float:
        """Subtract twice the error, d · 2^-24 · |q| · |v| for v of unit length or hardly longer."""
        error = 4 * _UNIT * len(self._vector) * float(np.linalg.norm(self._vector))
        return score - 2 * error

    def scores(self, held: Sequence[Any]) -> Vector:
        """Give inner products."""
        matrix = np.array(held, np.float32).reshape(len(held), len(self._vector))
        return inner_products(matrix, self._vector)


class SparseQuery(Query):
    """Terms and their weights."""

    using = SPARSE

    def __init__(self, terms: TermQuery) -> None:
        self._terms = terms

    def sent(self) -> models.SparseVector:
        """Give ids and weights."""
        return models.SparseVector(
            indices=self._terms.ids.tolist(), values=self._terms.weights.tolist()
        )

    def clearly_below(self, score: float) -> float:
        """Subtract twice the error, n · 2^-24 of the sum, since no weight is negative."""
        error = 4 * _UNIT * len(self._terms.ids) * abs(score)
        return score - 2 * error

    def scores(self, held: Sequence[Any]) -> Vector:
        """Give inner products, summed in float64; -inf where no term is shared."""
        rows = np.repeat(np.arange(len(held)), [len(each.indices) for each in held])
        ids = np.concatenate([np.asarray(each.indices, np.int64) for each in held])
        weights = np.concatenate([np.asarray(each.values, np.float64) for each in held])
        places = np.searchsorted(self._terms.ids, ids)
        places[places == len(self._terms.ids)] = 0
        shared = self._terms.ids[places] == ids
        rows, products = rows[shared], weights[shared] * self._terms.weights[places[shared]]
        sums = np.bincount(rows, products, len(held)).astype(np.float32)
        scores: Vector = np.where(np.bincount(rows, minlength=len(held)) > 0, sums, -np.inf)
        return scores.astype(np.float32)
