"""The JSON API of provenance: where a vector comes from, and whether it would come so again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from search_app.provenance import (
    provenance_json,
    provenance_of,
    verification_json,
    verify,
)
from search_app.web.answers import described
from search_app.web.api import json_only
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind
from search_app.web.provenance_schemas import ProvenanceJson, VerificationJson

InIndex = Annotated[
    str | None,
    Query(description="Id of an index, or its beginning; left out: the one that answers searches"),
]

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/chunks/{chunk_id}/provenance",
    responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
    name="provenance",
)
async def get_provenance(
    services: ServicesDep, chunk_id: UUID, index: InIndex = None
) -> ProvenanceJson:
    """Say where the vector of a passage comes from."""
    return ProvenanceJson(**provenance_json(await provenance_of(services, chunk_id, index=index)))


@router.post(
    "/chunks/{chunk_id}/verify",
    dependencies=[Depends(json_only)],
    responses=described(
        Kind.INVALID_INPUT,
        Kind.CROSS_ORIGIN,
        Kind.NOT_FOUND,
        Kind.NOT_JSON,
        Kind.INVALID_BODY,
        Kind.EMBEDDER_REFUSED,
        Kind.EMBEDDER_UNAVAILABLE,
        Kind.STORE_UNAVAILABLE,
        Kind.MODEL_MISMATCH,
    ),
    name="verify",
)
async def verify_chunk(
    services: ServicesDep, chunk_id: UUID, index: InIndex = None
) -> VerificationJson:
    """Embed a passage again and compare it with the vector that is stored."""
    found = await provenance_of(services, chunk_id, index=index)
    return VerificationJson(**verification_json(found, await verify(services, found)))
