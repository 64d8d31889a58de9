"""Plain text and Markdown: files whose text is what they hold."""

import re

from ingest.loaders.decoding import decode_detected
from ingest.loaders.documents import make_document
from ingest.markdown import first_heading
from ingest.plain import first_title
from ingest.types import LoadedDocument, SourceRef
from search_app.types import JSON

_FRONT_MATTER = re.compile(r"(?sm)---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
# What begins otherwise is a list, an object, a block of text or a reference.
_SCALAR = re.compile(r"([A-Za-z_][\w-]*):[ \t]+([^\s\[{|>&*!#].*)")
_QUOTED = re.compile(r"\"([^\"\\]*)\"|'([^']*)'")


def load_text(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read plain text or reStructuredText; its title is the first that is underlined."""
    read = decode_detected(ref.uri, data)
    return make_document(
        ref,
        text=read.text,
        title=first_title(read.text),
        media_type="text",
        structure="plain",
        encoding=read.encoding,
    )


def load_markdown(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read Markdown; the title is the front matter's, else the first heading."""
    read = decode_detected(ref.uri, data)
    meta, body = split_front_matter(read.text)
    title = meta.pop("title", None) or first_heading(body)
    return make_document(
        ref,
        text=body,
        title=str(title),
        meta=meta,
        media_type="markdown",
        structure="markdown",
        language_hint=_text_or_none(meta.get("lang") or meta.get("language")),
        encoding=read.encoding,
    )


def split_front_matter(text: str) -> tuple[dict[str, JSON], str]:
    """Take ``key: value`` lines from between ``---`` lines at the top; the rest is the body.

    Only plain values are taken: lists and nested keys of YAML are passed over. Where nothing is
    found, the line is a thematic break and the text stays whole.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    lines = (_SCALAR.fullmatch(line.rstrip()) for line in match[1].split("\n"))
    meta = {line[1]: _scalar(line[2]) for line in lines if line is not None}
    return (meta, text[match.end() :]) if meta else ({}, text)


def _scalar(value: str) -> JSON:
    if quoted := _QUOTED.fullmatch(value):
        return quoted[1] or quoted[2] or ""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdecimal() and str(int(value)) == value else value


def _text_or_none(value: JSON) -> str | None:
    return value if isinstance(value, str) else None
