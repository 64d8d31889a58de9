"""Rankings → a number per query, by the programs that the field compares its numbers with."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.evaluation.golden import Query

RECALL_DEPTH = 100
"""Documents of a ranking that recall looks at."""

Rankings = Mapping[str, Sequence[str]]
"""The documents found for each query, by their ids, best first, each once."""

Scores = NDArray[np.float64]
"""Shape (queries, metrics), each from 0 to 1, in the order of the queries and of the names."""


def metric_names(k: int) -> tuple[str, str, str]:
    """Name the metrics, as they are printed: nDCG and MRR look at the first ``k`` documents."""
    return f"nDCG@{k}", f"Recall@{RECALL_DEPTH}", f"MRR@{k}"


def score(queries: Sequence[Query], rankings: Rankings, k: int) -> Scores:
    """Score rankings with ir_measures: trec_eval's nDCG and recall, MS MARCO's reciprocal rank.

    The gain of nDCG is the judged score itself, its discount log2(rank + 1). A query for which
    nothing was found scores 0.
    """
    import ir_measures

    measures = [ir_measures.nDCG @ k, ir_measures.R @ RECALL_DEPTH, ir_measures.RR @ k]
    qrels = {query.id: dict(query.judgements) for query in queries}
    # By rank, since equal scores would be put in an order of trec_eval's own.
    run = {
        name: {document: float(-rank) for rank, document in enumerate(found)}
        for name, found in rankings.items()
        if found
    }
    scores: Scores = np.zeros((len(queries), len(measures)))
    places = {query.id: place for place, query in enumerate(queries)}
    for metric in ir_measures.iter_calc(measures, qrels, run):
        scores[places[metric.query_id], measures.index(metric.measure)] = metric.value
    return scores
