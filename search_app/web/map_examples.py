"""Examples of maps, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON

_MAP = "5b0e9c1d-7a64-4c8b-9d2f-3e1a0f6b7c88"
_CHUNK = "3f0c7a52-6a51-5f0e-9d6b-0b7f4a4f2f11"
_DOCUMENT = "9b2d4c6e-1f3a-5b7c-8d9e-0a1b2c3d4e5f"

_GROUP: Mapping[str, JSON] = {
    "code": 0,
    "kind": "value",
    "label": "sci.space",
    "count": 593,
    "x": -0.412,
    "y": 0.277,
}

_POINT: Mapping[str, JSON] = {
    "place": 17,
    "chunk_id": _CHUNK,
    "x": -0.4021,
    "y": 0.2814,
    "document_id": _DOCUMENT,
    "title": "Re: Orbital elements",
    "language": "en",
    "text": "The elements for the next launch are as follows.",
}

EXAMPLES: Mapping[str, JSON] = {
    "groups": {
        "map": _MAP,
        "by": "meta.group",
        "ordered": False,
        "groups": [_GROUP],
        "shown": 11010,
        "excluded": 4,
        "gone": 0,
    },
    "points": {
        "points": [{**_POINT, "group": 0, "label": "sci.space"}],
        "total": 11014,
        "more": True,
    },
    "point": _POINT,
    "on_map": {
        "query": "launch windows",
        "x": -0.398,
        "y": 0.291,
        "hits": [{"rank": 1, "score": 0.8712, "on_map": True, **_POINT}],
    },
    "select": {"chunk_ids": [_CHUNK], "query": "launch windows", "limit": 50},
    "selection": {"total": 1, "passages": [{**_POINT, "score": 0.8712}], "more": False},
}
