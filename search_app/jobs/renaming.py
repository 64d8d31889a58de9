"""Renaming a collection, with the jobs that wait for it."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import collections, locks
from search_app.catalog.engine import transaction
from search_app.errors import InvalidInputError
from search_app.jobs.types import analyses_lock_of, builders_lock_of, checks_lock_of, lock_of
from search_app.types import Collection


async def rename_collection(engine: AsyncEngine, *, old: str, new: str) -> Collection:
    """Give a collection another name; ids, documents and vectors stay, and jobs follow.

    Raises:
        NotFoundError: there is no collection of the old name.
        InvalidInputError: the new name is taken or cannot be one, or a run is writing.
    """
    values = {"new": new, "old_lock": lock_of(old), "new_lock": lock_of(new)}
    building = {
        "new": new,
        "old_lock": builders_lock_of(old),
        "new_lock": builders_lock_of(new),
    }
    checking = {"new": new, "old_lock": checks_lock_of(old), "new_lock": checks_lock_of(new)}
    analysing = {
        "new": new,
        "old_lock": analyses_lock_of(old),
        "new_lock": analyses_lock_of(new),
    }
    async with transaction(engine) as connection:
        collection = await collections.get(connection, old)
        # Held until the end of the transaction, by whoever asks for work and whoever does it.
        for lock in sorted((values["old_lock"], values["new_lock"])):
            await connection.execute(_ASKING, {"lock": lock})
        is_free = await locks.try_to_write(connection, collection)
        running = [await connection.scalar(_RUNNING, which) for which in (values, building)]
        if not is_free or any(running):
            raise InvalidInputError(
                f"a run is writing to collection {old!r}; wait until it has ended"
            )
        renamed = await collections.rename(connection, collection, new)
        for followed in (values, building, checking, analysing):
            await connection.execute(_FOLLOW, followed)
    return renamed


_ASKING = text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))")

_RUNNING = text(
    "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'doing' AND lock = :old_lock)"
)

# Those that ended too, so that they are still found as jobs of the collection.
_FOLLOW = text(
    "UPDATE procrastinate_jobs SET lock = :new_lock, "
    "args = jsonb_set(args, '{collection}', to_jsonb(CAST(:new AS text))) WHERE lock = :old_lock"
)
