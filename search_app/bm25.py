"""BM25 in two halves: a passage's weights are stored, a query's carry what changes with the index.

The score of a passage is ∑ idf(t) · tf · (k1 + 1) / (tf + k1 · (1 − b + b · length / average)),
over the terms t that query and passage share (Robertson and Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond", 2009), with idf(t) = ln(1 + (N − n + 0.5) / (n + 0.5)), which is never
negative. All that follows idf(t) depends on the passage alone, since the average length is set once
for an index; idf(t) depends on how many passages n of N have the term: it comes with the query.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from search_app.types import Sparse, TermQuery

K1 = 1.5
B = 0.75

HIGHEST_WEIGHT = K1 + 1
"""No weight of a passage lies above: stores refuse one that does, and skip by it what cannot win.

It may rise, never fall: passages that were weighted before would lie above.
"""

USUAL_LENGTH = 120.0
"""Terms of a passage before any was seen."""

_TRUST = 64
"""So many passages weigh as much as the usual length: three short notes set no average."""


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """How the terms of an index are cut and weighted: set with its first passages, then kept.

    ``analyzer`` and ``version`` are those of lexical.py.
    """

    analyzer: str
    version: int
    k1: float
    b: float
    average_length: float


def first_average(lengths: int, passages: int) -> float:
    """Set the average length from the first passages, ``lengths`` terms in all."""
    return (lengths + USUAL_LENGTH * _TRUST) / (passages + _TRUST)


def passage_terms(counts: Mapping[int, int], weighting: Weighting) -> Sparse:
    """Weight the terms of a passage, given how often each stands in it."""
    ids = np.fromiter(counts, np.int32, len(counts))
    often = np.fromiter(counts.values(), np.float64, len(counts))
    order = np.argsort(ids)
    ids, often = ids[order], often[order]
    relative = often.sum() / weighting.average_length
    damped = weighting.k1 * (1 - weighting.b + weighting.b * relative)
    weights = often * (weighting.k1 + 1) / (often + damped)
    return Sparse(ids=ids, weights=weights.astype(np.float32))


def query_terms(
    counts: Mapping[int, int], frequencies: Mapping[int, int], passages: int
) -> TermQuery:
    """Weight the terms of a query.

    Args:
        counts: how often each term stands in the query.
        frequencies: in how many of the ``passages`` of the index each of them is; terms that are
            in none may be missing and are left out.
        passages: how many passages the index has.
    """
    known = sorted(term for term in counts if frequencies.get(term, 0) > 0)
    having = np.array([frequencies[term] for term in known], np.int64)
    often = np.array([counts[term] for term in known], np.float64)
    total = max(passages, int(having.max(initial=0)))
    idf = np.log1p((total - having + 0.5) / (having + 0.5))
    unknown = sum(counts.values()) - often.sum()
    return TermQuery(
        ids=np.array(known, np.int32),
        weights=(often * idf).astype(np.float32),
        passages=having,
        mass=float(often @ idf + unknown * np.log1p((total + 0.5) / 0.5)),
    )
