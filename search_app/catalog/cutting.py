"""Documents that an index has no chunks of yet, and the texts that they are cut from anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.bulk import insert_rows
from search_app.catalog.tables import chunks
from search_app.types import JSON, Chunking, Index


@dataclass(frozen=True, kw_only=True)
class StoredDocument:
    """A document as the catalog has it.

    ``text`` is made of its chunks in one chunking; ``layout`` is what it was cut by besides, None
    where that was not kept. Without a ``content_hash`` a newer form of it is on its way in.
    """

    id: UUID
    uri: str
    source: str
    title: str
    language: str
    media_type: str
    fields: Mapping[str, JSON]
    content_hash: bytes | None
    layout: Mapping[str, JSON] | None
    text: str


_UNCUT = text("""
    WITH page AS (
        SELECT id, source_id, uri, title, language, media_type, fields, content_hash, layout
        FROM documents
        WHERE collection_id = :collection_id AND state = 'indexed' AND uri > :after
            AND NOT EXISTS (
                SELECT FROM chunks WHERE chunks.document_id = documents.id
                AND chunks.chunking = :wanted AND chunks.state = 'live'
            )
        ORDER BY uri LIMIT :most
    ), texts AS (
        SELECT document_id, string_agg(chunks.text, '' ORDER BY ordinal) AS text
        FROM chunks WHERE document_id = ANY(SELECT id FROM page) AND state = 'live'
            AND chunking = :known
        GROUP BY document_id
    )
    SELECT page.id, page.uri, sources.uri AS source, title, language, media_type, fields,
        page.content_hash, layout, coalesce(texts.text, '') AS text
    FROM page JOIN sources ON sources.id = page.source_id
    LEFT JOIN texts ON texts.document_id = page.id
    ORDER BY page.uri
""")


async def uncut_after(
    connection: AsyncConnection, index: Index, known: Chunking, after: str, *, most: int
) -> list[StoredDocument]:
    """Get the next documents that have no chunk as the index wants it, in the order of their uris.

    Their texts are put together from their chunks in the chunking ``known``.
    """
    rows = await connection.execute(
        _UNCUT,
        {
            "collection_id": index.collection_id,
            "wanted": index.chunking.name,
            "known": known.name,
            "after": after,
            "most": most,
        },
    )
    return [StoredDocument(**row) for row in rows.mappings()]


async def put_live(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert chunks of documents that are shown already; a row has every column but ``state``."""
    await insert_rows(
        connection, chunks, [{**row, "state": "live"} for row in rows], "(id) DO NOTHING"
    )


_REHASH = text("""
    UPDATE documents SET content_hash = new.content_hash
    FROM unnest(CAST(:ids AS uuid[]), CAST(:old AS bytea[]), CAST(:new AS bytea[]))
        AS new (id, old_hash, content_hash)
    WHERE documents.id = new.id AND documents.state = 'indexed'
        AND documents.content_hash = new.old_hash
    RETURNING documents.id
""")


async def rehash(
    connection: AsyncConnection, hashes: Mapping[UUID, tuple[bytes, bytes]]
) -> set[UUID]:
    """Give documents that are as they were, old hash first, their new hash; say which ones are."""
    rows = await connection.execute(
        _REHASH,
        {
            "ids": list(hashes),
            "old": [old for old, _ in hashes.values()],
            "new": [new for _, new in hashes.values()],
        },
    )
    return set(rows.scalars())
