"""The JSON API of what searches leave out without removing it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import ConfigDict, Field

from search_app.catalog import addressing, exclusions
from search_app.catalog.engine import reading, transaction
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, json_only
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind
from search_app.web.schemas import Model

_DOCUMENT = "9b2d4c6e-1f3a-5b7c-8d9e-0a1b2c3d4e5f"
_CHUNK = "3f0c7a52-6a51-5f0e-9d6b-0b7f4a4f2f11"
MOST_NAMED = 1_000
"""Documents, and passages, of one request."""
MOST_IN_ADDRESS = 100
"""The same where they stand in the address, which servers do not read to any length."""

_CHANGING = (
    Kind.INVALID_INPUT,
    Kind.NOT_FOUND,
    Kind.INVALID_BODY,
    Kind.CROSS_ORIGIN,
)

router = APIRouter(prefix="/api/v1", tags=["v1"])


class ExclusionJson(Model):
    """What is left out of searches; ``chunk_id`` is null of a whole document.

    ``text`` is the beginning of a passage, ``passages`` how many are left out by it.
    """

    document_id: UUID
    chunk_id: UUID | None
    collection: str
    title: str
    text: str
    reason: str
    passages: int
    at: datetime


class Exclusions(Model):
    """What is left out of searches, the latest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "exclusions": [
                    {
                        "document_id": _DOCUMENT,
                        "chunk_id": _CHUNK,
                        "collection": "default",
                        "title": "利用案内",
                        "text": "All rights reserved.",
                        "reason": "boilerplate",
                        "passages": 1,
                        "at": "2026-03-15T03:00:12Z",
                    }
                ],
                "more": False,
            }
        }
    )

    exclusions: list[ExclusionJson]
    more: bool


_Ids = Annotated[
    tuple[Annotated[UUID, Field(strict=False)], ...], Field(strict=False, max_length=MOST_NAMED)
]


class ExcludeBody(Model):
    """What to leave out of searches, by ids."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"documents": [], "passages": [_CHUNK], "reason": "boilerplate"}
        }
    )

    documents: Annotated[_Ids, Field(description="Ids of whole documents")] = ()
    passages: Annotated[_Ids, Field(description="Ids of passages")] = ()
    reason: Annotated[
        str, Field(max_length=exclusions.LONGEST_REASON, description="Why, in a line")
    ] = ""


class ExclusionsChanged(Model):
    """How many exclusions were added or taken back; what was so before does not count."""

    model_config = ConfigDict(json_schema_extra={"example": {"changed": 1}})

    changed: int


@router.get(
    "/exclusions", name="exclusions", responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY)
)
async def list_exclusions(
    services: ServicesDep,
    collection: Annotated[str | None, Query(description="Only those of this collection")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Exclusions:
    """List the documents and passages that searches leave out."""
    async with reading(services.engine) as connection:
        name = None
        if collection is not None:
            name = (await addressing.at(connection, collection)).name
        found = await exclusions.listing(
            connection, collection=name, limit=limit + 1, offset=offset
        )
    return Exclusions(
        exclusions=[
            ExclusionJson(
                document_id=each.document_id,
                chunk_id=each.chunk_id,
                collection=each.collection,
                title=each.title,
                text=each.text,
                reason=each.reason,
                passages=each.passages,
                at=each.created_at,
            )
            for each in found[:limit]
        ],
        more=len(found) > limit,
    )


@router.post(
    "/exclusions",
    name="exclude",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING, Kind.TOO_LARGE, Kind.NOT_JSON),
)
async def exclude(services: ServicesDep, body: ExcludeBody) -> ExclusionsChanged:
    """Leave documents and passages out of all searches; nothing is removed."""
    async with transaction(services.engine) as connection:
        changed = await exclusions.add(
            connection, documents=body.documents, passages=body.passages, reason=body.reason
        )
    return ExclusionsChanged(changed=changed)


@router.delete("/exclusions", name="include", responses=described(*_CHANGING))
async def include(
    services: ServicesDep,
    document_id: Annotated[
        tuple[UUID, ...], Query(max_length=MOST_IN_ADDRESS, description="As often as needed")
    ] = (),
    chunk_id: Annotated[
        tuple[UUID, ...], Query(max_length=MOST_IN_ADDRESS, description="As often as needed")
    ] = (),
) -> ExclusionsChanged:
    """Have documents and passages found again that were excluded."""
    async with transaction(services.engine) as connection:
        changed = await exclusions.lift(connection, documents=document_id, passages=chunk_id)
    return ExclusionsChanged(changed=changed)
