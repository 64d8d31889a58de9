"""The page that shows two indexes side by side: for one query, and over the most asked ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from search_app.bootstrap import Services
from search_app.catalog import statistics
from search_app.catalog.engine import reading
from search_app.catalog.statistics import IndexUse
from search_app.comparison.asking import (
    Compared,
    Comparison,
    Entry,
    Pair,
    compare,
    given,
    logged,
    pair_of,
)
from search_app.errors import UnmovedError
from search_app.list_measures import Change
from search_app.web.collection_view import COMPARABLE, collection_url
from search_app.web.deps import ServicesDep
from search_app.web.highlight import snippet
from search_app.web.hits import readable
from search_app.web.problems import Kind, Problem, problem_of
from search_app.web.rendering import render
from search_app.web.search_page import MODES
from search_app.web.state import SearchState, read_state

K = 10
MOST_ASKED = 50
"""Queries that the summary is made of."""

CHANGED = 20
"""Queries listed among those that changed most."""

router = APIRouter(include_in_schema=False)
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class ShownEntry:
    """A hit in one of the lists, with its rank in the other, None where it is not there."""

    rank: int
    entry: Entry
    other: int | None
    snippet: Markup
    url: str


@dataclass(frozen=True, kw_only=True)
class CompareView:
    """Everything that the template reads; ``a`` and ``b`` are texts that the address had.

    ``wants_summary`` is False until it is asked for, since it takes a while.
    """

    a: str
    b: str
    state: SearchState
    wants_summary: bool
    choices: Sequence[IndexUse] = ()
    pair: Pair | None = None
    one: Compared | None = None
    left: Sequence[ShownEntry] = ()
    right: Sequence[ShownEntry] = ()
    summary: Comparison | None = None
    problem: Problem | None = None

    @property
    def chosen(self) -> tuple[str, str]:
        """The ids that the form shows: those compared, or two that may be of interest."""
        if self.pair is not None:
            return str(self.pair.left.index.id), str(self.pair.right.index.id)
        for first in self.choices:
            for second in reversed(self.choices):
                if first.collection == second.collection and first is not second:
                    return self.a or str(first.index.id), self.b or str(second.index.id)
        return self.a, self.b

    def url(self, **changes: str) -> str:
        """Give the address of this comparison, or of one that differs."""
        pairs = {"a": self.a, "b": self.b, "q": self.state.query, "mode": self.state.mode}
        return "/compare?" + urlencode(
            {name: value for name, value in {**pairs, **changes}.items() if value}
        )

    @property
    def status(self) -> int:
        """The HTTP status that says the same as the page."""
        return self.problem.kind.status if self.problem else 200


@router.api_route("/compare", methods=["GET", "HEAD"])
async def compare_page(request: Request, services: ServicesDep) -> Response:
    """Choose two indexes, and see what both find."""
    parameters = request.query_params
    view = CompareView(
        a=parameters.get("a", "").strip(),
        b=parameters.get("b", "").strip(),
        state=read_state(parameters),
        wants_summary=parameters.get("summary", "") not in ("", "0"),
    )
    try:
        view = await _chosen(services, view)
        view = await _compared(services, view)
    except UnmovedError as exc:
        view = replace(view, problem=_told(exc))
    return render(
        request,
        "compare.html",
        status=view.status,
        headers=view.problem.all_headers() if view.problem else {},
        view=view,
        modes=MODES,
        changes=Change,
        most_asked=MOST_ASKED,
        shown=CHANGED,
        collection_url=collection_url,
    )


async def _chosen(services: Services, view: CompareView) -> CompareView:
    async with reading(services.engine) as connection:
        uses = await statistics.index_uses(connection)
    numbers: dict[object, int] = {}
    comparable = [use for use in uses if use.index.state in COMPARABLE]
    for use in comparable:
        numbers[use.collection.id] = numbers.get(use.collection.id, 0) + 1
    # The active one of a collection comes first.
    return replace(view, choices=[use for use in comparable if numbers[use.collection.id] > 1])


async def _compared(services: Services, view: CompareView) -> CompareView:
    if not (view.a and view.b):
        return view
    mode = view.state.chosen_mode()
    async with reading(services.engine) as connection:
        pair = await pair_of(connection, view.a, view.b)
    view = replace(view, pair=pair)
    if view.state.query:
        asked = given([view.state.query], 1)
        found = await compare(services, pair, asked, k=K, mode=mode, keep_hits=True)
        view = _with_lists(view, found.queries[0])
    if view.wants_summary:
        async with reading(services.engine) as connection:
            most = await logged(connection, pair.collection, MOST_ASKED)
        summary = await compare(services, pair, most, k=K, mode=mode)
        view = replace(view, summary=summary)
    return view


def _with_lists(view: CompareView, one: Compared) -> CompareView:
    ranks = {move.key: (move.before, move.after) for move in one.moves}

    def shown(entries: Sequence[Entry], other: int) -> list[ShownEntry]:
        return [
            ShownEntry(
                rank=rank,
                entry=entry,
                other=ranks[entry.key][other],
                snippet=snippet(readable(entry.hit), one.query) if entry.hit else Markup(""),
                url=f"/documents/{entry.document_id}?chunk={entry.chunk_id}#chunk-{entry.chunk_id}",
            )
            for rank, entry in enumerate(entries, start=1)
        ]

    return replace(view, one=one, left=shown(one.left, 1), right=shown(one.right, 0))


def _told(error: UnmovedError) -> Problem:
    problem = problem_of(error)
    if problem.kind is Kind.INTERNAL:
        log.error("comparing failed", exc_info=error)
    return problem
