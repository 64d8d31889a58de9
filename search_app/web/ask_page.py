"""The page that answers questions, whole or while it is written, and the answers that are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from search_app.answering.keeping import from_kept
from search_app.answering.retrieving import EXTRACTIVE
from search_app.answering.types import Done, Event, Failed, Question, Retrieved, Turn, Written
from search_app.bootstrap import Services
from search_app.catalog import addressing, answers, collections
from search_app.catalog.engine import reading
from search_app.catalog.overview import collection_names
from search_app.errors import UnmovedError
from search_app.grammar import write_choice
from search_app.types import JSON, Collection
from search_app.web.ask_events import HEADERS, MEDIA_TYPE, Writing, streamed, written_event
from search_app.web.ask_view import (
    TURNS_CARRIED,
    ShownAnswer,
    begins_block,
    block_of,
    of_answer,
    of_retrieved,
)
from search_app.web.counting import Counter, read_facet_choice
from search_app.web.deps import CounterDep, ServicesDep, page_id, page_number
from search_app.web.facets import Facet, facets
from search_app.web.forms import PostedForm, PostedFormDep
from search_app.web.problems import Kind, Problem, problem_of
from search_app.web.rendering import Renderer, render
from search_app.web.state import SearchState
from search_app.web.translation import gettext_noop, language_of

ON_A_PAGE = 50

OUTCOMES = {
    "answered": gettext_noop("answered"),
    "not_found": gettext_noop("not found"),
    "no_passages": gettext_noop("no passages"),
    "stopped": gettext_noop("stopped"),
    "cut": gettext_noop("cut at the limit"),
    "broken_off": gettext_noop("broken off"),
}
"""How answers end, in words of the page."""

router = APIRouter(include_in_schema=False)
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the form holds; ``collection`` empty: the default one."""

    question: str = ""
    collection: str = ""
    filters: tuple[str, ...] = ()
    extractive: bool = False
    conversation: tuple[Turn, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AskView:
    """Everything that the template of the page reads."""

    asked: Asked
    has_model: bool
    kept: bool
    collections: Sequence[Collection] = ()
    current: Collection | None = None
    facets: Sequence[Facet] = ()
    own_filters: Sequence[str] = field(default_factory=list)
    shown: ShownAnswer | None = None
    problem: Problem | None = None

    @property
    def anew(self) -> str:
        """The address of a new conversation about the same documents."""
        pairs = [("collection", self.asked.collection)]
        pairs += [("filter", text) for text in self.asked.filters]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"/ask?{query}" if query else "/ask"


@router.api_route("/ask", methods=["GET", "HEAD"])
async def ask_page(request: Request, services: ServicesDep, counter: CounterDep) -> Response:
    """Show the form; what the address has of a question is filled in, and not asked yet."""
    sent = request.query_params
    asked = Asked(
        question=sent.get("q", "").strip(),
        collection=sent.get("collection", ""),
        filters=_filters(sent.getlist("filter"), sent.getlist("choice")),
        extractive=sent.get("extractive", "") == "1",
    )
    return await _page(request, services, counter, asked)


@router.post("/ask")
async def ask(
    request: Request, services: ServicesDep, counter: CounterDep, form: PostedFormDep
) -> Response:
    """Answer a question: as events where scripts ask for them, else as a page."""
    asked = _read(form)
    streaming = MEDIA_TYPE in request.headers.get("accept", "")
    question = _question(services, asked)
    try:
        if not streaming:
            answer = await services.answerer.answer(question)
            if answer.stored:
                return RedirectResponse(f"/answers/{answer.id}", status_code=303)
            return await _page(request, services, counter, asked, shown=of_answer(answer))
        events = services.answerer.ask(question)
        first = await anext(events)
    except UnmovedError as exc:
        problem = _told(exc)
        if not streaming:
            return await _page(request, services, counter, asked, problem=problem)
        return Response(
            _problem_event(request, problem),
            status_code=problem.kind.status,
            media_type=MEDIA_TYPE,
            headers={**HEADERS, **problem.all_headers()},
        )
    writing = Writing(
        event=_writer(request, services, question),
        problem=lambda problem, _: _problem_event(request, problem),
    )
    return StreamingResponse(
        streamed(first, events, request.url.path, writing, closing=request.app.state.closing),
        media_type=MEDIA_TYPE,
        headers=HEADERS,
    )


@router.api_route("/answers", methods=["GET", "HEAD"])
async def answers_page(
    request: Request, services: ServicesDep, collection: str = "", page: str = "1"
) -> Response:
    """List the answers that are kept, newest first."""
    number = page_number(page)
    async with reading(services.engine) as connection:
        names = [each.name for each in await collection_names(connection)]
        if collection:
            collection = (await addressing.at(connection, collection)).name
        found = await answers.listing(
            connection,
            collection=collection or None,
            limit=ON_A_PAGE + 1,
            offset=(number - 1) * ON_A_PAGE,
        )

    def address(number: int) -> str:
        pairs = [("collection", collection), ("page", "" if number == 1 else str(number))]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"/answers?{query}" if query else "/answers"

    return render(
        request,
        "answers.html",
        answers=found[:ON_A_PAGE],
        names=names,
        collection=collection,
        outcomes=OUTCOMES,
        kept=services.settings.query_log,
        earlier=address(number - 1) if number > 1 else None,
        later=address(number + 1) if len(found) > ON_A_PAGE else None,
    )


@router.api_route("/answers/{answer_id}", methods=["GET", "HEAD"])
async def answer_page(
    request: Request, services: ServicesDep, counter: CounterDep, answer_id: str
) -> Response:
    """Show an answer exactly as it was given, and let one go on from it."""
    async with reading(services.engine) as connection:
        kept = await answers.get(connection, page_id(answer_id, "answer"))
    answer = from_kept(kept)
    asked = Asked(collection=answer.collection, filters=tuple(answer.filters))
    return await _page(request, services, counter, asked, shown=of_answer(answer))


def _read(form: PostedForm) -> Asked:
    turns = zip(form.texts("asked"), form.texts("answered"), strict=False)
    return Asked(
        question=form.text("q"),
        collection=form.text("collection"),
        filters=_filters(form.texts("filter"), form.texts("choice")),
        extractive=form.text("extractive") == "1",
        conversation=tuple(Turn(question=one, answer=other) for one, other in turns)[
            -TURNS_CARRIED:
        ],
    )


def _filters(written: Sequence[str], ticked: Sequence[str]) -> tuple[str, ...]:
    """Give the filters that were written, and one for each field of which values were ticked."""
    values: dict[str, list[str]] = {}
    others = [text.strip() for text in written if text.strip()]
    for text in ticked:
        choice = read_facet_choice(text)
        if choice is None:
            others.append(text)
        else:
            values.setdefault(choice[0], []).extend(choice[1])
    chosen = [write_choice(name, list(dict.fromkeys(each))) for name, each in values.items()]
    return tuple(dict.fromkeys([*others, *chosen]))


def _question(services: Services, asked: Asked) -> Question:
    return Question(
        text=asked.question,
        collection=asked.collection or services.settings.collection,
        filters=asked.filters,
        generator=EXTRACTIVE if asked.extractive else None,
        conversation=asked.conversation,
        client="page",
    )


async def _page(
    request: Request,
    services: Services,
    counter: Counter,
    asked: Asked,
    *,
    shown: ShownAnswer | None = None,
    problem: Problem | None = None,
) -> Response:
    view = AskView(
        asked=asked,
        has_model=services.settings.generator != EXTRACTIVE,
        kept=services.settings.query_log,
        shown=shown,
        problem=problem,
    )
    try:
        view = await _with_choices(services, counter, view)
    except UnmovedError as exc:
        # The first one says why nothing was answered.
        view = replace(view, problem=problem or _told(exc))
    told = view.problem
    return render(
        request,
        "ask.html",
        status=told.kind.status if told else 200,
        headers=told.all_headers() if told else {},
        view=view,
        write_choice=write_choice,
        outcomes=OUTCOMES,
    )


async def _with_choices(services: Services, counter: Counter, view: AskView) -> AskView:
    """Add what can be chosen: collections, and values to filter by."""
    asked = view.asked
    async with reading(services.engine) as connection:
        known = await collection_names(connection)
        view = replace(view, collections=known, own_filters=asked.filters)
        name = asked.collection or services.settings.collection
        current = next((each for each in known if each.name == name), None)
        if asked.collection and current is None:
            current = await collections.get(connection, asked.collection)
    if current is None and known:
        current = known[0]
    if current is None:
        return view
    state = SearchState(collection=current.name, filters=asked.filters)
    offered = await facets(counter, current, state)
    fields = {facet.field for facet in offered}
    own = [
        text
        for text in asked.filters
        if (choice := read_facet_choice(text)) is None or choice[0] not in fields
    ]
    return replace(view, current=current, facets=offered, own_filters=own)


def _writer(request: Request, services: Services, question: Question) -> Callable[[Event], str]:
    """Give what writes the events of one answer as parts of the page."""
    languages: dict[int, str] = {}

    def write(event: Event) -> str:
        match event:
            case Retrieved():
                languages.update((each.number, each.document.language) for each in event.passages)
                shown = of_retrieved(question, event, kept=services.settings.query_log)
                return written_event("retrieved", _conversation(request, shown))
            case Written():
                block = block_of(event.place, event.sentence, question.text, languages, whole=False)
                html = _text(request, "said.html", block_shown=block)
                begins = event.place == 0 or begins_block(event.sentence)
                return written_event("sentence", {"html": html, "begins": begins})
            case Failed():
                html = _text(request, "ask_failed.html", reason=event.reason)
                return written_event("failed", {"html": html})
            case Done():
                return written_event("done", _conversation(request, of_answer(event.answer)))

    return write


def _conversation(request: Request, shown: ShownAnswer) -> JSON:
    html = _text(request, "conversation.html", shown=shown, outcomes=OUTCOMES)
    return {"html": html, "address": shown.address, "passages": len(shown.passages)}


def _problem_event(request: Request, problem: Problem) -> str:
    return written_event("error", {"html": _text(request, "ask_problem.html", problem=problem)})


def _text(request: Request, template: str, **context: object) -> str:
    renderer: Renderer = request.app.state.renderer
    values: Mapping[str, object] = context
    return renderer.text(template, language_of(request), values)


def _told(error: UnmovedError) -> Problem:
    problem = problem_of(error)
    if problem.kind is Kind.INTERNAL:
        log.error("asking failed", exc_info=error)
    return problem
