"""Examples of recommendations and groups, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_ANSWER = OTHERS["answer"]
_HIT = _ANSWER["hits"][0]
_LIKE = "3f0f5d0e-8a3c-5f0e-9d58-0c2b7f7a9e11"
_UNLIKE = "document:9a4a1f6c-0f0f-5f5b-8c2e-6b0c3a5d7e21"
_DENSE = {
    **_HIT,
    "score": 0.9127,
    "scores": {"dense": 0.9127},
    "ranks": {"dense": 1},
}
_ANSWERED = {
    name: _ANSWER[name]
    for name in ("collection", "index_id", "model_version_id", "model", "exact", "more", "took_ms")
}
_GROUP = {
    "value": "Sato",
    "documents": 12,
    "passages": 148,
    "drawn": 148,
    "length": 0.9312,
    "by_chance": 0.8829,
}

EXAMPLES: Mapping[str, JSON] = {
    "recommend": {
        "like": [_LIKE, "text:quiet places to read"],
        "unlike": [_UNLIKE],
        "collection": "default",
        "k": 5,
        "filters": ["language=ja"],
        "per_document": 1,
    },
    "recommended": {
        **_ANSWERED,
        "hits": [
            {
                **_HIT,
                "reason": {
                    "like": _LIKE,
                    "cosine": 0.9214,
                    "unlike": _UNLIKE,
                    "unlike_cosine": 0.8407,
                },
            }
        ],
        "like": [_LIKE, "text:quiet places to read"],
        "unlike": [_UNLIKE],
        "mode": "hybrid",
        "notices": [],
    },
    "groups": {
        "field": "meta.author",
        "collection": "default",
        "index_id": _ANSWER["index_id"],
        "model_version_id": _ANSWER["model_version_id"],
        "model": _ANSWER["model"],
        "length": 0.8824,
        "pull": 3.2,
        "all_alike": False,
        "groups": [_GROUP],
        "more": False,
    },
    "group": {
        **_ANSWERED,
        "field": "meta.author",
        "value": "Sato",
        "group": _GROUP,
        "basis": "passages",
        "pull": 3.2,
        "share": 0.9788,
        "told": "by what sets the mean of its 148 passages apart from the mean of everything",
        "similar": [{**_GROUP, "value": "Suzuki", "cosine": 0.4471}],
        "hits": [_DENSE],
        "notices": [],
    },
}
