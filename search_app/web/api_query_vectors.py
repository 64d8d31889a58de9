"""The JSON API of the query vectors that are kept."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from fastapi import APIRouter, Query

from search_app.catalog import query_cache
from search_app.catalog.engine import reading
from search_app.retrieval import LONGEST_QUERY, clear_query_vectors
from search_app.web.answers import described
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind
from search_app.web.query_vector_schemas import ClearedJson, KeptJson, KeptVectors

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get("/query-vectors", name="query_vectors", responses=described())
async def list_query_vectors(services: ServicesDep) -> KeptVectors:
    """Say how many query vectors are kept for which model version."""
    async with reading(services.engine) as connection:
        found = await query_cache.kept(connection)
    return KeptVectors(kept=[KeptJson.model_validate(each) for each in found])


@router.delete(
    "/query-vectors",
    name="clear_query_vectors",
    responses=described(Kind.INVALID_INPUT, Kind.CROSS_ORIGIN, Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def delete_query_vectors(
    services: ServicesDep,
    model: Annotated[
        str, Query(description="Only of the model version of that id, or the beginning of it")
    ] = "",
    since: Annotated[
        date | None, Query(description="Only those embedded from that day on (UTC)")
    ] = None,
    q: Annotated[
        str, Query(max_length=LONGEST_QUERY, description="Only that of the query as it was asked")
    ] = "",
) -> ClearedJson:
    """Forget query vectors, so that the queries are embedded anew."""
    cleared = await clear_query_vectors(
        services.engine,
        model=model,
        since=None if since is None else datetime.combine(since, time(), UTC),
        query=q,
    )
    return ClearedJson(cleared=cleared)
