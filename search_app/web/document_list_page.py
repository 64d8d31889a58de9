"""The page that lists what a collection holds, and what can be done with some of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import RedirectResponse

from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import addressing, choosing, indexes, listing, statistics
from search_app.catalog.choosing import ChosenSource
from search_app.catalog.engine import transaction
from search_app.catalog.listing import Entry, EntryState
from search_app.catalog.statistics import Contents
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Collection
from search_app.web.collection_view import collection_url, shares
from search_app.web.deps import CounterDep, ServicesDep
from search_app.web.document_list import ON_A_PAGE, read_list
from search_app.web.facets import commonest
from search_app.web.forms import PostedForm, PostedFormDep
from search_app.web.hits import document_lang
from search_app.web.job_pages import job_url
from search_app.web.places import SourcePlace, place_of
from search_app.web.rendering import render

MOST_FOLDERS = 100
"""Folders that can be chosen from, those with most documents."""

MOST_NAMED = 20
"""Sources that the page which asks before removing names; the rest is counted."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class ShownEntry:
    """An entry with where it lies."""

    entry: Entry
    place: SourcePlace

    @property
    def lang(self) -> str:
        """The language of the title for the browser."""
        return document_lang(self.entry.language or "und")


@router.api_route("/collections/{address}/documents", methods=["GET", "HEAD"])
async def documents_page(
    request: Request, services: ServicesDep, counter: CounterDep, address: str
) -> Response:
    """List what a collection holds."""
    async with transaction(services.engine) as connection:
        collection = await addressing.at(connection, address)
        asked = read_list(request.query_params, f"{collection_url(collection)}/documents")
        found = await listing.entries(
            connection,
            collection,
            asked.wanted,
            chunking=await chunking_name(connection, collection),
            limit=ON_A_PAGE,
            offset=asked.offset,
        )
        total = await listing.count(connection, collection, asked.wanted)
        held = (await statistics.contents(connection, collection)).get(collection.id, Contents())
    folders = await counter.facets(collection, [], ["folder"])
    headers = {"HX-Push-Url": asked.url()} if "hx-request" in request.headers else {}
    return render(
        request,
        "documents.html",
        headers=headers,
        collection=collection,
        collection_url=collection_url(collection),
        asked=asked,
        entries=[
            ShownEntry(entry=entry, place=place_of(services.settings, entry.source, entry.uri))
            for entry in found
        ],
        total=total,
        pages=-(-total // ON_A_PAGE),
        languages=[share.value for share in shares(held.languages)],
        types=[share.value for share in shares(held.types)],
        folders=sorted(commonest(folders["folder"])[:MOST_FOLDERS]),
        states=[state.value for state in EntryState],
    )


@router.post("/collections/{address}/documents")
async def change_documents(
    request: Request, services: ServicesDep, address: str, form: PostedFormDep
) -> Response:
    """Remove chosen sources, after asking once more, or read them again."""
    async with transaction(services.engine) as connection:
        collection = await addressing.at(connection, address)
        chosen = await _chosen(connection, collection, form)
        uris = [source.uri for source in chosen]
        below = await choosing.below(connection, collection, uris)
    # The button beside a failure names its source; any other acts on the boxes that are ticked.
    match "again" if form.text("retry") else form.text("action"):
        case "remove" if form.text("sure"):
            job = await jobs.enqueue_remove(
                services.engine, collection=collection.name, sources=uris
            )
        case "remove":
            return _ask(request, services, collection, chosen, below)
        case "again":
            job = await jobs.enqueue_ingest(
                services.engine, collection=collection.name, arguments=uris, force=True
            )
        case other:
            raise InvalidInputError(f"action {other[:20]!r} is not known; write remove or again")
    return RedirectResponse(job_url(job), status_code=303)


async def chunking_name(connection: AsyncConnection, collection: Collection) -> str:
    """Name the chunking whose chunks can be found; empty while there is none."""
    try:
        return (await indexes.active(connection, collection)).chunking.name
    except NotFoundError:
        return ""


async def _chosen(
    connection: AsyncConnection, collection: Collection, form: PostedForm
) -> Sequence[ChosenSource]:
    ids = list(form.ids("retry") or form.ids("source"))
    if not ids:
        ids = await choosing.sources_of(connection, form.ids("document"), form.ids("passage"))
    if not ids:
        raise InvalidInputError("nothing is chosen; tick the boxes of what you mean")
    chosen = await choosing.chosen(connection, collection, ids)
    if not chosen:
        raise NotFoundError("what was chosen is no longer in this collection")
    return chosen


def _ask(
    request: Request,
    services: Services,
    collection: Collection,
    chosen: Sequence[ChosenSource],
    below: Sequence[ChosenSource],
) -> Response:
    """Show what would be removed; nothing was done yet."""
    everything = [*chosen, *below]
    return render(
        request,
        "remove_documents.html",
        collection=collection,
        collection_url=collection_url(collection),
        chosen=chosen,
        below=below,
        named=[
            (place_of(services.settings, source.uri), source.documents)
            for source in everything[:MOST_NAMED]
        ],
        unnamed=max(0, len(everything) - MOST_NAMED),
        documents=sum(source.documents for source in everything),
    )
