"""The JSON API that changes collections: it asks for work, and tells how the work goes."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import addressing, collections
from search_app.catalog.engine import transaction
from search_app.errors import NotFoundError
from search_app.jobs import Job
from search_app.types import Collection
from search_app.uploads import upload_folder
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, json_only
from search_app.web.deps import ServicesDep
from search_app.web.job_schemas import IngestBody, JobAnswer, JobJson, Jobs, RemoveBody
from search_app.web.problems import Kind
from search_app.web.reach import check_reach
from search_app.web.receiving import receive_files

MEGABYTE = 1_000_000

Address = Annotated[
    str,
    Path(description="Name of the collection, or its id, which names with a slash need"),
]
JobNumber = Annotated[int, Path(description="Number of the job")]

_ASKED: dict[str, Any] = {"status_code": 202, "response_model": JobAnswer}
_CHANGING = (
    Kind.INVALID_INPUT,
    Kind.CROSS_ORIGIN,
    Kind.NOT_FOUND,
    Kind.TOO_LARGE,
    Kind.INVALID_BODY,
)
_WITH_BODY = (*_CHANGING, Kind.NOT_JSON)

_FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "contentMediaType": "application/*"},
                            "description": "One or many files, each with its name",
                        }
                    },
                },
                "example": {"files": ["notes.md", "利用案内.pdf"]},
            }
        },
    }
}

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.post(
    "/collections/{collection}/documents",
    name="upload",
    responses=described(*_CHANGING, Kind.NOT_FILES),
    openapi_extra=_FILES,
    **_ASKED,
)
async def upload(
    request: Request, response: Response, services: ServicesDep, collection: Address
) -> JobAnswer:
    """Keep files and ingest them; makes the collection where there is none of that name."""
    async with transaction(services.engine) as connection:
        known = await _found_or_made(connection, collection)
    paths = await receive_files(
        request,
        upload_folder(services.settings, known.id),
        most_bytes=services.settings.max_file_mb * MEGABYTE,
    )
    job = await jobs.enqueue_ingest(
        services.engine, collection=known.name, arguments=[str(path) for path in paths]
    )
    return await asked(services, response, job)


@router.post(
    "/collections/{collection}/ingest",
    name="ingest",
    dependencies=[Depends(json_only)],
    responses=described(*_WITH_BODY, Kind.OUT_OF_REACH),
    **_ASKED,
)
async def ingest(
    response: Response, services: ServicesDep, collection: Address, body: IngestBody
) -> JobAnswer:
    """Ingest web addresses and files that the server can read, or read them again."""
    async with transaction(services.engine) as connection:
        name = await _name(connection, collection)
    await check_reach(services, name, body.arguments)
    job = await jobs.enqueue_ingest(
        services.engine,
        collection=name,
        arguments=body.arguments,
        force=body.force,
        prune=body.prune,
        budget=body.budget,
    )
    return await asked(services, response, job)


@router.post(
    "/collections/{collection}/remove",
    name="remove",
    dependencies=[Depends(json_only)],
    responses=described(*_WITH_BODY),
    **_ASKED,
)
async def remove(
    response: Response, services: ServicesDep, collection: Address, body: RemoveBody
) -> JobAnswer:
    """Remove sources with their documents; only files that were uploaded are deleted, too."""
    job = await jobs.enqueue_remove(
        services.engine, collection=await _existing(services, collection), sources=body.sources
    )
    return await asked(services, response, job)


@router.post(
    "/collections/{collection}/retry",
    name="retry",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING, Kind.NOT_JSON),
    **_ASKED,
)
async def retry(response: Response, services: ServicesDep, collection: Address) -> JobAnswer:
    """Read every source again that failed."""
    job = await jobs.enqueue_retry(
        services.engine, collection=await _existing(services, collection)
    )
    return await asked(services, response, job)


@router.delete(
    "/collections/{collection}",
    name="delete_collection",
    responses=described(*_CHANGING),
    **_ASKED,
)
async def delete_collection(
    response: Response, services: ServicesDep, collection: Address
) -> JobAnswer:
    """Delete a collection with all that it holds; only files that were uploaded go, too."""
    job = await jobs.enqueue_delete(
        services.engine, collection=await _existing(services, collection)
    )
    return await asked(services, response, job)


@router.get(
    "/jobs", name="jobs", responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY)
)
async def list_jobs(
    services: ServicesDep,
    collection: Annotated[
        str | None, Query(description="Name of a collection; left out: all of them")
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Jobs:
    """List queued work, newest first, and say whether any worker is there to do it."""
    found = await jobs.listing(
        services.engine, collection=collection, limit=limit + 1, offset=offset
    )
    return Jobs(
        jobs=[JobJson(**_job(job)) for job in found[:limit]],
        more=len(found) > limit,
        worker_alive=await jobs.worker_alive(services.engine),
    )


@router.get("/jobs/{job}", name="job", responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY))
async def get_job(services: ServicesDep, job: JobNumber) -> JobAnswer:
    """Get a job: how it stands, how far its run is, and why it failed."""
    return await _answer(services, await jobs.get(services.engine, job))


@router.post(
    "/jobs/{job}/cancel",
    name="cancel_job",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING, Kind.NOT_JSON, Kind.INVALID_BODY),
)
async def cancel_job(services: ServicesDep, job: JobNumber) -> JobAnswer:
    """Take a job out of the queue, or stop it; what it did so far stays."""
    return await _answer(services, await jobs.cancel(services.engine, job))


@router.post(
    "/jobs/{job}/retry",
    name="retry_job",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING, Kind.NOT_JSON, Kind.INVALID_BODY),
    **_ASKED,
)
async def retry_job(response: Response, services: ServicesDep, job: JobNumber) -> JobAnswer:
    """Ask anew for what a job did that has ended; what is in already is not done again."""
    return await asked(services, response, await jobs.repeat(services.engine, job))


async def _existing(services: Services, address: str) -> str:
    async with transaction(services.engine) as connection:
        return (await addressing.at(connection, address)).name


async def _name(connection: AsyncConnection, address: str) -> str:
    """Give the name that an address means, be there a collection of it or not.

    Raises:
        NotFoundError: it is the name of a collection that is being deleted.
        InvalidInputError: no collection can have that name.
    """
    try:
        return (await addressing.at(connection, address)).name
    except NotFoundError:
        await collections.check_open(connection, address)
        return address


async def _found_or_made(connection: AsyncConnection, address: str) -> Collection:
    return await collections.get_or_create(connection, await _name(connection, address))


async def asked(services: Services, response: Response, job: Job) -> JobAnswer:
    """Answer with a job that was asked for, and say where it is found."""
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return await _answer(services, job)


async def _answer(services: Services, job: Job) -> JobAnswer:
    return JobAnswer(**_job(job), worker_alive=await jobs.worker_alive(services.engine))


def _job(job: Job) -> dict[str, Any]:
    values = {name: getattr(job, name) for name in JobJson.model_fields}
    return values | {
        "arguments": list(job.arguments),
        "counts": dict(job.counts),
        "progress": dict(job.progress),
    }
