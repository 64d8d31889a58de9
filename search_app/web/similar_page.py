"""The page of what is like a passage or a document."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from search_app.bootstrap import Services
from search_app.catalog import chunks, documents
from search_app.catalog.engine import reading
from search_app.errors import NotFoundError
from search_app.retrieval import SimilarRequest
from search_app.types import Hit
from search_app.web.deps import ServicesDep, page_id
from search_app.web.highlight import snippet
from search_app.web.hits import document_lang, readable, shown_hits, source_parts, trail
from search_app.web.rendering import render
from search_app.web.search_page import Answer, Mixing, mixing_of
from search_app.web.state import SearchState, read_state

MOST_SHOWN = 20
"""Passages that the page shows."""

MOST_LOOKED_AT = 200
"""Passages among which other documents are looked for, of each the best passage."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What the passages are like: one of them, or a document, which has no ``snippet``."""

    title: str
    url: str
    trail: Sequence[str]
    snippet: Markup
    lang: str
    folder: str
    file: str


@dataclass(frozen=True, kw_only=True)
class SimilarView:
    """Everything that the template reads; ``back`` leads to the search it was asked from."""

    seed: Seed
    answer: Answer
    state: SearchState
    mixing: Mixing
    back: str | None


@router.api_route("/similar/chunks/{chunk_id}", methods=["GET", "HEAD"])
async def like_chunk(request: Request, services: ServicesDep, chunk_id: str) -> Response:
    """Show passages like one."""
    state = read_state(request.query_params)
    wanted = page_id(chunk_id, "passage")
    async with reading(services.engine) as connection:
        passage = (await chunks.passages(connection, [wanted])).get(wanted)
    if passage is None:
        raise NotFoundError(f"no passage {wanted}; its document may have changed")
    folder, file = source_parts(passage.document.source, passage.document.uri)
    seed = Seed(
        title=passage.document.title,
        url=state.document_url(passage.document.id, wanted),
        trail=trail(passage),
        snippet=snippet(readable(passage), ""),
        lang=document_lang(passage.document.language),
        folder=folder,
        file=file,
    )
    return await _page(request, services, seed, SimilarRequest(chunk_id=wanted, k=MOST_SHOWN))


@router.api_route("/similar/documents/{document_id}", methods=["GET", "HEAD"])
async def like_document(request: Request, services: ServicesDep, document_id: str) -> Response:
    """Show the documents that are like one, each by its passage that is most like it."""
    wanted = page_id(document_id, "document")
    async with reading(services.engine) as connection:
        document = await documents.get(connection, wanted)
    folder, file = source_parts(document.source, document.uri)
    seed = Seed(
        title=document.title,
        url=f"/documents/{document.id}",
        trail=(),
        snippet=Markup(),
        lang=document_lang(document.language),
        folder=folder,
        file=file,
    )
    return await _page(
        request, services, seed, SimilarRequest(document_id=wanted, k=MOST_LOOKED_AT)
    )


async def _page(
    request: Request, services: Services, seed: Seed, wanted: SimilarRequest
) -> Response:
    state = read_state(request.query_params)
    result = await services.searcher.similar(wanted)
    if wanted.document_id is not None:
        result = replace(result, hits=_best_of_each(result.hits))
    view = SimilarView(
        seed=seed,
        answer=Answer(result=result, hits=shown_hits(result, state)),
        state=state,
        mixing=mixing_of(services.settings),
        back=state.url() if state.query else None,
    )
    return render(request, "similar.html", view=view)


def _best_of_each(hits: Sequence[Hit]) -> list[Hit]:
    """Keep the first hit of each document, ranked anew."""
    best: dict[UUID, Hit] = {}
    for hit in hits:
        best.setdefault(hit.document.id, hit)
    kept = [*best.values()][:MOST_SHOWN]
    return [replace(hit, rank=rank) for rank, hit in enumerate(kept, start=1)]
