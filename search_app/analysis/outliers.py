"""Passages far from everything, groups that nearly coincide, and documents in a rare language."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from search_app.analysis.neighbours import Neighbourhood, distinct, neighbourhood
from search_app.analysis.requirements import require_passages
from search_app.types import JSON, Matrix

K = 10
"""Neighbours by which a passage is near or far."""

LEAST = 3
FAR = 3.5
"""Robust z-score from which a passage is called far (Iglewicz and Hoaglin, 1993)."""

NEAR = 0.98
"""Cosine from which two passages are taken for near-duplicates unless told otherwise."""

MAJORITY = 0.9
FOLDER = 10
"""Share of a folder's documents in one language, and documents, from which others stand out."""

_MAD = 0.6745
_TINY = 1e-10

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlying:
    """How far each row lies from the others.

    ``distances`` is the mean 1 - cos to its ``k`` nearest other vectors, ``scores`` the same as a
    robust z-score, ``lof`` the local outlier factor (Breunig et al., 2000): about 1 inside, more
    where neighbours lie closer to each other than to it. ``groups`` are rows that nearly coincide.
    """

    k: int
    distances: Numbers
    scores: Numbers
    lof: Numbers
    groups: Sequence[Sequence[int]]
    cosine: float

    @property
    def far(self) -> list[int]:
        """The rows that are far from everything, the furthest first."""
        order = np.argsort(-self.scores, kind="stable")
        return [row for row in order.tolist() if self.scores[row] >= FAR]


def outlying(vectors: Matrix, *, k: int = K, cosine: float = NEAR) -> Outlying:
    """Look at unit rows (n, d) each against each.

    Equal vectors count as one, so that a text that is there twice can still be far from all else.

    Raises:
        InvalidInputError: fewer than three rows.
    """
    require_passages(len(vectors), LEAST, "looking for outliers")
    firsts, which = distinct(vectors)
    near = neighbourhood(vectors[firsts], min(k, len(firsts) - 1))
    alone = near.places.shape[1] == 0
    distances = np.zeros(len(firsts)) if alone else near.distances.mean(axis=1, dtype=np.float64)
    lof = np.ones(len(firsts)) if alone else local_outlier_factor(near)
    return Outlying(
        k=near.places.shape[1],
        distances=distances[which],
        scores=robust_scores(distances)[which],
        lof=lof[which],
        groups=_groups(near, which, 1 - cosine),
        cosine=cosine,
    )


def robust_scores(values: Numbers) -> Numbers:
    """Give 0.6745 (x - median) / MAD, the median absolute deviation; 0 where none deviates."""
    middle = np.median(values)
    deviation = np.median(np.abs(values - middle))
    if deviation <= _TINY:
        # More than half are equal: whatever is not, by more than rounding, stands out.
        return np.where(values > middle + np.sqrt(_TINY), FAR, 0.0)
    scores: Numbers = _MAD * (values - middle) / deviation
    return scores


def local_outlier_factor(near: Neighbourhood) -> Numbers:
    """Give the local outlier factor of each row from its neighbours' distances."""
    distances = near.distances.astype(np.float64)
    reach = np.maximum(distances, distances[near.places, -1])
    density = 1 / (reach.mean(axis=1) + _TINY)
    factor: Numbers = density[near.places].mean(axis=1) / density
    return factor


def _groups(near: Neighbourhood, which: NDArray[np.intp], most: float) -> list[list[int]]:
    """Give the connected components of rows within a distance, the largest first."""
    number = len(near.places)
    rows, columns = np.nonzero(near.distances <= most)
    edges = coo_matrix(
        (np.ones(len(rows), np.int8), (rows, near.places[rows, columns])), shape=(number, number)
    )
    _, component = connected_components(edges, directed=False)
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(component[which].tolist()):
        members[group].append(row)
    return sorted((each for each in members.values() if len(each) > 1), key=lambda m: (-len(m), m))


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A document, by its place, in another language than nearly all of its folder."""

    document: int
    language: str
    folder: str
    usual: str
    share: float


def foreign_documents(fields: Sequence[Mapping[str, JSON]]) -> list[Foreign]:
    """Find documents whose language is not the one that nearly all of their folder are in.

    A folder with few documents is judged by the whole collection; where neither has a language
    of nearly all, nothing stands out.
    """
    languages = [str(each.get("language") or "und") for each in fields]
    folders = ["/".join(map(str, (each.get("folder") or [])[-1:])) for each in fields]
    by_folder: dict[str, Counter[str]] = defaultdict(Counter)
    for folder, language in zip(folders, languages, strict=True):
        by_folder[folder][language] += 1
    everywhere = Counter(languages)
    found = []
    for place, (folder, language) in enumerate(zip(folders, languages, strict=True)):
        counts = by_folder[folder] if by_folder[folder].total() >= FOLDER else everywhere
        usual, often = counts.most_common(1)[0]
        share = often / counts.total()
        if counts.total() >= FOLDER and language not in (usual, "und") and share >= MAJORITY:
            found.append(
                Foreign(document=place, language=language, folder=folder, usual=usual, share=share)
            )
    return found
