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


_NAMED = text("""
    SELECT DISTINCT named.name FROM (
        SELECT documents.uri AS name FROM documents
        WHERE collection_id = :collection_id AND state = 'indexed'
            AND uri = ANY(CAST(:names AS text[]))
        UNION ALL
        SELECT substr(documents.uri, length(sources.uri) + 2) FROM documents
        JOIN sources ON sources.id = documents.source_id
        WHERE documents.collection_id = :collection_id AND documents.state = 'indexed'
            AND starts_with(documents.uri, sources.uri || '#')
            AND substr(documents.uri, length(sources.uri) + 2) = ANY(CAST(:names AS text[]))
    ) AS named
""")


async def named(
    connection: AsyncConnection, collection: Collection, names: Sequence[str]
) -> set[str]:
    """Say which of the names are uris of documents, or ids of the records that they were."""
    found = await connection.scalars(_NAMED, {"collection_id": collection.id, "names": list(names)})
    return set(found)
