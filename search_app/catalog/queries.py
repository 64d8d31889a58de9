"""What was asked: the log of searches."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.types import Collection, Mode, QueryKind


@dataclass(frozen=True, kw_only=True)
class LoggedSearch:
    """One search as the log keeps it; ``query`` is None where texts are not to be kept.

    ``document_ids[i]`` is the document of ``hit_ids[i]``; ``vector_hash`` is of the query's vector,
    None where there was none.
    """

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
    document_ids: Sequence[UUID]
    scores: Sequence[float]
    vector_hash: bytes | None
    took_ms: float
    client: str
    mode: Mode
    id: UUID
    kind: QueryKind = "query"


_LOG = text(
    """
    WITH quickly AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO query_log (
        id, collection_id, index_id, model_version_id, query, query_hash, filters, k, first_rank,
        exact, hit_ids, document_ids, scores, took_ms, client, mode, kind,
        vector_hash
    )
    SELECT :id, :collection_id, :index_id, :model_version_id, :query, :query_hash,
        CAST(:filters AS text[]), :k, :first_rank, :exact, CAST(:hit_ids AS uuid[]),
        CAST(:document_ids AS uuid[]), CAST(:scores AS double precision[]), :took_ms, :client,
        :mode, :kind, :vector_hash
    FROM quickly
    """
)

_LISTS = ("filters", "hit_ids", "document_ids", "scores")


async def log_search(connection: AsyncConnection, search: LoggedSearch) -> None:
    """Write a search to the log.

    The commit does not wait for the disk: losing the last moments of the log in a crash is better
    than every search waiting.
    """
    lists = {name: list(getattr(search, name)) for name in _LISTS}
    await connection.execute(_LOG, {**vars(search), **lists})


# Along the index of each collection; a condition on the time alone would read the whole log.
_FORGET = text(
    """
    DELETE FROM query_log WHERE id IN (
        SELECT old.id FROM collections CROSS JOIN LATERAL (
            SELECT id FROM query_log
            WHERE collection_id = collections.id
                AND created_at < now() - make_interval(days => :days)
            ORDER BY created_at LIMIT :most
        ) AS old LIMIT :most
    )
    """
)


async def forget_old(connection: AsyncConnection, *, days: int, most: int) -> int:
    """Delete searches older than that with their feedback, at most so many, and say how many."""
    result = await connection.execute(_FORGET, {"days": days, "most": most})
    return result.rowcount


LATEST_SEARCHES = 50_000
"""Searches among which the most asked queries are looked for."""

# Leafing further is not asking again, and what an evaluation asks nobody has.
_MOST_ASKED = text("""
    SELECT query, kind, count(*) AS times FROM (
        SELECT query, kind, created_at FROM query_log
        WHERE collection_id = :collection_id AND query IS NOT NULL AND first_rank = 1
            AND client <> 'eval'
        ORDER BY created_at DESC LIMIT :latest
    ) AS latest
    GROUP BY query, kind ORDER BY times DESC, max(created_at) DESC, query, kind LIMIT :most
""")


async def most_asked(
    connection: AsyncConnection, collection: Collection, most: int
) -> list[tuple[str, QueryKind, int]]:
    """List the queries that were asked most often lately, what for, and how often."""
    rows = await connection.execute(
        _MOST_ASKED, {"collection_id": collection.id, "latest": LATEST_SEARCHES, "most": most}
    )
    return [(row.query, row.kind, row.times) for row in rows]
