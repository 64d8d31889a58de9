"""Is the process alive, and can it do its work? For supervisors and load balancers."""

from fastapi import APIRouter

from search_app.catalog import collections
from search_app.catalog.engine import ping, transaction
from search_app.web.deps import ServicesDep

router = APIRouter(include_in_schema=False)


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def alive() -> dict[str, str]:
    """Answer as long as the process lives, whatever else is down."""
    return {"status": "alive"}


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def ready(services: ServicesDep) -> dict[str, str]:
    """Answer 200 if catalog and stores answer; otherwise the problem that says which does not."""
    await ping(services.engine)
    async with transaction(services.engine) as connection:
        used = {entry.store for entry in await collections.summaries(connection)}
    for name in used - {None} or {services.settings.store}:
        await services.store(str(name)).ping()
    return {"status": "ready"}
