"""What a check draws and groups from the records of an index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A passage with what is recorded of its vector."""

    chunk_id: UUID
    document_id: UUID
    title: str
    context: str
    text: str
    tokens: int
    run_id: UUID
    sent_hash: bytes
    stored_hash: bytes
    batch_size: int
    batch_position: int
    created_at: datetime
    pieces: int = 1


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Passages with different texts whose vectors are equal to the bit."""

    chunk_ids: Sequence[UUID]


# Strata are runs and lengths; of each the first by a hash that the seed decides, then the second.
_DRAW = text("""
    SELECT chunk_id FROM (
        SELECT r.chunk_id, md5(r.chunk_id::text || :seed) AS lot, row_number() OVER (
            PARTITION BY r.run_id, width_bucket(c.tokens, 0, 600, 3)
            ORDER BY md5(r.chunk_id::text || :seed)
        ) AS turn
        FROM vector_records r JOIN chunks c ON c.id = r.chunk_id
        WHERE r.index_id = :index_id AND c.state = 'live'
    ) AS lots
    ORDER BY turn, lot LIMIT :most
""")
_BY_IDS = text("""
    SELECT r.chunk_id, c.document_id, d.title, c.context, c.text, c.tokens, r.run_id, r.sent_hash,
           r.stored_hash, r.batch_size, r.batch_position, r.created_at, r.pieces
    FROM vector_records r
    JOIN chunks c ON c.id = r.chunk_id
    JOIN documents d ON d.id = c.document_id
    WHERE r.index_id = :index_id AND r.chunk_id = ANY(:ids) ORDER BY r.chunk_id
""")
_SHARED = text("""
    SELECT array_agg(chunk_id ORDER BY chunk_id) AS chunk_ids
    FROM vector_records WHERE index_id = :index_id
    GROUP BY stored_hash HAVING count(DISTINCT sent_hash) > 1
    ORDER BY min(chunk_id::text) LIMIT :most
""")

_HASHES = text(
    "SELECT chunk_id, sent_hash FROM vector_records "
    "WHERE index_id = :index_id AND chunk_id = ANY(:ids)"
)


async def sent_hashes(
    connection: AsyncConnection, index_id: UUID, chunk_ids: Sequence[UUID]
) -> dict[UUID, bytes]:
    """Give the hashes of the texts that were sent for passages."""
    rows = await connection.execute(_HASHES, {"index_id": index_id, "ids": list(chunk_ids)})
    return {row.chunk_id: row.sent_hash for row in rows}


async def draw(connection: AsyncConnection, index_id: UUID, *, seed: int, most: int) -> list[Drawn]:
    """Draw passages that can be found, spread over runs and lengths."""
    given = {"index_id": index_id, "seed": str(seed), "most": most}
    return await drawn(connection, index_id, list(await connection.scalars(_DRAW, given)))


async def drawn(
    connection: AsyncConnection, index_id: UUID, chunk_ids: Sequence[UUID]
) -> list[Drawn]:
    """Load passages with what is recorded of their vectors, in the order of their ids."""
    rows = await connection.execute(_BY_IDS, {"index_id": index_id, "ids": list(chunk_ids)})
    return [Drawn(**row) for row in rows.mappings()]


async def shared_vectors(
    connection: AsyncConnection, index_id: UUID, *, most: int = 1000
) -> list[Shared]:
    """List groups of passages that share a vector though other texts were sent for them."""
    rows = await connection.execute(_SHARED, {"index_id": index_id, "most": most})
    return [Shared(chunk_ids=row.chunk_ids) for row in rows]
