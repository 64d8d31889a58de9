"""Which hits stand where they stand by less than the noise of the model: marked, never moved.

An embedder that is sent a text again may answer with another vector. Let 1 - cos between two sends
be at most ``noise``. Both are of length 1, so the query's vector moves by δ with
‖δ‖² = 2 (1 - cos) <= 2 noise. The score of a document is the inner product of its vector, of length
1 too, with the query's; so by the inequality of Cauchy and Schwarz

* a score moves by |δ·d| <= ‖δ‖;
* the difference of two scores moves by |δ·(d - e)| <= ‖δ‖ ‖d - e‖;
* so does the k-th largest score of a list, by at most ‖δ‖.

Where two hits are further apart than that, no send within the noise can change their order: what is
not marked is safe. What is marked could change, which is not to say that it often would: the bound
is reached only where the noise points along d - e, and noise of hosted models was seen to.

Of d and e their scores are known, that is to say the angles α and β that they make with the query,
so the angle between them is at most α + β (the triangle inequality on the sphere) and
‖d - e‖ <= 2 sin(min(α + β, π) / 2). Where that does not decide, their vectors do.

Hybrid scores move with the dense part alone; how far is in ``_fused_lead`` for scores that were
scaled to the range of their list and in ``_ranked_lead`` for reciprocal ranks. The scores of a
reranker were never measured so: of them nothing is known but ties.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_app.fusion import DEPTH, RRF_K, Method
from search_app.ranking import DENSE
from search_app.types import Scored, Vector

Scores = NDArray[np.float64]

WIDEST = 2.0
"""The largest distance of two vectors of length 1."""


class Placed(Protocol):
    """A hit with what put it in its place."""

    @property
    def score(self) -> float:
        """The score that put it there."""

    @property
    def scores(self) -> Mapping[str, float]:
        """The scores in each list and what came of them."""

    @property
    def ranks(self) -> Mapping[str, int]:
        """The ranks in each list, from 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placing:
    """How the hits of a search were put in order.

    ``lists`` are the names of those that were asked for; ``dense`` are the scores (n) of the first
    ``depth`` hits by meaning, best first; ``weight`` is the share of meaning in a hybrid score.
    """

    lists: frozenset[str]
    dense: Scores
    weight: float
    method: Method
    depth: int = DEPTH

    @property
    def is_fused(self) -> bool:
        """Whether several lists were made one."""
        return len(self.lists) > 1

    @property
    def by_meaning(self) -> bool:
        """Whether the query's vector has a say."""
        return DENSE in self.lists and (not self.is_fused or self.weight > 0)

    @property
    def by_distance(self) -> bool:
        """Whether it helps to know how far apart two documents are."""
        return self.by_meaning and (not self.is_fused or self.method == "minmax")


def placing(
    lists: Mapping[str, Sequence[Scored]], *, weight: float, method: Method, depth: int
) -> Placing:
    """Keep of the lists of a search what noise could change."""
    return Placing(
        lists=frozenset(lists),
        dense=np.array([each.score for each in lists.get(DENSE, ())[:depth]], np.float64),
        weight=weight,
        method=method,
        depth=depth,
    )


def movement(noise: float) -> float:
    """Give ‖δ‖, the furthest that a vector of length 1 moves at that 1 - cos."""
    return float(np.sqrt(2 * max(noise, 0.0)))


def measured(at_registration: float, by_check: float | None) -> float | None:
    """Give the noise of a model, the larger of what was measured; None where nothing was."""
    known = [one for one in (at_registration, by_check) if one is not None and np.isfinite(one)]
    return max(known, default=None)


def widest_distance(first: Placed, second: Placed) -> float:
    """Give the largest distance that two documents of these scores can have."""
    if DENSE not in first.scores or DENSE not in second.scores:
        return WIDEST
    return float(_chord(np.array(first.scores[DENSE]), second.scores[DENSE]))


def distance(first: Vector, second: Vector) -> float:
    """Give ‖d - e‖."""
    return float(np.linalg.norm(first.astype(np.float64) - second.astype(np.float64)))


def within_noise(
    first: Placed,
    second: Placed,
    placed: Placing,
    noise: float | None,
    apart: float | None = None,
) -> bool | None:
    """Say whether another send of the query could put the second of two hits before the first.

    Args:
        first: the hit before.
        second: the one behind it, the next or a later one.
        placed: how they were put in order.
        noise: the largest 1 - cos between two sends; None: not measured.
        apart: the distance of their vectors, where it is known.

    Returns:
        Whether it could; exact ties always could. None: that is not known.
    """
    if "rerank" in first.scores or "rerank" in second.scores:
        both = "rerank" in first.scores and "rerank" in second.scores
        return True if both and first.score == second.score else None
    between = widest_distance(first, second) if apart is None else apart
    if placed.is_fused and all(_is_deep(hit, placed.depth) for hit in (first, second)):
        return _deep(first, second, noise, between)
    if first.score == second.score:
        return True
    if not placed.by_meaning or noise == 0:
        return False
    return None if noise is None else _lead(first, second, placed, noise, between) <= 0


def _lead(first: Placed, second: Placed, placed: Placing, noise: float, between: float) -> float:
    """Give the least lead that the first hit can have."""
    move = movement(noise)
    if not placed.is_fused:
        return first.score - second.score - move * between
    if placed.method == "minmax":
        return _fused_lead(first, second, placed, move, between)
    return _ranked_lead(first, second, placed, move)


def _is_deep(hit: Placed, depth: int) -> bool:
    return min(hit.ranks.values(), default=0) > depth


def _deep(first: Placed, second: Placed, noise: float | None, between: float) -> bool | None:
    """Judge hits too deep in all lists for a fused score: the better of their ranks decides."""
    one, other = _best_list(first), _best_list(second)
    if one != other:
        tie = first.ranks[one] == second.ranks[other]
        return tie or (False if noise == 0 else None)
    lead = first.scores[one] - second.scores[one]
    if lead == 0 or one != DENSE or noise == 0:
        return lead == 0
    return None if noise is None else lead <= movement(noise) * between


def _best_list(hit: Placed) -> str:
    return min(sorted(hit.ranks), key=lambda name: hit.ranks[name])


def _fused_lead(first: Placed, second: Placed, placed: Placing, move: float, apart: float) -> float:
    """Give the least lead of the first hit where scores were scaled to the range of their list.

    The dense share of a hit is max(0, (s - low) / (high - low)) with the highest and the lowest
    score of the list, each of which moves by at most ‖δ‖, so that the range moves by at most
    2 ‖δ‖. What is not in the list scores at most ``low`` and has no share.
    """
    if not len(placed.dense):
        return first.score - second.score
    low, high = float(placed.dense[-1]), float(placed.dense[0])
    span = high - low
    inside = [_in_list(hit, placed.depth) for hit in (first, second)]
    one, other = (
        hit.scores[DENSE] if there else low
        for hit, there in zip((first, second), inside, strict=True)
    )
    shares = [
        ((score - low) / span if span > 0 else 1.0) if there else 0.0
        for score, there in zip((one, other), inside, strict=True)
    ]
    rest = first.score - second.score - placed.weight * (shares[0] - shares[1])
    narrow, wide = span - 2 * move, span + 2 * move
    if narrow <= 0:
        # The whole list lies within the noise: a share may be anything from 0 to 1.
        return rest - placed.weight
    if all(inside):
        least = one - other - move * apart
        dense = least / (wide if least >= 0 else narrow)
        if other - low <= 2 * move:
            # It may have no share at all, and then cannot fall behind further.
            dense = min(dense, 0.0)
    else:
        worst = max(0.0, (one - low - 2 * move) / wide) if inside[0] else 0.0
        dense = worst - min(1.0, (other - low + 2 * move) / narrow)
    return rest + placed.weight * dense


def _ranked_lead(first: Placed, second: Placed, placed: Placing, move: float) -> float:
    """Give the least lead of the first hit where reciprocal ranks were added.

    A hit may come as far up as all that could fall behind it, and as far down as all that could
    overtake it, each by the distance that its score allows.
    """
    worst = _worst_share(first, placed, move)
    best = _best_share(second, placed, move)
    rest = (
        first.score
        - second.score
        - placed.weight * (_share(first, placed) - _share(second, placed))
    )
    return rest + placed.weight * (worst - best)


def _in_list(hit: Placed, depth: int) -> bool:
    return DENSE in hit.ranks and hit.ranks[DENSE] <= depth


def _share(hit: Placed, placed: Placing) -> float:
    return 1 / (RRF_K + hit.ranks[DENSE]) if _in_list(hit, placed.depth) else 0.0


def _worst_share(hit: Placed, placed: Placing, move: float) -> float:
    if not _in_list(hit, placed.depth):
        return 0.0
    score = hit.scores[DENSE]
    if score - float(placed.dense[-1]) <= WIDEST * move:
        # What is not in the list might push it out.
        return 0.0
    above = int((placed.dense >= score - move * _chord(placed.dense, score)).sum())
    return 1 / (RRF_K + max(above, hit.ranks[DENSE]))


def _best_share(hit: Placed, placed: Placing, move: float) -> float:
    if not len(placed.dense):
        return 0.0
    if _in_list(hit, placed.depth):
        score = hit.scores[DENSE]
        above = int((placed.dense - score > move * _chord(placed.dense, score)).sum())
    else:
        above = int((placed.dense - float(placed.dense[-1]) > WIDEST * move).sum())
    return 1 / (RRF_K + above + 1)


def _chord(scores: Scores, score: float) -> Scores:
    """Give the largest distances of documents with these scores from one with that score."""
    angles = np.arccos(np.clip(scores, -1, 1)) + np.arccos(np.clip(score, -1, 1))
    return np.asarray(2 * np.sin(np.minimum(angles, np.pi) / 2), np.float64)
