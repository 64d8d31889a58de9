"""The JSON API of analyses: what the vectors of an index say as a whole."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response

from search_app import jobs
from search_app.analysis.asking import check_asked
from search_app.catalog import addressing, analyses, chunks
from search_app.catalog.analyses import Analysis, Suggested
from search_app.catalog.engine import reading
from search_app.web.analysis_schemas import (
    Analyses,
    AnalysisJson,
    AnalysisKind,
    AnalysisSummary,
    AskForAnalysis,
    MemberJson,
    Members,
    SuggestedLabels,
    SuggestionJson,
)
from search_app.web.answers import described
from search_app.web.api import Limit, Offset, json_only
from search_app.web.api_actions import asked
from search_app.web.deps import ServicesDep
from search_app.web.job_schemas import JobAnswer
from search_app.web.problems import Kind

AnalysisName = Annotated[str, Path(description="Id of the analysis, or the beginning of it")]
CollectionName = Annotated[str | None, Query(description="Only those of this collection")]

_ONE = (Kind.INVALID_INPUT, Kind.NOT_FOUND, Kind.INVALID_BODY)
_CHANGING = (*_ONE, Kind.CROSS_ORIGIN, Kind.TOO_LARGE, Kind.NOT_JSON)

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get("/analyses", name="analyses", responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY))
async def list_analyses(
    services: ServicesDep,
    kind: Annotated[AnalysisKind | None, Query(description="Only of this kind")] = None,
    collection: CollectionName = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Analyses:
    """List kept analyses, newest first."""
    async with reading(services.engine) as connection:
        name = None
        if collection is not None:
            name = (await addressing.at(connection, collection)).name
        found = await analyses.listing(
            connection, kind=kind, collection=name, limit=limit + 1, offset=offset
        )
    return Analyses(
        analyses=[AnalysisSummary.model_validate(_summary(each)) for each in found[:limit]],
        more=len(found) > limit,
    )


@router.post(
    "/analyses",
    name="ask_for_analysis",
    dependencies=[Depends(json_only)],
    responses=described(*_CHANGING),
    status_code=202,
)
async def ask_for_analysis(
    response: Response, services: ServicesDep, body: AskForAnalysis
) -> JobAnswer:
    """Ask for an index to be analysed by a worker; what it finds is kept and listed."""
    options = body.options()
    check_asked(body.kind, options)
    async with reading(services.engine) as connection:
        name = (await addressing.at(connection, body.collection)).name
    job = await jobs.enqueue_analysis(
        services.engine, collection=name, analysis=body.kind, options=options
    )
    return await asked(services, response, job)


@router.get("/analyses/{analysis}", name="analysis", responses=described(*_ONE))
async def get_analysis(services: ServicesDep, analysis: AnalysisName) -> AnalysisJson:
    """Get an analysis with all its numbers."""
    async with reading(services.engine) as connection:
        found = await analyses.find(connection, analysis)
    return AnalysisJson.model_validate({**_summary(found), "numbers": dict(found.numbers)})


@router.get("/analyses/{analysis}/members", name="analysis_members", responses=described(*_ONE))
async def get_members(
    services: ServicesDep,
    analysis: AnalysisName,
    cluster: Annotated[
        int | None, Query(ge=-1, le=10_000, description="Only of this cluster; -1: in none")
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Members:
    """List the passages of clusters; those that are gone since are left out."""
    async with reading(services.engine) as connection:
        found = await analyses.find(connection, analysis)
        members = await analyses.members(
            connection, found.id, cluster=cluster, limit=limit + 1, offset=offset
        )
        passages = await chunks.passages(connection, [each.chunk_id for each in members])
    return Members(
        members=[
            MemberJson(
                chunk_id=each.chunk_id,
                cluster=each.cluster,
                score=round(each.score, 6),
                document_id=passages[each.chunk_id].document.id,
                title=passages[each.chunk_id].document.title,
                text=passages[each.chunk_id].text,
            )
            for each in members[:limit]
            if each.chunk_id in passages
        ],
        more=len(members) > limit,
    )


@router.get(
    "/suggestions",
    name="suggestions",
    responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def list_suggestions(
    services: ServicesDep,
    *,
    collection: CollectionName = None,
    document_id: Annotated[UUID | None, Query(description="Only for this document")] = None,
    name: Annotated[str | None, Query(description="Only for this metadata field")] = None,
    value: Annotated[str | None, Query(description="Only this label")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> SuggestedLabels:
    """List suggested labels, the least probable first; given values are in the documents."""
    async with reading(services.engine) as connection:
        known = None
        if collection is not None:
            known = (await addressing.at(connection, collection)).name
        found = await analyses.suggestions(
            connection,
            collection=known,
            document_id=document_id,
            name=name,
            value=value,
            limit=limit + 1,
            offset=offset,
        )
    return SuggestedLabels(
        suggestions=[_suggestion(each) for each in found[:limit]], more=len(found) > limit
    )


def _summary(found: Analysis) -> dict[str, object]:
    shared = AnalysisSummary.model_fields.keys() & vars(found).keys()
    return {
        **{name: vars(found)[name] for name in shared},
        "parameters": dict(found.parameters),
        "at": found.created_at,
    }


def _suggestion(found: Suggested) -> SuggestionJson:
    shared = SuggestionJson.model_fields.keys() & vars(found).keys()
    return SuggestionJson(
        **{name: vars(found)[name] for name in shared},
        field=f"suggested.{found.name}",
        at=found.created_at,
    )
