"""OpenDocument texts and presentations (.odt, .odp) of LibreOffice and others.

An own reading, because kreuzberg 4.10 loses words of an .odt (several spaces, ruby text with its
base, tables within tables) and reads no .odp.
"""

from collections.abc import Iterator, Mapping

from ingest.loaders.documents import make_document
from ingest.loaders.markdown_text import MarkdownText
from ingest.loaders.office.odf_text import OdfText, slide_title
from ingest.loaders.packages import Package
from ingest.loaders.properties import authors, metadata, stated_date, stated_title
from ingest.loaders.xml_tree import (
    Element,
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
from search_app.types import JSON

_CONTENT = "content.xml"
_META = "meta.xml"
_MANIFEST = "META-INF/manifest.xml"


def load_odt(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a text; the title is the stated one, else the first heading.

    Raises:
        SourceError: damaged, encrypted, too large once unpacked, or without text.
    """
    package = open_document(ref.uri, data)
    out = MarkdownText()
    for body in _bodies(package, "text"):
        OdfText(out).blocks(body)
    return _document(ref, package, out, "odt", first_heading(out.text))


def load_odp(ref: SourceRef, data: bytes) -> LoadedDocument:
    """Read a presentation, each slide a page; the title is that of its first slide.

    Raises:
        SourceError: as for ``load_odt``.
    """
    package = open_document(ref.uri, data)
    out = MarkdownText()
    slides = [
        slide for body in _bodies(package, "presentation") for slide in children(body, "page")
    ]
    title = ""
    for number, slide in enumerate(slides, start=1):
        out.page()
        heading = slide_title(slide)
        title = heading if number == 1 else title
        out.heading(2, heading or f"#{number}")
        OdfText(out).slide(slide)
    return _document(ref, package, out, "odp", title)


def open_document(source: str, data: bytes) -> Package:
    """Open an OpenDocument file.

    Raises:
        SourceError: damaged or encrypted.
    """
    package = Package(source, data)
    if _MANIFEST in package:
        manifest = parse_xml(source, _MANIFEST, _without_doctype(package.read(_MANIFEST)))
        if next(descendants(manifest, "encryption-data"), None) is not None:
            raise SourceError(source, "encrypted; save it without a password")
    return package


def _without_doctype(manifest: bytes) -> bytes:
    # OpenOffice 1 and 2 wrote one, that of the package format.
    plain = b'<!DOCTYPE manifest:manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" '
    return manifest.replace(plain + b'"Manifest.dtd">', b"", 1)


def _bodies(package: Package, kind: str) -> Iterator[Element]:
    root = parse_xml(package.source, _CONTENT, package.read(_CONTENT))
    body = child(root, "body")
    return children(body, kind) if body is not None else iter(())


def _document(
    ref: SourceRef, package: Package, out: MarkdownText, kind: str, found_title: str
) -> LoadedDocument:
    stated = stated_properties(package)
    titles = [found_title, stated.get("title", "")]
    if kind == "odt":
        titles.reverse()
    pages = {"slides": len(out.page_starts)} if kind == "odp" else {}
    return make_document(
        ref,
        text=out.text,
        title=titles[0] or titles[1],
        media_type=kind,
        structure="markdown",
        meta={**pages, **odf_metadata(stated)},
        language_hint=stated.get("language"),
        page_starts=out.page_starts,
    )


def stated_properties(package: Package) -> dict[str, str]:
    """Read what ``meta.xml`` states, by name; keywords are joined with semicolons.

    Raises:
        SourceError: it is damaged.
    """
    stated: dict[str, str] = {}
    if _META in package:
        root = parse_xml(package.source, _META, package.read(_META))
        found = child(root, "meta")
        for entry in found if found is not None else ():
            name, text = local(entry), text_of(entry).strip()
            stated[name] = f"{stated[name]};{text}" if name in stated else text
    return stated | {"title": stated_title(stated.get("title"))}


def odf_metadata(stated: Mapping[str, str]) -> dict[str, JSON]:
    """Turn what ``meta.xml`` states into metadata to filter by."""
    return metadata(
        {
            "author": authors([stated.get("initial-creator") or stated.get("creator", "")]),
            "created": stated_date(stated.get("creation-date")),
            "modified": stated_date(stated.get("date")),
            "subject": stated.get("subject", ""),
            "keywords": authors([stated.get("keyword", "")]),
        }
    )
