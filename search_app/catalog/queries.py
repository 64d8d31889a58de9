"""What was asked: cached query vectors and the log of searches."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import insert, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import query_log, query_vectors
from search_app.types import Vector


@dataclass(frozen=True, kw_only=True)
class LoggedSearch:
    """One search as the log keeps it; ``query`` is None where texts are not to be kept."""

    collection_id: UUID
    index_id: UUID
    model_version_id: UUID
    query: str | None
    query_hash: bytes
    filters: Sequence[str]
    k: int
    first_rank: int
    exact: bool
    hit_ids: Sequence[UUID]
    scores: Sequence[float]
    took_ms: float
    client: str


async def cached_vector(
    connection: AsyncConnection, model_version_id: UUID, text_hash: bytes
) -> Vector | None:
    """Get the unit vector that this model version gave the same query before."""
    statement = (
        select(query_vectors.c.vector)
        .where(query_vectors.c.model_version_id == model_version_id)
        .where(query_vectors.c.text_hash == text_hash)
    )
    found = await connection.scalar(statement)
    return None if found is None else np.frombuffer(found, dtype="<f4")


async def cache_vector(
    connection: AsyncConnection, model_version_id: UUID, text_hash: bytes, vector: Vector
) -> None:
    """Keep a query's unit vector; the first one kept stays, so that answers stay the same."""
    await connection.execute(
        postgresql.insert(query_vectors)
        .values(
            model_version_id=model_version_id,
            text_hash=text_hash,
            vector=vector.astype("<f4").tobytes(),
        )
        .on_conflict_do_nothing()
    )


async def log_search(connection: AsyncConnection, search: LoggedSearch) -> UUID:
    """Write a search to the log and give its id."""
    # Losing the last moments of the log in a crash is better than every search waiting for the
    # disk.
    await connection.execute(text("SET LOCAL synchronous_commit = off"))
    search_id = uuid4()
    await connection.execute(
        insert(query_log).values(
            id=search_id,
            collection_id=search.collection_id,
            index_id=search.index_id,
            model_version_id=search.model_version_id,
            query=search.query,
            query_hash=search.query_hash,
            filters=list(search.filters),
            k=search.k,
            first_rank=search.first_rank,
            exact=search.exact,
            hit_ids=list(search.hit_ids),
            scores=list(search.scores),
            took_ms=search.took_ms,
            client=search.client,
        )
    )
    return search_id
