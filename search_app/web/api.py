"""The JSON API: searching, and looking up what an answer names."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from search_app.catalog import (
    chunks,
    collections,
    documents,
    exclusions,
    indexes,
    models,
    runs,
)
from search_app.catalog.engine import transaction
from search_app.errors import NotFoundError
from search_app.retrieval import SearchRequest
from search_app.types import CodePlace, Hit, ModelVersion, Run
from search_app.web.answers import described
from search_app.web.deps import ServicesDep
from search_app.web.examples import DETAILS
from search_app.web.problems import Kind, ProblemError
from search_app.web.schemas import (
    ChunkJson,
    CodeJson,
    CodeSymbolJson,
    CollectionJson,
    Collections,
    DocumentJson,
    DocumentOfHit,
    FailureJson,
    HitJson,
    ModelJson,
    Models,
    NoticeJson,
    RunJson,
    Runs,
    RunWithFailures,
    SearchAnswer,
    SearchBody,
)

_LARGEST = 2**31 - 1

Limit = Annotated[int, Query(ge=1, le=200, description="Most entries wanted")]
Offset = Annotated[int, Query(ge=0, le=_LARGEST, description="Entries to pass over")]


def json_only(request: Request) -> None:
    """Refuse other content types: JSON cannot be posted by a foreign form, text can."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(Kind.NOT_JSON, DETAILS[Kind.NOT_JSON.slug])


router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.post(
    "/search",
    dependencies=[Depends(json_only)],
    responses=described(
        Kind.INVALID_INPUT,
        Kind.CROSS_ORIGIN,
        Kind.NOT_FOUND,
        Kind.TOO_LARGE,
        Kind.NOT_JSON,
        Kind.INVALID_BODY,
        Kind.EMBEDDER_REFUSED,
        Kind.EMBEDDER_UNAVAILABLE,
        Kind.STORE_UNAVAILABLE,
        Kind.MODEL_MISMATCH,
    ),
)
async def search(services: ServicesDep, body: SearchBody) -> SearchAnswer:
    """Find the passages nearest to a query in one collection."""
    result = await services.searcher.search(
        SearchRequest(
            query=body.query,
            collection=body.collection
            if body.collection is not None
            else services.settings.collection,
            index=body.index,
            k=body.k,
            first_rank=body.first_rank,
            filters=body.filters,
            mode=body.mode,
            dense_weight=body.dense_weight,
            fusion=body.fusion,
            rerank=body.rerank,
            exact=body.exact,
            fold=body.fold,
            mmr=body.mmr,
            kind=body.kind,
            client="api",
        )
    )
    return SearchAnswer(
        hits=[hit_json(hit) for hit in result.hits],
        search_id=result.search_id,
        mode=result.mode,
        notices=[NoticeJson.model_validate(notice) for notice in result.notices],
        unknown_words=list(result.unknown_words),
        suggestion=result.suggestion,
        collection=result.collection,
        index_id=result.index_id,
        model_version_id=result.model_version_id,
        model=result.model,
        exact=result.exact,
        more=result.more,
        took_ms=round(result.took_ms, 3),
        noise=result.noise,
        kind=result.kind,
    )


@router.get("/collections", responses=described(), name="collections")
async def list_collections(services: ServicesDep) -> Collections:
    """List the collections, what is in them and which model answers for them."""
    async with transaction(services.engine) as connection:
        found = await collections.summaries(connection)
    return Collections(collections=[CollectionJson.model_validate(entry) for entry in found])


@router.get(
    "/documents/{document_id}",
    responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY),
    name="document",
)
async def get_document(
    services: ServicesDep,
    document_id: UUID,
    first_ordinal: Annotated[
        int, Query(ge=0, le=_LARGEST, description="Ordinal of the first passage wanted")
    ] = 0,
    limit: Limit = 50,
) -> DocumentJson:
    """Get a document and some of its passages in reading order."""
    async with transaction(services.engine) as connection:
        document = await documents.get(connection, document_id)
        collection = await collections.get(connection, document.collection)
        try:
            chunking = (await indexes.active(connection, collection)).chunking.name
        except NotFoundError:
            # Its first ingest has not come far enough to be searched: no passages yet.
            chunking = ""
        found = await chunks.of_document(
            connection, document_id, chunking, first_ordinal=first_ordinal, limit=limit + 1
        )
        total = await chunks.count_of_document(connection, document_id, chunking)
        left = await exclusions.of_document(connection, document_id)
    return DocumentJson(
        id=document.id,
        collection=document.collection,
        uri=document.uri,
        source=document.source,
        title=document.title,
        language=document.language,
        type=document.media_type,
        fields=dict(document.fields),
        note=document.note or None,
        state=document.state,
        excluded=left.whole,
        run_id=document.run_id,
        created_at=document.created_at,
        updated_at=document.updated_at,
        chunks=[
            ChunkJson(
                id=passage.chunk_id,
                ordinal=passage.ordinal,
                text=passage.text,
                heading_path=list(passage.heading_path),
                page=passage.page,
                code=code_json(passage.code),
                excluded=left.whole or passage.chunk_id in left.chunk_ids,
            )
            for passage in found[:limit]
        ],
        chunks_total=total,
        more=len(found) > limit,
    )


@router.get("/runs", responses=described(Kind.INVALID_BODY), name="runs")
async def list_runs(services: ServicesDep, limit: Limit = 50, offset: Offset = 0) -> Runs:
    """List the runs, newest first."""
    async with transaction(services.engine) as connection:
        found = await runs.listing(connection, limit=limit + 1, offset=offset)
    return Runs(runs=[RunJson(**_run(run)) for run in found[:limit]], more=len(found) > limit)


@router.get("/runs/{run_id}", responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY), name="run")
async def get_run(
    services: ServicesDep, run_id: UUID, limit: Limit = 50, offset: Offset = 0
) -> RunWithFailures:
    """Get a run and some of the failures in it."""
    async with transaction(services.engine) as connection:
        run = await runs.get(connection, run_id)
        found = await runs.errors(connection, run_id, limit=limit + 1, offset=offset)
    return RunWithFailures(
        **_run(run),
        failures=[FailureJson.model_validate(failure) for failure in found[:limit]],
        more=len(found) > limit,
    )


@router.get("/models", responses=described(), name="models")
async def list_models(services: ServicesDep) -> Models:
    """List the model versions that ever embedded here, oldest first."""
    async with transaction(services.engine) as connection:
        found = await models.listing(connection)
    return Models(models=[model_json(version) for version in found])


def _run(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in RunJson.model_fields}


def hit_json(hit: Hit) -> HitJson:
    """Give a hit as JSON."""
    return HitJson(
        rank=hit.rank,
        chunk_id=hit.chunk_id,
        document=DocumentOfHit.model_validate(hit.document),
        text=hit.text,
        heading_path=list(hit.heading_path),
        page=hit.page,
        score=hit.score,
        scores=dict(hit.scores),
        ranks=dict(hit.ranks),
        similar=list(hit.similar),
        run_id=hit.run_id,
        model_version_id=hit.model_version_id,
        index_id=hit.index_id,
        within_noise_of_next=hit.within_noise_of_next,
        code=code_json(hit.code),
    )


def code_json(code: CodePlace | None) -> CodeJson | None:
    """Give where a passage stands in source code as JSON."""
    if code is None:
        return None
    return CodeJson(
        first_line=code.first_line,
        last_line=code.last_line,
        symbols=[CodeSymbolJson(name=name, kind=kind) for name, kind in code.symbols],
    )


def model_json(version: ModelVersion) -> ModelJson:
    """Give a model version as JSON."""
    identity = version.identity
    return ModelJson(
        id=version.id,
        name=version.name,
        spec=version.spec,
        provider=identity.provider,
        model=identity.model,
        revision=identity.revision,
        dimensions=identity.dimensions,
        max_tokens=identity.max_tokens,
        document_prefix=identity.document_prefix,
        query_prefix=identity.query_prefix,
        settings=dict(identity.settings),
        library_versions=dict(identity.library_versions),
        noise_floor=version.noise_floor,
        bit_stable=version.bit_stable,
        declared_at=version.declared_at,
        verified_at=version.verified_at,
    )
