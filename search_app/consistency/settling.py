"""What a check means for the query vectors that are kept: proved, or given up."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import query_cache
from search_app.catalog.engine import transaction
from search_app.identity import Outcome


async def settle(
    engine: AsyncEngine, model_version_id: UUID, outcome: Outcome, *, seconds: float
) -> None:
    """Give up what came since the last proof where another model answers; else keep it for good.

    The canaries were begun that many seconds ago.
    """
    async with transaction(engine) as connection:
        if outcome is Outcome.OTHER_MODEL:
            await query_cache.distrust(connection, model_version_id)
        else:
            await query_cache.prove(connection, model_version_id, seconds=seconds)
