"""Documents: what was read from the sources, and what can be filtered by.

A document is ``pending`` until its first chunks have vectors, then ``indexed``, and ``deleting``
while its vectors are being removed. A changed document stays ``indexed`` in its old form until
the new one is complete.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import removed
from search_app.catalog.bulk import from_rows, insert_rows, rows_bound
from search_app.catalog.tables import collections, documents, sources
from search_app.errors import NotFoundError
from search_app.types import JSON, Collection


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document as a page shows it. ``fields`` has the shape described in filters.py.

    ``note`` says what of source code could not be told, empty where there is nothing to say.
    """

    id: UUID
    collection: str
    uri: str
    source: str
    title: str
    language: str
    media_type: str
    fields: Mapping[str, JSON]
    state: str
    run_id: UUID | None
    created_at: datetime
    updated_at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class KnownDocument:
    """As much of a document as decides whether it must be written again."""

    id: UUID
    source_id: UUID
    uri: str
    content_hash: bytes | None
    fields: Mapping[str, JSON]
    state: str
    seen_run_id: UUID | None = None


def _select() -> Select[Any]:
    return (
        select(
            # An outline may be long, and is only for cutting.
            *(column for column in documents.c if column is not documents.c.layout),
            documents.c.layout["outline"]["note"].astext.label("note"),
            collections.c.name.label("collection"),
            sources.c.uri.label("source"),
        )
        .join(collections, collections.c.id == documents.c.collection_id)
        .join(sources, sources.c.id == documents.c.source_id)
    )


def _document(row: Row[Any]) -> Document:
    return Document(
        id=row.id,
        collection=row.collection,
        uri=row.uri,
        source=row.source,
        title=row.title,
        language=row.language,
        media_type=row.media_type,
        fields=row.fields,
        state=row.state,
        run_id=row.run_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        note=row.note or "",
    )


async def get(connection: AsyncConnection, document_id: UUID) -> Document:
    """Get a document by id.

    Raises:
        NotFoundError: there is none.
    """
    row = (await connection.execute(_select().where(documents.c.id == document_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"no document {document_id}; it may have been removed")
    return _document(row)


async def count(connection: AsyncConnection, collection: Collection) -> int:
    """Count the documents that can be found."""
    statement = (
        select(func.count())
        .select_from(documents)
        .where(documents.c.collection_id == collection.id)
        .where(documents.c.state == "indexed")
    )
    return (await connection.scalar(statement)) or 0


async def known(
    connection: AsyncConnection, collection: Collection, uris: Sequence[str]
) -> dict[str, KnownDocument]:
    """Look documents up by uri; one whose latest form is not complete has no content hash."""
    statement = (
        select(
            documents.c.id,
            documents.c.source_id,
            documents.c.uri,
            documents.c.content_hash,
            documents.c.fields,
            documents.c.state,
            documents.c.seen_run_id,
        )
        .where(documents.c.collection_id == collection.id)
        .where(documents.c.uri == func.any(list(uris)))
    )
    rows = (await connection.execute(statement)).mappings()
    return {row["uri"]: KnownDocument(**row) for row in rows}


async def put_pending(
    connection: AsyncConnection, collection: Collection, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert documents that are new, as pending; those already there only get the run's mark.

    One that belongs to another source stays as it is, see ``owners``. A row has id, source_id,
    uri, title, language, media_type, fields, layout, run_id.
    """
    await insert_rows(
        connection,
        documents,
        [
            {
                **row,
                "collection_id": collection.id,
                "state": "pending",
                # Known only once the document is complete, so that a crash before is noticed.
                "content_hash": None,
                "seen_run_id": row["run_id"],
            }
            for row in rows
        ],
        "(collection_id, uri) DO UPDATE SET seen_run_id = excluded.seen_run_id, "
        # Until the new form is complete the old one counts as unknown: should this be cut short
        # and the source go back to its old form, what was begun must still be cleared away.
        "content_hash = NULL WHERE documents.source_id = excluded.source_id",
    )


async def owners(connection: AsyncConnection, document_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Say which source each of the documents belongs to."""
    statement = select(documents.c.id, documents.c.source_id).where(
        documents.c.id == func.any(list(document_ids))
    )
    return {row.id: row.source_id for row in await connection.execute(statement)}


async def mark_seen(
    connection: AsyncConnection, run_id: UUID, document_ids: Sequence[UUID]
) -> None:
    """Note that the run met these documents in their source."""
    if document_ids:
        await connection.execute(
            update(documents)
            .where(documents.c.id == func.any(list(document_ids)))
            .values(seen_run_id=run_id)
        )


_COMPLETED = (
    "id",
    "title",
    "language",
    "media_type",
    "fields",
    "content_hash",
    "layout",
    "run_id",
)
_COMPLETE = from_rows(
    """
    UPDATE documents SET title = given.title, language = given.language, fields = given.fields,
        media_type = given.media_type, content_hash = given.content_hash, layout = given.layout,
        run_id = given.run_id, state = 'indexed', updated_at = now()
    FROM :given
    WHERE documents.id = given.id
    """,
    documents,
    _COMPLETED,
)


async def complete(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Give documents their new form, now that all their vectors are in.

    A row has id, title, language, media_type, fields, content_hash, layout, run_id.
    """
    if rows:
        given = [{name: row[name] for name in _COMPLETED} for row in rows]
        await connection.execute(_COMPLETE, rows_bound(given))


async def unseen_of_sources(
    connection: AsyncConnection, source_ids: Sequence[UUID], run_id: UUID, limit: int
) -> list[UUID]:
    """List documents of sources that the run, having read the sources whole, did not meet."""
    statement = (
        select(documents.c.id)
        .where(documents.c.source_id == func.any(list(source_ids)))
        .where(documents.c.seen_run_id.is_distinct_from(run_id))
        .limit(limit)
    )
    return list(await connection.scalars(statement))


async def of_source(connection: AsyncConnection, source_id: UUID, limit: int) -> list[UUID]:
    """List documents of a source."""
    statement = select(documents.c.id).where(documents.c.source_id == source_id).limit(limit)
    return list(await connection.scalars(statement))


async def begin_deleting(connection: AsyncConnection, document_ids: Sequence[UUID]) -> None:
    """Take documents out of every list and all that is kept of them; their rows go later.

    That is once their vectors are gone.
    """
    await connection.execute(
        update(documents)
        .where(documents.c.id == func.any(list(document_ids)))
        .values(state="deleting")
    )
    await removed.everywhere(connection, document_ids)


async def deleting(connection: AsyncConnection, collection: Collection, limit: int) -> list[UUID]:
    """List documents whose removal was begun and not finished."""
    statement = (
        select(documents.c.id)
        .where(documents.c.collection_id == collection.id)
        .where(documents.c.state == "deleting")
        .limit(limit)
    )
    return list(await connection.scalars(statement))


async def delete_rows(connection: AsyncConnection, document_ids: Sequence[UUID]) -> None:
    """Remove documents with their chunks and vector records; the vectors must be gone."""
    await connection.execute(
        delete(documents).where(documents.c.id == func.any(list(document_ids)))
    )
