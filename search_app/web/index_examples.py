"""Examples of indexes and of switching between them, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.collection_examples import EXAMPLES as OTHERS

_ACTIVE = OTHERS["collection"]["indexes"][0]
_MADE = "2026-03-20T10:00:00Z"
_READY: Mapping[str, JSON] = {
    **_ACTIVE,
    "id": "c4e1a7d2-51f0-4a1c-9f51-6f7d2b1c8a30",
    "state": "ready",
    "created_at": _MADE,
    "activated_at": None,
}

EXAMPLES: Mapping[str, JSON] = {
    "indexes": {
        "indexes": [
            {
                **_ACTIVE,
                "passages": _ACTIVE["vectors"],
                "missing": 0,
                "uncut_documents": 0,
                "events": [
                    {"event": "created", "reason": None, "at": _ACTIVE["created_at"]},
                    {"event": "activated", "reason": None, "at": _ACTIVE["created_at"]},
                ],
            },
            {
                **_READY,
                "passages": _ACTIVE["vectors"],
                "missing": 0,
                "uncut_documents": 0,
                "events": [
                    {"event": "created", "reason": None, "at": _MADE},
                    {"event": "ready", "reason": None, "at": "2026-03-20T10:41:09Z"},
                ],
            },
        ]
    },
    "switched": {
        "collection": _ACTIVE["collection"],
        "index_id": _READY["id"],
        "left_index_id": _ACTIVE["id"],
        "passages": _ACTIVE["vectors"],
        "flip_ms": 3.1,
    },
    "retired": {"index_id": _ACTIVE["id"], "state": "retired"},
    "reindex": {"embedder": "openai:bge-m3", "chunk_tokens": 256},
}
