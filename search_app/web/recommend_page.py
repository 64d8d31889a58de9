"""The page of recommendations: what is like some examples, and unlike others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.bootstrap import Services
from search_app.catalog import chunks, documents
from search_app.catalog.engine import reading
from search_app.catalog.overview import collection_names
from search_app.errors import InvalidInputError, NotFoundError, UnmovedError
from search_app.likeness import Example, Reason, read_example
from search_app.retrieval import Recommendation
from search_app.types import Collection
from search_app.web.deps import ServicesDep, page_id
from search_app.web.highlight import snippet
from search_app.web.hits import ShownHit, document_lang, readable, shown_hits, source_parts, trail
from search_app.web.problems import Problem
from search_app.web.recommend_state import RecommendState, read_recommendations
from search_app.web.rendering import render
from search_app.web.search_page import MODES, Answer, Mixing, mixing_of, told
from search_app.web.state import read_state

LONGEST_TITLE = 60

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """An example: a passage, a document, which has no ``snippet``, or a text, without a ``url``."""

    written: str
    kind: str
    title: str
    url: str = ""
    trail: Sequence[str] = ()
    snippet: Markup | None = None
    lang: str = ""
    folder: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class ShownReason:
    """Which example a hit is nearest to, and how near an example against is."""

    like: str
    cosine: float
    unlike: str = ""
    unlike_cosine: float | None = None


@dataclass(frozen=True, kw_only=True)
class RecommendView:
    """Everything that the template reads; ``back`` leads to the search it was asked from."""

    state: RecommendState
    like: Sequence[ShownExample]
    unlike: Sequence[ShownExample]
    answer: Answer
    reasons: Mapping[UUID, ShownReason]
    mixing: Mixing
    mode: str
    collections: Sequence[Collection]
    back: str | None

    @property
    def one(self) -> str:
        """The kind of the example where there is a single one."""
        return self.like[0].kind if len(self.like) == 1 and not self.unlike else ""


@router.api_route("/recommend", methods=["GET", "HEAD"])
async def recommend_page(request: Request, services: ServicesDep) -> Response:
    """Show what is like the examples of the address and unlike its others."""
    return await _page(request, services, read_recommendations(request.query_params))


@router.api_route("/similar/chunks/{chunk_id}", methods=["GET", "HEAD"])
async def like_chunk(request: Request, services: ServicesDep, chunk_id: str) -> Response:
    """Show passages like one."""
    wanted = page_id(chunk_id, "passage")
    state = RecommendState(like=(str(wanted),), search=read_state(request.query_params))
    return await _page(request, services, state)


@router.api_route("/similar/documents/{document_id}", methods=["GET", "HEAD"])
async def like_document(request: Request, services: ServicesDep, document_id: str) -> Response:
    """Show the documents that are like one, each by its passage that is most like it."""
    example = f"document:{page_id(document_id, 'document')}"
    state = RecommendState(like=(example,), each=True, search=read_state(request.query_params))
    return await _page(request, services, state)


async def _page(request: Request, services: Services, state: RecommendState) -> Response:
    found, problem = None, None
    if state.like or state.unlike:
        try:
            found = await services.searcher.recommend(state.request(services.settings.collection))
        except UnmovedError as exc:
            problem = told(exc)
    async with reading(services.engine) as connection:
        known = await collection_names(connection)
        like = [await _shown(connection, text) for text in state.like]
        unlike = [await _shown(connection, text) for text in state.unlike]
    view = RecommendView(
        state=state,
        like=like,
        unlike=unlike,
        answer=_answer(found, problem, state),
        reasons=_reasons(found, {each.written: each.title for each in (*like, *unlike)}),
        mixing=mixing_of(services.settings),
        mode=state.search.mode or services.settings.search_mode,
        collections=known,
        back=state.search.url() if state.search.query else None,
    )
    headers = problem.all_headers() if problem else {}
    status = problem.kind.status if problem else 200
    return render(request, "recommend.html", status=status, headers=headers, view=view, modes=MODES)


def _answer(found: Recommendation | None, problem: Problem | None, state: RecommendState) -> Answer:
    if found is None:
        return Answer(problem=problem)
    return Answer(result=found.result, hits=[_hit(hit, state) for hit in _hits(found, state)])


def _hits(found: Recommendation, state: RecommendState) -> list[ShownHit]:
    return shown_hits(found.result, replace(state.search, page="1"))


def _hit(shown: ShownHit, state: RecommendState) -> ShownHit:
    """Have a hit's links add it to the examples."""
    written = str(shown.hit.chunk_id)
    return replace(shown, like_url=state.also_like(written), less_url=state.also_unlike(written))


def _reasons(found: Recommendation | None, titles: Mapping[str, str]) -> dict[UUID, ShownReason]:
    """Say why, where several examples could be the reason."""
    if found is None or len(found.seeds.like) + len(found.seeds.unlike) == 1:
        return {}
    return {chunk_id: _reason(reason, titles) for chunk_id, reason in found.reasons.items()}


def _reason(reason: Reason, titles: Mapping[str, str]) -> ShownReason:
    return ShownReason(
        like=_title(reason.like, titles),
        cosine=reason.cosine,
        unlike=_title(reason.unlike, titles) if reason.unlike else "",
        unlike_cosine=reason.unlike_cosine,
    )


def _title(example: Example, titles: Mapping[str, str]) -> str:
    title = titles.get(str(example), str(example))
    return title if len(title) <= LONGEST_TITLE else title[:LONGEST_TITLE] + "…"


async def _shown(connection: AsyncConnection, written: str) -> ShownExample:
    """Prepare an example for the page; one that is none, or gone, is shown as it was written."""
    try:
        example = read_example(written)
        if example.kind == "text" or example.id is None:
            return ShownExample(written=written, kind="text", title=example.text)
        if example.kind == "document":
            return await _document(connection, written, example.id)
        return await _passage(connection, str(example), example.id)
    except InvalidInputError:
        # What is wrong with it is told beside it.
        return ShownExample(written=written, kind="unknown", title=written)


async def _passage(connection: AsyncConnection, written: str, chunk_id: UUID) -> ShownExample:
    passage = (await chunks.passages(connection, [chunk_id])).get(chunk_id)
    if passage is None:
        raise NotFoundError(f"no passage {chunk_id}")
    folder, file = source_parts(passage.document.source, passage.document.uri)
    return ShownExample(
        written=written,
        kind="passage",
        title=passage.document.title,
        url=f"/documents/{passage.document.id}?chunk={chunk_id}#chunk-{chunk_id}",
        trail=trail(passage),
        snippet=snippet(readable(passage), ""),
        lang=document_lang(passage.document.language),
        folder=folder,
        file=file,
    )


async def _document(connection: AsyncConnection, written: str, document_id: UUID) -> ShownExample:
    document = await documents.get(connection, document_id)
    folder, file = source_parts(document.source, document.uri)
    return ShownExample(
        written=written,
        kind="document",
        title=document.title,
        url=f"/documents/{document.id}",
        lang=document_lang(document.language),
        folder=folder,
        file=file,
    )
