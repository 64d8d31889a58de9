"""What is known of vectors, page by page, for whoever takes them elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import analyses
from search_app.types import Index


@dataclass(frozen=True, kw_only=True)
class Known:
    """A vector's passage and document, and how it came to be; hashes are SHA-256.

    ``text_hash`` is of what was embedded, heading included; ``sent_hash`` of that with the prefix
    of the model; ``vector_hash`` of the float32 bytes, little-endian. ``cluster`` and the place on
    the map are of the newest analyses that are kept of the index; what is excluded has no place.
    """

    chunk_id: UUID
    document_id: UUID
    uri: str
    title: str
    language: str
    type: str
    ordinal: int
    heading_path: Sequence[str]
    page: int | None
    code: Any
    fields: Any
    text: str
    text_hash: bytes
    sent_hash: bytes
    vector_hash: bytes
    norm: float
    run_id: UUID
    embedded_at: datetime
    cluster: int | None
    map_x: float | None
    map_y: float | None


_KNOWN = text("""
    SELECT c.id AS chunk_id, d.id AS document_id, d.uri, d.title, d.language,
           d.media_type AS type, c.ordinal, c.heading_path, c.page, c.code,
           d.fields || coalesce(c.fields, '{}') AS fields, c.text,
           c.text_hash, r.sent_hash, r.stored_hash AS vector_hash, r.norm, r.run_id,
           r.created_at AS embedded_at, m.cluster, p.x AS map_x, p.y AS map_y
    FROM vector_records r
    JOIN chunks c ON c.id = r.chunk_id
    JOIN documents d ON d.id = c.document_id
    LEFT JOIN analysis_members m ON m.analysis_id = :clusters AND m.chunk_id = c.id
    LEFT JOIN map_points p ON p.analysis_id = :map AND p.chunk_id = c.id AND NOT EXISTS (
        SELECT FROM exclusions e WHERE e.document_id = d.id
            AND (e.text_hash = ''::bytea OR e.text_hash = c.text_hash)
    )
    WHERE r.index_id = :index_id AND r.chunk_id = ANY(:ids)
        AND c.state = 'live' AND d.state = 'indexed' AND d.collection_id = :collection_id
    ORDER BY c.id
""")


async def known(
    connection: AsyncConnection,
    index: Index,
    chunk_ids: Sequence[UUID],
    *,
    clusters: UUID | None,
    map_id: UUID | None,
) -> list[Known]:
    """Say what is known of those of the passages that are shown, in the order of their ids.

    ``clusters`` and ``map_id`` are analyses, of which clusters and places are taken.
    """
    rows = await connection.execute(
        _KNOWN,
        {
            "index_id": index.id,
            "collection_id": index.collection_id,
            "ids": list(chunk_ids),
            "clusters": clusters,
            "map": map_id,
        },
    )
    return [Known(**row) for row in rows.mappings()]


_SHOWN = text("""
    SELECT r.chunk_id FROM vector_records r
    JOIN chunks c ON c.id = r.chunk_id
    JOIN documents d ON d.id = c.document_id
    WHERE r.index_id = :index_id AND c.state = 'live' AND d.state = 'indexed'
        AND d.collection_id = :collection_id
        AND (CAST(:after AS uuid) IS NULL OR r.chunk_id > CAST(:after AS uuid))
    ORDER BY r.chunk_id LIMIT :most
""")


async def shown_after(
    connection: AsyncConnection, index: Index, after: UUID | None, *, most: int
) -> list[UUID]:
    """Name the next passages that are shown and have a vector, in the order of their ids."""
    values = {"index_id": index.id, "collection_id": index.collection_id}
    rows = await connection.execute(_SHOWN, {**values, "after": after, "most": most})
    return list(rows.scalars())


async def count(connection: AsyncConnection, index: Index) -> int:
    """Count the passages that are shown and have a vector."""
    statement = text("""
        SELECT count(*) FROM vector_records r
        JOIN chunks c ON c.id = r.chunk_id
        JOIN documents d ON d.id = c.document_id
        WHERE r.index_id = :index_id AND c.state = 'live' AND d.state = 'indexed'
            AND d.collection_id = :collection_id
    """)
    values = {"index_id": index.id, "collection_id": index.collection_id}
    return int((await connection.execute(statement, values)).scalar_one())


async def newest(connection: AsyncConnection, index: Index, kind: str) -> UUID | None:
    """Name the newest analysis of a kind that is kept of an index."""
    statement = (
        select(analyses.c.id)
        .where(analyses.c.index_id == index.id, analyses.c.kind == kind)
        .order_by(analyses.c.created_at.desc(), analyses.c.id)
        .limit(1)
    )
    return (await connection.execute(statement)).scalar_one_or_none()


@dataclass(frozen=True, kw_only=True)
class Importable:
    """A passage that may be given a vector: what is embedded of it, and that hashed."""

    id: UUID
    context: str
    text: str
    text_hash: bytes


_IMPORTABLE = text("""
    SELECT c.id, c.context, c.text, c.text_hash FROM chunks c
    JOIN documents d ON d.id = c.document_id
    WHERE c.id = ANY(:ids) AND c.chunking = :chunking AND c.state = 'live'
        AND d.state = 'indexed' AND d.collection_id = :collection_id
""")


async def count_importable(connection: AsyncConnection, index: Index) -> int:
    """Count the passages that are shown, and cut as an index has them."""
    statement = text("""
        SELECT count(*) FROM chunks c JOIN documents d ON d.id = c.document_id
        WHERE c.chunking = :chunking AND c.state = 'live'
            AND d.state = 'indexed' AND d.collection_id = :collection_id
    """)
    values = {"chunking": index.chunking.name, "collection_id": index.collection_id}
    return int((await connection.execute(statement, values)).scalar_one())


async def importable(
    connection: AsyncConnection, index: Index, chunk_ids: Sequence[UUID]
) -> dict[UUID, Importable]:
    """Load those of the passages that are shown, and cut as an index has them."""
    rows = await connection.execute(
        _IMPORTABLE,
        {
            "ids": list(chunk_ids),
            "chunking": index.chunking.name,
            "collection_id": index.collection_id,
        },
    )
    return {row["id"]: Importable(**row) for row in rows.mappings()}
