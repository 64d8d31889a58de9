"""Formats that kreuzberg reads: rich text, Org, Outlook messages.

Its tree of parts is taken, not the Markdown it writes, which is full of escapes and addresses.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.panics import panics_refused
from search_app.errors import SourceError
from search_app.types import JSON

Node = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """The parts of a document in reading order, and what it states about itself."""

    nodes: Sequence[Node]
    stated: Mapping[str, Any]


def extract(source: str, data: bytes, media_type: str) -> Extracted:
    """Take a document apart; nothing is cached, recognised from pictures or fetched.

    Raises:
        SourceError: it cannot be read as ``media_type``.
    """
    import kreuzberg

    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        ocr=None,
        images=None,
        include_document_structure=True,
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
    )
    try:
        with panics_refused(source):
            result = kreuzberg.extract_bytes_sync(data, media_type, config)
    except kreuzberg.KreuzbergError as exc:
        first_line = next(iter(str(exc).splitlines()), "")
        raise SourceError(source, f"damaged: {first_line[:200]}") from exc
    document: JSON = result.document
    tree = json.loads(document) if isinstance(document, str) else document
    return Extracted(nodes=tree["nodes"] if tree else (), stated=dict(result.metadata))


def write_nodes(nodes: Sequence[Node], out: MarkdownText) -> None:
    """Write the parts of a document."""
    counts: Counter[int | None] = Counter()
    for node in nodes:
        content = node["content"]
        match content["node_type"]:
            case "heading" | "title":
                out.heading(content.get("level", 1), content["text"])
            case "list_item":
                above = node.get("parent")
                counts[above] += 1
                ordered = above is not None and nodes[above]["content"].get("ordered")
                label = f"{counts[above]}." if ordered else "-"
                out.item(content["text"], depth=_depth(node, nodes), label=label)
            case "table":
                out.table(_grid(content["grid"]))
            case "code":
                out.code(content["text"], content.get("language") or "")
            case "image" | "group" | "list" | "metadata_block" | "page_break":
                pass
            case _:
                out.paragraph(content.get("text") or content.get("kind") or "")


def _depth(node: Node, nodes: Sequence[Node]) -> int:
    depth = -1
    while (above := node.get("parent")) is not None:
        node = nodes[above]
        depth += node["content"]["node_type"] == "list"
    return max(0, depth)


def _grid(grid: Mapping[str, Any]) -> list[list[str]]:
    rows = [[""] * grid["cols"] for _ in range(grid["rows"])]
    for cell in grid["cells"]:
        rows[cell["row"]][cell["col"]] = cell["content"]
    return rows
