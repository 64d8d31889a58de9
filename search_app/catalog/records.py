"""Vector records: for every vector, what text made it, by which run, and what was received."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.bulk import insert_rows
from search_app.catalog.tables import chunks, indexes, runs, vector_records
from search_app.errors import NotFoundError
from search_app.types import Index, IndexState


@dataclass(frozen=True, kw_only=True)
class VectorRecord:
    """The record of one vector.

    ``sent_hash`` is of the exact text sent, prefix included; ``received_hash`` of the float32
    bytes received; ``stored_hash`` of those handed to the store; ``norm`` is the length before
    normalising. ``run_id`` embedded it; ``copied_by_run_id`` took it over from an equal text.
    Of a text that was too long for the model and sent in several ``pieces``, ``received_hash`` is
    of their vectors one after the other, ``norm`` the length of the mean of their directions, and
    batch and position are those of the first.
    """

    index_id: UUID
    chunk_id: UUID
    run_id: UUID
    copied_by_run_id: UUID | None
    sent_hash: bytes
    received_hash: bytes
    stored_hash: bytes
    norm: float
    batch_size: int
    batch_position: int
    pieces: int = 1
    created_at: datetime | None = None


def _record(row: Any) -> VectorRecord:
    return VectorRecord(
        index_id=row.index_id,
        chunk_id=row.chunk_id,
        run_id=row.run_id,
        copied_by_run_id=row.copied_by_run_id,
        sent_hash=row.sent_hash,
        received_hash=row.received_hash,
        stored_hash=row.stored_hash,
        norm=row.norm,
        batch_size=row.batch_size,
        batch_position=row.batch_position,
        pieces=row.pieces,
        created_at=row.created_at,
    )


_REPLACE = "(index_id, chunk_id) DO UPDATE SET created_at = now(), " + ", ".join(
    f"{column.name} = excluded.{column.name}"
    for column in vector_records.c
    if not column.primary_key and column.name != "created_at"
)


_WRITTEN = tuple(each.name for each in fields(VectorRecord) if each.name != "created_at")


async def put(connection: AsyncConnection, records: Sequence[VectorRecord]) -> None:
    """Write records; one that is there is replaced, since its vector was."""
    rows = [{name: getattr(record, name) for name in _WRITTEN} for record in records]
    await insert_rows(connection, vector_records, rows, _REPLACE)


async def get(connection: AsyncConnection, index_id: UUID, chunk_id: UUID) -> VectorRecord:
    """Get the record of a chunk's vector in an index.

    Raises:
        NotFoundError: the chunk has no vector there.
    """
    statement = (
        select(*vector_records.c)
        .where(vector_records.c.index_id == index_id)
        .where(vector_records.c.chunk_id == chunk_id)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFoundError(f"no vector of chunk {chunk_id} in index {index_id}")
    return _record(row)


async def has_older(connection: AsyncConnection, index: Index) -> bool:
    """Say whether an index has a vector that was embedded before there was the index."""
    statement = (
        select(vector_records.c.chunk_id)
        .join(runs, runs.c.id == vector_records.c.run_id)
        .join(indexes, indexes.c.id == vector_records.c.index_id)
        .where(vector_records.c.index_id == index.id)
        .where(runs.c.started_at < indexes.c.created_at)
        .limit(1)
    )
    return (await connection.execute(statement)).first() is not None


async def embedded(
    connection: AsyncConnection, index_id: UUID, chunk_ids: Sequence[UUID]
) -> set[UUID]:
    """Say which of the chunks already have a vector in the index."""
    statement = (
        select(vector_records.c.chunk_id)
        .where(vector_records.c.index_id == index_id)
        .where(vector_records.c.chunk_id == func.any(list(chunk_ids)))
    )
    return set(await connection.scalars(statement))


async def reusable(
    connection: AsyncConnection,
    model_version_id: UUID,
    store: str,
    sent_hashes: Sequence[bytes],
    *,
    since: datetime | None = None,
) -> dict[bytes, VectorRecord]:
    """Find, for texts sent before to the same model version, a vector that can be copied.

    Only vectors in the same store are offered, none of chunks that are on their way out, and none
    of runs from before ``since``. Of several it is the one that was embedded last: others may be
    what was embedded wrongly before.
    """
    statement = (
        select(*vector_records.c)
        .join(runs, runs.c.id == vector_records.c.run_id)
        .join(indexes, indexes.c.id == vector_records.c.index_id)
        .join(chunks, chunks.c.id == vector_records.c.chunk_id)
        .where(vector_records.c.sent_hash == func.any(list(sent_hashes)))
        .where(indexes.c.model_version_id == model_version_id)
        .where(indexes.c.store == store)
        .where(indexes.c.state != IndexState.RETIRED.value)
        .where(chunks.c.state != "deleting")
        .where(true() if since is None else runs.c.started_at >= since)
        .ext(distinct_on(vector_records.c.sent_hash))
        .order_by(
            vector_records.c.sent_hash,
            runs.c.started_at.desc(),
            vector_records.c.created_at,
            vector_records.c.chunk_id,
        )
    )
    return {row.sent_hash: _record(row) for row in await connection.execute(statement)}
