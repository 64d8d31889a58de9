"""Examples of queued work, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_RUN = OTHERS["runs"]["runs"][0]
_SOURCE = OTHERS["document"]["source"]

_JOB: Mapping[str, JSON] = {
    "id": 17,
    "kind": "ingest",
    "collection": "default",
    "arguments": [_SOURCE],
    "force": False,
    "prune": False,
    "status": "running",
    "attempts": 0,
    "run_id": _RUN["id"],
    "counts": _RUN["counts"],
    "progress": {
        "sources_found": 354,
        "sources_read": 120,
        "chunks_planned": 540,
        "chunks_written": 512,
    },
    "failures": 1,
    "reason": None,
    "created_at": _RUN["started_at"],
    "started_at": _RUN["started_at"],
    "finished_at": None,
}

EXAMPLES: Mapping[str, JSON] = {
    "ingest": {"arguments": [_SOURCE, "https://example.org/manual.html"], "force": False},
    "remove": {"sources": [_SOURCE]},
    "job": {**_JOB, "worker_alive": True},
    "jobs": {"jobs": [_JOB], "more": False, "worker_alive": True},
}
