"""Removing documents and chunks: hidden first, then out of the stores, then out of the catalog.

Cut short anywhere, the next run goes on from the states in the catalog.
"""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.fetching.addresses import is_address
from ingest.report import Counts
from ingest.targets import Target
from ingest.terms import uncount
from search_app.bootstrap import Services
from search_app.catalog import chunks, documents, history, sources
from search_app.catalog.engine import retried, transaction
from search_app.types import Collection

BATCH = 1000


def is_gone(uri: str) -> bool:
    """Say whether a file is certainly not there any more; not to be let in is not to be gone.

    Of a page that is known only when it was asked for.
    """
    if is_address(uri):
        return False
    try:
        Path(uri).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


async def finish_removals(
    services: Services,
    collection: Collection,
    targets: Sequence[Target],
    run_id: UUID,
    counts: Counts,
) -> None:
    """Go on with what an earlier run began to remove."""
    while True:
        async with transaction(services.engine) as connection:
            found = await documents.deleting(connection, collection, BATCH)
        if not found:
            break
        await remove_documents(services, targets, found, run_id, counts)
    while True:
        async with transaction(services.engine) as connection:
            hidden = await chunks.deleting(connection, collection, BATCH)
        if not hidden:
            break
        await drop_chunks(services, targets, hidden)
        counts.chunks.removed += len(hidden)
    async with transaction(services.engine) as connection:
        leaving = await sources.removing(connection, collection)
    for source_id in leaving:
        await remove_source(services, targets, source_id, run_id, counts)


async def remove_source(
    services: Services, targets: Sequence[Target], source_id: UUID, run_id: UUID, counts: Counts
) -> None:
    """Remove a source with all its documents."""
    async with transaction(services.engine) as connection:
        await sources.begin_removing(connection, source_id)
    while True:
        async with transaction(services.engine) as connection:
            found = await documents.of_source(connection, source_id, BATCH)
        if not found:
            break
        await remove_documents(services, targets, found, run_id, counts)
    async with transaction(services.engine) as connection:
        await sources.delete_row(connection, source_id)


async def remove_unseen(
    services: Services,
    targets: Sequence[Target],
    source_ids: Sequence[UUID],
    run_id: UUID,
    counts: Counts,
) -> None:
    """Remove the documents that sources, just read to their end, no longer have."""
    while source_ids:
        async with transaction(services.engine) as connection:
            found = await documents.unseen_of_sources(connection, source_ids, run_id, BATCH)
        if not found:
            return
        await remove_documents(services, targets, found, run_id, counts)


async def remove_documents(
    services: Services,
    targets: Sequence[Target],
    document_ids: Sequence[UUID],
    run_id: UUID,
    counts: Counts,
) -> None:
    """Remove documents with their chunks and vectors."""
    async with transaction(services.engine) as connection:
        await history.add_removals(connection, document_ids, run_id)
        await documents.begin_deleting(connection, document_ids)
    while True:
        async with transaction(services.engine) as connection:
            found = await chunks.of_documents(connection, document_ids, BATCH)
        if not found:
            break
        await drop_chunks(services, targets, found)
        counts.chunks.removed += len(found)
    async with transaction(services.engine) as connection:
        await documents.delete_rows(connection, document_ids)
    counts.documents.removed += len(document_ids)


async def drop_unshown(
    services: Services, targets: Sequence[Target], document_ids: Sequence[UUID]
) -> None:
    """Take away what was written of documents that cannot be finished; what is shown stays.

    Left in a store, such vectors would crowd out of every search what can be found.
    """
    while True:
        async with transaction(services.engine) as connection:
            found = await chunks.pending_of_documents(connection, document_ids, BATCH)
        if not found:
            return
        await drop_chunks(services, targets, found)


async def drop_chunks(
    services: Services, targets: Sequence[Target], chunk_ids: Sequence[UUID]
) -> None:
    """Take chunks that nobody sees any more out of the stores, then out of the catalog."""
    for target in targets:
        await target.store.delete(target.index.id, chunk_ids)

    async def forget(connection: AsyncConnection) -> None:
        await uncount(connection, chunk_ids)
        await chunks.delete_rows(connection, chunk_ids)

    await retried(services.engine, forget)
