"""The search page: one view for every state, from nothing ingested yet to results and errors."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog
from fastapi import APIRouter, Request, Response

from search_app.bootstrap import Services
from search_app.catalog import chunks, collections, feedback
from search_app.catalog.collections import CollectionSummary
from search_app.catalog.engine import reading, transaction
from search_app.catalog.overview import collection_names
from search_app.config import Settings
from search_app.errors import UnmovedError
from search_app.fusion import Method
from search_app.types import Collection, Mode, Notice, SearchResult
from search_app.web.counting import Counter
from search_app.web.deps import CounterDep, ServicesDep
from search_app.web.facets import Chip, Facet, chips, facets
from search_app.web.hits import MOST_LINKS, ShownHit, shown_hits
from search_app.web.problems import Kind, Problem, problem_of
from search_app.web.rendering import render
from search_app.web.state import LAST_PAGE, SearchState, read_state
from search_app.web.translation import gettext_noop

router = APIRouter(include_in_schema=False)
log = structlog.get_logger()

MODES: Mapping[Mode, str] = {
    "hybrid": gettext_noop("Both"),
    "semantic": gettext_noop("By meaning"),
    "keyword": gettext_noop("By words"),
}
"""The ways to search, and what the page calls them."""

NOTICES: Mapping[str, str] = {
    "not_semantic": gettext_noop("Found by words alone: the model could not be asked"),
    "not_keyword": gettext_noop("Found by meaning alone: words cannot be searched here yet"),
    "no_words": gettext_noop("There is no word in this query that could be looked for"),
    "not_reranked": gettext_noop("Not reranked: the hits stand in the order they were found in"),
    "not_all_looked_into": gettext_noop("Not every passage was looked into"),
    "all_alike": gettext_noop("The order says nothing: every passage is equally near"),
}
"""The kinds of notices, and what the page says of each."""


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How a hybrid score is made of two; ``dense_weight`` is the share of meaning."""

    method: Method
    dense_weight: float


def mixing_of(settings: Settings) -> Mixing:
    """Say how scores are mixed where a search does not say."""
    return Mixing(method=settings.fusion, dense_weight=settings.dense_weight)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a search found, or the problem that kept it from finding; never both.

    ``documents`` may answer; by words those are fewer than pass the filters, ``passing``.
    """

    result: SearchResult | None = None
    hits: Sequence[ShownHit] = ()
    documents: int = 0
    passing: int = 0
    facets: Sequence[Facet] = ()
    problem: Problem | None = None
    earlier: str | None = None
    later: str | None = None

    @property
    def took(self) -> timedelta:
        """How long the search took; nothing where none was made."""
        return timedelta(milliseconds=self.result.took_ms if self.result else 0)

    @property
    def notices(self) -> Sequence[tuple[str, Notice]]:
        """What the search could not do: in words of the page, and with its reason."""
        found = self.result.notices if self.result else ()
        return [(NOTICES[notice.kind], notice) for notice in found]


@dataclass(frozen=True, kw_only=True)
class SearchView:
    """Everything that the template of the search page reads; ``mode`` is the one in force."""

    state: SearchState
    mode: str
    mixing: Mixing
    collections: Sequence[Collection] = ()
    current: Collection | None = None
    overview: Sequence[CollectionSummary] = ()
    chips: Sequence[Chip] = ()
    answer: Answer = field(default_factory=Answer)

    @property
    def status(self) -> int:
        """The HTTP status that says the same as the page."""
        return self.answer.problem.kind.status if self.answer.problem else 200


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """How many documents a search leaves, how many its filters do, and by values of fields."""

    documents: int
    passing: int
    facets: Sequence[Facet]


@router.api_route("/", methods=["GET", "HEAD"])
async def search_page(request: Request, services: ServicesDep, counter: CounterDep) -> Response:
    """Show the search box, and what was found where something was asked."""
    view = await _view(services, counter, read_state(request.query_params))
    headers = view.answer.problem.all_headers() if view.answer.problem else {}
    if "hx-request" in request.headers and "hx-history-restore-request" not in request.headers:
        # The address without the empty fields of the form.
        headers["HX-Push-Url"] = view.state.url()
    return render(
        request, "search.html", status=view.status, headers=headers, view=view, modes=MODES
    )


async def _view(services: Services, counter: Counter, state: SearchState) -> SearchView:
    settings = services.settings
    if state.mode == settings.search_mode:
        # Addresses leave out what goes without saying.
        state = replace(state, mode="")
    view = SearchView(
        state=state,
        mode=state.mode or settings.search_mode,
        mixing=mixing_of(settings),
        chips=chips(state),
    )
    try:
        async with transaction(services.engine) as connection:
            known = await collection_names(connection)
            view = replace(view, collections=known)
            current = _current(known, state.collection or settings.collection)
            if state.collection and current is None:
                current = await collections.get(connection, state.collection)
            if current is None and known:
                current = known[0]
            view = replace(view, current=current)
            if not state.query or current is None:
                return replace(view, overview=await collections.summaries(connection))
        return replace(view, answer=await _answer(services, counter, view, current))
    except UnmovedError as exc:
        return replace(view, answer=Answer(problem=told(exc)))


def _current(known: Sequence[Collection], name: str) -> Collection | None:
    return next((collection for collection in known if collection.name == name), None)


async def _answer(
    services: Services, counter: Counter, view: SearchView, collection: Collection
) -> Answer:
    """Search, and count beside it."""
    state = view.state
    page = state.number()
    found, counted = await asyncio.gather(
        services.searcher.search(state.request(collection.name)),
        _counted(services, counter, view, collection),
        # Both of them end before the first failure is told, so that nothing is left running.
        return_exceptions=True,
    )
    if isinstance(found, BaseException):
        raise found
    if isinstance(counted, BaseException):
        raise counted
    return Answer(
        result=found,
        hits=await _shown(services, found, state),
        documents=counted.documents,
        passing=counted.passing,
        facets=counted.facets,
        earlier=state.url(page=str(page - 1)) if page > 1 else None,
        later=state.url(page=str(page + 1)) if found.more and page < LAST_PAGE else None,
    )


async def _counted(
    services: Services, counter: Counter, view: SearchView, collection: Collection
) -> _Counted:
    """Count the documents that pass the filters; by words, of those that have one of them."""
    state, among = view.state, None
    if view.mode == "keyword":
        among = await services.searcher.documents_with_words(
            state.query, collection.name, index=state.index or None
        )
    return _Counted(
        passing=await counter.documents(collection, state.filters),
        documents=await counter.documents(collection, state.filters, among),
        facets=await facets(counter, collection, state, among),
    )


async def _shown(services: Services, result: SearchResult, state: SearchState) -> list[ShownHit]:
    """Prepare the hits, with links to what was folded into them and what was said of them."""
    folded = [chunk_id for hit in result.hits for chunk_id in hit.similar[:MOST_LINKS]]
    # Without the texts of searches nothing can be made of verdicts, and none are taken.
    takes_verdicts = services.settings.query_log
    async with reading(services.engine) as connection:
        alike = await chunks.passages(connection, folded) if folded else {}
        given = await feedback.given(connection, result.search_id) if takes_verdicts else None
    return shown_hits(result, state, alike=alike, given=given)


def told(error: UnmovedError) -> Problem:
    """Give what a page says of an error; what is our own fault is logged."""
    problem = problem_of(error)
    if problem.kind is Kind.INTERNAL:
        log.error("search failed", exc_info=error)
    return problem
