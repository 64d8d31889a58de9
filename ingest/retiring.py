"""Letting go of indexes: out of use at once, then out of the store and out of the catalog.

What is not kept any more can be cleared away at any time, and goes on where it was cut short.
"""

from collections.abc import Callable

import structlog

from search_app.bootstrap import Services
from search_app.catalog import clearing, indexes, locks
from search_app.catalog.engine import transaction
from search_app.errors import NotFoundError, StoreError
from search_app.types import Index

log = structlog.get_logger()

BATCH = 5_000
"""Rows that go in one transaction."""


async def retire(
    services: Services, index: Index, *, waiting: Callable[[], None], reason: str | None = None
) -> Index:
    """Retire an index, and clear it away; ``waiting`` is called if a run writes to it still.

    Its row and its events stay in the history. One that is retired is only cleared away.

    Raises:
        InvalidInputError: it is active.
        StoreError: its store cannot be reached; it is retired, and the same again clears it away.
    """
    async with transaction(services.engine) as connection:
        retired = await indexes.retire(connection, index.id, reason=reason)
    await clear(services, retired, waiting)
    return retired


async def clear(services: Services, index: Index, waiting: Callable[[], None]) -> None:
    """Remove all that is left of a retired index."""
    async with transaction(services.engine) as connection:
        collection = await indexes.collection_of(connection, index)
    # A run that began before may still write to it.
    async with locks.writing(services.engine, collection, waiting):
        await services.store(index.store).drop(index.id)
        more = True
        while more:
            async with transaction(services.engine) as connection:
                more = await clearing.delete_some(connection, index, BATCH)
        async with transaction(services.engine) as connection:
            await indexes.note_cleared(connection, index.id)


async def tidy_up(services: Services) -> None:
    """Retire what has stood by for long enough, and clear away what is retired.

    A store that cannot be reached is told of, and tried again the next time.
    """
    await retire_old(services)
    try:
        await clear_retired(services)
    except StoreError as exc:
        log.warning("a retired index could not be cleared away", reason=str(exc))


async def clear_retired(services: Services) -> int:
    """Clear away what is left of retired indexes of collections that nobody writes to now."""
    cleared = 0
    async with transaction(services.engine) as connection:
        left = await indexes.to_clear(connection)
    for index in left:
        try:
            async with transaction(services.engine) as connection:
                collection = await indexes.collection_of(connection, index)
                is_free = await locks.try_to_write(connection, collection)
        except NotFoundError:
            # It goes with its collection.
            continue
        if is_free:
            await clear(services, index, lambda: None)
            cleared += 1
    return cleared


async def retire_old(services: Services) -> int:
    """Retire the indexes that have stood by for as long as the settings say; 0 days: none."""
    days = services.settings.retire_after_days
    if not days:
        return 0
    async with transaction(services.engine) as connection:
        old = await indexes.left_for(connection, days)
        for index in old:
            await indexes.retire(
                connection, index.id, reason=f"not active for {days} days (retire_after_days)"
            )
    return len(old)
