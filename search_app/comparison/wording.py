"""A comparison as JSON: the shape that ``ingest compare --json`` and the API have."""

from collections.abc import Sequence

from search_app.comparison.asking import Compared, Comparison, Entry, Side
from search_app.list_measures import PERSISTENCE, Change
from search_app.types import JSON

MOST_SHOWN = 50
"""Queries that changed most, as many as are told in full."""


def as_json(comparison: Comparison, *, most: int = MOST_SHOWN) -> dict[str, JSON]:
    """Give the summary, and both lists of the ``most`` queries that changed most."""
    pair = comparison.pair
    return {
        "collection": pair.collection.name,
        "a": _side(pair.left),
        "b": _side(pair.right),
        "unit": "document" if pair.by_documents else "passage",
        "k": comparison.k,
        "mode": comparison.mode,
        "queries": len(comparison.queries),
        "overlap": comparison.overlap,
        "rbo": comparison.rbo,
        "rbo_persistence": PERSISTENCE,
        "equal": comparison.same,
        "moves": {change: comparison.count(change) for change in Change},
        "lists": [_compared(each) for each in comparison.by_change[:most]],
    }


def _compared(compared: Compared) -> dict[str, JSON]:
    """Give one query with both lists and what moved."""
    entries = {entry.key: entry for entry in (*compared.left, *compared.right)}
    return {
        "query": compared.query,
        "asked": compared.times,
        "overlap": compared.overlap,
        "rbo": compared.rbo,
        "a": _list(compared.left),
        "b": _list(compared.right),
        "moves": [
            {
                "chunk_id": entries[move.key].chunk_id,
                "document_id": entries[move.key].document_id,
                "title": entries[move.key].title,
                "a": move.before,
                "b": move.after,
                "change": move.change,
            }
            for move in compared.moves
        ],
    }


def _side(side: Side) -> dict[str, JSON]:
    index = side.index
    return {
        "index_id": index.id,
        "state": index.state,
        "model": side.version.name,
        "model_version_id": side.version.id,
        "store": index.store,
        "precision": index.precision,
        "chunking": index.chunking.name,
    }


def _list(entries: Sequence[Entry]) -> list[dict[str, JSON]]:
    return [
        {
            "rank": rank,
            "chunk_id": entry.chunk_id,
            "document_id": entry.document_id,
            "uri": entry.uri,
            "title": entry.title,
            "score": entry.score,
        }
        for rank, entry in enumerate(entries, start=1)
    ]
