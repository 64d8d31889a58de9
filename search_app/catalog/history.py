"""What became of documents: added, updated, removed, when and by which run.

Events are written in the transaction that makes the change visible, so that there is one for every
change that anybody saw, and none for what nobody did. They stay when the document goes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.bulk import insert_rows
from search_app.catalog.tables import document_events
from search_app.types import Collection

Event = Literal["added", "updated", "removed"]


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """What just became of a document, and how many passages it has now."""

    document_id: UUID
    uri: str
    title: str
    event: Event
    chunks: int


@dataclass(frozen=True, kw_only=True)
class DocumentEvent(NewEvent):
    """What became of a document once; a removed one had ``chunks`` passages.

    ``run_id`` is None where the run is not known any more.
    """

    run_id: UUID | None
    at: datetime


async def add(
    connection: AsyncConnection, collection: Collection, events: Sequence[NewEvent], run_id: UUID
) -> None:
    """Write events of the transaction under way."""
    await insert_rows(
        connection,
        document_events,
        [{"collection_id": collection.id, "run_id": run_id, **asdict(event)} for event in events],
        "DO NOTHING",
    )


_REMOVED = text("""
    INSERT INTO document_events
        (collection_id, document_id, uri, title, event, chunks, run_id)
    SELECT documents.collection_id, documents.id, documents.uri, documents.title, 'removed',
        (
            SELECT count(*) FROM chunks
            WHERE chunks.document_id = documents.id AND chunks.state = 'live'
                AND chunks.chunking = coalesce(shown.chunking, chunks.chunking)
        ),
        :run_id
    FROM documents
    LEFT JOIN (
        SELECT collection_id, concat_ws(
            '/', chunking->>'tokenizer', chunking->>'max_tokens', chunking->>'version'
        ) AS chunking
        FROM indexes WHERE state = 'active'
    ) AS shown ON shown.collection_id = documents.collection_id
    WHERE documents.id = ANY(CAST(:ids AS uuid[])) AND documents.state = 'indexed'
""")


async def add_removals(
    connection: AsyncConnection, document_ids: Sequence[UUID], run_id: UUID
) -> None:
    """Write that documents are removed, before they are hidden: of those that can be seen still.

    So a removal that was cut short and is gone on with is told once, and one of a document that
    never came in, never.
    """
    if document_ids:
        await connection.execute(_REMOVED, {"ids": list(document_ids), "run_id": run_id})


async def of_document(
    connection: AsyncConnection,
    document_id: UUID,
    *,
    since: datetime | None = None,
    limit: int = 100,
) -> list[DocumentEvent]:
    """List what became of a document, latest first."""
    statement = (
        select(*document_events.c)
        .where(document_events.c.document_id == document_id)
        .order_by(document_events.c.id.desc())
        .limit(limit)
    )
    if since is not None:
        statement = statement.where(document_events.c.created_at >= since)
    return [_event(row) for row in await connection.execute(statement)]


async def since(
    connection: AsyncConnection, document_ids: Sequence[UUID], moment: datetime
) -> list[DocumentEvent]:
    """List what became of documents after a moment, earliest first."""
    statement = (
        select(*document_events.c)
        .where(document_events.c.document_id == func.any(list(document_ids)))
        .where(document_events.c.created_at > moment)
        .order_by(document_events.c.id)
    )
    return [_event(row) for row in await connection.execute(statement)]


def _event(row: Row[tuple[object, ...]]) -> DocumentEvent:
    return DocumentEvent(
        document_id=row.document_id,
        uri=row.uri,
        title=row.title,
        event=row.event,
        chunks=row.chunks,
        run_id=row.run_id,
        at=row.created_at,
    )
