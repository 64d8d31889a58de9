"""The page of groups: what documents that share a value of a field are about, as mean vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from search_app.bootstrap import Services
from search_app.catalog import addressing
from search_app.catalog.engine import reading
from search_app.catalog.overview import collection_names
from search_app.errors import NotFoundError, UnmovedError
from search_app.groups import AboutGroup, Group, Grouping, GroupRequest, Groups
from search_app.types import Collection
from search_app.web.deps import GroupsDep, ServicesDep, page_number
from search_app.web.hits import ShownHit, shown_hits
from search_app.web.problems import Problem
from search_app.web.rendering import render
from search_app.web.search_page import Answer, Mixing, mixing_of, told
from search_app.web.state import SearchState

ON_A_PAGE = 50
SIMILAR = 10

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class GroupState:
    """What the page shows, as its address says it; without a ``value``, all groups of a field."""

    collection: str = ""
    field: str = ""
    value: str = ""
    describe: str = ""
    own: bool = False
    page: int = 1

    def url(self, **changes: Any) -> str:
        """Give the address of this page, or of another one."""
        pairs = {**vars(self), "page": 1, **changes}
        written = {name: _written(name, value) for name, value in pairs.items()}
        return "/groups?" + urlencode([pair for pair in written.items() if pair[1]])


@dataclass(frozen=True, kw_only=True)
class GroupView:
    """Everything that the template reads."""

    state: GroupState
    collections: Sequence[Collection]
    fields: Sequence[str]
    mixing: Mixing
    grouping: Grouping | None = None
    groups: Sequence[Group] = ()
    about: AboutGroup | None = None
    answer: Answer = field(default_factory=Answer)

    @property
    def search(self) -> SearchState:
        """The search that hits lead to."""
        return SearchState(collection=self.state.collection)


@router.api_route("/groups", methods=["GET", "HEAD"])
async def groups_page(request: Request, services: ServicesDep, groups: GroupsDep) -> Response:
    """Show the groups of a field, or one of them: what is like it, and documents for it."""
    parameters = request.query_params
    async with reading(services.engine) as connection:
        known = await collection_names(connection)
        name = parameters.get("collection", "")
        if name:
            name = (await addressing.at(connection, name)).name
    if not name and known:
        default = services.settings.collection
        name = default if default in {each.name for each in known} else known[0].name
    state = GroupState(
        collection=name,
        field=parameters.get("field", "").strip(),
        value=parameters.get("value", "").strip(),
        describe=parameters.get("describe", "").strip(),
        own=bool(parameters.get("own")),
        page=page_number(parameters.get("page", "1")),
    )
    view = await _view(services, groups, state, known)
    problem = view.answer.problem
    return render(
        request,
        "groups.html",
        status=problem.kind.status if problem else 200,
        headers=problem.all_headers() if problem else {},
        view=view,
    )


async def _view(
    services: Services, groups: Groups, state: GroupState, known: Sequence[Collection]
) -> GroupView:
    mixing = mixing_of(services.settings)
    fields: Sequence[str] = ()
    problem: Problem | None = None
    grouping, about, hits = None, None, list[ShownHit]()
    try:
        if known:
            fields = await groups.fields(state.collection)
        if known and state.field and state.value:
            about = await groups.about(
                GroupRequest(
                    field=state.field,
                    value=state.value,
                    collection=state.collection,
                    describe=state.describe,
                    k=SIMILAR,
                    own=state.own,
                )
            )
            hits = shown_hits(about.result, SearchState(collection=state.collection))
        elif known and state.field:
            grouping = await groups.of(state.collection, state.field)
    except UnmovedError as exc:
        # A collection without documents is nobody's mistake as long as no field is named.
        problem = told(exc) if state.field or not isinstance(exc, NotFoundError) else None
    first = (state.page - 1) * ON_A_PAGE
    return GroupView(
        state=state,
        collections=known,
        fields=fields,
        mixing=mixing,
        grouping=grouping,
        groups=grouping.groups[first : first + ON_A_PAGE] if grouping else (),
        about=about,
        answer=Answer(result=about.result if about else None, hits=hits, problem=problem),
    )


def _written(name: str, value: Any) -> str:
    if name == "page":
        return "" if value == 1 else str(value)
    return ("1" if value else "") if isinstance(value, bool) else value
