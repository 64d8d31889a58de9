"""HTML: the main text as Markdown, without what only a browser needs."""

import io
import re

from ingest.loaders.decoding import decode, normalize_newlines
from ingest.loaders.documents import make_document
from ingest.types import LoadedDocument, SourceRef

# Reading aids of ruby text (rt, rp) would write every such word twice.
_JUNK = (
    *("script", "style", "noscript", "template", "nav", "aside", "form", "button", "select"),
    *("svg", "canvas", "iframe", "object", "audio", "video", "rt", "rp", "title"),
)
_XML_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")


def load_html(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a page; the title is its ``<title>``, else its first heading."""
    from markdownify import MarkdownConverter

    from ingest.loaders.html_tree import HtmlTree

    markup = _XML_DECLARATION.sub("", decode(ref.uri, data), count=1)
    # From a file object, because a short string is suspected to be a file name, with a warning.
    soup = HtmlTree(io.StringIO(markup), "html.parser")
    title = soup.title or soup.h1
    title_text = title.get_text(" ") if title else ""
    language = soup.html.get("lang") if soup.html else None
    for junk in soup.find_all(_JUNK):
        junk.decompose()
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
    return make_document(
        ref,
        text=_BLANK_LINES.sub("\n\n", text).strip() + "\n",
        title=title_text,
        media_type="html",
        structure="markdown",
        language_hint=language if isinstance(language, str) else None,
    )
