"""What an evaluation found, as values, JSON and rows."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ingest.evaluation.costing import NEAREST, StoreCost
from ingest.evaluation.golden import GoldenSet, Query
from ingest.evaluation.resampling import (
    CONFIDENCE,
    RESAMPLES,
    SEED,
    Difference,
    Mean,
    difference_of,
    mean_of,
)
from ingest.evaluation.scoring import Scores, metric_names
from ingest.evaluation.variants import Variant
from search_app.errors import InvalidInputError
from search_app.types import JSON

_PLACES = 6


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One variant: its scores for every query, and what it took.

    ``scores`` has a row for each query. ``index_s`` is 0 where an earlier variant had the
    documents indexed. ``cost`` is None where words alone are searched.
    """

    variant: Variant
    collection: str
    model: str
    scores: Scores
    index_s: float
    queries_s: float
    cost: StoreCost | None

    def means(self, k: int) -> dict[str, Mean]:
        """Give the mean of every metric with its interval."""
        return {
            name: mean_of(self.scores[:, column]) for column, name in enumerate(metric_names(k))
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A golden set, the queries of it that were asked, and what each variant scored."""

    golden: GoldenSet
    queries: Sequence[Query]
    k: int
    measured: Sequence[Measured]
    kept: bool

    def differences(self, other: Measured) -> dict[str, Difference]:
        """Compare a variant with the first: positive where it is better."""
        first = self.measured[0].scores
        return {
            name: difference_of(other.scores[:, column], first[:, column])
            for column, name in enumerate(metric_names(self.k))
        }


def as_json(evaluation: Evaluation) -> dict[str, JSON]:
    """Give the shape that ``ingest eval --json`` prints; docs, "Evaluation", explains it."""
    golden, base = evaluation.golden, evaluation.measured[0]
    return {
        "set": golden.name,
        "documents": {"indexed": golden.documents, "empty": len(golden.empty)},
        "queries": {
            "asked": len(evaluation.queries),
            "unjudged": golden.unjudged,
            "unanswerable": golden.unanswerable,
        },
        "k": evaluation.k,
        "statistics": {
            "interval": "percentile bootstrap over queries",
            "test": "paired randomisation test over queries, two-sided",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "results": [_result(each, evaluation) for each in evaluation.measured],
        "comparisons": [
            {
                "label": other.variant.label,
                "against": base.variant.label,
                "metrics": _rounded(evaluation.differences(other)),
            }
            for other in evaluation.measured[1:]
        ],
    }


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a row for each variant and query: label, query id, and every metric.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["settings", "query_id", *metric_names(evaluation.k)])
            for each in evaluation.measured:
                for query, scores in zip(evaluation.queries, each.scores, strict=True):
                    written = (f"{score:.{_PLACES}f}" for score in scores)
                    rows.writerow([each.variant.label, query.id, *written])
    except OSError as exc:
        reason = (exc.strerror or type(exc).__name__).lower()
        raise InvalidInputError(f"--csv {path}: cannot be written: {reason}") from exc


def _result(measured: Measured, evaluation: Evaluation) -> dict[str, JSON]:
    return {
        "label": measured.variant.label,
        "settings": measured.variant.chosen,
        "model": measured.model,
        "collection": measured.collection if evaluation.kept else None,
        "index_s": round(measured.index_s, 3),
        "queries_s": round(measured.queries_s, 3),
        "metrics": _rounded(measured.means(evaluation.k)),
        "cost": None if measured.cost is None else _cost(measured.cost),
    }


def _cost(cost: StoreCost) -> dict[str, JSON]:
    return {
        "precision": cost.precision,
        "searched_bytes": cost.size.searched,
        "whole_bytes": cost.size.whole,
        "bytes_measured": cost.size.measured,
        "queries": cost.queries,
        f"recall@{NEAREST}": round(cost.recall, _PLACES),
        "median_ms": round(cost.median_ms, 3),
        "p95_ms": round(cost.p95_ms, 3),
    }


def _rounded(found: Mapping[str, Mean] | Mapping[str, Difference]) -> dict[str, JSON]:
    return {
        name: {key: round(value, _PLACES) for key, value in asdict(each).items()}
        for name, each in found.items()
    }
