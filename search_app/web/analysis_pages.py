"""The pages of analyses: clusters, outliers and labels, each a list to act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app import jobs
from search_app.analysis.asking import check_asked
from search_app.bootstrap import Services
from search_app.catalog import addressing, analyses, chunks, exclusions
from search_app.catalog.analyses import CLUSTERS, DIVERSITY, LABELS, OUTLIERS, Analysis
from search_app.catalog.engine import reading
from search_app.catalog.overview import collection_names
from search_app.errors import InvalidInputError
from search_app.jobs import Job
from search_app.jobs.types import ANALYSE
from search_app.types import JSON
from search_app.web.collection_view import collection_url
from search_app.web.deps import ServicesDep, page_number
from search_app.web.forms import PostedForm, PostedFormDep
from search_app.web.job_pages import job_url
from search_app.web.needs import may
from search_app.web.rendering import render

ON_A_PAGE = 20
PASSAGES_ON_A_PAGE = 30
_JOBS_LOOKED_AT = 200

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Analyses of a kind as a page lists them, and the jobs that will make more."""

    collection: str
    names: Sequence[str]
    found: Sequence[Analysis]
    asked: Sequence[Job]
    number: int
    more: bool
    base: str

    def address(self, page: int) -> str:
        """Give the address of a page of the list."""
        pairs = [("collection", self.collection), ("page", "" if page == 1 else str(page))]
        query = urlencode([(name, value) for name, value in pairs if value])
        return f"{self.base}?{query}" if query else self.base


@router.api_route("/clusters", methods=["GET", "HEAD"])
async def clusters_page(
    request: Request, services: ServicesDep, collection: str = "", page: str = "1"
) -> Response:
    """List clusterings, and offer to make one."""
    listed = await _listed(services, CLUSTERS, "/clusters", collection, page)
    return render(request, "clusters.html", listed=listed)


@router.post("/clusters")
async def ask_for_clusters(services: ServicesDep, form: PostedFormDep) -> Response:
    """Ask for a clustering."""
    options: dict[str, JSON] = {"method": form.text("method") or "k-means"}
    if number := form.text("number").strip():
        options["number"] = _whole(number)
    if field := form.text("field").strip():
        options["field"] = field
    return await _ask(services, form, CLUSTERS, options)


@router.api_route("/clusters/{analysis}", methods=["GET", "HEAD"])
async def cluster_page(
    request: Request, services: ServicesDep, analysis: str, cluster: str = "", page: str = "1"
) -> Response:
    """Show a clustering, or the passages of one cluster."""
    number = page_number(page)
    async with reading(services.engine) as connection:
        found = await analyses.find(connection, analysis, kind=CLUSTERS)
        members, passages = [], {}
        if cluster:
            members = await analyses.members(
                connection,
                found.id,
                cluster=_whole(cluster),
                limit=PASSAGES_ON_A_PAGE + 1,
                offset=(number - 1) * PASSAGES_ON_A_PAGE,
            )
            passages = await chunks.passages(connection, [each.chunk_id for each in members])
    chosen = next(
        (each for each in found.numbers["clusters"] if str(each["cluster"]) == cluster), None
    )
    return render(
        request,
        "cluster.html",
        analysis=found,
        cluster=cluster,
        chosen=chosen,
        members=[
            (each, passages[each.chunk_id])
            for each in members[:PASSAGES_ON_A_PAGE]
            if each.chunk_id in passages
        ],
        number=number,
        more=len(members) > PASSAGES_ON_A_PAGE,
    )


@router.api_route("/outliers", methods=["GET", "HEAD"])
async def outliers_page(
    request: Request,
    services: ServicesDep,
    collection: str = "",
    analysis: str = "",
    page: str = "1",
) -> Response:
    """Show what stands out in a collection, by the latest analysis or a chosen one."""
    listed = await _listed(services, OUTLIERS, "/outliers", collection, page)
    chosen, sources, address, excluded = None, {}, "", set()
    async with reading(services.engine) as connection:
        if analysis:
            chosen = await analyses.find(connection, analysis, kind=OUTLIERS)
        elif listed.found:
            chosen = listed.found[0]
        if chosen is not None:
            named = _documents(chosen.numbers)
            if may("POST", "/exclusions"):
                sources = await analyses.sources_of(connection, named)
            excluded = await exclusions.among(
                connection, documents=named, passages=_passages(chosen.numbers)
            )
            address = collection_url(await addressing.at(connection, chosen.collection))
    return render(
        request,
        "outliers.html",
        listed=listed,
        analysis=chosen,
        sources={str(document): source for document, source in sources.items()},
        excluded={str(each) for each in excluded},
        address=address,
    )


@router.post("/outliers")
async def ask_for_outliers(services: ServicesDep, form: PostedFormDep) -> Response:
    """Ask for a look at what stands out."""
    return await _ask(services, form, OUTLIERS, {})


@router.api_route("/diversity", methods=["GET", "HEAD"])
async def diversity_page(
    request: Request,
    services: ServicesDep,
    collection: str = "",
    analysis: str = "",
    page: str = "1",
) -> Response:
    """Show how much passages differ, by the latest analysis or a chosen one."""
    listed = await _listed(services, DIVERSITY, "/diversity", collection, page)
    chosen = next((each for each in listed.found if "vendi" in each.numbers), None)
    if analysis:
        async with reading(services.engine) as connection:
            chosen = await analyses.find(connection, analysis, kind=DIVERSITY)
    return render(request, "diversity.html", listed=listed, analysis=chosen)


@router.post("/diversity")
async def ask_for_diversity(services: ServicesDep, form: PostedFormDep) -> Response:
    """Ask for the diversity of a collection, of what a search finds, or of groups."""
    given = {name: form.text(name) for name in ("query", "by")}
    return await _ask(
        services, form, DIVERSITY, {name: text for name, text in given.items() if text}
    )


@router.api_route("/labels", methods=["GET", "HEAD"])
async def labels_page(
    request: Request,
    services: ServicesDep,
    *,
    collection: str = "",
    name: str = "",
    page: str = "1",
    further: str = "1",
) -> Response:
    """List what was learnt about labels, and the labels that are suggested, page by page."""
    number = page_number(further)
    listed = await _listed(services, LABELS, "/labels", collection, page)
    async with reading(services.engine) as connection:
        suggested = await analyses.suggestions(
            connection,
            collection=listed.collection or None,
            name=name or None,
            limit=PASSAGES_ON_A_PAGE + 1,
            offset=(number - 1) * PASSAGES_ON_A_PAGE,
        )

    def address(wanted: int) -> str:
        pairs = [("collection", listed.collection), ("name", name), ("further", str(wanted))]
        return f"/labels?{urlencode([(key, value) for key, value in pairs if value])}#suggested"

    return render(
        request,
        "labels.html",
        listed=listed,
        suggested=suggested[:PASSAGES_ON_A_PAGE],
        name=name,
        surer=address(number + 1) if len(suggested) > PASSAGES_ON_A_PAGE else None,
        less_sure=address(number - 1) if number > 1 else None,
    )


@router.post("/labels")
async def ask_for_labels(services: ServicesDep, form: PostedFormDep) -> Response:
    """Ask for labels to be suggested."""
    name = form.text("name").strip()
    if not name:
        raise InvalidInputError("name the metadata field that labels are for, such as topic")
    options: dict[str, JSON] = {"name": name, "method": form.text("method") or "logistic"}
    labels = [line.strip() for line in form.text("labels").splitlines() if line.strip()]
    if labels:
        options["labels"] = labels
    return await _ask(services, form, LABELS, options)


@router.api_route("/labels/{analysis}", methods=["GET", "HEAD"])
async def label_page(request: Request, services: ServicesDep, analysis: str) -> Response:
    """Show how well labels are chosen: the cross-validated report."""
    async with reading(services.engine) as connection:
        found = await analyses.find(connection, analysis, kind=LABELS)
    return render(request, "label.html", analysis=found)


async def _listed(services: Services, kind: str, base: str, collection: str, page: str) -> Listed:
    number = page_number(page)
    async with reading(services.engine) as connection:
        names = [each.name for each in await collection_names(connection)]
        if collection:
            collection = (await addressing.at(connection, collection)).name
        found = await analyses.listing(
            connection,
            kind=kind,
            collection=collection or None,
            limit=ON_A_PAGE + 1,
            offset=(number - 1) * ON_A_PAGE,
        )
    waiting = await jobs.listing(
        services.engine, collection=collection or None, limit=_JOBS_LOOKED_AT
    )
    return Listed(
        collection=collection,
        names=names,
        found=found[:ON_A_PAGE],
        asked=[
            job
            for job in waiting
            if job.kind == ANALYSE and not job.ended and list(job.arguments) == [kind]
        ],
        number=number,
        more=len(found) > ON_A_PAGE,
        base=base,
    )


async def _ask(
    services: Services, form: PostedForm, kind: str, options: Mapping[str, JSON]
) -> Response:
    check_asked(kind, options)
    async with reading(services.engine) as connection:
        name = (await addressing.at(connection, form.text("collection"))).name
    job = await jobs.enqueue_analysis(
        services.engine, collection=name, analysis=kind, options=options
    )
    return RedirectResponse(job_url(job), status_code=303)


def _documents(numbers: Mapping[str, JSON]) -> list[UUID]:
    """Name the documents of everything that an analysis of outliers lists."""
    found = (each["document_id"] for each in [*_listed_passages(numbers), *numbers["foreign"]])
    return sorted({UUID(each) for each in found if each})


def _passages(numbers: Mapping[str, JSON]) -> list[UUID]:
    return sorted({UUID(each["chunk_id"]) for each in _listed_passages(numbers)})


def _listed_passages(numbers: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    return [
        *numbers["far"],
        *numbers["boilerplate"],
        *numbers["empty"],
        *(passage for group in numbers["groups"] for passage in group["passages"]),
    ]


def _whole(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 7):  # noqa: PLR2004 - a million clusters are too many anyway
        raise InvalidInputError(f"{text[:20]!r} is no number of clusters; write digits")
    return int(text)
