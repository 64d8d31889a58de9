"""The JSON API of indexes: which there are, building another one, switching between them."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from search_app import jobs, switching
from search_app.catalog import addressing
from search_app.catalog.engine import reading, transaction
from search_app.catalog.lives import IndexLife, lives
from search_app.web import index_actions
from search_app.web.answers import described
from search_app.web.api import json_only
from search_app.web.api_actions import Address, asked
from search_app.web.collection_schemas import ChunkingJson
from search_app.web.deps import ServicesDep
from search_app.web.index_schemas import (
    Indexes,
    IndexEventJson,
    IndexLifeJson,
    ReindexBody,
    Retired,
    Switched,
)
from search_app.web.job_schemas import JobAnswer
from search_app.web.problems import Kind

IndexName = Annotated[str, Path(description="Id of the index, or the beginning of it")]

_CHANGING = (
    Kind.INVALID_INPUT,
    Kind.CROSS_ORIGIN,
    Kind.NOT_FOUND,
    Kind.TOO_LARGE,
    Kind.NOT_JSON,
    Kind.INVALID_BODY,
)

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/collections/{collection}/indexes",
    name="indexes",
    responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def list_indexes(services: ServicesDep, collection: Address) -> Indexes:
    """List the indexes of a collection, how complete each is, and what became of it."""
    async with reading(services.engine) as connection:
        known = await addressing.at(connection, collection)
        found = await lives(connection, known)
    return Indexes(indexes=[_life(life) for life in found])


@router.post(
    "/collections/{collection}/reindex",
    name="reindex",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING),
    status_code=202,
)
async def reindex(
    response: Response, services: ServicesDep, collection: Address, body: ReindexBody
) -> JobAnswer:
    """Build an index beside the active one; searches and ingests go on meanwhile."""
    async with transaction(services.engine) as connection:
        known = await addressing.at(connection, collection)
    job = await jobs.enqueue_reindex(
        services.engine,
        collection=known.name,
        embedder=body.embedder,
        store=body.store,
        precision=body.precision,
        chunk_tokens=body.chunk_tokens,
        force=body.force,
        fresh=body.fresh,
        budget=body.budget,
    )
    return await asked(services, response, job)


@router.post(
    "/indexes/{index}/activate",
    name="activate_index",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING, Kind.UNFIT_INDEX, Kind.STORE_UNAVAILABLE),
)
async def activate(services: ServicesDep, index: IndexName) -> Switched:
    """Let a complete index answer the searches of its collection."""
    return _switched(await index_actions.activate(services, index))


@router.post(
    "/collections/{collection}/rollback",
    name="rollback",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING, Kind.UNFIT_INDEX, Kind.STORE_UNAVAILABLE),
)
async def rollback(services: ServicesDep, collection: Address) -> Switched:
    """Let the index answer again that did before the one that does now."""
    async with reading(services.engine) as connection:
        known = await addressing.at(connection, collection)
    return _switched(await index_actions.rollback(services, known))


@router.post(
    "/indexes/{index}/retire",
    name="retire_index",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING),
)
async def retire(services: ServicesDep, index: IndexName) -> Retired:
    """Let go of an index that is not active; a worker deletes its vectors."""
    retired = await index_actions.retire(services, index)
    return Retired(index_id=retired.id, state=retired.state)


def _switched(switched: switching.Switched) -> Switched:
    return Switched(
        collection=switched.collection.name,
        index_id=switched.index.id,
        left_index_id=switched.left.id if switched.left else None,
        passages=switched.passages,
        flip_ms=round(switched.flip_ms, 3),
    )


def _life(life: IndexLife) -> IndexLifeJson:
    use, gaps = life.use, life.gaps
    return IndexLifeJson(
        id=use.index.id,
        collection=use.collection.name,
        state=use.index.state,
        store=use.index.store,
        precision=use.index.precision,
        model_version_id=use.index.model_version_id,
        model=use.model,
        unverified=use.unverified,
        dimensions=use.dimensions,
        chunking=ChunkingJson(**asdict(use.index.chunking)),
        vectors=use.vectors,
        created_at=use.index.created_at,
        activated_at=use.activated_at,
        passages=gaps.passages if gaps else None,
        missing=gaps.missing if gaps else None,
        uncut_documents=gaps.uncut if gaps else None,
        events=[
            IndexEventJson(event=event.event, reason=event.reason, at=event.created_at)
            for event in life.events
        ],
    )
