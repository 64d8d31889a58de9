"""HTML: the main text as Markdown, without what only a browser needs."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.loaders.decoding import decode_html, normalize_newlines
from ingest.loaders.documents import make_document
from ingest.loaders.properties import authors, metadata, stated_date
from ingest.types import LoadedDocument, SourceRef
from search_app.types import JSON

if TYPE_CHECKING:
    from ingest.loaders.html_tree import HtmlTree

# Reading aids of ruby text (rt, rp) would write every such word twice.
_JUNK = (
    *("script", "style", "noscript", "template", "nav", "aside", "form", "button", "select"),
    *("svg", "canvas", "iframe", "object", "audio", "video", "rt", "rp", "title"),
)
_XML_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_STATED = {
    "author": ("author", "dc.creator", "article:author"),
    "created": ("article:published_time", "dc.date", "date"),
    "modified": ("article:modified_time", "last-modified"),
}
"""Names of metadata, and those it goes by in pages."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page as Markdown, and what it states about itself; empty where it does not."""

    text: str
    title: str
    language: str | None
    meta: Mapping[str, JSON]


def load_html(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a page; the title is its ``<title>``, else its first heading.

    Raises:
        SourceError: in no encoding that could be told, or without text.
    """
    charset = ref.meta.get("charset")
    read = decode_html(ref.uri, data, charset if isinstance(charset, str) else None)
    page = read_page(read.text)
    return make_document(
        ref,
        text=page.text,
        title=page.title,
        media_type="html",
        structure="markdown",
        meta=page.meta,
        language_hint=page.language,
        encoding=read.encoding,
    )


def read_page(markup: str) -> Page:
    """Turn HTML or XHTML into Markdown; nothing that it refers to is fetched."""
    from ingest.loaders.html_tree import HtmlTree

    markup = _XML_DECLARATION.sub("", markup, count=1)
    # From a file object, because a short string is suspected to be a file name, with a warning.
    soup = HtmlTree(io.StringIO(markup), "html.parser")
    title = soup.title or soup.h1
    title_text = title.get_text(" ") if title else ""
    language = soup.html.get("lang") if soup.html else None
    meta = _stated(soup)
    for junk in soup.find_all(_JUNK):
        junk.decompose()
    soup.flatten()
    return Page(
        text=_markdown(soup),
        title=title_text,
        language=language if isinstance(language, str) else None,
        meta=meta,
    )


def _markdown(soup: "HtmlTree") -> str:
    from markdownify import MarkdownConverter

    mains = soup.find_all("main")
    body = mains[0] if len(mains) == 1 else soup.body or soup
    # Addresses and escapes would be searched and embedded as if they were words.
    converter = MarkdownConverter(
        heading_style="atx",
        strip=["a", "img"],
        escape_asterisks=False,
        escape_underscores=False,
        table_infer_header=True,
    )
    text = normalize_newlines(converter.convert_soup(body))
    return _BLANK_LINES.sub("\n\n", text).strip() + "\n"


def _stated(soup: "HtmlTree") -> dict[str, JSON]:
    found: dict[str, list[str]] = {}
    for tag in soup.find_all("meta"):
        name = tag.get("name") or tag.get("property") or tag.get("http-equiv")
        content = tag.get("content")
        if isinstance(name, str) and isinstance(content, str):
            found.setdefault(name.lower(), []).append(content)
    stated = {
        field: [value for name in names for value in found.get(name, [])]
        for field, names in _STATED.items()
    }
    dates = {f: [stated_date(date) for date in stated[f]][:1] for f in ("created", "modified")}
    return metadata({"author": authors(stated["author"]), **dates})
