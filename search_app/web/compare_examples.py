"""An example of two indexes compared, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_ANSWER = OTHERS["answer"]
_HIT = _ANSWER["hits"][0]
_CHUNKING = "multilingual-e5-small/256/2"
_OTHER_INDEX = "91c2d6f0-3a8e-4b57-a0b4-8f2f6f6f1b02"
_OTHER_MODEL = "5d1f7f8e-6a0c-4e0d-9c35-4c5a0e7d2a77"
_OTHER_CHUNK = "8a1e3d6b-7c70-5b5c-8a05-6d1a0c9e4f23"
_ENTRY: Mapping[str, JSON] = {
    "rank": 1,
    "chunk_id": _HIT["chunk_id"],
    "document_id": _HIT["document"]["id"],
    "uri": _HIT["document"]["uri"],
    "title": _HIT["document"]["title"],
    "score": _HIT["score"],
}
_OTHER_ENTRY = {**_ENTRY, "chunk_id": _OTHER_CHUNK, "score": 0.9711}

EXAMPLES: Mapping[str, JSON] = {
    "comparison": {
        "collection": "default",
        "a": {
            "index_id": _ANSWER["index_id"],
            "state": "active",
            "model": _ANSWER["model"],
            "model_version_id": _ANSWER["model_version_id"],
            "store": "pgvector",
            "precision": "float16",
            "chunking": _CHUNKING,
        },
        "b": {
            "index_id": _OTHER_INDEX,
            "state": "ready",
            "model": "openai/bge-m3",
            "model_version_id": _OTHER_MODEL,
            "store": "pgvector",
            "precision": "float16",
            "chunking": _CHUNKING,
        },
        "unit": "passage",
        "k": 2,
        "mode": "hybrid",
        "queries": 1,
        "overlap": 0.5,
        "rbo": 0.45,
        "rbo_persistence": 0.9,
        "equal": 0,
        "moves": {"same": 0, "up": 0, "down": 1, "entered": 1, "left": 0},
        "lists": [
            {
                "query": "図書館の休みはいつですか",
                "asked": 12,
                "overlap": 0.5,
                "rbo": 0.45,
                "a": [_ENTRY],
                "b": [_OTHER_ENTRY, {**_ENTRY, "rank": 2, "score": 0.9402}],
                "moves": [
                    {
                        "chunk_id": _OTHER_CHUNK,
                        "document_id": _ENTRY["document_id"],
                        "title": _ENTRY["title"],
                        "a": None,
                        "b": 1,
                        "change": "entered",
                    },
                    {
                        "chunk_id": _ENTRY["chunk_id"],
                        "document_id": _ENTRY["document_id"],
                        "title": _ENTRY["title"],
                        "a": 1,
                        "b": 2,
                        "change": "down",
                    },
                ],
            }
        ],
    }
}
