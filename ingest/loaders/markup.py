"""Org and reStructuredText: headings found, the rest as it was written."""

import re
from collections.abc import Sequence

from ingest.loaders.decoding import decode_detected
from ingest.loaders.documents import make_document
from ingest.loaders.extraction import extract, write_nodes
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.properties import authors, metadata, stated_title
from ingest.loaders.rst import rst_as_markdown
from ingest.markdown import first_heading
from ingest.types import LoadedDocument, SourceRef

_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_FIELD = re.compile(r":([\w ]+):[ \t]+(.+)")


def load_org(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read an Org file; the title is the stated one, else the first heading.

    Raises:
        SourceError: in no encoding that could be told, or without text.
    """
    read = decode_detected(ref.uri, data)
    extracted = extract(ref.uri, read.text.encode(), "text/x-org")
    out = MarkdownText()
    write_nodes(extracted.nodes, out)
    stated = extracted.stated
    author = stated.get("authors") or [stated.get("directive_author") or ""]
    title = stated.get("title") or stated.get("directive_title")
    return make_document(
        ref,
        text=out.text,
        title=stated_title(title) or first_heading(out.text),
        media_type="org",
        structure="markdown",
        meta=metadata({"author": authors(author)}),
        encoding=read.encoding,
    )


def load_rst(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read reStructuredText; the title is its first heading.

    Titles become headings and code becomes blocks; all else is prose as it was written, so that
    no directive of Sphinx or another program is lost, known or not.

    Raises:
        SourceError: in no encoding that could be told, or without text.
    """
    read = decode_detected(ref.uri, data)
    lines = read.text.expandtabs(8).split("\n")
    text = _BLANK_LINES.sub("\n\n", "\n".join(rst_as_markdown(lines))).strip("\n") + "\n"
    return make_document(
        ref,
        text=text,
        title=first_heading(text),
        media_type="rst",
        structure="markdown",
        meta=metadata(
            {"author": authors(_fields(lines, "author")), "date": _fields(lines, "date")}
        ),
        encoding=read.encoding,
    )


def _fields(lines: Sequence[str], name: str) -> list[str]:
    found = (_FIELD.fullmatch(line) for line in lines)
    return [field[2] for field in found if field and field[1].lower() == name]
