"""Examples of queued work, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_RUN = OTHERS["runs"]["runs"][0]
_SOURCE = OTHERS["document"]["source"]

_JOB: Mapping[str, JSON] = {
    "id": 17,
    "kind": "ingest",
    "queue": "documents",
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
    "workers": 2,
    "rate": 41.5,
    "seconds_left": 33.0,
    "reason": None,
    "check_id": None,
    "verdict": None,
    "created_at": _RUN["started_at"],
    "started_at": _RUN["started_at"],
    "finished_at": None,
}

_SCHEDULE: Mapping[str, JSON] = {
    "id": 3,
    "collection": "default",
    "arguments": ["https://example.org/manual.html"],
    "prune": False,
    "every": None,
    "cron": "0 3 * * *",
    "timezone": "Asia/Tokyo",
    "next_at": "2026-03-14T18:00:00Z",
    "last_at": "2026-03-13T18:00:02Z",
    "last_job_id": 16,
    "created_at": _RUN["started_at"],
}

EXAMPLES: Mapping[str, JSON] = {
    "schedule_body": {
        "arguments": ["https://example.org/manual.html"],
        "cron": "0 3 * * *",
        "timezone": "Asia/Tokyo",
    },
    "schedule": _SCHEDULE,
    "schedules": {"schedules": [_SCHEDULE]},
    "ingest": {"arguments": [_SOURCE, "https://example.org/manual.html"], "force": False},
    "remove": {"sources": [_SOURCE]},
    "job": {**_JOB, "worker_alive": True},
    "jobs": {"jobs": [_JOB], "more": False, "worker_alive": True},
}
