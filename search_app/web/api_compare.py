"""The JSON API that compares what two indexes of a collection find."""

from typing import Annotated

from fastapi import APIRouter, Query

from search_app.catalog.engine import reading
from search_app.comparison.asking import MOST_K, compare, given, logged, pair_of
from search_app.comparison.wording import as_json
from search_app.web.answers import described
from search_app.web.api_assist import Filters, ModeWanted
from search_app.web.compare_schemas import ComparisonJson
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind

MOST_ASKED = 200

IndexNamed = Annotated[str, Query(description="Id of an index, or its beginning")]

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get(
    "/compare",
    name="compare",
    responses=described(
        Kind.INVALID_INPUT,
        Kind.NOT_FOUND,
        Kind.INVALID_BODY,
        Kind.EMBEDDER_REFUSED,
        Kind.EMBEDDER_UNAVAILABLE,
        Kind.STORE_UNAVAILABLE,
        Kind.MODEL_MISMATCH,
    ),
)
async def get_comparison(
    *,
    services: ServicesDep,
    a: IndexNamed,
    b: IndexNamed,
    q: Annotated[
        tuple[str, ...],
        Query(description="Queries to compare by, as often as needed; left out: those asked most"),
    ] = (),
    limit: Annotated[int, Query(ge=1, le=MOST_ASKED, description="Most queries asked")] = 50,
    k: Annotated[int, Query(ge=1, le=MOST_K, description="How many hits are compared")] = 10,
    filters: Filters = (),
    mode: ModeWanted = None,
) -> ComparisonJson:
    """Compare what two indexes find: how far lists overlap, what enters, leaves and moves."""
    async with reading(services.engine) as connection:
        pair = await pair_of(connection, a, b)
        asked = given(q, limit) if q else await logged(connection, pair.collection, limit)
    found = await compare(services, pair, asked, k=k, mode=mode, filters=filters)
    return ComparisonJson.model_validate(as_json(found))
