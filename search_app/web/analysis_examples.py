"""Examples of analyses, as examples.py has those of searches."""

from collections.abc import Mapping

from search_app.types import JSON

_ANALYSIS = "2c1e8f7a-4d5b-4f7e-9a3d-6b0c7d8e9f10"
_INDEX = "7d9f1c1e-98a5-4f7e-8c9b-0c5a0b6b6c55"
_VERSION = "0e6b7b0a-0a43-4a0d-9b6f-2b0f6c2d7e10"
_CHUNK = "3f0c7a52-6a51-5f0e-9d6b-0b7f4a4f2f11"
_DOCUMENT = "9b2d4c6e-1f3a-5b7c-8d9e-0a1b2c3d4e5f"
_WHEN = "2026-03-15T03:00:12Z"

_PARAMETERS: Mapping[str, JSON] = {
    "index": None,
    "filters": ["language=en"],
    "seed": 0,
    "method": "k-means",
    "number": 4,
    "suggested": True,
    "field": "meta.group",
    "repeats": 5,
}

_SUMMARY: Mapping[str, JSON] = {
    "id": _ANALYSIS,
    "kind": "clusters",
    "collection": "default",
    "index_id": _INDEX,
    "model_version_id": _VERSION,
    "model": "bundled/multilingual-e5-small",
    "parameters": _PARAMETERS,
    "seed": 0,
    "seconds": 10.0,
    "job_id": 17,
    "at": _WHEN,
}

_NUMBERS: Mapping[str, JSON] = {
    "passages": 160,
    "documents": 160,
    "available": 160,
    "sampled": False,
    "broken": 0,
    "number": 4,
    "in_none": 0,
    "suggestion": {
        "number": 4,
        "gap": 0.00121,
        "silhouettes": [[2, 0.0412], [3, 0.0448], [4, 0.046]],
        "rows": 160,
    },
    "silhouette": 0.046,
    "silhouette_rows": 160,
    "davies_bouldin": 3.989,
    "agreement": {
        "field": "meta.group",
        "rows": 128,
        "values": 4,
        "ari": 0.785,
        "nmi": 0.792,
        "homogeneity": 0.79,
        "completeness": 0.794,
        "v_measure": 0.792,
    },
    "noise": 1.2e-07,
    "stability": {
        "noise": {"ari": 1.0, "lowest_ari": 1.0, "aris": [1.0, 1.0], "rows": 160},
        "resampling": {"ari": 0.707, "lowest_ari": 0.596, "aris": [0.596, 0.818], "rows": 128},
    },
    "clusters": [
        {
            "cluster": 0,
            "name": "space · engine · orbit",
            "terms": [{"text": "space", "score": 4.1, "share": 0.37}],
            "size": 46,
            "silhouette": 0.035,
            "stability_noise": 1.0,
            "stability_resampling": 0.665,
            "examples": [
                {
                    "chunk_id": _CHUNK,
                    "document_id": _DOCUMENT,
                    "title": "Re: Orbital elements",
                    "text": "The elements for the next launch are…",
                }
            ],
        }
    ],
}

EXAMPLES: Mapping[str, JSON] = {
    "ask": {
        "collection": "default",
        "kind": "clusters",
        "method": "k-means",
        "field": "meta.group",
        "filters": ["language=en"],
    },
    "analyses": {"analyses": [_SUMMARY], "more": False},
    "analysis": {**_SUMMARY, "numbers": _NUMBERS},
    "members": {
        "members": [
            {
                "chunk_id": _CHUNK,
                "cluster": 0,
                "score": 0.91,
                "document_id": _DOCUMENT,
                "title": "Re: Orbital elements",
                "text": "The elements for the next launch are as follows.",
            }
        ],
        "more": True,
    },
    "suggestions": {
        "suggestions": [
            {
                "document_id": _DOCUMENT,
                "title": "Re: Orbital elements",
                "field": "suggested.group",
                "name": "group",
                "value": "sci.space",
                "probability": 0.83,
                "method": "logistic",
                "analysis_id": _ANALYSIS,
                "model_version_id": _VERSION,
                "model": "bundled/multilingual-e5-small",
                "at": _WHEN,
            }
        ],
        "more": False,
    },
}
