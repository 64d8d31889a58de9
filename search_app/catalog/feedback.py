"""Feedback: what users say of the hits of a search, kept with the search in the query log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Collection

Verdict = Literal[-1, 0, 1]
"""Not what was looked for, nothing said, or what was looked for."""

NOT_KEPT = (
    "the texts of searches are not kept here (UNMOVED_QUERY_LOG is off), so nothing could be made "
    "of feedback; switch it on and search again"
)


@dataclass(frozen=True, kw_only=True)
class Given:
    """A verdict on a passage, and the search that it was given in."""

    search_id: UUID
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What users said of one passage as a hit of one query.

    ``uri`` is that of its document, None where that cannot be found any more.
    """

    query: str
    chunk_id: UUID
    document_id: UUID
    uri: str | None
    up: int
    down: int


# What is locked is read past the door (visibility.py); its collection is not.
_SEARCH = text("""
    SELECT query IS NOT NULL AS kept, hit_ids, first_rank FROM query_log
    WHERE id = :search_id AND collection_id IN (SELECT id FROM collections)
    FOR KEY SHARE OF query_log
""")
_DOCUMENT = text("SELECT document_id FROM chunks WHERE id = :chunk_id AND state = 'live'")
_GIVE = text("""
    INSERT INTO feedback (search_id, chunk_id, document_id, position, verdict)
    VALUES (:search_id, :chunk_id, :document_id, :position, :verdict)
    ON CONFLICT (search_id, chunk_id) DO UPDATE
    SET verdict = excluded.verdict, created_at = excluded.created_at
""")
_TAKE_BACK = text("DELETE FROM feedback WHERE search_id = :search_id AND chunk_id = :chunk_id")


async def give(
    connection: AsyncConnection, search_id: UUID, chunk_id: UUID, verdict: Verdict
) -> int:
    """Keep a verdict on a hit, or take it back with 0; the latest counts. Gives the hit's rank.

    Raises:
        NotFoundError: no such search, the passage was no hit of it, or it is gone.
        InvalidInputError: the text of the search was not kept.
    """
    keys: dict[str, object] = {"search_id": search_id, "chunk_id": chunk_id}
    search = (await connection.execute(_SEARCH, keys)).one_or_none()
    if search is None:
        raise NotFoundError(
            f"no search {search_id}; it may have been forgotten (UNMOVED_QUERY_LOG_DAYS)"
        )
    if not search.kept:
        raise InvalidInputError(NOT_KEPT)
    if chunk_id not in search.hit_ids:
        raise NotFoundError(f"passage {chunk_id} is no hit of search {search_id}")
    position: int = search.first_rank + search.hit_ids.index(chunk_id)
    if verdict == 0:
        await connection.execute(_TAKE_BACK, keys)
        return position
    document_id = await connection.scalar(_DOCUMENT, keys)
    if document_id is None:
        raise NotFoundError(f"no passage {chunk_id}; its document may have changed")
    await connection.execute(
        _GIVE, {**keys, "document_id": document_id, "position": position, "verdict": verdict}
    )
    return position


_GIVEN = text("""
    SELECT DISTINCT ON (feedback.chunk_id)
        feedback.chunk_id, feedback.search_id, feedback.verdict
    FROM query_log AS this
    JOIN feedback ON feedback.chunk_id = ANY(this.hit_ids)
    JOIN query_log AS earlier ON earlier.id = feedback.search_id
        AND earlier.collection_id = this.collection_id AND earlier.query_hash = this.query_hash
    WHERE this.id = :search_id
    ORDER BY feedback.chunk_id, feedback.created_at DESC
""")


async def given(connection: AsyncConnection, search_id: UUID) -> Mapping[UUID, Given]:
    """Give the latest verdicts on the hits of a search, in it or whenever the same was asked.

    To change or take back one of them, give another for the search that it names.
    """
    rows = await connection.execute(_GIVEN, {"search_id": search_id})
    return {row.chunk_id: Given(search_id=row.search_id, verdict=row.verdict) for row in rows}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A search as it was asked for, and the name that its collection has now."""

    collection: str
    query: str
    filters: Iterable[str]
    mode: str
    first_rank: int
    k: int
    exact: bool


_ASKED = text("""
    SELECT collections.name, query, filters, mode, first_rank, k, exact
    FROM query_log JOIN collections ON collections.id = query_log.collection_id
    WHERE query_log.id = :search_id AND query IS NOT NULL
""")


async def asked(connection: AsyncConnection, search_id: UUID) -> Asked | None:
    """Say what was asked for in a search; None where that is not known any more."""
    row = (await connection.execute(_ASKED, {"search_id": search_id})).one_or_none()
    if row is None:
        return None
    return Asked(
        collection=row.name,
        query=row.query,
        filters=row.filters,
        mode=row.mode,
        first_rank=row.first_rank,
        k=row.k,
        exact=row.exact,
    )


_JUDGEMENTS = text("""
    SELECT query_log.query, feedback.chunk_id, feedback.document_id, documents.uri,
        count(*) FILTER (WHERE feedback.verdict > 0) AS up,
        count(*) FILTER (WHERE feedback.verdict < 0) AS down
    FROM feedback JOIN query_log ON query_log.id = feedback.search_id
    LEFT JOIN documents ON documents.id = feedback.document_id AND documents.state = 'indexed'
    WHERE query_log.collection_id = :collection_id AND query_log.query IS NOT NULL
        AND (CAST(:since AS timestamptz) IS NULL OR feedback.created_at >= :since)
    GROUP BY query_log.query, feedback.chunk_id, feedback.document_id, documents.uri
    ORDER BY min(query_log.created_at), query_log.query, feedback.chunk_id
""")


async def judgements(
    connection: AsyncConnection, collection: Collection, since: datetime | None = None
) -> list[Judgement]:
    """List what was said of the hits of a collection's searches, in the order of first asking."""
    rows = await connection.execute(_JUDGEMENTS, {"collection_id": collection.id, "since": since})
    return [Judgement(**row) for row in rows.mappings()]
