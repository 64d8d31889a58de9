"""Freeing what the catalog keeps for an index that is retired: records, counts, chunks."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import lexicons
from search_app.catalog.tables import chunks, documents, indexes, vector_records
from search_app.types import Index, IndexState


async def delete_some(connection: AsyncConnection, index: Index, most: int) -> bool:
    """Delete records of an index, then chunks that no index has use for; say if there were any.

    The caller holds the collection's lock; the vectors are gone.
    """
    some = (
        select(vector_records.c.chunk_id)
        .where(vector_records.c.index_id == index.id)
        .order_by(vector_records.c.chunk_id)
        .limit(most)
        .scalar_subquery()
    )
    gone = await connection.execute(
        delete(vector_records)
        .where(vector_records.c.index_id == index.id)
        .where(vector_records.c.chunk_id.in_(some))
    )
    if gone.rowcount:
        return True
    await lexicons.drop(connection, index.id)
    return await _delete_chunks(connection, index, most)


async def _delete_chunks(connection: AsyncConnection, index: Index, most: int) -> bool:
    """Delete chunks that were cut for the index alone."""
    rows = await connection.execute(
        select(indexes.c.id)
        .where(indexes.c.collection_id == index.collection_id)
        .where(indexes.c.state != IndexState.RETIRED.value)
        .where(indexes.c.chunking["tokenizer"].astext == index.chunking.tokenizer)
        .where(indexes.c.chunking["max_tokens"].as_integer() == index.chunking.max_tokens)
        .where(indexes.c.chunking["version"].as_integer() == index.chunking.version)
        .limit(1)
    )
    if rows.first() is not None:
        return False
    some = (
        select(chunks.c.id)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(documents.c.collection_id == index.collection_id)
        .where(chunks.c.chunking == index.chunking.name)
        .limit(most)
        .scalar_subquery()
    )
    gone = await connection.execute(delete(chunks).where(chunks.c.id.in_(some)))
    return gone.rowcount > 0
