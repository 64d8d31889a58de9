"""Deleting a whole collection: hidden first, then out of the stores, then out of the catalog.

Cut short anywhere, the same command or job goes on from the states in the catalog.
"""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import deletion, documents, indexes, locks
from search_app.catalog.engine import transaction
from search_app.types import Collection
from search_app.uploads import upload_folder

BATCH = 500
"""Documents whose rows go in one transaction."""


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """What went with a collection."""

    collection: str
    documents: int
    indexes: int


async def delete_collection(
    services: Services, name: str, *, waiting: Callable[[], None], job_id: int | None = None
) -> Deleted:
    """Delete a collection with its documents, vectors, indexes and kept uploads.

    Its runs stay in the history, since vectors that were copied elsewhere name them. Files that
    were ingested from where they lie are not touched. Jobs that wait for the collection are
    cancelled, the one that does this excepted.

    Raises:
        NotFoundError: there is no such collection.
        StoreError: a store cannot be reached; the collection stays hidden, and deleting it again
            goes on.
    """
    async with transaction(services.engine) as connection:
        collection = await deletion.find(connection, name)
    async with locks.writing(services.engine, collection, waiting):
        async with transaction(services.engine) as connection:
            # Another one may have finished it while this one waited.
            await deletion.find(connection, name)
            await jobs.cancel_waiting(connection, name, besides=job_id)
            await deletion.forget_failures(connection, collection)
        return await _delete(services, collection)


async def delete_if_empty(services: Services, collection: Collection, *, finished: bool) -> bool:
    """Delete a collection that holds nothing; the caller holds its lock. Why is kept.

    After a run that came to its end (``finished``) documents that are pending are such as failed;
    otherwise the next run finishes them, and the collection stays for it.
    """
    async with transaction(services.engine) as connection:
        held = (
            await documents.count(connection, collection)
            if finished
            else not await deletion.is_empty(connection, collection)
        )
        if held or await jobs.waiting(connection, collection.name):
            return False
    await _delete(services, collection)
    return True


async def _delete(services: Services, collection: Collection) -> Deleted:
    async with transaction(services.engine) as connection:
        await deletion.begin(connection, collection)
        found = await indexes.every(connection, collection)
    for index in found:
        await services.store(index.store).drop(index.id)
    number = 0
    while gone := await _delete_some(services, collection):
        number += gone
    async with transaction(services.engine) as connection:
        await deletion.finish(connection, collection)
    await asyncio.to_thread(_forget_uploads, services, collection.id)
    return Deleted(collection=collection.name, documents=number, indexes=len(found))


async def _delete_some(services: Services, collection: Collection) -> int:
    # A part at a time: one transaction over a large collection would hold everything up.
    async with transaction(services.engine) as connection:
        return await deletion.delete_documents(connection, collection, BATCH)


def _forget_uploads(services: Services, collection_id: UUID) -> None:
    folder = upload_folder(services.settings, collection_id)
    if folder.exists():
        shutil.rmtree(folder)
