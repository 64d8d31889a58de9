"""Web pages: the main text as Markdown, without navigation, banners and comments."""

import re
from collections.abc import Mapping
from configparser import ConfigParser
from functools import cache
from typing import Any

from ingest.loaders.decoding import decode_html
from ingest.loaders.documents import EMPTY, make_document
from ingest.loaders.html import load_html
from ingest.loaders.properties import authors, metadata, stated_date, stated_title
from ingest.types import LoadedDocument, SourceRef
from search_app.errors import SourceError
from search_app.types import JSON

# Characters. Below it what was found is thought to be too little, and the page is taken as lines
# without their structure; the library's own number is that of a language with longer words.
_LEAST_TEXT = 50
# A table with such a cell holds the page together; nobody reads rows and columns in it.
_LAYOUT_TEXT = 800
_LAYOUT_BREAKS = 4
_PARTS_OF_TABLES = "self::tr or self::td or self::th or self::tbody or self::thead or self::tfoot"
# In code a backslash stands for itself; at the start of a line what it hides would be a list, a
# fence or a tag.
_ESCAPE = re.compile(r"(```.*?```|`+[^`]*`+)|\\([\[\]_])|(?<=[^\n])\\([*~<`])", re.DOTALL)
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")


def load_page(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a page that was fetched; ``charset`` of the source's meta is what its server said.

    Raises:
        SourceError: there is no text in it, or it cannot be decoded.
    """
    from trafilatura import bare_extraction
    from trafilatura.utils import load_html as parse

    read = decode_html(ref.uri, data, _text(ref.meta, "charset"))
    tree = parse(read.text)
    if tree is None:
        return _as_file(ref, data)
    _prepare(tree)
    found: Any = bare_extraction(
        tree,
        url=ref.uri,
        include_formatting=True,
        include_comments=False,
        with_metadata=True,
        # The text of a page is full of dates; only a stated one is its own.
        date_extraction_params={"extensive_search": False, "original_date": True},
        config=_config(),
    )
    text = _tidied(found.text) if found is not None and found.text else ""
    if not text:
        return _as_file(ref, data)
    return make_document(
        ref,
        text=text,
        title=stated_title(found.title),
        meta=_metadata(ref, found),
        media_type="html",
        structure="markdown",
        language_hint=tree.get("lang") or tree.get("xml:lang"),
        encoding=read.encoding,
    )


@cache
def _config() -> ConfigParser:
    from trafilatura.settings import use_config

    config = use_config()
    config["DEFAULT"]["MIN_EXTRACTED_SIZE"] = str(_LEAST_TEXT)
    return config


def _as_file(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Take all the text there is, where none of it stands out as the main one."""
    try:
        return load_html(ref, data)
    except SourceError as error:
        if error.reason != EMPTY:
            raise
        reason = "no text in the page; what scripts fill in is not seen"
        raise SourceError(ref.uri, reason) from error


def _prepare(tree: Any) -> None:
    """Take away what would be written twice, and tables that are there for the layout."""
    for reading_aid in tree.xpath("//rt | //rp"):
        reading_aid.drop_tree()
    for annotated in tree.xpath("//ruby | //rb"):
        annotated.drop_tag()
    for table in tree.xpath("//table"):
        if table.xpath(".//table") or any(map(_is_layout, table.xpath(".//td"))):
            for part in table.xpath(f".//*[{_PARTS_OF_TABLES}]"):
                if next(part.iterancestors("table"), None) is table:
                    part.tag = "div"
            table.tag = "div"


def _is_layout(cell: Any) -> bool:
    breaks = cell.xpath("count(.//br | .//p)")
    return bool(breaks >= _LAYOUT_BREAKS and len(cell.text_content()) > _LAYOUT_TEXT)


def _tidied(text: str) -> str:
    r"""Undo escapes such as ``\_``, which would be searched and embedded as words."""
    plain = _ESCAPE.sub(lambda found: found[1] or found[2] or found[3], text)
    plain = _BLANK_LINES.sub("\n\n", plain).strip()
    return f"{plain}\n" if plain else ""


def _metadata(ref: SourceRef, found: Any) -> dict[str, JSON]:
    address = _text(ref.meta, "address")
    return metadata(
        {
            "author": authors([found.author or ""]),
            "date": stated_date(found.date),
            # Where a page states none, this is its host, which the folder says already.
            "site": "" if "." in (found.sitename or "") else found.sitename,
            "address": address if address != ref.uri else None,
        }
    )


def _text(values: Mapping[str, JSON], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None
