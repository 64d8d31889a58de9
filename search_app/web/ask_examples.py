"""Examples of questions and answers, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON
from search_app.web.examples import EXAMPLES as OTHERS

_ANSWER = OTHERS["answer"]
_HIT = _ANSWER["hits"][0]
_WHEN = OTHERS["document"]["created_at"]
_ID = "9a41c7de-6f0e-4f57-9c7e-7a1f2f6f0b31"
_QUESTION = "図書館の休みはいつですか"
_QUOTE = "図書館は毎週月曜日に休館します。"

_PASSAGE: JSON = {
    "number": 1,
    "chunk_ids": [_HIT["chunk_id"]],
    "document": _HIT["document"],
    "text": _HIT["text"],
    "char_start": 0,
    "char_end": len(_HIT["text"]),
    "heading_path": _HIT["heading_path"],
    "page": None,
    "rank": 1,
    "score": _HIT["score"],
    "scores": _HIT["scores"],
    "tokens": 24,
    "removed_at": None,
}
_ANSWERED: JSON = {
    "id": _ID,
    "question": _QUESTION,
    "query": _QUESTION,
    "rewriter": "question",
    "conversation": [],
    "collection": "default",
    "filters": [],
    "mode": "hybrid",
    "index_id": _ANSWER["index_id"],
    "model_version_id": _ANSWER["model_version_id"],
    "model": _ANSWER["model"],
    "search_id": _ANSWER["search_id"],
    "passages": [_PASSAGE],
    "sentences": [
        {
            "text": _QUOTE,
            "citations": [1],
            "state": "quoted",
            "support": 1.0,
            "lead": "",
            "quote_start": 0,
            "quote_end": len(_QUOTE),
        }
    ],
    "text": f"{_QUOTE}[1]",
    "outcome": "answered",
    "reason": None,
    "strength": {
        "distance": 6.2,
        "coverage": 0.93,
        "value": 0.97,
        "threshold": 0.5,
        "enough": True,
    },
    "generator": "extractive",
    "generator_model": None,
    "prompt_version": "1-4be1a90c",
    "removed_citations": 0,
    "removed_links": 0,
    "usage": {"passages": 24, "prompt": None, "completion": None},
    "times": {"rewriting": 0.1, "retrieval": 18.2, "first": 21.0, "writing": 21.4, "total": 44.9},
    "notices": [],
    "client": "api",
    "created_at": _WHEN,
    "stored": True,
}
_PLACE: JSON = {
    "number": 1,
    "document_id": _HIT["document"]["id"],
    "uri": _HIT["document"]["uri"],
    "title": _HIT["document"]["title"],
    "chunk_ids": [],
    "char_start": 0,
    "char_end": len(_QUOTE),
    "text": _QUOTE,
}

EXAMPLES: Mapping[str, JSON] = {
    "question": {
        "question": _QUESTION,
        "collection": "default",
        "filters": ["language=ja"],
        "conversation": [],
    },
    "answered": _ANSWERED,
    "answers": {
        "answers": [
            {
                "id": _ID,
                "collection": "default",
                "question": _QUESTION,
                "outcome": "answered",
                "generator": "extractive",
                "created_at": _WHEN,
            }
        ],
        "more": False,
    },
    "comparing": {"question": _QUESTION, "index": "1d0e5a7b"},
    "stability": {
        "changed": False,
        "kept": [_PLACE],
        "gone": [],
        "new": [],
        "a": _ANSWERED,
        "b": _ANSWERED,
    },
}

STREAM = (
    'event: retrieved\ndata: {"answer_id": "…", "passages": [{"number": 1, "text": "…"}]}\n\n'
    'event: sentence\ndata: {"place": 0, "sentence": {"text": "…", "citations": [1]}}\n\n'
    ": waiting\n\n"
    'event: done\ndata: {"id": "…", "outcome": "answered", "text": "…[1]"}\n\n'
)
"""What an answer looks like while it is written."""
