"""Passages and documents that serve as examples of what is wanted, and where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, or_, select
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
_AMONG = chunks.c.id == any_(bindparam("chunk_ids", type_=ARRAY(Uuid)))
_OF_DOCUMENTS = chunks.c.document_id == any_(bindparam("document_ids", type_=ARRAY(Uuid)))
# Built once: building one takes longer than running it.
_PASSAGES = _STANDING.where(_AMONG)
_BOTH = _STANDING.where(or_(_AMONG, _OF_DOCUMENTS))


async def standing(
    connection: AsyncConnection, chunk_ids: Sequence[UUID], document_ids: Sequence[UUID]
) -> list[Standing]:
    """Find passages by their ids, and all passages of documents, in reading order."""
    if not chunk_ids and not document_ids:
        return []
    given: dict[str, Sequence[UUID]] = {"chunk_ids": list(chunk_ids)}
    if document_ids:
        given["document_ids"] = list(document_ids)
    statement = _BOTH if document_ids else _PASSAGES
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
        for row in await connection.execute(statement, given)
    ]
