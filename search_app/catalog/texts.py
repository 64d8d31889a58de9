"""The whole texts of documents, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.types import Collection


@dataclass(frozen=True, kw_only=True)
class DocumentText:
    """A document that can be found, with all of its text."""

    uri: str
    title: str
    text: str


_AFTER = text("""
    WITH page AS (
        SELECT id, uri, title FROM documents
        WHERE collection_id = :collection_id AND state = 'indexed' AND uri > :after
        ORDER BY uri LIMIT :most
    )
    SELECT page.uri, page.title, coalesce(string_agg(chunks.text, '' ORDER BY ordinal), '') AS text
    FROM page LEFT JOIN chunks ON chunks.document_id = page.id AND chunks.state = 'live'
        AND chunks.chunking = :chunking
    GROUP BY page.uri, page.title ORDER BY page.uri
""")


async def texts_after(
    connection: AsyncConnection, collection: Collection, chunking: str, after: str, *, most: int
) -> Sequence[DocumentText]:
    """Get the next documents in the order of their uris; an empty list means the end."""
    rows = await connection.execute(
        _AFTER,
        {"collection_id": collection.id, "chunking": chunking, "after": after, "most": most},
    )
    return [DocumentText(**row) for row in rows.mappings()]
