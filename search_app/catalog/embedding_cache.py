"""Vectors that are kept for texts that come again: by model version, kind and hash of the text.

Nothing is kept here before the model has proved itself after it gave the vector. What the vectors
of queries need is another thing, see query_cache.py: they are used before that, and go by when they
were asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from search_app.catalog import models, runs
from search_app.catalog.bulk import insert_rows
from search_app.catalog.engine import reading, transaction
from search_app.catalog.tables import embedding_cache
from search_app.types import Kind, Vector

_SHARE_LEFT = 0.9
"""How much of what may be kept is left once it is too much, so that it happens rarely."""

_STEPS = 20
"""After so many parts of what may be kept were added, it is seen whether that is too much."""

_TRIMMING = 7_236_117_462
"""Any number that only this product locks: one process trims at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CachedVector:
    """A unit vector, (d,) float32, and what is recorded of its embedding (see VectorRecord)."""

    sent_hash: bytes
    vector: Vector
    run_id: UUID
    received_hash: bytes
    stored_hash: bytes
    norm: float
    batch_size: int
    batch_position: int
    pieces: int


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How much is kept of a model version and kind; ``bytes`` are those of the vectors alone."""

    model_version_id: UUID
    model: str
    kind: Kind
    vectors: int
    bytes: int
    oldest: datetime
    newest: datetime


async def put(
    connection: AsyncConnection,
    model_version_id: UUID,
    kind: Kind,
    vectors: Sequence[CachedVector],
) -> None:
    """Keep vectors that were proved to be of the model version, in place of what is there.

    What is there was passed over: its bytes are no longer what they were, or everything is embedded
    afresh because something was embedded wrongly.
    """
    rows = [
        {
            "model_version_id": model_version_id,
            "kind": kind,
            "sent_hash": each.sent_hash,
            "vector": each.vector.astype("<f4", copy=False).tobytes(),
            "run_id": each.run_id,
            "received_hash": each.received_hash,
            "stored_hash": each.stored_hash,
            "norm": each.norm,
            "batch_size": each.batch_size,
            "batch_position": each.batch_position,
            "pieces": each.pieces,
        }
        # In one order, so that two that keep the same do not wait for each other for ever.
        for each in sorted(vectors, key=lambda each: each.sent_hash)
    ]
    await insert_rows(connection, embedding_cache, rows, _REPLACE)


_REPLACE = "(model_version_id, kind, sent_hash) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}"
    for name in (
        *("vector", "run_id", "received_hash", "stored_hash", "norm", "batch_size"),
        *("batch_position", "pieces", "created_at"),
    )
)


_FIND = text("""
    SELECT sent_hash, vector, run_id, received_hash, stored_hash, norm, batch_size, batch_position,
        pieces
    FROM embedding_cache
    WHERE model_version_id = :model_version_id AND kind = :kind AND sent_hash = ANY(:sent_hashes)
        AND (CAST(:since AS timestamptz) IS NULL
            OR run_id IN (SELECT id FROM runs WHERE started_at >= :since))
""")


async def find(
    connection: AsyncConnection,
    model_version_id: UUID,
    kind: Kind,
    sent_hashes: Sequence[bytes],
    *,
    since: datetime | None = None,
) -> dict[bytes, CachedVector]:
    """Find the vectors of texts, by the hashes of what is sent for them; see ``known``."""
    if not sent_hashes:
        return {}
    rows = await connection.execute(
        _FIND,
        {
            "model_version_id": model_version_id,
            "kind": kind,
            "sent_hashes": list(sent_hashes),
            "since": since,
        },
    )
    return {
        row["sent_hash"]: CachedVector(
            **{**row, "vector": np.frombuffer(row["vector"], dtype="<f4")}
        )
        for row in rows.mappings()
    }


_KNOWN = text("""
    SELECT sent_hash FROM embedding_cache
    WHERE model_version_id = :model_version_id AND kind = :kind AND sent_hash = ANY(:sent_hashes)
        AND (CAST(:since AS timestamptz) IS NULL
            OR run_id IN (SELECT id FROM runs WHERE started_at >= :since))
""")


async def known(
    connection: AsyncConnection,
    model_version_id: UUID,
    kind: Kind,
    sent_hashes: Sequence[bytes],
    *,
    since: datetime | None = None,
) -> set[bytes]:
    """Say of which texts a vector is kept that no run from before ``since`` made."""
    values = {
        "model_version_id": model_version_id,
        "kind": kind,
        "sent_hashes": list(sent_hashes),
        "since": since,
    }
    return set(await connection.scalars(_KNOWN, values))


_FORGET = text("""
    DELETE FROM embedding_cache WHERE model_version_id = :model_version_id
        AND run_id IN (SELECT id FROM runs WHERE started_at < :before)
""")


async def forget_before(
    connection: AsyncConnection, model_version_id: UUID, before: datetime
) -> int:
    """Delete what runs from before a moment made with a model version; say how many it was."""
    values = {"model_version_id": model_version_id, "before": before}
    return (await connection.execute(_FORGET, values)).rowcount


_AGED = text("""
    DELETE FROM embedding_cache WHERE created_at < now() - make_interval(days => :days)
""")
_BYTES = text("""
    SELECT coalesce(sum(kept.vectors * model_versions.dimensions * 4), 0)
    FROM (
        SELECT model_version_id, count(*) AS vectors FROM embedding_cache GROUP BY model_version_id
    ) AS kept JOIN model_versions ON model_versions.id = kept.model_version_id
""")
_OLDEST = text("""
    DELETE FROM embedding_cache USING (
        SELECT model_version_id, kind, sent_hash, sum(dimensions * 4) OVER (
            ORDER BY embedding_cache.created_at, model_version_id, kind, sent_hash
        ) - dimensions * 4 AS before
        FROM embedding_cache JOIN model_versions ON model_versions.id = model_version_id
    ) AS aged
    WHERE aged.before < :excess AND embedding_cache.model_version_id = aged.model_version_id
        AND embedding_cache.kind = aged.kind AND embedding_cache.sent_hash = aged.sent_hash
""")


async def trim(connection: AsyncConnection, *, most_bytes: int, days: int = 0) -> int:
    """Delete what is older than so many days (0: any age), and the oldest of what is too much.

    Says how many went. Where another process trims already, that is enough.
    """
    lock = text("SELECT pg_try_advisory_xact_lock(:lock)")
    if not await connection.scalar(lock, {"lock": _TRIMMING}):
        return 0
    gone = 0
    if days:
        gone = (await connection.execute(_AGED, {"days": days})).rowcount
    number = int(await connection.scalar(_BYTES) or 0)
    if number > most_bytes:
        excess = number - int(most_bytes * _SHARE_LEFT)
        gone += (await connection.execute(_OLDEST, {"excess": excess})).rowcount
    return gone


_CLEAR = text("""
    DELETE FROM embedding_cache
    WHERE (CAST(:model_version_id AS uuid) IS NULL OR model_version_id = :model_version_id)
        AND (CAST(:run_id AS uuid) IS NULL OR run_id = :run_id)
        AND (CAST(:days AS integer) IS NULL OR created_at < now() - make_interval(days => :days))
""")


async def clear(
    connection: AsyncConnection,
    *,
    model_version_id: UUID | None = None,
    run_id: UUID | None = None,
    older_than_days: int | None = None,
) -> int:
    """Delete vectors of a model version, made by a run, of before so many days, or all."""
    result = await connection.execute(
        _CLEAR,
        {"model_version_id": model_version_id, "run_id": run_id, "days": older_than_days},
    )
    return result.rowcount


async def clear_named(
    engine: AsyncEngine,
    *,
    model_version: str = "",
    run: str = "",
    older_than_days: int | None = None,
) -> int:
    """Delete vectors, and say how many; what is empty or None does not count.

    Args:
        engine: of the catalog.
        model_version: only of the one of that id, or the beginning of it.
        run: only those that the run of that id, or the beginning of it, embedded.
        older_than_days: only those of before so many days.

    Raises:
        NotFoundError: no such model version or run.
        InvalidInputError: an id names several.
        CatalogError: the catalog does not answer.
    """
    async with transaction(engine) as connection:
        version = await models.find(connection, model_version) if model_version else None
        made_by = await runs.find(connection, run) if run else None
        return await clear(
            connection,
            model_version_id=None if version is None else version.id,
            run_id=None if made_by is None else made_by.id,
            older_than_days=older_than_days,
        )


_KEPT = text("""
    SELECT model_versions.id AS model_version_id,
        model_versions.provider || '/' || model_versions.model AS model, kept.kind, kept.vectors,
        kept.vectors * model_versions.dimensions * 4 AS bytes, kept.oldest, kept.newest
    FROM (
        SELECT model_version_id, kind, count(*) AS vectors, min(created_at) AS oldest,
            max(created_at) AS newest
        FROM embedding_cache GROUP BY model_version_id, kind
    ) AS kept JOIN model_versions ON model_versions.id = kept.model_version_id
    WHERE CAST(:model_version_id AS uuid) IS NULL OR model_versions.id = :model_version_id
    ORDER BY model, model_versions.id, kept.kind
""")


async def kept(connection: AsyncConnection, model_version_id: UUID | None = None) -> list[Kept]:
    """Say how much is kept for which model version and kind, or for one model version."""
    rows = await connection.execute(_KEPT, {"model_version_id": model_version_id})
    return [Kept(**{**row, "bytes": int(row["bytes"])}) for row in rows.mappings()]


class VectorCache:
    """The vectors that are kept, within the limits that the settings say; one for each process."""

    def __init__(self, engine: AsyncEngine, *, most_bytes: int, days: int) -> None:
        """Keep at most so many bytes of vectors (0: none), for so many days (0: no limit)."""
        self._engine = engine
        self._most_bytes = most_bytes
        self._days = days
        self._until_trim = 0
        """Bytes that may be added before it is seen again whether they are too many."""

    async def find(
        self,
        model_version_id: UUID,
        kind: Kind,
        sent_hashes: Sequence[bytes],
        *,
        since: datetime | None = None,
    ) -> dict[bytes, CachedVector]:
        """Find the vectors of texts; whoever takes one over sees that it hashes to what it says."""
        if not self._most_bytes or not sent_hashes:
            return {}
        async with reading(self._engine) as connection:
            return await find(connection, model_version_id, kind, sent_hashes, since=since)

    async def put(
        self, model_version_id: UUID, kind: Kind, vectors: Sequence[CachedVector]
    ) -> None:
        """Keep vectors; the model that gave them has proved itself since."""
        if not self._most_bytes or not vectors:
            return
        async with transaction(self._engine) as connection:
            await put(connection, model_version_id, kind, vectors)
        self._until_trim -= sum(each.vector.nbytes for each in vectors)
        if self._until_trim < 0:
            async with transaction(self._engine) as connection:
                await trim(connection, most_bytes=self._most_bytes, days=self._days)
            self._until_trim = self._most_bytes // _STEPS
