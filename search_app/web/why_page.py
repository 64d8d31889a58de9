"""The page that says why a document is not found for a query, or no longer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from fastapi import APIRouter, Request, Response

from search_app.bootstrap import Services
from search_app.catalog.engine import reading
from search_app.catalog.overview import collection_names
from search_app.errors import InvalidInputError, UnmovedError
from search_app.types import Collection
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind, Problem, problem_of
from search_app.web.rendering import render
from search_app.web.search_page import NOTICES
from search_app.web.state import SearchState, read_state
from search_app.web.translation import gettext_noop
from search_app.why.inquiry import Answer, Inquiry, inquire
from search_app.why.of_search import Outranked, Reason

router = APIRouter(include_in_schema=False)
log = structlog.get_logger()

REASONS = {
    Reason.ADDED: gettext_noop("added since"),
    Reason.EDITED: gettext_noop("edited since"),
    Reason.INDEX: gettext_noop("by the other index"),
    Reason.UNKNOWN: gettext_noop("new here, why is not known"),
}
"""Why a hit is above the document that was not there before."""


@dataclass(frozen=True, kw_only=True)
class WhyView:
    """Everything that the template reads; ``state`` is the search that is asked about."""

    state: SearchState
    document: str
    since: str
    collections: Sequence[Collection] = ()
    answer: Answer | None = None
    problem: Problem | None = None

    @property
    def outranked(self) -> Outranked | None:
        """The finding that others are better, with its table."""
        found = self.answer.findings if self.answer else ()
        return next((each for each in found if isinstance(each, Outranked)), None)

    @property
    def found_at(self) -> int | None:
        """The rank at which the search compared with found the document."""
        if self.answer is None or self.answer.facts.compared is None:
            return None
        facts = self.answer.facts
        if facts.compared is None or facts.subject.id is None:
            return None
        return min(facts.compared.ranks(facts.subject.id, facts.chunk_ids), default=None)

    @property
    def status(self) -> int:
        """The HTTP status that says the same as the page."""
        return self.problem.kind.status if self.problem else 200


@router.api_route("/why", methods=["GET", "HEAD"])
async def why_page(request: Request, services: ServicesDep) -> Response:
    """Ask which document is missed for which query, and answer why."""
    parameters = request.query_params
    view = WhyView(
        state=read_state(parameters),
        document=parameters.get("document", "").strip(),
        since=parameters.get("since", "").strip(),
    )
    try:
        view = await _answered(services, view)
    except UnmovedError as exc:
        view = replace(view, problem=_told(exc))
    headers = view.problem.all_headers() if view.problem else {}
    return render(
        request,
        "inquiry.html",
        status=view.status,
        headers=headers,
        view=view,
        state=view.state,
        reasons=REASONS,
        notices=NOTICES,
    )


async def _answered(services: Services, view: WhyView) -> WhyView:
    async with reading(services.engine) as connection:
        view = replace(view, collections=await collection_names(connection))
    state = view.state
    if not (state.query and view.document):
        return view
    inquiry = Inquiry(
        query=state.query,
        document=view.document,
        collection=state.collection or services.settings.collection,
        filters=state.filters,
        mode=state.chosen_mode(),
        index=state.index or None,
        kind=state.chosen_kind(),
        since=_day(view.since) if view.since else None,
    )
    return replace(view, answer=await inquire(services, inquiry))


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as exc:
        raise InvalidInputError(f"{text[:30]!r} is no day; write 2026-01-31") from exc


def _told(error: UnmovedError) -> Problem:
    problem = problem_of(error)
    if problem.kind is Kind.INTERNAL:
        log.error("asking why failed", exc_info=error)
    return problem
