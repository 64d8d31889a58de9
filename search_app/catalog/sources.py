"""Sources: the files that documents were read from, and how reading them went.

A source is ``pending`` while its documents are being written, ``indexed`` once all of them are in,
or ``failed`` with a reason: then it is read again at the next ingest. ``removing`` ones are on
their way out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.bulk import insert_rows
from search_app.catalog.tables import sources
from search_app.types import JSON, Collection


@dataclass(frozen=True, kw_only=True)
class KnownSource:
    """As much of a source as decides whether it must be read again."""

    id: UUID
    uri: str
    content_hash: bytes | None
    reader: str
    state: str
    options: Mapping[str, JSON]
    root: str
    validators: Mapping[str, str]
    seen_run_id: UUID | None = None


_KNOWN = (
    sources.c.id,
    sources.c.uri,
    sources.c.content_hash,
    sources.c.reader,
    sources.c.state,
    sources.c.options,
    sources.c.root,
    sources.c.validators,
    sources.c.seen_run_id,
)


def _known(row: Any) -> KnownSource:
    return KnownSource(
        id=row.id,
        uri=row.uri,
        content_hash=row.content_hash,
        reader=row.reader,
        state=row.state,
        options=row.options,
        root=row.root,
        validators=row.validators,
        seen_run_id=row.seen_run_id,
    )


async def known(
    connection: AsyncConnection, collection: Collection, uris: Sequence[str]
) -> dict[str, KnownSource]:
    """Look sources up by uri."""
    statement = (
        select(*_KNOWN)
        .where(sources.c.collection_id == collection.id)
        .where(sources.c.uri == func.any(list(uris)))
    )
    return {row.uri: _known(row) for row in await connection.execute(statement)}


async def begin(
    connection: AsyncConnection,
    collection: Collection,
    run_id: UUID,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Note that sources are being read; until ``finish`` the next run reads them again.

    A row has id, uri, reader, options, root and validators.
    """
    await insert_rows(
        connection,
        sources,
        [
            {**row, "collection_id": collection.id, "state": "pending", "seen_run_id": run_id}
            for row in rows
        ],
        "(collection_id, uri) DO UPDATE SET state = 'pending', reader = excluded.reader, "
        "options = excluded.options, root = excluded.root, validators = excluded.validators, "
        "reason = NULL, content_hash = NULL, seen_run_id = excluded.seen_run_id, "
        "updated_at = now()",
    )


_FINISH = text(
    """
    UPDATE sources SET content_hash = done.content_hash, reason = done.reason,
        state = CASE WHEN done.reason IS NULL THEN 'indexed' ELSE 'failed' END, updated_at = now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS bytea[]), CAST(:reasons AS text[]))
        AS done (id, content_hash, reason)
    WHERE sources.id = done.id
    """
)


@dataclass(frozen=True, kw_only=True)
class FinishedSource:
    """A source that was read to its end; with a reason, some or all of it could not be."""

    id: UUID
    content_hash: bytes | None
    reason: str | None = None


async def finish(connection: AsyncConnection, finished: Sequence[FinishedSource]) -> None:
    """Note how reading sources ended."""
    if finished:
        await connection.execute(
            _FINISH,
            {
                "ids": [source.id for source in finished],
                "hashes": [source.content_hash for source in finished],
                "reasons": [source.reason for source in finished],
            },
        )


async def mark_seen(connection: AsyncConnection, run_id: UUID, source_ids: Sequence[UUID]) -> None:
    """Note that the run met these sources where they were."""
    if source_ids:
        await connection.execute(
            update(sources)
            .where(sources.c.id == func.any(list(source_ids)))
            .values(seen_run_id=run_id)
        )


async def set_validators(
    connection: AsyncConnection, validators: Mapping[UUID, Mapping[str, str]]
) -> None:
    """Keep what servers gave for pages that are unchanged all the same."""
    for source_id, given in validators.items():
        await connection.execute(
            update(sources).where(sources.c.id == source_id).values(validators=dict(given))
        )


async def unfinished(
    connection: AsyncConnection, collection: Collection, unseen_by: UUID
) -> list[KnownSource]:
    """List sources that an earlier run than this began and nobody finished."""
    statement = (
        select(*_KNOWN)
        .where(sources.c.collection_id == collection.id)
        .where(sources.c.state == "pending")
        .where(sources.c.seen_run_id.is_distinct_from(unseen_by))
        .order_by(sources.c.uri)
    )
    return [_known(row) for row in await connection.execute(statement)]


async def failed(connection: AsyncConnection, collection: Collection) -> list[KnownSource]:
    """List sources that could not be read, or not whole, when they were last read."""
    statement = (
        select(*_KNOWN)
        .where(sources.c.collection_id == collection.id)
        .where(sources.c.state == "failed")
        .order_by(sources.c.uri)
    )
    return [_known(row) for row in await connection.execute(statement)]


async def under(
    connection: AsyncConnection,
    collection: Collection,
    root: str,
    *,
    after: str = "",
    limit: int = 1000,
) -> list[KnownSource]:
    """Page through the sources that are a path or lie below it, in the order of their uris."""
    below = root.rstrip("/") + "/"
    statement = (
        select(*_KNOWN)
        .where(sources.c.collection_id == collection.id)
        .where((sources.c.uri == root) | func.starts_with(sources.c.uri, below))
        .where(sources.c.uri > after)
        .order_by(sources.c.uri)
        .limit(limit)
    )
    return [_known(row) for row in await connection.execute(statement)]


async def delete_row(connection: AsyncConnection, source_id: UUID) -> None:
    """Remove a source; its documents must be gone."""
    await connection.execute(delete(sources).where(sources.c.id == source_id))


async def begin_removing(connection: AsyncConnection, source_id: UUID) -> None:
    """Note that a source is being removed; should that be cut short, the next run goes on."""
    await connection.execute(
        update(sources).where(sources.c.id == source_id).values(state="removing")
    )


async def removing(connection: AsyncConnection, collection: Collection) -> list[UUID]:
    """List sources whose removal was begun and not finished."""
    statement = (
        select(sources.c.id)
        .where(sources.c.collection_id == collection.id)
        .where(sources.c.state == "removing")
    )
    return list(await connection.scalars(statement))
