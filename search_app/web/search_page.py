"""The search page: one view for every state, from nothing ingested yet to results and errors."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter, Request, Response

from search_app.bootstrap import Services
from search_app.catalog import collections, documents
from search_app.catalog.collections import CollectionSummary
from search_app.catalog.engine import transaction
from search_app.errors import UnmovedError
from search_app.filters import parse_filter
from search_app.types import Collection, SearchResult
from search_app.web.deps import ServicesDep
from search_app.web.facets import Chip, Facet, chips, facets
from search_app.web.hits import ShownHit, shown_hits
from search_app.web.problems import Kind, Problem, problem_of
from search_app.web.rendering import render
from search_app.web.state import LAST_PAGE, SearchState, check_filters, read_state

router = APIRouter(include_in_schema=False)
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a search found, or the problem that kept it from finding; never both."""

    result: SearchResult | None = None
    hits: Sequence[ShownHit] = ()
    documents: int = 0
    facets: Sequence[Facet] = ()
    problem: Problem | None = None
    earlier: str | None = None
    later: str | None = None


@dataclass(frozen=True, kw_only=True)
class SearchView:
    """Everything that the template of the search page reads."""

    state: SearchState
    collections: Sequence[CollectionSummary] = ()
    current: CollectionSummary | None = None
    chips: Sequence[Chip] = ()
    answer: Answer = field(default_factory=Answer)

    @property
    def status(self) -> int:
        """The HTTP status that says the same as the page."""
        return self.answer.problem.kind.status if self.answer.problem else 200


@router.api_route("/", methods=["GET", "HEAD"])
async def search_page(request: Request, services: ServicesDep) -> Response:
    """Show the search box, and what was found where something was asked."""
    view = await _view(services, read_state(request.query_params))
    headers = view.answer.problem.all_headers() if view.answer.problem else {}
    if "hx-request" in request.headers and "hx-history-restore-request" not in request.headers:
        # The address without the empty fields of the form.
        headers["HX-Push-Url"] = view.state.url()
    return render(request, "search.html", status=view.status, headers=headers, view=view)


async def _view(services: Services, state: SearchState) -> SearchView:
    try:
        async with transaction(services.engine) as connection:
            known = await collections.summaries(connection)
            wanted = state.collection or _default(known, services.settings.collection)
            current = next((summary for summary in known if summary.name == wanted), None)
            if current is None and state.collection:
                await collections.get(connection, state.collection)
    except UnmovedError as exc:
        return SearchView(state=state, chips=chips(state), answer=Answer(problem=_told(exc)))
    answer = Answer()
    if state.query and current is not None:
        answer = await _answer(services, state, Collection(id=current.id, name=current.name))
    return SearchView(
        state=state, collections=known, current=current, chips=chips(state), answer=answer
    )


def _default(known: Sequence[CollectionSummary], configured: str) -> str:
    """Name the collection to search where the address names none."""
    names = [summary.name for summary in known]
    return configured if configured in names or not names else names[0]


async def _answer(services: Services, state: SearchState, collection: Collection) -> Answer:
    """Search, and count beside it; filters are offered even where the search failed."""
    found, counted = await asyncio.gather(
        _find(services, state, collection),
        _count(services, state, collection),
        return_exceptions=True,
    )
    for outcome in (found, counted):
        if isinstance(outcome, BaseException) and not isinstance(outcome, UnmovedError):
            raise outcome
    failure = found if isinstance(found, UnmovedError) else counted
    if isinstance(failure, UnmovedError):
        kept = () if isinstance(counted, BaseException) else counted[1]
        return Answer(problem=_told(failure), facets=kept)
    assert not isinstance(found, BaseException)  # noqa: S101 - told apart above
    assert not isinstance(counted, BaseException)  # noqa: S101 - likewise
    page = state.number()
    return Answer(
        result=found,
        hits=shown_hits(found, state),
        documents=counted[0],
        facets=counted[1],
        earlier=state.url(page=str(page - 1)) if page > 1 else None,
        later=state.url(page=str(page + 1)) if found.more and page < LAST_PAGE else None,
    )


async def _find(services: Services, state: SearchState, collection: Collection) -> SearchResult:
    return await services.searcher.search(state.request(collection.name))


async def _count(
    services: Services, state: SearchState, collection: Collection
) -> tuple[int, list[Facet]]:
    check_filters(state.filters)
    filter_ = parse_filter(state.filters)
    async with transaction(services.engine) as connection:
        number = await documents.count(connection, collection, filter_)
    return number, await facets(services.engine, collection, state)


def _told(error: UnmovedError) -> Problem:
    problem = problem_of(error)
    if problem.kind is Kind.INTERNAL:
        log.error("search failed", exc_info=error)
    return problem
