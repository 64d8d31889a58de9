"""Query vectors that are kept, so that the same query has the same vector: until they are cleared.

What a model gave is unproven until the model has proved itself once more; where it turns out to be
another one instead, unproven vectors go, since nobody knows since when it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.types import QueryKind, Vector

MOST_KEPT = 100_000
"""Vectors kept for a model version; of more, those go that were not asked for the longest."""

_SHARE_LEFT = 0.9
"""How many of MOST_KEPT are left then, so that it happens rarely."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is kept for a model version; ``unproven`` of ``vectors``, in ``bytes`` altogether."""

    model_version_id: UUID
    model: str
    vectors: int
    unproven: int
    bytes: int
    oldest: datetime
    newest: datetime


def key_of(text: str, kind: QueryKind = "query") -> bytes:
    """Hash a query: with the same words, one for source code is another one."""
    # No query has a NUL in it.
    written = text if kind == "query" else f"{kind}\0{text}"
    return sha256(written.encode()).digest()


# The commit does not wait for the disk, as that of the log does not: this is before every answer.
_KEEP = text("""
    WITH quickly AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO query_vectors (model_version_id, text_hash, vector, proven)
    SELECT CAST(:model_version_id AS uuid), CAST(:text_hash AS bytea), CAST(:vector AS bytea), false
    FROM quickly
    ON CONFLICT (model_version_id, text_hash) DO UPDATE SET text_hash = excluded.text_hash
    RETURNING vector
""")


async def keep(
    connection: AsyncConnection, model_version_id: UUID, text_hash: bytes, vector: Vector
) -> Vector:
    """Keep a query's unit vector as unproven, and give the one that is kept: the first one stays.

    So two processes that embed a query at the same moment search with the same vector.
    """
    kept = await connection.scalar(
        _KEEP,
        {
            "model_version_id": model_version_id,
            "text_hash": text_hash,
            "vector": vector.astype("<f4").tobytes(),
        },
    )
    return np.frombuffer(kept, dtype="<f4")


_FIND = text("""
    SELECT text_hash, vector FROM query_vectors
    WHERE model_version_id = :model_version_id AND text_hash = ANY(:text_hashes)
""")


async def find(
    connection: AsyncConnection, model_version_id: UUID, text_hashes: Sequence[bytes]
) -> dict[bytes, Vector]:
    """Find the vectors that are kept, proven or not, of several queries, by their hashes."""
    rows = await connection.execute(
        _FIND, {"model_version_id": model_version_id, "text_hashes": list(text_hashes)}
    )
    return {bytes(row.text_hash): np.frombuffer(row.vector, dtype="<f4") for row in rows}


_PROVE = text("""
    UPDATE query_vectors SET proven = true
    WHERE model_version_id = :model_version_id AND NOT proven
        AND created_at < now() - make_interval(secs => :seconds)
""")


async def prove(connection: AsyncConnection, model_version_id: UUID, *, seconds: float) -> None:
    """Take note that a model proved itself; the proof was begun that many seconds ago."""
    await connection.execute(_PROVE, {"model_version_id": model_version_id, "seconds": seconds})


_DISTRUST = text(
    "DELETE FROM query_vectors WHERE model_version_id = :model_version_id AND NOT proven"
)


async def distrust(connection: AsyncConnection, model_version_id: UUID) -> int:
    """Delete unproven vectors, since another model answers, and say how many."""
    result = await connection.execute(_DISTRUST, {"model_version_id": model_version_id})
    return result.rowcount


_RETIRED = text("""
    DELETE FROM query_vectors WHERE NOT EXISTS (
        SELECT FROM indexes WHERE indexes.model_version_id = query_vectors.model_version_id
            AND indexes.state <> 'retired'
    )
""")
_COUNT = text("SELECT count(*) FROM query_vectors WHERE model_version_id = :model_version_id")
_TRIM = text("""
    DELETE FROM query_vectors WHERE model_version_id = :model_version_id AND text_hash IN (
        SELECT kept.text_hash FROM query_vectors AS kept
        LEFT JOIN LATERAL (
            SELECT max(created_at) AS at FROM query_log
            WHERE query_log.query_hash = kept.text_hash
        ) AS asked ON true
        WHERE kept.model_version_id = :model_version_id
        ORDER BY coalesce(asked.at, kept.created_at), kept.text_hash LIMIT :most
    )
""")


async def trim(
    connection: AsyncConnection, model_version_id: UUID, *, most: int = MOST_KEPT
) -> int:
    """Delete what is more than ``most``, and vectors of models that no kept index has.

    When a query was asked last is as the log says; where it has it not, when it was embedded.
    """
    gone = (await connection.execute(_RETIRED)).rowcount
    keys = {"model_version_id": model_version_id}
    number = int(await connection.scalar(_COUNT, keys) or 0)
    if number > most:
        excess = number - int(most * _SHARE_LEFT)
        gone += (await connection.execute(_TRIM, {**keys, "most": excess})).rowcount
    return gone


_CLEAR = text("""
    DELETE FROM query_vectors
    WHERE (CAST(:model_version_id AS uuid) IS NULL OR model_version_id = :model_version_id)
        AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
        AND (CAST(:text_hashes AS bytea[]) IS NULL OR text_hash = ANY(:text_hashes))
""")


async def clear(
    connection: AsyncConnection,
    *,
    model_version_id: UUID | None = None,
    since: datetime | None = None,
    text_hashes: Sequence[bytes] | None = None,
) -> int:
    """Delete vectors of a model version, embedded since a moment, of some queries, or all."""
    result = await connection.execute(
        _CLEAR,
        {"model_version_id": model_version_id, "since": since, "text_hashes": text_hashes},
    )
    return result.rowcount


_KEPT = text("""
    SELECT model_versions.id AS model_version_id,
        model_versions.provider || '/' || model_versions.model AS model,
        count(*) AS vectors, count(*) FILTER (WHERE NOT proven) AS unproven,
        sum(octet_length(vector)) AS bytes, min(query_vectors.created_at) AS oldest,
        max(query_vectors.created_at) AS newest
    FROM query_vectors JOIN model_versions ON model_versions.id = model_version_id
    GROUP BY model_versions.id ORDER BY model, model_versions.id
""")


async def kept(connection: AsyncConnection) -> list[Kept]:
    """Say how much is kept for which model version."""
    rows = (await connection.execute(_KEPT)).mappings()
    return [Kept(**{**row, "bytes": int(row["bytes"])}) for row in rows]
