"""Jupyter notebooks (.ipynb): their text and code, without what running it has shown."""

import json
from collections.abc import Mapping

from ingest.loaders.decoding import decode
from ingest.loaders.documents import make_document
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.properties import authors, metadata
from ingest.markdown import first_heading
from ingest.types import LoadedDocument, SourceRef
from search_app.errors import SourceError
from search_app.types import JSON


def load_notebook(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a notebook; the title is its first heading.

    Raises:
        SourceError: it is no notebook, or without text.
    """
    try:
        notebook: JSON = json.loads(decode(ref.uri, data))
    except json.JSONDecodeError as exc:
        raise SourceError(ref.uri, f"not JSON: {exc.msg} at character {exc.pos + 1}") from exc
    except RecursionError as exc:
        raise SourceError(ref.uri, "nested too deeply") from exc
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise SourceError(ref.uri, "not a notebook of version 4: it has no list of cells")
    about = _mapping(notebook, "metadata")
    language = str(_mapping(about, "language_info").get("name") or "")
    out = MarkdownText()
    for cell in cells:
        source = _source(cell)
        if _mapping({"cell": cell}, "cell").get("cell_type") == "code":
            out.code(source, language)
        else:
            out.markdown(source)
    stated = about.get("authors")
    names = (
        [_mapping({"a": a}, "a").get("name") for a in stated] if isinstance(stated, list) else []
    )
    return make_document(
        ref,
        text=out.text,
        title=first_heading(out.text),
        media_type="notebook",
        structure="markdown",
        meta=metadata({"code": language, "author": authors(str(name) for name in names if name)}),
    )


def _mapping(parent: Mapping[str, JSON], name: str) -> Mapping[str, JSON]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def _source(cell: JSON) -> str:
    source = cell.get("source") if isinstance(cell, dict) else None
    lines = source if isinstance(source, list) else [source]
    return "".join(line for line in lines if isinstance(line, str))
