"""Examples of collections, lists and models, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_COLLECTION = OTHERS["collections"]["collections"][0]
_DOCUMENT = OTHERS["document"]
_MODEL = OTHERS["models"]["models"][0]
_RUN = OTHERS["runs"]["runs"][0]
_FAILURE = OTHERS["run"]["failures"][0]

_INDEX: Mapping[str, JSON] = {
    "id": _COLLECTION["index_id"],
    "collection": _COLLECTION["name"],
    "state": "active",
    "store": "pgvector",
    "precision": "float16",
    "model_version_id": _MODEL["id"],
    "model": _MODEL["name"],
    "unverified": False,
    "dimensions": _MODEL["dimensions"],
    "chunking": {"max_tokens": 256, "tokenizer": "multilingual-e5-small", "version": 1},
    "vectors": _COLLECTION["chunks"],
    "created_at": _RUN["started_at"],
    "activated_at": _RUN["started_at"],
}

_SOURCE_ID = "a3f1c2d4-0b5e-5c6f-8d7a-9e0f1a2b3c4d"
_WHY = {"collection": _COLLECTION["name"], "reason": _FAILURE["reason"]}

EXAMPLES: Mapping[str, JSON] = {
    "collection": {
        "id": _COLLECTION["id"],
        "name": _COLLECTION["name"],
        "documents": _COLLECTION["documents"],
        "pending_documents": 0,
        "chunks": _COLLECTION["chunks"],
        "sources": 354,
        "failed_sources": 1,
        "languages": {"en": 201, "ja": 152},
        "types": {"markdown": 340, "pdf": 13},
        "indexes": [_INDEX],
        "latest_run": {
            name: _RUN[name]
            for name in ("id", "kind", "status", "errors", "started_at", "finished_at")
        },
    },
    "entries": {
        "entries": [
            {
                "document_id": _DOCUMENT["id"],
                "source_id": _SOURCE_ID,
                "uri": _DOCUMENT["uri"],
                "source": _DOCUMENT["source"],
                "title": _DOCUMENT["title"],
                "language": _DOCUMENT["language"],
                "type": _DOCUMENT["type"],
                "chunks": 1,
                "state": "indexed",
                "reason": None,
                "changed_at": _DOCUMENT["updated_at"],
            }
        ],
        "total": 354,
        "more": True,
    },
    "failures": {
        "failures": [
            {
                "source_id": _SOURCE_ID,
                "source": _FAILURE["source"],
                **_WHY,
                "run_id": _RUN["id"],
                "failed_at": _RUN["finished_at"],
            }
        ],
        "reasons": [{**_WHY, "sources": 1, "latest_at": _RUN["finished_at"]}],
        "total": 1,
        "more": False,
    },
    "model": {
        **_MODEL,
        "aliases": [
            {
                "spec": "openai:multilingual-e5-small",
                "created_at": _RUN["started_at"],
                "seen_at": _RUN["finished_at"],
            }
        ],
        "indexes": [_INDEX],
        "outcomes": {"same": 2},
        "proofs": [
            {
                "id": "d1b0c9a8-7f6e-4d5c-8b3a-2f1e0d9c8b7a",
                "run_id": _RUN["id"],
                "outcome": "same",
                "lowest_cosine": 1.0,
                "canary": "none",
                "created_at": _RUN["finished_at"],
            }
        ],
        "more": True,
    },
}
