"""Hits as a page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from search_app.types import Hit, SearchResult
from search_app.web.highlight import highlight, snippet
from search_app.web.plain import is_markdown, plain
from search_app.web.state import SearchState


@dataclass(frozen=True, kw_only=True)
class ShownHit:
    """A hit with its snippet, its address, and its source in two parts."""

    hit: Hit
    url: str
    trail: Sequence[Markup]
    snippet: Markup
    folder: str
    file: str
    model: str

    @property
    def lang(self) -> str:
        """The language of the text for the browser, which picks glyphs and hyphens by it."""
        return document_lang(self.hit.document.language)


def document_lang(language: str) -> str:
    """Give a value of the ``lang`` attribute: an empty one says that it is unknown."""
    return "" if language == "und" else language


def source_parts(source: str, uri: str) -> tuple[str, str]:
    """Split a document's uri into the folder and the file name with the record's key, if any."""
    # Not by a path's rules: the address of a web page may end in a slash.
    folder = source[: len(source.rstrip("/").rpartition("/")[0]) + 1] if "/" in source else ""
    return folder, uri.removeprefix(folder)


def _trail(hit: Hit) -> Sequence[str]:
    """Give the headings that a hit stands under, without one that only repeats the title."""
    return [heading for heading in hit.heading_path if heading != hit.document.title]


def _text(hit: Hit) -> str:
    if is_markdown(hit.document.media_type):
        return plain(hit.text, hit.heading_path)
    return hit.text


def shown_hits(result: SearchResult, state: SearchState) -> list[ShownHit]:
    """Prepare the hits of a result for the page."""
    shown = []
    for hit in result.hits:
        folder, file = source_parts(hit.document.source, hit.document.uri)
        shown.append(
            ShownHit(
                hit=hit,
                url=state.document_url(hit.document.id, hit.chunk_id),
                trail=[highlight(heading, result.query) for heading in _trail(hit)],
                snippet=snippet(_text(hit), result.query),
                folder=folder,
                file=file,
                model=result.model.rpartition("/")[2],
            )
        )
    return shown
