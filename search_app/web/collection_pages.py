"""The pages of collections: all of them, one of them, and what can be done with one."""

import shlex

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from search_app import jobs
from search_app.catalog import addressing, collections, indexes, runs
from search_app.catalog.engine import transaction
from search_app.errors import InvalidInputError
from search_app.jobs import schedules
from search_app.web.collection_view import collection_url, view_all, view_one
from search_app.web.deps import ServicesDep
from search_app.web.forms import PostedFormDep
from search_app.web.job_pages import job_url, shown_job
from search_app.web.places import place_of
from search_app.web.rendering import render

RUNS_SHOWN = 5
LONGEST_ADDRESS = 2_000

router = APIRouter(include_in_schema=False)


@router.api_route("/collections", methods=["GET", "HEAD"])
async def collections_page(request: Request, services: ServicesDep, name: str = "") -> Response:
    """Show all collections; with a name, lead to the page of that one."""
    async with transaction(services.engine) as connection:
        if name:
            found = await collections.get(connection, name)
            return RedirectResponse(collection_url(found), status_code=303)
        views = await view_all(connection)
    return render(
        request,
        "collections.html",
        views=views,
        default=services.settings.collection,
        most_megabytes=services.settings.max_file_mb,
        alive=await jobs.worker_alive(services.engine),
    )


@router.api_route("/collections/{address}", methods=["GET", "HEAD"])
async def collection_page(request: Request, services: ServicesDep, address: str) -> Response:
    """Show a collection."""
    async with transaction(services.engine) as connection:
        collection = await addressing.at(connection, address)
        view = await view_one(connection, collection)
        latest = await runs.listing(connection, collection=collection.name, limit=RUNS_SHOWN)
        left = await indexes.last_left(connection, collection)
    scheduled = await schedules.listing(services.engine, collection=collection.name)
    queued = await jobs.listing(services.engine, collection=collection.name, limit=RUNS_SHOWN)
    return render(
        request,
        "collection.html",
        view=view,
        shell_name=shlex.quote(collection.name),
        runs=latest,
        left=left,
        jobs=[shown_job(job) for job in queued if not job.ended],
        schedules=[
            (schedule, [place_of(services.settings, text) for text in schedule.arguments])
            for schedule in scheduled
        ],
        most_megabytes=services.settings.max_file_mb,
        alive=await jobs.worker_alive(services.engine),
    )


@router.post("/collections/{address}/addresses")
async def add_address(services: ServicesDep, address: str, form: PostedFormDep) -> Response:
    """Ask for a web page to be ingested."""
    async with transaction(services.engine) as connection:
        collection = await addressing.at(connection, address)
    job = await jobs.enqueue_ingest(
        services.engine, collection=collection.name, arguments=[web_address(form.text("url"))]
    )
    return RedirectResponse(job_url(job), status_code=303)


@router.post("/collections/{address}/schedules/{schedule}/remove")
async def remove_schedule(
    services: ServicesDep, address: str, schedule: int, form: PostedFormDep
) -> Response:
    """Forget a schedule of a collection."""
    del form  # its token was what mattered
    async with transaction(services.engine) as connection:
        collection = await addressing.at(connection, address)
    found = await schedules.get(services.engine, schedule)
    if found.collection == collection.name:
        await schedules.remove(services.engine, schedule)
    return RedirectResponse(f"{collection_url(collection)}#schedules", status_code=303)


@router.post("/collections/{address}/retry")
async def retry_failures(services: ServicesDep, address: str, form: PostedFormDep) -> Response:
    """Ask for everything that failed to be read again."""
    del form  # its token was what mattered
    async with transaction(services.engine) as connection:
        collection = await addressing.at(connection, address)
    job = await jobs.enqueue_retry(services.engine, collection=collection.name)
    return RedirectResponse(job_url(job), status_code=303)


@router.api_route("/collections/{address}/remove", methods=["GET", "HEAD"])
async def confirm_removal(request: Request, services: ServicesDep, address: str) -> Response:
    """Say what removing a collection would remove, and ask."""
    async with transaction(services.engine) as connection:
        view = await view_one(connection, await addressing.at(connection, address))
    return render(request, "remove_collection.html", view=view)


@router.post("/collections/{address}/remove")
async def remove_collection(services: ServicesDep, address: str, form: PostedFormDep) -> Response:
    """Ask for a collection to be removed with all that is in it."""
    del form  # likewise
    async with transaction(services.engine) as connection:
        collection = await addressing.at(connection, address)
    job = await jobs.enqueue_delete(services.engine, collection=collection.name)
    return RedirectResponse(job_url(job), status_code=303)


def web_address(text: str) -> str:
    """Take a web address as somebody typed it.

    Raises:
        InvalidInputError: it is none.
    """
    shaped = text.lower().startswith(("http://", "https://")) and text.isprintable()
    if not shaped or len(text) > LONGEST_ADDRESS:
        raise InvalidInputError(
            f"{text[:80]!r} is no web address; write one that begins with https:// or http://"
        )
    scheme, _, rest = text.partition("://")
    return f"{scheme.lower()}://{rest}"
