"""The JSON API of what embedding costs, and of document vectors that are kept."""

from typing import Annotated

from fastapi import APIRouter, Query

from search_app.catalog import embedding_cache
from search_app.catalog.engine import reading
from search_app.web.answers import described
from search_app.web.cost_schemas import (
    ClearedDocumentsJson,
    KeptDocumentsJson,
    KeptDocumentVectors,
    PriceJson,
    PricesJson,
)
from search_app.web.deps import ServicesDep
from search_app.web.problems import Kind

MEGABYTE = 1_000_000
LONGEST_AGE = 36_500

router = APIRouter(prefix="/api/v1", tags=["v1"])


@router.get("/document-vectors", name="document_vectors", responses=described())
async def list_document_vectors(services: ServicesDep) -> KeptDocumentVectors:
    """Say how many document vectors are kept for texts that come again."""
    async with reading(services.engine) as connection:
        found = await embedding_cache.kept(connection)
    return KeptDocumentVectors(
        kept=[KeptDocumentsJson.model_validate(each) for each in found],
        most_bytes=services.settings.vector_cache_mb * MEGABYTE,
        days=services.settings.vector_cache_days,
    )


@router.delete(
    "/document-vectors",
    name="clear_document_vectors",
    responses=described(Kind.INVALID_INPUT, Kind.CROSS_ORIGIN, Kind.NOT_FOUND, Kind.INVALID_BODY),
)
async def delete_document_vectors(
    services: ServicesDep,
    model: Annotated[
        str, Query(description="Only of the model version of that id, or the beginning of it")
    ] = "",
    run: Annotated[
        str, Query(description="Only those that the run of that id, or its beginning, embedded")
    ] = "",
    older_than_days: Annotated[
        int | None, Query(ge=0, le=LONGEST_AGE, description="Only those of before so many days")
    ] = None,
) -> ClearedDocumentsJson:
    """Forget document vectors, so that their texts are embedded anew; indexes keep theirs."""
    cleared = await embedding_cache.clear_named(
        services.engine, model_version=model, run=run, older_than_days=older_than_days
    )
    return ClearedDocumentsJson(cleared=cleared)


@router.get("/prices", name="prices", responses=described())
async def list_prices(services: ServicesDep) -> PricesJson:
    """List what a million tokens cost, by model, and who says so."""
    found = services.prices
    listed = {spec: price for spec in sorted(found.table) if (price := found.of(spec))}
    return PricesJson(
        currency=found.currency,
        every_model=found.every,
        prices={spec: PriceJson.model_validate(price) for spec, price in listed.items()},
    )
