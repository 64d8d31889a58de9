"""Switching between indexes for the API and the pages: as the commands do, within one request."""

from search_app import switching
from search_app.bootstrap import Services
from search_app.catalog import indexes
from search_app.catalog.engine import reading, transaction
from search_app.switching import Switched, UnfitIndexError
from search_app.types import Collection, Index


async def activate(services: Services, text: str) -> Switched:
    """Let an index answer, named by as much of its id as names it.

    Raises:
        UnfitIndexError: it is not complete, or has to be measured first.
        NotFoundError, StoreError, CatalogError: as ``switching.activate``.
    """
    async with reading(services.engine) as connection:
        index = await indexes.find(connection, text)
    if services.settings.golden_gate is not None:
        raise UnfitIndexError(
            "a golden gate is set (UNMOVED_GOLDEN_GATE), and measuring takes longer than a request "
            f"may: ingest activate {str(index.id)[:8]}"
        )
    return await switching.activate(services.engine, services.store, index)


async def rollback(services: Services, collection: Collection) -> Switched:
    """Let the index answer again that did before."""
    return await switching.rollback(services.engine, services.store, collection.name)


async def retire(services: Services, text: str) -> Index:
    """Take an index out of use; a worker deletes its vectors.

    Raises:
        InvalidInputError: it is active.
        NotFoundError: there is none.
    """
    async with transaction(services.engine) as connection:
        index = await indexes.find(connection, text)
        return await indexes.retire(connection, index.id)
