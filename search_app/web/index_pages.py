"""What the page of a collection does with its indexes."""

from fastapi import APIRouter, Response
from starlette.responses import RedirectResponse

from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import addressing, indexes
from search_app.catalog.engine import reading
from search_app.errors import InvalidInputError
from search_app.stores.base import read_precision
from search_app.types import Collection
from search_app.web import index_actions
from search_app.web.collection_view import collection_url
from search_app.web.deps import ServicesDep
from search_app.web.forms import PostedForm, PostedFormDep
from search_app.web.job_pages import job_url

LONGEST_SPEC = 500

router = APIRouter(include_in_schema=False)


@router.post("/collections/{address}/reindex")
async def build_index(services: ServicesDep, address: str, form: PostedFormDep) -> Response:
    """Ask for an index to be built beside the active one."""
    collection = await _collection(services, address)
    job = await jobs.enqueue_reindex(
        services.engine,
        collection=collection.name,
        embedder=form.text("embedder")[:LONGEST_SPEC] or None,
        store=form.text("store") or None,
        precision=_precision(form),
        chunk_tokens=_number(form, "chunk_tokens"),
    )
    return RedirectResponse(job_url(job), status_code=303)


@router.post("/collections/{address}/rollback")
async def roll_back(services: ServicesDep, address: str, form: PostedFormDep) -> Response:
    """Let the index answer again that did before."""
    del form  # its token was what mattered
    collection = await _collection(services, address)
    await index_actions.rollback(services, collection)
    return _back(collection)


@router.post("/indexes/{index}/activate")
async def activate_index(services: ServicesDep, index: str, form: PostedFormDep) -> Response:
    """Let an index answer."""
    del form  # its token was what mattered
    switched = await index_actions.activate(services, index)
    return _back(switched.collection)


@router.post("/indexes/{index}/retire")
async def retire_index(services: ServicesDep, index: str, form: PostedFormDep) -> Response:
    """Let go of an index."""
    del form  # its token was what mattered
    retired = await index_actions.retire(services, index)
    async with reading(services.engine) as connection:
        return _back(await indexes.collection_of(connection, retired))


async def _collection(services: Services, address: str) -> Collection:
    async with reading(services.engine) as connection:
        return await addressing.at(connection, address)


def _precision(form: PostedForm) -> str | None:
    chosen = form.text("precision")[:LONGEST_SPEC] or None
    return None if chosen is None else read_precision(chosen)


def _number(form: PostedForm, name: str) -> int | None:
    text = form.text(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):  # noqa: PLR2004 - digits
        raise InvalidInputError(f"{text[:20]!r} is no number of tokens")
    return int(text)


def _back(collection: Collection) -> Response:
    return RedirectResponse(f"{collection_url(collection)}#indexes", status_code=303)
