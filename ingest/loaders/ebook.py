"""EPUB books: the chapters in reading order.

An own walk through the package around the HTML reader, because kreuzberg 4.10 writes pictures
into the text as base64 and keeps the table of contents, and so does every address.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ingest.loaders.decoding import decode_html
from ingest.loaders.documents import make_document
from ingest.loaders.html import read_page
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.packages import Package, member_name
from ingest.loaders.properties import authors, metadata, stated_date, stated_title
from ingest.loaders.xml_tree import (
    Element,
    attribute,
    child,
    children,
    descendants,
    local,
    parse_xml,
    text_of,
)
from ingest.markdown import first_heading
from ingest.types import LoadedDocument, SourceRef
from search_app.errors import SourceError

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_RIGHTS = "META-INF/rights.xml"
_PAGES = frozenset({"application/xhtml+xml", "text/html", "text/x-oeb1-document"})
_FONT = (".ttf", ".otf", ".woff", ".woff2")


@dataclass(frozen=True, kw_only=True)
class _Item:
    """A member of the book: its name in the package, its media type and its roles."""

    name: str
    media_type: str
    roles: tuple[str, ...]


def load_epub(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a book; chapters that name themselves only in the table of contents get that name.

    Raises:
        SourceError: damaged, protected, too large once unpacked, or without text.
    """
    package = Package(ref.uri, data)
    _check_unprotected(package)
    name = _package_document(package)
    root = parse_xml(ref.uri, name, package.read(name))
    items = _items(root, name)
    labels = _labels(package, root, items)
    out = MarkdownText()
    for item in _spine(root, items):
        if item.media_type in _PAGES and "nav" not in item.roles and item.name in package:
            text = read_page(decode_html(ref.uri, package.read(item.name)).text).text
            if text.strip() and item.name in labels and not first_heading(text):
                out.heading(1, labels[item.name])
            out.markdown(text)
    stated = _stated(root)
    return make_document(
        ref,
        text=out.text,
        title=stated_title(_first(stated, "title")) or first_heading(out.text),
        media_type="epub",
        structure="markdown",
        meta=metadata(
            {
                "author": authors(stated.get("creator", [])),
                "created": stated_date(_first(stated, "date")),
                "publisher": _first(stated, "publisher"),
                "keywords": authors(stated.get("subject", [])),
            }
        ),
        language_hint=_first(stated, "language"),
    )


def _check_unprotected(package: Package) -> None:
    if _RIGHTS in package:
        raise SourceError(package.source, "protected against copying; cannot be read")
    if _ENCRYPTION not in package:
        return
    root = parse_xml(package.source, _ENCRYPTION, package.read(_ENCRYPTION))
    for reference in descendants(root, "CipherReference"):
        # Fonts are often scrambled in books that are not protected.
        if not attribute(reference, "URI").lower().endswith(_FONT):
            raise SourceError(package.source, "protected against copying; cannot be read")


def _package_document(package: Package) -> str:
    root = parse_xml(package.source, _CONTAINER, package.read(_CONTAINER))
    for rootfile in descendants(root, "rootfile"):
        return member_name("", attribute(rootfile, "full-path"))
    raise SourceError(package.source, "damaged: it names no package document")


def _items(root: Element, base: str) -> Mapping[str, _Item]:
    manifest = child(root, "manifest")
    return {
        attribute(item, "id"): _Item(
            name=member_name(base, attribute(item, "href")),
            media_type=attribute(item, "media-type"),
            roles=tuple(attribute(item, "properties").split()),
        )
        for item in (children(manifest, "item") if manifest is not None else ())
    }


def _spine(root: Element, items: Mapping[str, _Item]) -> Iterator[_Item]:
    spine = child(root, "spine")
    for reference in children(spine, "itemref") if spine is not None else ():
        item = items.get(attribute(reference, "idref"))
        if item is not None:
            yield item


def _labels(package: Package, root: Element, items: Mapping[str, _Item]) -> Mapping[str, str]:
    """Give the first name that the table of contents has for each member."""
    spine = child(root, "spine")
    contents = items.get(attribute(spine, "toc")) if spine is not None else None
    navigation = next((item for item in items.values() if "nav" in item.roles), None)
    labels: dict[str, str] = {}
    if contents is not None and contents.name in package:
        source = package.read(contents.name)
        table = parse_xml(package.source, contents.name, _without_doctype(source))
        for point in descendants(table, "navPoint"):
            target = child(point, "content")
            if target is not None:
                name = member_name(contents.name, attribute(target, "src"))
                labels.setdefault(name, text_of(child(point, "navLabel")).strip())
    elif navigation is not None and navigation.name in package:
        labels = _navigation_labels(package, navigation.name)
    return labels


def _navigation_labels(package: Package, name: str) -> dict[str, str]:
    from bs4 import BeautifulSoup

    markup = decode_html(package.source, package.read(name)).text
    labels: dict[str, str] = {}
    for link in BeautifulSoup(markup, "html.parser").find_all("a", href=True):
        labels.setdefault(member_name(name, str(link["href"])), link.get_text(" ", strip=True))
    return labels


def _without_doctype(source: bytes) -> bytes:
    """Take the document type off a table of contents, which EPUB 2 wants there."""
    start = source.find(b"<!DOCTYPE ncx")
    end = source.find(b">", start)
    plain = start >= 0 and b"[" not in source[start:end]
    return source[:start] + source[end + 1 :] if plain else source


def _stated(root: Element) -> Mapping[str, list[str]]:
    stated: dict[str, list[str]] = {}
    found = child(root, "metadata")
    for entry in descendants(found, "*") if found is not None else ():
        stated.setdefault(local(entry), []).append(text_of(entry).strip())
    return stated


def _first(stated: Mapping[str, list[str]], name: str) -> str:
    return next((value for value in stated.get(name, []) if value), "")
