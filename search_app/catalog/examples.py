"""Passages and documents that serve as examples of what is wanted, and where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import chunks, collections, documents, sources
from search_app.types import DocumentRef


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A passage, the document and the collection that it is of, and whether it is shown."""

    chunk_id: UUID
    document: DocumentRef
    collection: str
    chunking: str
    shown: bool


_STANDING = (
    select(
        chunks.c.id.label("chunk_id"),
        chunks.c.chunking,
        ((chunks.c.state == "live") & (documents.c.state == "indexed")).label("shown"),
        documents.c.id,
        documents.c.uri,
        documents.c.title,
        documents.c.language,
        documents.c.media_type,
        sources.c.uri.label("source"),
        collections.c.name.label("collection"),
    )
    .join(documents, documents.c.id == chunks.c.document_id)
    .join(sources, sources.c.id == documents.c.source_id)
    .join(collections, collections.c.id == documents.c.collection_id)
    .order_by(chunks.c.document_id, chunks.c.ordinal, chunks.c.id)
)


async def standing(
    connection: AsyncConnection, chunk_ids: Sequence[UUID], document_ids: Sequence[UUID]
) -> list[Standing]:
    """Find passages by their ids, and all passages of documents, in reading order."""
    wanted = []
    if chunk_ids:
        wanted.append(chunks.c.id == func.any(list(chunk_ids)))
    if document_ids:
        wanted.append(chunks.c.document_id == func.any(list(document_ids)))
    if not wanted:
        return []
    return [
        Standing(
            chunk_id=row.chunk_id,
            document=DocumentRef(
                id=row.id,
                uri=row.uri,
                source=row.source,
                title=row.title,
                language=row.language,
                media_type=row.media_type,
            ),
            collection=row.collection,
            chunking=row.chunking,
            shown=row.shown,
        )
        for row in await connection.execute(_STANDING.where(or_(*wanted)))
    ]
