"""What the catalog says an index must hold, read for whoever compares it with what a store holds.

Pages go through the driver in binary form: of very many rows only bytes are compared.
"""

from collections.abc import Collection as Several
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.types import JSON, Index


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """Records of an index as columns, in the order of their chunks.

    Place i of each is one record: ``chunk_ids`` 16 bytes; ``owners`` the 64 bytes of the ids of
    document, index, model version and run; ``fields`` the filter fields, as JSON; ``digests`` the
    hash of what was handed to the store; ``shown`` whether chunk and document can be found.
    """

    chunk_ids: Sequence[bytes]
    owners: Sequence[bytes]
    fields: Sequence[str]
    digests: Sequence[bytes]
    shown: Sequence[bool]


@dataclass(frozen=True, kw_only=True)
class AuditedChunk:
    """What the catalog knows of a chunk, and of its vector in one index.

    ``changing`` says that a newer form of its document is on its way in. ``stored_hash`` and
    ``owners`` (as of ``Recorded``) are None where the index has no record of it.
    """

    id: UUID
    collection_id: UUID
    chunking: str
    state: str
    document_state: str
    changing: bool
    fields: Mapping[str, JSON]
    stored_hash: bytes | None
    owners: bytes | None


@dataclass(frozen=True, kw_only=True)
class Restorable:
    """A chunk with all that a vector of it is made from or proved by; hashes are of its record.

    ``run_id`` embedded it. Without a record, hashes and run are None.
    """

    id: UUID
    document_id: UUID
    chunking: str
    ordinal: int
    text: str
    context: str
    text_hash: bytes
    char_start: int
    char_end: int
    heading_path: Sequence[str]
    page: int | None
    tokens: int
    fields: Mapping[str, JSON]
    sent_hash: bytes | None
    stored_hash: bytes | None
    run_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A place where a vector with the same bytes was stored."""

    index_id: UUID
    store: str
    chunk_id: UUID
    stored_hash: bytes


# The limit comes first: else a plan may read all chunks before those of the page, again and again.
_RECORDED = """
    SELECT uuid_send(r.chunk_id), uuid_send(c.document_id) || %(middle)s || uuid_send(r.run_id),
           (d.fields || coalesce(c.fields, '{}'))::text, r.stored_hash,
           c.state = 'live' AND d.state = 'indexed'
    FROM (
        SELECT chunk_id, run_id, stored_hash FROM vector_records
        WHERE index_id = %(index_id)s AND chunk_id > %(after)s
        ORDER BY chunk_id LIMIT %(limit)s
    ) r
    JOIN chunks c ON c.id = r.chunk_id
    JOIN documents d ON d.id = c.document_id
    ORDER BY r.chunk_id
"""
_BEFORE_ALL = UUID(int=0)


async def recorded_after(
    connection: AsyncConnection, index: Index, after: UUID | None, *, limit: int
) -> Recorded:
    """Read the next records of an index, in the order of their chunks' bytes."""
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise TypeError(f"the catalog needs an engine on psycopg 3, not {type(driver)}")
    given = {
        "index_id": index.id,
        "middle": index.id.bytes + index.model_version_id.bytes,
        "after": after or _BEFORE_ALL,
        "limit": limit,
    }
    cursor = driver.cursor(binary=True)
    rows = await (await cursor.execute(_RECORDED, given)).fetchall()
    columns = zip(*rows, strict=True) if rows else ((),) * 5
    chunk_ids, owners, fields, digests, shown = columns
    return Recorded(chunk_ids=chunk_ids, owners=owners, fields=fields, digests=digests, shown=shown)


_CHUNKS = text("""
    SELECT c.id, d.collection_id, c.chunking, c.state, d.state AS document_state,
           d.content_hash IS NULL AS changing,
           d.fields || coalesce(c.fields, '{}') AS fields, r.stored_hash,
           uuid_send(c.document_id) || uuid_send(r.index_id) || uuid_send(i.model_version_id)
               || uuid_send(r.run_id) AS owners
    FROM chunks c
    JOIN documents d ON d.id = c.document_id
    JOIN indexes i ON i.id = :index_id
    LEFT JOIN vector_records r ON r.chunk_id = c.id AND r.index_id = i.id
    WHERE c.id = ANY(:ids)
""")


async def chunks_with_records(
    connection: AsyncConnection, index_id: UUID, chunk_ids: Several[UUID]
) -> dict[UUID, AuditedChunk]:
    """Look chunks up, whatever their state; those that the catalog does not know are left out."""
    rows = await connection.execute(_CHUNKS, {"index_id": index_id, "ids": list(chunk_ids)})
    return {row["id"]: AuditedChunk(**row) for row in rows.mappings()}


_RESTORABLE = text("""
    SELECT c.id, c.document_id, c.chunking, c.ordinal, c.text, c.context, c.text_hash,
           c.char_start, c.char_end, c.heading_path, c.page, c.tokens,
           d.fields || coalesce(c.fields, '{}') AS fields,
           r.sent_hash, r.stored_hash, r.run_id
    FROM chunks c
    JOIN documents d ON d.id = c.document_id
    LEFT JOIN vector_records r ON r.chunk_id = c.id AND r.index_id = :index_id
    WHERE c.id = ANY(:ids)
    ORDER BY c.id
""")


async def restorable(
    connection: AsyncConnection, index_id: UUID, chunk_ids: Several[UUID]
) -> list[Restorable]:
    """Load chunks with what their vectors in an index are made from and proved by."""
    rows = await connection.execute(_RESTORABLE, {"index_id": index_id, "ids": list(chunk_ids)})
    return [Restorable(**row) for row in rows.mappings()]


_HOLDERS = text("""
    SELECT r.index_id, i.store, r.chunk_id, r.stored_hash
    FROM vector_records r
    JOIN indexes i ON i.id = r.index_id
    JOIN chunks c ON c.id = r.chunk_id
    WHERE r.sent_hash = ANY(:sent) AND r.stored_hash = ANY(:stored)
        AND i.state <> 'retired' AND c.state <> 'deleting'
    ORDER BY r.stored_hash, r.index_id, r.chunk_id
""")


async def holders(
    connection: AsyncConnection, sent: Sequence[bytes], stored: Sequence[bytes]
) -> list[Holder]:
    """Find where vectors with these bytes, made of these texts, were stored, in any index."""
    rows = await connection.execute(_HOLDERS, {"sent": list(sent), "stored": list(stored)})
    return [Holder(**row) for row in rows.mappings()]


_UNRECORDED = text("""
    SELECT c.id
    FROM chunks c
    JOIN documents d ON d.id = c.document_id
    WHERE d.collection_id = :collection_id AND c.chunking = :chunking AND c.state = 'live'
        AND d.state = 'indexed'
        AND NOT EXISTS (SELECT FROM vector_records r
                        WHERE r.chunk_id = c.id AND r.index_id = :index_id)
        AND c.id > :after
    ORDER BY c.id LIMIT :limit
""")
_RECORDS = text("SELECT count(*) FROM vector_records WHERE index_id = :index_id")


async def unrecorded_after(
    connection: AsyncConnection, index: Index, after: UUID | None, *, limit: int
) -> list[UUID]:
    """List the next chunks that can be found and have no vector in the index, by their ids."""
    given = {
        "collection_id": index.collection_id,
        "chunking": index.chunking.name,
        "index_id": index.id,
        "after": after or _BEFORE_ALL,
        "limit": limit,
    }
    return list(await connection.scalars(_UNRECORDED, given))


async def number_of_records(connection: AsyncConnection, index_id: UUID) -> int:
    """Count the records of an index."""
    return int((await connection.execute(_RECORDS, {"index_id": index_id})).scalar_one())
