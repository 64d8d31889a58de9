"""The JSON API to look at collections, what they hold, what failed, and single models.

An address names a collection by its name or its id; names that a path cannot carry, such as
``a/b``, only by their id.
"""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from search_app.catalog import addressing, collections, failures, listing, models, proofs
from search_app.catalog import statistics as counted
from search_app.catalog.engine import transaction
from search_app.catalog.listing import EntryState, Sort, Wanted
from search_app.catalog.statistics import IndexUse
from search_app.grammar import parse_filter
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, model_json
from search_app.web.api_actions import Address
from search_app.web.collection_schemas import (
    AliasJson,
    ChunkingJson,
    CollectionDetail,
    Entries,
    EntryJson,
    FailedSourceJson,
    Failures,
    IndexJson,
    LatestRunJson,
    ModelDetail,
    ProofJson,
    ReasonJson,
)
from search_app.web.collection_view import view_one
from search_app.web.deps import ServicesDep
from search_app.web.document_list_page import chunking_name
from search_app.web.problems import Kind

REASONS = 20

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/collections/{collection}",
    responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
    name="collection",
)
async def get_collection(services: ServicesDep, collection: Address) -> CollectionDetail:
    """Get a collection: what it holds, its indexes and its latest run."""
    async with transaction(services.engine) as connection:
        view = await view_one(connection, await addressing.at(connection, collection))
    held = view.contents
    return CollectionDetail(
        id=view.collection.id,
        name=view.collection.name,
        documents=held.documents,
        pending_documents=held.pending,
        chunks=view.active.vectors if view.active else 0,
        sources=held.sources,
        failed_sources=held.failed,
        languages={share.value: share.number for share in view.languages},
        types={share.value: share.number for share in view.types},
        indexes=[_index(use) for use in view.indexes],
        latest_run=LatestRunJson.model_validate(view.latest) if view.latest else None,
    )


@router.get(
    "/collections/{collection}/documents",
    responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
    name="entries",
)
async def list_documents(
    *,
    services: ServicesDep,
    collection: Address,
    q: Annotated[str, Query(description="Text in the title or the path, whatever its case")] = "",
    state: Annotated[EntryState | None, Query(description="Only entries in this state")] = None,
    language: Annotated[str, Query(description="Only documents in this language")] = "",
    type: Annotated[str, Query(description="Only documents of this type")] = "",  # noqa: A002 - the field's word
    folder: Annotated[str, Query(description="Only documents below this folder")] = "",
    filter: Annotated[  # noqa: A002 - the field's word
        tuple[str, ...],
        Query(description="As often as needed; language=ja, or: type=pdf and date>=2024"),
    ] = (),
    sort: Annotated[Sort, Query(description="What the entries are sorted by")] = Sort.PATH,
    descending: Annotated[bool, Query(description="In the reverse order")] = False,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Entries:
    """List the documents of a collection, and its sources that failed or are not in yet."""
    wanted = Wanted(
        text=q,
        state=state,
        language=language,
        type=type,
        folder=folder,
        filter=parse_filter(filter),
        sort=sort,
        descending=descending,
    )
    async with transaction(services.engine) as connection:
        known = await addressing.at(connection, collection)
        found = await listing.entries(
            connection,
            known,
            wanted,
            chunking=await chunking_name(connection, known),
            limit=limit + 1,
            offset=offset,
        )
        total = await listing.count(connection, known, wanted)
    return Entries(
        entries=[EntryJson.model_validate(entry) for entry in found[:limit]],
        total=total,
        more=len(found) > limit,
    )


@router.get(
    "/failures",
    responses=described(Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY),
    name="failures",
)
async def list_failures(
    services: ServicesDep,
    collection: Annotated[
        str | None, Query(description="Name of a collection; left out: all of them")
    ] = None,
    reason: Annotated[str | None, Query(description="Only those with exactly this reason")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Failures:
    """List the sources that are failed now, and the commonest reasons."""
    async with transaction(services.engine) as connection:
        only = None if collection is None else await collections.get(connection, collection)
        found = await failures.listing(
            connection, collection=only, reason=reason, limit=limit + 1, offset=offset
        )
        groups = await failures.reasons(connection, collection=only, limit=REASONS)
        total = await failures.count(connection, collection=only, reason=reason)
    return Failures(
        failures=[
            FailedSourceJson(
                source_id=failed.id,
                collection=failed.collection.name,
                source=failed.source,
                reason=failed.reason,
                run_id=failed.run_id,
                failed_at=failed.failed_at,
            )
            for failed in found[:limit]
        ],
        reasons=[
            ReasonJson(
                collection=group.collection.name,
                reason=group.reason,
                sources=group.sources,
                latest_at=group.latest_at,
            )
            for group in groups
        ],
        total=total,
        more=len(found) > limit,
    )


@router.get(
    "/models/{model_id}",
    responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY),
    name="model",
)
async def get_model(
    services: ServicesDep, model_id: UUID, limit: Limit = 50, offset: Offset = 0
) -> ModelDetail:
    """Get a model version, the indexes that use it, and some of its proofs."""
    async with transaction(services.engine) as connection:
        version = await models.get(connection, model_id)
        uses = await counted.index_uses(connection, model_version_id=model_id)
        aliases = await models.aliases(connection, model_id)
        outcomes = await proofs.outcomes(connection, model_id)
        found = await proofs.listing(connection, model_id, limit=limit + 1, offset=offset)
    return ModelDetail(
        **model_json(version).model_dump(),
        aliases=[AliasJson.model_validate(alias) for alias in aliases],
        indexes=[_index(use) for use in uses],
        outcomes=dict(outcomes),
        proofs=[ProofJson.model_validate(proof) for proof in found[:limit]],
        more=len(found) > limit,
    )


def _index(use: IndexUse) -> IndexJson:
    index = use.index
    return IndexJson(
        id=index.id,
        collection=use.collection.name,
        state=index.state,
        store=index.store,
        precision=index.precision,
        model_version_id=index.model_version_id,
        model=use.model,
        unverified=use.unverified,
        dimensions=use.dimensions,
        chunking=ChunkingJson(**asdict(index.chunking)),
        vectors=use.vectors,
        created_at=index.created_at,
        activated_at=use.activated_at,
    )
