"""The search page: one view for every state, from nothing ingested yet to results and errors."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog
from fastapi import APIRouter, Request, Response

from search_app.bootstrap import Services
from search_app.catalog import collections
from search_app.catalog.collections import CollectionSummary
from search_app.catalog.engine import transaction
from search_app.catalog.overview import collection_names
from search_app.errors import UnmovedError
from search_app.types import Collection, SearchResult
from search_app.web.counting import Counter
from search_app.web.deps import CounterDep, ServicesDep
from search_app.web.facets import Chip, Facet, chips, facets
from search_app.web.hits import ShownHit, shown_hits
from search_app.web.problems import Kind, Problem, problem_of
from search_app.web.rendering import render
from search_app.web.state import LAST_PAGE, SearchState, read_state

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

    @property
    def took(self) -> timedelta:
        """How long the search took; nothing where none was made."""
        return timedelta(milliseconds=self.result.took_ms if self.result else 0)


@dataclass(frozen=True, kw_only=True)
class SearchView:
    """Everything that the template of the search page reads."""

    state: SearchState
    collections: Sequence[Collection] = ()
    current: Collection | None = None
    overview: Sequence[CollectionSummary] = ()
    chips: Sequence[Chip] = ()
    answer: Answer = field(default_factory=Answer)

    @property
    def status(self) -> int:
        """The HTTP status that says the same as the page."""
        return self.answer.problem.kind.status if self.answer.problem else 200


@router.api_route("/", methods=["GET", "HEAD"])
async def search_page(request: Request, services: ServicesDep, counter: CounterDep) -> Response:
    """Show the search box, and what was found where something was asked."""
    view = await _view(services, counter, read_state(request.query_params))
    headers = view.answer.problem.all_headers() if view.answer.problem else {}
    if "hx-request" in request.headers and "hx-history-restore-request" not in request.headers:
        # The address without the empty fields of the form.
        headers["HX-Push-Url"] = view.state.url()
    return render(request, "search.html", status=view.status, headers=headers, view=view)


async def _view(services: Services, counter: Counter, state: SearchState) -> SearchView:
    view = SearchView(state=state, chips=chips(state))
    try:
        async with transaction(services.engine) as connection:
            known = await collection_names(connection)
            view = replace(view, collections=known)
            current = _current(known, state.collection or services.settings.collection)
            if state.collection and current is None:
                current = await collections.get(connection, state.collection)
            if current is None and known:
                current = known[0]
            view = replace(view, current=current)
            if not state.query or current is None:
                return replace(view, overview=await collections.summaries(connection))
        return replace(view, answer=await _answer(services, counter, state, current))
    except UnmovedError as exc:
        return replace(view, answer=Answer(problem=_told(exc)))


def _current(known: Sequence[Collection], name: str) -> Collection | None:
    return next((collection for collection in known if collection.name == name), None)


async def _answer(
    services: Services, counter: Counter, state: SearchState, collection: Collection
) -> Answer:
    """Search, and count beside it."""
    page = state.number()
    found, number, listed = await asyncio.gather(
        services.searcher.search(state.request(collection.name)),
        counter.documents(collection, state.filters),
        facets(counter, collection, state),
        # All of them end before the first failure is told, so that nothing is left running.
        return_exceptions=True,
    )
    if isinstance(found, BaseException):
        raise found
    if isinstance(number, BaseException):
        raise number
    if isinstance(listed, BaseException):
        raise listed
    return Answer(
        result=found,
        hits=shown_hits(found, state),
        documents=number,
        facets=listed,
        earlier=state.url(page=str(page - 1)) if page > 1 else None,
        later=state.url(page=str(page + 1)) if found.more and page < LAST_PAGE else None,
    )


def _told(error: UnmovedError) -> Problem:
    problem = problem_of(error)
    if problem.kind is Kind.INTERNAL:
        log.error("search failed", exc_info=error)
    return problem
