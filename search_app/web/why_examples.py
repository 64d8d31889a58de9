"""An example of why a document is not found, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_ANSWER = OTHERS["answer"]
_HIT = _ANSWER["hits"][0]
_WHEN = OTHERS["document"]["created_at"]
_LATER = "2026-03-20T07:00:00Z"

EXAMPLES: Mapping[str, JSON] = {
    "why": {
        "query": "図書館の休み",
        "collection": "default",
        "k": 10,
        "mode": "hybrid",
        "filters": [],
        "since": None,
        "document": {
            "id": _HIT["document"]["id"],
            "uri": _HIT["document"]["uri"],
            "title": _HIT["document"]["title"],
            "state": "removed",
        },
        "index_id": _ANSWER["index_id"],
        "model": _ANSWER["model"],
        "rank": None,
        "findings": [
            {
                "cause": "removed",
                "sentence": "It was removed at 2026-03-20 07:00 UTC by run b7c1d2e3.",
                "advice": "Run ingest add on it if it is to be found again.",
                "evidence": {
                    "at": _LATER,
                    "run": _HIT["run_id"],
                    "passages": 3,
                    "found_at": _WHEN,
                    "rank": 1,
                },
            }
        ],
        "compared": {
            "search_id": _ANSWER["search_id"],
            "at": _WHEN,
            "index_id": _ANSWER["index_id"],
            "model": _ANSWER["model"],
            "mode": "hybrid",
            "filters": [],
            "rank": 1,
        },
        "above": [],
        "notices": [],
    }
}
