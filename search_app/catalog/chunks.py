"""Chunks: passages of documents, the only place where text lives.

A chunk is ``pending`` until its document is complete, then ``live``, and ``deleting`` while its
vectors are being removed. Only live chunks are ever shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.bulk import from_rows, insert_rows, rows_bound
from search_app.catalog.tables import chunks, documents, sources, vector_records
from search_app.types import JSON, CodePlace, Collection, DocumentRef


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A live chunk with the document it stands in.

    The texts of a document's chunks, in the order of their ordinals, make up its whole text.
    """

    chunk_id: UUID
    document: DocumentRef
    text: str
    heading_path: Sequence[str]
    page: int | None
    ordinal: int
    code: CodePlace | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a chunk stands in its document: order, character span, page (from 1).

    White space around its text, and headings beyond those that are embedded with it, are not
    part of a chunk's identity and may change with its place.
    """

    chunk_id: UUID
    ordinal: int
    char_start: int
    char_end: int
    page: int | None
    text: str
    heading_path: Sequence[str]
    tokens: int
    code: CodePlace | None = None
    fields: Mapping[str, JSON] | None = None


FIELDS: ColumnElement[JSON] = (
    documents.c.fields.op("||", return_type=JSONB())(
        func.coalesce(chunks.c.fields, literal_column("'{}'::jsonb"))
    )
).label("fields")
"""What a chunk can be filtered by: as ``filters.passage_fields`` has it."""


def code_json(code: CodePlace | None) -> JSON:
    """Give where a chunk of source code stands, as the catalog keeps it."""
    if code is None:
        return None
    return [code.first_line, code.last_line, [list(symbol) for symbol in code.symbols]]


def read_code(kept: JSON) -> CodePlace | None:
    """Read what ``code_json`` gave."""
    if kept is None:
        return None
    first, last, symbols = kept
    return CodePlace(
        first_line=first,
        last_line=last,
        symbols=tuple((name, kind) for name, kind in symbols),
    )


def _passage(row: Any) -> Passage:
    return Passage(
        chunk_id=row.chunk_id,
        document=DocumentRef(
            id=row.document_id,
            uri=row.uri,
            source=row.source,
            title=row.title,
            language=row.language,
            media_type=row.media_type,
        ),
        text=row.text,
        heading_path=row.heading_path,
        page=row.page,
        ordinal=row.ordinal,
        code=read_code(row.code),
    )


_PASSAGES = (
    select(
        chunks.c.id.label("chunk_id"),
        chunks.c.text,
        chunks.c.heading_path,
        chunks.c.page,
        chunks.c.ordinal,
        chunks.c.code,
        documents.c.id.label("document_id"),
        documents.c.uri,
        documents.c.title,
        documents.c.language,
        documents.c.media_type,
        sources.c.uri.label("source"),
    )
    .join(documents, documents.c.id == chunks.c.document_id)
    .join(sources, sources.c.id == documents.c.source_id)
    .where(chunks.c.state == "live")
    .where(documents.c.state == "indexed")
)


async def passages(connection: AsyncConnection, chunk_ids: Sequence[UUID]) -> dict[UUID, Passage]:
    """Load live chunks by id; those that are not live are left out."""
    statement = _PASSAGES.where(chunks.c.id == func.any(list(chunk_ids)))
    return {row.chunk_id: _passage(row) for row in await connection.execute(statement)}


async def of_document(
    connection: AsyncConnection,
    document_id: UUID,
    chunking: str,
    *,
    first_ordinal: int = 0,
    limit: int = 200,
) -> list[Passage]:
    """List a document's chunks in reading order, from an ordinal on."""
    statement = (
        _PASSAGES.where(chunks.c.document_id == document_id)
        .where(chunks.c.chunking == chunking)
        .where(chunks.c.ordinal >= first_ordinal)
        .order_by(chunks.c.ordinal)
        .limit(limit)
    )
    return [_passage(row) for row in await connection.execute(statement)]


async def count_of_document(connection: AsyncConnection, document_id: UUID, chunking: str) -> int:
    """Count a document's live chunks."""
    statement = (
        select(func.count())
        .select_from(chunks)
        .where(chunks.c.document_id == document_id)
        .where(chunks.c.chunking == chunking)
        .where(chunks.c.state == "live")
    )
    return (await connection.scalar(statement)) or 0


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What an index has a vector of: context and text of a chunk."""

    chunk_id: UUID
    context: str
    text: str


def indexed_text(context: str, text: str) -> str:
    """Compose what is embedded for a chunk, before the model's own prefix."""
    body = text.strip()
    return f"{context}\n\n{body}" if context else body


_RECORDED = select(chunks.c.id, chunks.c.context, chunks.c.text).join(
    vector_records, vector_records.c.chunk_id == chunks.c.id
)


async def recorded_after(
    connection: AsyncConnection, index_id: UUID, after: UUID | None, *, limit: int
) -> list[Recorded]:
    """List the next chunks that have a vector in an index, in the order of their ids."""
    statement = (
        _RECORDED.where(vector_records.c.index_id == index_id)
        .order_by(vector_records.c.chunk_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(vector_records.c.chunk_id > after)
    return [_recorded(row) for row in await connection.execute(statement)]


async def recorded(
    connection: AsyncConnection, index_id: UUID, chunk_ids: Sequence[UUID]
) -> list[Recorded]:
    """Load those of the chunks that have a vector in an index."""
    statement = _RECORDED.where(vector_records.c.index_id == index_id).where(
        vector_records.c.chunk_id == func.any(list(chunk_ids))
    )
    return [_recorded(row) for row in await connection.execute(statement)]


async def indexes_of(connection: AsyncConnection, chunk_ids: Sequence[UUID]) -> list[UUID]:
    """Name the indexes that have a vector of any of the chunks."""
    statement = (
        select(vector_records.c.index_id)
        .where(vector_records.c.chunk_id == func.any(list(chunk_ids)))
        .distinct()
    )
    return list(await connection.scalars(statement))


def _recorded(row: Any) -> Recorded:
    return Recorded(chunk_id=row.id, context=row.context, text=row.text)


async def ids_by_document(
    connection: AsyncConnection, document_ids: Sequence[UUID]
) -> dict[UUID, set[UUID]]:
    """Give the ids of all chunks of the documents, whatever their state or chunking."""
    statement = select(chunks.c.document_id, chunks.c.id).where(
        chunks.c.document_id == func.any(list(document_ids))
    )
    found: dict[UUID, set[UUID]] = {}
    for row in await connection.execute(statement):
        found.setdefault(row.document_id, set()).add(row.id)
    return found


async def fields_of(
    connection: AsyncConnection, document_ids: Sequence[UUID], chunking: str
) -> dict[UUID, Mapping[str, JSON]]:
    """Give what passages of documents can be filtered by, for those of a chunking."""
    statement = (
        select(chunks.c.id, FIELDS)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(chunks.c.document_id == func.any(list(document_ids)))
        .where(chunks.c.chunking == chunking)
    )
    return {row.id: row.fields for row in await connection.execute(statement)}


async def put_pending(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert chunks as pending; a chunk that is there stays as it is.

    A row has every column of the table but ``state``.
    """
    await insert_rows(
        connection,
        chunks,
        [{**row, "state": "pending"} for row in rows],
        "(id) DO NOTHING",
    )


_PLACED = (
    *("id", "ordinal", "char_start", "char_end", "page", "text", "heading_path", "tokens"),
    *("code", "fields"),
)
_MAKE_LIVE = from_rows(
    """
    UPDATE chunks SET state = 'live', ordinal = given.ordinal, char_start = given.char_start,
        char_end = given.char_end, page = given.page, text = given.text,
        heading_path = given.heading_path, tokens = given.tokens, code = given.code,
        fields = given.fields
    FROM :given
    WHERE chunks.id = given.id
        -- Most chunks of a document that changed in one place stay as they are.
        AND (chunks.state, chunks.ordinal, chunks.char_start, chunks.char_end, chunks.page,
             chunks.text, chunks.heading_path, chunks.code, chunks.fields)
            IS DISTINCT FROM
            ('live', given.ordinal, given.char_start, given.char_end, given.page,
             given.text, given.heading_path, given.code, given.fields)
    """,
    chunks,
    _PLACED,
)


async def make_live(connection: AsyncConnection, places: Sequence[Place]) -> None:
    """Show chunks, at their places in the new form of their document."""
    if places:
        rows = [
            {
                "id": place.chunk_id,
                "ordinal": place.ordinal,
                "char_start": place.char_start,
                "char_end": place.char_end,
                "page": place.page,
                "text": place.text,
                "heading_path": place.heading_path,
                "tokens": place.tokens,
                "code": code_json(place.code),
                "fields": place.fields,
            }
            for place in places
        ]
        await connection.execute(_MAKE_LIVE, rows_bound(rows))


async def begin_deleting(connection: AsyncConnection, chunk_ids: Sequence[UUID]) -> None:
    """Hide chunks; their rows go once their vectors are gone."""
    if chunk_ids:
        await connection.execute(
            update(chunks).where(chunks.c.id == func.any(list(chunk_ids))).values(state="deleting")
        )


async def of_documents(
    connection: AsyncConnection, document_ids: Sequence[UUID], limit: int
) -> list[UUID]:
    """List chunks of documents, whatever their state or chunking."""
    statement = (
        select(chunks.c.id).where(chunks.c.document_id == func.any(list(document_ids))).limit(limit)
    )
    return list(await connection.scalars(statement))


async def pending_of_documents(
    connection: AsyncConnection, document_ids: Sequence[UUID], limit: int
) -> list[UUID]:
    """List chunks of documents that were never shown."""
    statement = (
        select(chunks.c.id)
        .where(chunks.c.document_id == func.any(list(document_ids)))
        .where(chunks.c.state == "pending")
        .limit(limit)
    )
    return list(await connection.scalars(statement))


async def deleting(connection: AsyncConnection, collection: Collection, limit: int) -> list[UUID]:
    """List chunks whose removal was begun and not finished."""
    statement = (
        select(chunks.c.id)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(documents.c.collection_id == collection.id)
        .where(chunks.c.state == "deleting")
        .limit(limit)
    )
    return list(await connection.scalars(statement))


async def delete_rows(connection: AsyncConnection, chunk_ids: Sequence[UUID]) -> None:
    """Remove chunks with their vector records; the vectors must be gone."""
    if chunk_ids:
        await connection.execute(delete(chunks).where(chunks.c.id == func.any(list(chunk_ids))))
