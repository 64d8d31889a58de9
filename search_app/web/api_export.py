"""The JSON API's way out for vectors: an index as one file, streamed."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from search_app import exporting
from search_app.catalog import addressing, indexes
from search_app.catalog.engine import reading
from search_app.exporting import Format
from search_app.web.answers import described
from search_app.web.api_actions import Address
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind

_MEDIA_TYPE = "application/octet-stream"
_EXAMPLE = "PAR1 and what Parquet goes on with"

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/collections/{collection}/export",
    name="export",
    response_class=StreamingResponse,
    responses={
        **described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
        200: {
            "description": "The file",
            "content": {
                _MEDIA_TYPE: {
                    "schema": {"type": "string", "format": "binary"},
                    "example": _EXAMPLE,
                }
            },
        },
    },
)
async def export_vectors(
    services: ServicesDep,
    collection: Address,
    kind: Annotated[
        Format, Query(alias="format", description="npy is a ZIP of vectors.npy and rows.csv")
    ] = "parquet",
    index: Annotated[
        str | None,
        Query(description="Id of an index, or its beginning; the one that answers if left out"),
    ] = None,
    *,
    texts: Annotated[bool, Query(description="With the texts of passages")] = False,
) -> StreamingResponse:
    """Download the vectors of a collection with what they are of and where they come from."""
    async with reading(services.engine) as connection:
        known = await addressing.at(connection, collection)
        chosen = None if index is None else await indexes.find(connection, index)
    export = await exporting.prepare(services, known, index=chosen, kind=kind, texts=texts)
    pieces: AsyncIterator[bytes] = exporting.stream(services, export)
    name = exporting.file_name(export)
    return StreamingResponse(
        pieces,
        media_type=_MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
