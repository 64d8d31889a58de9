"""The pages of model versions: what they claim to be, what was observed, what relies on them."""

from fastapi import APIRouter, Request, Response

from search_app.catalog import embedding_cache, models, proofs, statistics
from search_app.catalog.engine import transaction
from search_app.web.collection_view import collection_url
from search_app.web.deps import ServicesDep, page_id, page_number
from search_app.web.rendering import render

PROOFS_ON_A_PAGE = 50

router = APIRouter(include_in_schema=False)


@router.api_route("/models", methods=["GET", "HEAD"])
async def models_page(request: Request, services: ServicesDep) -> Response:
    """List the model versions."""
    async with transaction(services.engine) as connection:
        found = await models.listing(connection)
        latest = await proofs.latest(connection)
        uses = await statistics.index_uses(connection)
        kept = await embedding_cache.kept(connection)
    return render(
        request,
        "models.html",
        versions=[
            (version, latest.get(version.id), [use for use in uses if _uses(use, version.id)])
            for version in reversed(found)
        ],
        kept_vectors=sum(each.vectors for each in kept),
        kept_bytes=sum(each.bytes for each in kept),
        collection_url=collection_url,
    )


@router.api_route("/models/{model_id}", methods=["GET", "HEAD"])
async def model_page(
    request: Request, services: ServicesDep, model_id: str, page: str = "1"
) -> Response:
    """Show a model version."""
    number = page_number(page)
    async with transaction(services.engine) as connection:
        version = await models.get(connection, page_id(model_id, "model version"))
        uses = await statistics.index_uses(connection, model_version_id=version.id)
        aliases = await models.aliases(connection, version.id)
        kept = await embedding_cache.kept(connection, version.id)
        outcomes = await proofs.outcomes(connection, version.id)
        found = await proofs.listing(
            connection,
            version.id,
            limit=PROOFS_ON_A_PAGE + 1,
            offset=(number - 1) * PROOFS_ON_A_PAGE,
        )
    return render(
        request,
        "model.html",
        version=version,
        uses=uses,
        aliases=aliases,
        kept=kept,
        outcomes=outcomes,
        proofs=found[:PROOFS_ON_A_PAGE],
        more=len(found) > PROOFS_ON_A_PAGE,
        number=number,
        collection_url=collection_url,
    )


def _uses(use: statistics.IndexUse, model_version_id: object) -> bool:
    return use.index.model_version_id == model_version_id
