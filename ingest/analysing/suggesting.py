"""Suggested labels where searches can filter by them: in the catalog and in the stores."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from search_app.bootstrap import Services
from search_app.catalog import analyses, chunks, exclusions, indexes, locks
from search_app.catalog.engine import transaction
from search_app.types import JSON, Collection

DOCUMENTS = 500
"""Documents whose passages are written at once."""


async def suggest(
    services: Services,
    collection: Collection,
    *,
    name: str,
    method: str,
    analysis_id: UUID,
    labels: Mapping[UUID, tuple[JSON, float | None]],
) -> None:
    """Suggest labels in place of those of that name before, so that ``suggested.NAME`` finds them.

    Waits for runs that write to the collection. Cut short, the stores know some of it not yet:
    ``reconcile`` names that, and to suggest again completes it.

    Raises:
        StoreError, CatalogError: they do not answer.
    """
    async with locks.writing(services.engine, collection, _wait) as lock:
        async with transaction(services.engine) as connection:
            before = await analyses.suggest(
                connection,
                collection_id=collection.id,
                name=name,
                method=method,
                analysis_id=analysis_id,
                labels=labels,
            )
            await exclusions.touch(connection, collection.id)
        await lock.check()
        await _write(services, collection, sorted({*before, *labels}))


async def withdraw(services: Services, collection: Collection, name: str) -> int:
    """Take back all that is suggested under a name; say how many it were.

    Raises:
        StoreError, CatalogError: they do not answer.
    """
    async with locks.writing(services.engine, collection, _wait) as lock:
        async with transaction(services.engine) as connection:
            gone = await analyses.withdraw(connection, collection.id, name)
            await exclusions.touch(connection, collection.id)
        await lock.check()
        await _write(services, collection, gone)
    return len(gone)


def _wait() -> None:
    """Wait without a word: a run is only short."""


async def _write(services: Services, collection: Collection, document_ids: Sequence[UUID]) -> None:
    """Bring the fields of passages up to date with their documents, in every index."""
    async with transaction(services.engine) as connection:
        live = await indexes.live(connection, collection)
    for start in range(0, len(document_ids), DOCUMENTS):
        page = document_ids[start : start + DOCUMENTS]
        for index in live:
            async with transaction(services.engine) as connection:
                fields = await chunks.fields_of(connection, page, index.chunking.name)
            await services.store(index.store).update_fields(index.id, fields)
