"""Examples of checks, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON

_CHECK = "5a0f9c1e-7b3d-4e7a-8a55-2f9e6a1c0d44"
_INDEX = "7d9f1c1e-98a5-4f7e-8c9b-0c5a0b6b6c55"
_CHUNK = "3f0c7a52-6a51-5f0e-9d6b-0b7f4a4f2f11"
_OTHER = "9b2d4c6e-1f3a-5b7c-8d9e-0a1b2c3d4e5f"
_WHEN = "2026-03-15T03:00:12Z"

_SUMMARY: Mapping[str, JSON] = {
    "id": _CHECK,
    "collection": "default",
    "index_id": _INDEX,
    "verdict": "fail",
    "finding": "model_changed",
    "sentence": "Another model answers: the fixed test texts get other vectors (lowest cosine "
    "0.412233, numbers) (and 1 more).",
    "sampled": 43,
    "changed": 41,
    "repeated": 20,
    "unsteady": 0,
    "noise_median": 0.0,
    "noise_max": 0.0,
    "drift_evidence": 1000000.0,
    "reproducibility_evidence": 3.1,
    "at": _WHEN,
    "accepted_at": None,
}

_REPORT: Mapping[str, JSON] = {
    "schema": 1,
    "check_id": _CHECK,
    "collection": "default",
    "index_id": _INDEX,
    "model_version_id": "0e6b7b0a-0a43-4a0d-9b6f-2b0f6c2d7e10",
    "model": "openai/bge-m3",
    "verdict": "fail",
    "sentence": _SUMMARY["sentence"],
    "findings": [
        {
            "kind": "model_changed",
            "severity": "fail",
            "sentence": "another model answers: the fixed test texts get other vectors (lowest "
            "cosine 0.412233, numbers)",
        }
    ],
    "reproducibility": {"estimate": 0.0, "low": 0.0, "high": 0.139},
    "drift": {"estimate": 0.953, "low": 0.86, "high": 0.99},
    "drift_week": {"estimate": 0.136, "low": 0.107, "high": 0.171},
    "noise": {"median": 0.0, "max": 0.0},
    "evidence": {"reproducibility": 3.1, "drift": 1000000.0},
    "layers": {
        "integrity": {"scanned": 2301, "faults": []},
        "canaries": {
            "outcome": "other model",
            "lowest_cosine": 0.412233,
            "canary": "numbers",
            "noise": 0.0,
            "distances": {"numbers": 0.587767},
            "within": {"numbers": 0.0},
        },
        "queries": {
            "references": 300,
            "sampled": 43,
            "changed": 41,
            "repeated": 20,
            "unsteady": 0,
            "near_ties": 1,
            "tolerance": 0.002,
            "overlap": {"against_reference": 0.31, "within_night": 1.0},
            "kendall_tau": {"against_reference": 0.22, "within_night": 1.0},
            "rbo": {"against_reference": 0.35, "within_night": 1.0},
            "index_recall": 0.995,
            "distances": [0.41],
            "noise": [0.0],
            "worst": [
                {
                    "text": "図書館の休みはいつですか",
                    "cosine": 0.59,
                    "lead": 0.041,
                    "loss": 0.037,
                    "before": [
                        {"chunk_id": _CHUNK, "title": "利用案内", "before": 0.91, "after": 0.52}
                    ],
                    "after": [
                        {"chunk_id": _OTHER, "title": "Tide table", "before": 0.6, "after": 0.7}
                    ],
                }
            ],
        },
        "documents": {"sampled": 8, "distances": [0.4], "moved": []},
    },
    "causes": [
        {
            "name": "model swap",
            "confirmed": False,
            "evidence": "12 of 12 fixed texts moved, up to 1 - cos = 0.59",
            "clauses": [
                {
                    "sentence": "%(some)s of %(all)s fixed texts moved, up to 1 - cos = %(most)s",
                    "values": {"some": "12", "all": "12", "most": "0.59"},
                }
            ],
            "remedy": "stop ingest; pin the model, or ingest reindex, compare and activate",
        }
    ],
    "texts_sent": 259,
    "tokens": None,
    "cost": None,
    "not_checked": [],
    "answers": {"asked": 40, "skipped": 0, "moved": []},
    "seed": 1453439619,
    "k": 10,
    "started_at": _WHEN,
    "seconds": 14.2,
}

EXAMPLES: Mapping[str, JSON] = {
    "checks": {
        "checks": [_SUMMARY],
        "standings": [
            {
                "collection": "default",
                "index_id": _INDEX,
                "state": "fail",
                "check_id": _CHECK,
                "at": _WHEN,
                "running": False,
            }
        ],
        "more": False,
    },
    "check": {"is_latest": True, "accepted_at": None, "report": _REPORT},
    "accepted": {"check_id": _CHECK, "collection": "default", "index_id": _INDEX},
    "ask": {"collection": "default"},
}
