"""The JSON API of two runs beside each other."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from search_app.catalog import runs
from search_app.catalog.engine import transaction
from search_app.run_differences import compare_runs
from search_app.web.answers import described
from search_app.web.api import Limit, Offset
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind
from search_app.web.run_schemas import (
    DifferingJson,
    DocumentChangeJson,
    RunDifferencesJson,
    TotalsJson,
    VectorsJson,
)
from search_app.web.schemas import RunJson

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/runs/diff",
    name="run_differences",
    responses=described(Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def get_differences(
    services: ServicesDep,
    a: Annotated[UUID, Query(description="Id of a run")],
    b: Annotated[UUID, Query(description="Id of another run")],
    limit: Limit = 50,
    offset: Offset = 0,
) -> RunDifferencesJson:
    """Compare two runs: configuration, versions, and the documents that changed in between."""
    async with transaction(services.engine) as connection:
        one, other = await runs.get(connection, a), await runs.get(connection, b)
        found = await compare_runs(connection, one, other, limit=limit + 1, offset=offset)
    changed = found.documents
    return RunDifferencesJson(
        first=RunJson.model_validate(found.first),
        second=RunJson.model_validate(found.second),
        configuration=[DifferingJson.model_validate(each) for each in found.configuration],
        versions=[DifferingJson.model_validate(each) for each in found.versions],
        documents=None
        if changed is None
        else [DocumentChangeJson.model_validate(each) for each in changed[:limit]],
        totals=None if found.totals is None else TotalsJson.model_validate(found.totals),
        vectors=None if found.vectors is None else VectorsJson.model_validate(found.vectors),
        more=changed is not None and len(changed) > limit,
    )
