"""Hits as commands print them, and as their ``--json`` has them."""

from collections.abc import Mapping
from dataclasses import asdict
from uuid import UUID

from search_app.console import printable
from search_app.types import JSON, CodePlace, Hit, SearchResult

SHOWN_TEXT = 300
"""Characters of a passage that a terminal shows."""


def result_json(result: SearchResult) -> JSON:
    """Give a result in the shape that users of ``--json`` rely on."""
    return {
        "search_id": str(result.search_id),
        "query": result.query,
        "mode": result.mode,
        "notices": [asdict(notice) for notice in result.notices],
        "unknown_words": list(result.unknown_words),
        "suggestion": result.suggestion,
        "collection": result.collection,
        "hits": [hit_json(hit) for hit in result.hits],
        "index_id": str(result.index_id),
        "model_version_id": str(result.model_version_id),
        "model": result.model,
        "exact": result.exact,
        "noise": result.noise,
        "kind": result.kind,
        "took_ms": round(result.took_ms, 3),
    }


def hit_json(hit: Hit) -> JSON:
    """Give a hit in that shape."""
    return {
        "rank": hit.rank,
        "chunk_id": str(hit.chunk_id),
        "document": {**asdict(hit.document), "id": str(hit.document.id)},
        "text": hit.text,
        "heading_path": list(hit.heading_path),
        "page": hit.page,
        "score": hit.score,
        "scores": dict(hit.scores),
        "ranks": dict(hit.ranks),
        "similar": [str(chunk_id) for chunk_id in hit.similar],
        "run_id": str(hit.run_id),
        "model_version_id": str(hit.model_version_id),
        "index_id": str(hit.index_id),
        "within_noise_of_next": hit.within_noise_of_next,
        "code": None if hit.code is None else _code_json(hit.code),
    }


def _code_json(code: CodePlace) -> JSON:
    symbols = [{"name": name, "kind": kind} for name, kind in code.symbols]
    return {"first_line": code.first_line, "last_line": code.last_line, "symbols": symbols}


def print_result(result: SearchResult, reasons: Mapping[UUID, str] | None = None) -> None:
    """Print hits for a terminal; ``reasons`` say in a line why each is there."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for hit in result.hits:
        where = printable(" › ".join(hit.heading_path) or hit.document.title)
        page = f" · page {hit.page}" if hit.page else ""
        if hit.code is not None:
            page = f":{hit.code.first_line}-{hit.code.last_line}"
            where = printable(", ".join(name for name, _ in hit.code.symbols)) or where
        mark = "≈" if hit.within_noise_of_next else " "
        console.print(
            Text(f"{hit.rank:>3}{mark} {hit.score:.4f}  ", "bold") + Text(where, "bold cyan")
        )
        console.print(
            Text(
                f"             {printable(hit.document.uri)}{page} · {hit.document.language}", "dim"
            )
        )
        text = printable(" ".join(hit.text.split()))
        shown = text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "…"
        console.print(Text(f"     {shown}"))
        if reasons and hit.chunk_id in reasons:
            console.print(Text(f"     {printable(reasons[hit.chunk_id])}", "dim"))
        console.print()
    if any(hit.within_noise_of_next for hit in result.hits):
        console.print(Text(_noise_told(result.noise), "dim"))
    if result.suggestion is not None:
        console.print(f"did you mean: {printable(result.suggestion)}", style="yellow", markup=False)
    for notice in result.notices:
        console.print(Text(f"note: {printable(notice.reason)}", "yellow"))
    if not result.hits:
        console.print("nothing found; try fewer filters")
    console.print(
        Text(
            f"{len(result.hits)} hits · {result.took_ms:.0f} ms · {result.mode} · {result.model}",
            "dim",
        )
    )


def _noise_told(noise: float | None) -> str:
    told = "≈ as good as the next: equal scores"
    if noise:
        told += f", or nearer than the model's noise (1 - cos up to {noise:.1e})"
    return f"{told}; their order says nothing"
