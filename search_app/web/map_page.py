"""The map of a collection: a canvas for those who can use one, and a table of the same points."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app import jobs
from search_app.analysis.mapped import (
    MOST_SELECTED,
    OF_CLUSTERS,
    clusterings_of,
    coloured,
    numbers_of,
    query_on_map,
)
from search_app.analysis.projection import read_projection
from search_app.bootstrap import Services
from search_app.catalog import addressing, analyses, facets, maps
from search_app.catalog.analyses import MAP, Analysis
from search_app.catalog.engine import reading
from search_app.catalog.maps import Numbers
from search_app.catalog.overview import collection_names
from search_app.errors import InvalidInputError, UnmovedError
from search_app.jobs import Job
from search_app.jobs.types import ANALYSE
from search_app.types import JSON, Collection
from search_app.web.api_maps import gone_from, rows_of, shown_points
from search_app.web.deps import ServicesDep, page_number
from search_app.web.forms import PostedFormDep
from search_app.web.job_pages import job_url
from search_app.web.rendering import render

ON_A_PAGE = 50
HITS = 20
_KEPT_SHOWN = 20
_JOBS_LOOKED_AT = 200
_CLUSTERINGS = 5
_LONGEST_FIELD = 200

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class MapView:
    """What the page and its table read of a map; ``problem`` says why colours are not as wished."""

    names: Sequence[str]
    collection: str
    found: Sequence[Analysis]
    asked: Sequence[Job]
    chosen: Analysis | None
    by: str
    clusterings: Sequence[Analysis]
    fields: Sequence[str]
    numbers: Numbers | None = None

    @property
    def gone(self) -> int:
        """Count the passages that the map was made of and that are there no more."""
        if self.chosen is None or self.numbers is None:
            return 0
        return gone_from(self.chosen, self.numbers)

    @property
    def base(self) -> str:
        """The address of the list, for the chooser of collections."""
        return "/map"

    def address(self, path: str = "/map", **parameters: str | int) -> str:
        """Give an address of this map, or of another where ``analysis`` is among the parameters."""
        pairs = {
            "collection": self.collection,
            "analysis": "" if self.chosen is None else str(self.chosen.id),
            "by": self.by,
            **{name: str(value) for name, value in parameters.items()},
        }
        query = urlencode({name: value for name, value in pairs.items() if value})
        return f"{path}?{query}" if query else path


@router.api_route("/map", methods=["GET", "HEAD"])
async def map_page(
    request: Request,
    services: ServicesDep,
    *,
    collection: str = "",
    analysis: str = "",
    by: str | None = None,
    q: str = "",
) -> Response:
    """Show a map, the latest unless one is named, and offer to make one."""
    view = await _view(services, collection, analysis, by)
    hits, problem = None, None
    if q.strip() and view.chosen is not None:
        try:
            hits = await query_on_map(services, view.chosen, q, k=HITS)
        except UnmovedError as exc:
            problem = exc
    return render(
        request,
        "map.html",
        view=view,
        query=q,
        hits=hits,
        problem=problem,
        most_selected=MOST_SELECTED,
        hits_wanted=HITS,
    )


@router.api_route("/map/table", methods=["GET", "HEAD"])
async def map_table(
    request: Request,
    services: ServicesDep,
    *,
    collection: str = "",
    analysis: str = "",
    by: str | None = None,
    group: str = "",
    page: str = "1",
) -> Response:
    """Show the points of a map as a table, of one colour or all."""
    number = page_number(page)
    view = await _view(services, collection, analysis, by)
    if view.chosen is None:
        # The page of the map says how one is made.
        return RedirectResponse(view.address(), status_code=303)
    answer = await coloured(services, view.chosen, view.by)
    rows = rows_of(answer, _code(group))
    first = (number - 1) * ON_A_PAGE
    shown = await shown_points(services, answer, rows[first : first + ON_A_PAGE])
    return render(
        request,
        "map_table.html",
        view=view,
        answer=answer,
        group=group,
        shown=shown,
        number=number,
        total=len(rows),
        more=first + ON_A_PAGE < len(rows),
    )


@router.post("/map")
async def ask_for_map(services: ServicesDep, form: PostedFormDep) -> Response:
    """Ask for a map to be made."""
    options: dict[str, JSON] = {"method": read_projection(form.text("method") or "umap").value}
    async with reading(services.engine) as connection:
        name = (await addressing.at(connection, form.text("collection"))).name
    job = await jobs.enqueue_analysis(
        services.engine, collection=name, analysis=MAP, options=options
    )
    return RedirectResponse(job_url(job), status_code=303)


async def _view(services: Services, collection: str, analysis: str, by: str | None) -> MapView:
    async with reading(services.engine) as connection:
        names = [each.name for each in await collection_names(connection)]
        if collection:
            collection = (await addressing.at(connection, collection)).name
        found = await analyses.listing(
            connection, kind=MAP, collection=collection or None, limit=_KEPT_SHOWN
        )
        chosen = found[0] if found else None
        if analysis:
            chosen = await analyses.find(connection, analysis, kind=MAP)
    waiting = await jobs.listing(
        services.engine, collection=collection or None, limit=_JOBS_LOOKED_AT
    )
    clusterings: Sequence[Analysis] = ()
    fields: Sequence[str] = ()
    numbers: Numbers | None = None
    if chosen is not None:
        clusterings = (await clusterings_of(services, chosen))[:_CLUSTERINGS]
        fields, first = await _fields(services, chosen)
        numbers = await numbers_of(services, chosen)
        if by is None:
            by = f"{OF_CLUSTERS}:{clusterings[0].id}" if clusterings else first
    by = by or ""
    if len(by) > _LONGEST_FIELD:
        raise InvalidInputError(f"nothing is coloured by {by[:60]!r}; take one of the list")
    return MapView(
        names=names,
        collection=collection,
        found=found,
        asked=[
            job
            for job in waiting
            if job.kind == ANALYSE and not job.ended and list(job.arguments) == [MAP]
        ],
        chosen=chosen,
        by=by,
        clusterings=clusterings,
        fields=fields,
        numbers=numbers,
    )


async def _fields(services: Services, chosen: Analysis) -> tuple[list[str], str]:
    """Name the metadata that there is, and what to colour by where nothing was clustered."""
    async with reading(services.engine) as connection:
        at: Collection = await addressing.at(connection, chosen.collection)
        telling = await facets.metadata_fields(connection, at)
        fields = await maps.fields_of(connection, chosen.id)
    there = [field for name in telling if (field := f"meta.{name}") in fields]
    return fields, there[0] if there else "language"


def _code(group: str) -> int | None:
    if not group:
        return None
    if not (group.isascii() and group.isdecimal() and len(group) <= len("255")):
        raise InvalidInputError(f"group {group[:20]!r} is none of this map; take one of the list")
    return int(group)
