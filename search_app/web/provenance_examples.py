"""Examples of provenance, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_HIT = OTHERS["answer"]["hits"][0]
_HASH = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
_SENT_HASH = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_MODEL = OTHERS["models"]["models"][0]["name"]

EXAMPLES: Mapping[str, JSON] = {
    "provenance": {
        "chunk_id": _HIT["chunk_id"],
        "document_id": _HIT["document"]["id"],
        "collection": "default",
        "index_id": _HIT["index_id"],
        "index_state": "active",
        "store": "pgvector",
        "model_version_id": _HIT["model_version_id"],
        "model": _MODEL,
        "model_unverified": False,
        "run_id": _HIT["run_id"],
        "copied_by_run_id": None,
        "sent": f"passage: 利用案内 › 休館日\n\n{_HIT['text']}",
        "sent_as_recorded": True,
        "sent_hash": _SENT_HASH,
        "received_hash": _HASH,
        "stored_hash": _HASH,
        "norm": 1.0,
        "batch_size": 32,
        "batch_position": 7,
        "pieces": 1,
        "embedded_at": OTHERS["document"]["created_at"],
    },
    "verification": {
        "chunk_id": _HIT["chunk_id"],
        "index_id": _HIT["index_id"],
        "model": _MODEL,
        "cosine": 1.0,
        "distance": 0.0,
        "likeness": "equal",
        "noise_floor": 0.0,
        "intact": True,
        "holds": True,
    },
}
