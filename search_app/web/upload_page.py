"""Where the upload forms are posted to: files are kept, then asked to be ingested."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from search_app import jobs
from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.types import Collection
from search_app.uploads import upload_folder
from search_app.web.api_actions import MEGABYTE
from search_app.web.csrf import FIELD
from search_app.web.deps import ServicesDep
from search_app.web.failures import wants_page
from search_app.web.job_pages import job_url
from search_app.web.receiving import receive_form
from search_app.web.rendering import Renderer

router = APIRouter(include_in_schema=False)


@router.post("/upload")
async def upload(request: Request, services: ServicesDep) -> Response:
    """Keep the files, ask for their ingest, and lead to the job; scripts are told where it is."""
    into: list[Collection] = []

    async def place(fields: Mapping[str, str]) -> Path:
        renderer: Renderer = request.app.state.renderer
        renderer.tokens.check(request, fields.get(FIELD, ""))
        async with transaction(services.engine) as connection:
            name = fields.get("collection", "").strip()
            into.append(await collections.get_or_create(connection, name))
        return upload_folder(services.settings, into[0].id)

    kept = await receive_form(
        request,
        place,
        fields=(FIELD, "collection"),
        most_bytes=services.settings.max_file_mb * MEGABYTE,
    )
    job = await jobs.enqueue_ingest(
        services.engine, collection=into[0].name, arguments=[str(path) for path in kept]
    )
    if wants_page(request):
        return RedirectResponse(job_url(job), status_code=303)
    return JSONResponse({"id": job.id, "url": job_url(job)}, status_code=202)
