"""Examples of suggestions, feedback and similar passages, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_ANSWER = OTHERS["answer"]
_HIT = _ANSWER["hits"][0]

EXAMPLES: Mapping[str, JSON] = {
    "suggestions": {
        "suggestions": [
            {"text": "図書館の休みはいつですか", "kind": "query"},
            {"text": "図書館の利用案内", "kind": "title"},
        ]
    },
    "feedback": {
        "search_id": _ANSWER["search_id"],
        "chunk_id": _HIT["chunk_id"],
        "verdict": 1,
    },
    "feedback kept": {
        "search_id": _ANSWER["search_id"],
        "chunk_id": _HIT["chunk_id"],
        "verdict": 1,
        "position": 1,
    },
    "similar": {
        name: value
        for name, value in _ANSWER.items()
        if name not in ("search_id", "unknown_words", "suggestion")
    },
}
