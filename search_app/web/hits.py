"""Hits as a page shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from markupsafe import Markup

from search_app.catalog.chunks import Passage
from search_app.catalog.feedback import Given
from search_app.types import Hit, SearchResult
from search_app.web.breakdown import Step, breakdown
from search_app.web.code import CodeLine, snippet_lines
from search_app.web.highlight import highlight, snippet
from search_app.web.plain import is_markdown, plain
from search_app.web.recommend_state import less_like
from search_app.web.state import SearchState

MOST_LINKS = 20
"""Passages folded into a hit that are linked to; further ones are only counted."""

MOST_NAMES = 3
"""Functions that a hit names, of those that are in it."""


@dataclass(frozen=True, kw_only=True)
class SimilarLink:
    """A passage that was folded into a hit, and where it can be read."""

    url: str
    title: str
    trail: Sequence[str]
    file: str
    lang: str


@dataclass(frozen=True, kw_only=True)
class ShownHit:
    """A hit with its snippet, its address, and its source in two parts.

    ``steps`` say why it stands where it stands; ``alike`` are passages that were folded into it;
    ``like_url`` leads to more like it, ``less_url`` to less; ``noise`` is that of the model, None
    where it has no part in the order. ``given`` is what was said of it and in which search, None
    where nothing can be said. Of source code, ``code`` is what is shown of it instead of the
    snippet, and ``lines_url`` leads to its first line.
    """

    hit: Hit
    url: str
    like_url: str
    title: Markup
    trail: Sequence[Markup]
    snippet: Markup
    folder: str
    file: str
    model: str
    steps: Sequence[Step]
    alike: Sequence[SimilarLink] = ()
    noise: float | None = None
    given: Given | None = None
    code: Sequence[CodeLine] = ()
    lines_url: str = ""
    less_url: str | None = None

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


def trail(passage: Hit | Passage) -> Sequence[str]:
    """Give the headings that a passage stands under, without one that only repeats the title.

    Of source code, what it is called: the functions or classes, with what they stand in.
    """
    if passage.code is not None and passage.code.symbols:
        names = [name for name, _ in passage.code.symbols]
        more = ["…"] if len(names) > MOST_NAMES else []
        return [", ".join([*names[:MOST_NAMES], *more])]
    return [heading for heading in passage.heading_path if heading != passage.document.title]


def readable(passage: Hit | Passage) -> str:
    """Give the text of a passage without what only marks it up."""
    if is_markdown(passage.document.media_type):
        return plain(passage.text, passage.heading_path)
    return passage.text


def shown_hits(
    result: SearchResult,
    state: SearchState,
    *,
    alike: Mapping[UUID, Passage] | None = None,
    given: Mapping[UUID, Given] | None = None,
) -> list[ShownHit]:
    """Prepare the hits of a result for the page.

    ``alike`` are the passages that were folded into hits, ``given`` what was said of hits, both by
    chunk id. Without ``given``, nothing can be said of them.
    """
    shown = []
    nothing_said = Given(search_id=result.search_id, verdict=0)
    for hit in result.hits:
        folder, file = source_parts(hit.document.source, hit.document.uri)
        shown.append(
            ShownHit(
                hit=hit,
                url=state.document_url(hit.document.id, hit.chunk_id),
                like_url=state.similar_url("chunks", hit.chunk_id),
                less_url=less_like(state, hit.chunk_id),
                title=highlight(hit.document.title, result.query),
                trail=[highlight(heading, result.query) for heading in trail(hit)],
                snippet=snippet(readable(hit), result.query),
                folder=folder,
                file=file,
                model=result.model.rpartition("/")[2],
                steps=breakdown(hit, result),
                alike=[
                    _link(alike[chunk_id], state) for chunk_id in hit.similar if chunk_id in alike
                ]
                if alike
                else (),
                noise=result.noise,
                given=None if given is None else given.get(hit.chunk_id, nothing_said),
                code=snippet_lines(hit, result.query),
                lines_url=_lines_url(hit, state),
            )
        )
    return shown


def _lines_url(hit: Hit, state: SearchState) -> str:
    if hit.code is None:
        return ""
    url = state.document_url(hit.document.id, hit.chunk_id)
    return f"{url.partition('#')[0]}#L{hit.code.first_line}"


def _link(passage: Passage, state: SearchState) -> SimilarLink:
    return SimilarLink(
        url=state.document_url(passage.document.id, passage.chunk_id),
        title=passage.document.title,
        trail=trail(passage),
        file=source_parts(passage.document.source, passage.document.uri)[1],
        lang=document_lang(passage.document.language),
    )
