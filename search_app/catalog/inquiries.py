"""What is asked about one document: what is meant by its name, why it failed, who last found it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.types import JSON, Chunking, Collection, Mode

Kind = Literal["document", "source", "gone", "failure"]
"""A document, a source that is being read, a document that was removed, what failed in a run."""

_ORDER: Sequence[Kind] = ("document", "source", "gone", "failure")

MOST_CANDIDATES = 20
"""Most candidates of each kind for a part of a name."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a part of a name may mean; only documents, also removed ones, have an id."""

    kind: Kind
    id: UUID | None
    uri: str
    title: str


_EXACTLY = "(uri = :wanted OR title = :wanted) DESC, length(uri), uri"
_CANDIDATES = text(
    """
    (
        SELECT 'document' AS kind, id, uri, title FROM documents
        WHERE collection_id = :collection_id AND state <> 'deleting'
            AND (uri ILIKE :part OR title ILIKE :part)
        ORDER BY :exactly LIMIT :most
    ) UNION ALL (
        SELECT CASE state WHEN 'failed' THEN 'failure' ELSE 'source' END, CAST(NULL AS uuid), uri,
            '' AS title
        FROM sources
        WHERE collection_id = :collection_id AND state IN ('pending', 'failed')
            AND uri ILIKE :part
            AND NOT EXISTS (
                SELECT FROM documents
                WHERE documents.collection_id = sources.collection_id
                    AND documents.uri = sources.uri
            )
        ORDER BY uri = :wanted DESC, length(uri), uri LIMIT :most
    ) UNION ALL (
        SELECT 'gone', document_id, uri, title FROM (
            SELECT DISTINCT ON (document_id) document_id, uri, title FROM document_events
            WHERE collection_id = :collection_id AND (uri ILIKE :part OR title ILIKE :part)
                AND NOT EXISTS (
                    SELECT FROM documents
                    WHERE documents.id = document_events.document_id
                        AND documents.state <> 'deleting'
                )
            ORDER BY document_id, document_events.id DESC
        ) AS latest
        ORDER BY :exactly LIMIT :most
    ) UNION ALL (
        SELECT 'failure', CAST(NULL AS uuid), uri, '' AS title FROM (
            SELECT DISTINCT run_errors.source AS uri FROM run_errors
            JOIN runs ON runs.id = run_errors.run_id
            WHERE runs.collection_id = :collection_id AND run_errors.source ILIKE :part
        ) AS failed
        ORDER BY uri = :wanted DESC, length(uri), uri LIMIT :most
    )
    """.replace(":exactly", _EXACTLY)
)


async def candidates(
    connection: AsyncConnection, collection: Collection, wanted: str
) -> list[Candidate]:
    """Find what a part of a uri or a title may mean, whatever its case; what is there first."""
    escaped = wanted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = await connection.execute(
        _CANDIDATES,
        {
            "collection_id": collection.id,
            "wanted": wanted,
            "part": f"%{escaped}%",
            "most": MOST_CANDIDATES,
        },
    )
    found = [Candidate(kind=row.kind, id=row.id, uri=row.uri, title=row.title) for row in rows]
    return sorted(found, key=lambda each: _ORDER.index(each.kind))


_ELSEWHERE = text("""
    SELECT DISTINCT collections.name FROM collections
    JOIN documents ON documents.collection_id = collections.id
    WHERE collections.id <> :collection_id AND collections.state = 'live'
        AND documents.state = 'indexed'
        AND (documents.uri = :wanted OR documents.title = :wanted
            OR right(documents.uri, length(:wanted) + 1) = '/' || :wanted)
    ORDER BY collections.name LIMIT 5
""")


async def elsewhere(connection: AsyncConnection, collection: Collection, wanted: str) -> list[str]:
    """Name other collections that have a document of exactly that name."""
    found = await connection.scalars(_ELSEWHERE, {"collection_id": collection.id, "wanted": wanted})
    return list(found)


_BY_ID = text("""
    SELECT id, uri, title FROM documents
    WHERE collection_id = :collection_id AND state <> 'deleting'
        AND (id = :id OR id = (SELECT document_id FROM chunks WHERE chunks.id = :id))
""")
_GONE_BY_ID = text("""
    SELECT document_id AS id, uri, title FROM document_events
    WHERE collection_id = :collection_id AND document_id = :id ORDER BY id DESC LIMIT 1
""")


async def by_id(
    connection: AsyncConnection, collection: Collection, identity: UUID
) -> Candidate | None:
    """Find a document by its id or that of a passage; a removed one by its own id."""
    keys = {"collection_id": collection.id, "id": identity}
    kinds: tuple[Kind, Kind] = ("document", "gone")
    for kind, statement in zip(kinds, (_BY_ID, _GONE_BY_ID), strict=True):
        row = (await connection.execute(statement, keys)).first()
        if row is not None:
            return Candidate(kind=kind, id=row.id, uri=row.uri, title=row.title)
    return None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a document that is there stands; not ``complete``: a newer form is on its way in.

    ``failed`` says that its source could not be read when it was last met.
    """

    source: str
    fields: Mapping[str, JSON]
    state: str
    complete: bool
    failed: bool
    run_id: UUID | None
    changed_at: datetime


_STANDING = text("""
    SELECT sources.uri AS source, documents.fields, documents.state,
        documents.content_hash IS NOT NULL AS complete, documents.seen_run_id AS run_id,
        sources.state = 'failed' AS failed, documents.updated_at AS changed_at
    FROM documents JOIN sources ON sources.id = documents.source_id
    WHERE documents.id = :id
""")


async def standing(connection: AsyncConnection, document_id: UUID) -> Standing | None:
    """Say how a document stands; None where there is none."""
    row = (await connection.execute(_STANDING, {"id": document_id})).one_or_none()
    return None if row is None else Standing(**row._mapping)  # noqa: SLF001 - a public name with an underscore


@dataclass(frozen=True, kw_only=True)
class PastFailure:
    """What failed in a run, and why."""

    reason: str
    run_id: UUID
    at: datetime


_FAILURE = text("""
    SELECT run_errors.reason, runs.id AS run_id, coalesce(runs.finished_at, runs.started_at) AS at
    FROM run_errors JOIN runs ON runs.id = run_errors.run_id
    WHERE runs.collection_id = :collection_id AND run_errors.source = ANY(CAST(:uris AS text[]))
    ORDER BY runs.started_at DESC, run_errors.ordinal DESC LIMIT 1
""")


async def last_failure(
    connection: AsyncConnection, collection: Collection, uris: Sequence[str]
) -> PastFailure | None:
    """Find the last time that any of the sources or records failed."""
    keys = {"collection_id": collection.id, "uris": list(uris)}
    row = (await connection.execute(_FAILURE, keys)).one_or_none()
    return None if row is None else PastFailure(reason=row.reason, run_id=row.run_id, at=row.at)


@dataclass(frozen=True, kw_only=True)
class PastSearch:
    """A search that was logged, with what answered it.

    ``document_ids[i]`` is the document of ``hit_ids[i]``, of rank ``first_rank + i``; searches
    from before documents were logged have none. ``vector_hash`` is None where no vector was used or
    its hash not logged yet.
    """

    id: UUID
    at: datetime
    index_id: UUID
    model_version_id: UUID
    model: str
    chunking: str
    filters: Sequence[str]
    k: int
    first_rank: int
    exact: bool
    mode: Mode
    hit_ids: Sequence[UUID]
    document_ids: Sequence[UUID]
    scores: Sequence[float]
    vector_hash: bytes | None

    def ranks(self, document_id: UUID, chunk_ids: Sequence[UUID] = ()) -> list[int]:
        """Give the ranks at which a document was found, by its id or those of its passages."""
        known = dict(zip(self.hit_ids, self.document_ids, strict=False))
        return [
            self.first_rank + place
            for place, hit_id in enumerate(self.hit_ids)
            if known.get(hit_id) == document_id or hit_id in chunk_ids
        ]


_PAST = """
    SELECT query_log.id, query_log.created_at AS at, query_log.index_id,
        query_log.model_version_id, model_versions.provider || '/' || model_versions.model AS model,
        indexes.chunking, query_log.filters, query_log.k, query_log.first_rank, query_log.exact,
        query_log.mode, query_log.hit_ids, query_log.document_ids, query_log.scores,
        query_log.vector_hash
    FROM query_log
    JOIN indexes ON indexes.id = query_log.index_id
    JOIN model_versions ON model_versions.id = query_log.model_version_id
    WHERE query_log.query_hash = :query_hash AND query_log.collection_id = :collection_id
        AND query_log.client <> 'eval'
        AND (CAST(:since AS timestamptz) IS NULL OR query_log.created_at >= :since)
        {condition}
    ORDER BY query_log.created_at DESC LIMIT 1
"""
_LAST = text(_PAST.format(condition=""))
_LAST_HIT = text(
    _PAST.format(
        condition="AND (CAST(:document_id AS uuid) = ANY(query_log.document_ids) "
        "OR query_log.hit_ids && CAST(:chunk_ids AS uuid[]))"
    )
)


async def last_search(
    connection: AsyncConnection,
    collection: Collection,
    query_hash: bytes,
    *,
    since: datetime | None = None,
) -> PastSearch | None:
    """Find the last logged search for a query; what an evaluation asked nobody asked."""
    keys = {"query_hash": query_hash, "collection_id": collection.id, "since": since}
    return _past((await connection.execute(_LAST, keys)).mappings().one_or_none())


async def last_hit(
    connection: AsyncConnection,
    collection: Collection,
    query_hash: bytes,
    *,
    document_id: UUID,
    chunk_ids: Sequence[UUID],
    since: datetime | None = None,
) -> PastSearch | None:
    """Find the last logged search for a query that found a document."""
    keys = {
        "query_hash": query_hash,
        "collection_id": collection.id,
        "since": since,
        "document_id": document_id,
        "chunk_ids": list(chunk_ids),
    }
    return _past((await connection.execute(_LAST_HIT, keys)).mappings().one_or_none())


@dataclass(frozen=True, kw_only=True)
class PastCheck:
    """A check of an index: its verdict, the kinds of its findings, and the causes it named."""

    id: UUID
    at: datetime
    verdict: str
    kinds: Sequence[str]
    causes: Sequence[str]


_CHECKS = text("""
    SELECT id, created_at AS at, verdict,
        ARRAY(SELECT jsonb_array_elements(report->'findings')->>'kind') AS kinds,
        ARRAY(SELECT jsonb_array_elements(report->'causes')->>'name') AS causes
    FROM checks WHERE index_id = :index_id AND created_at >= :since ORDER BY created_at
""")
_NOISE = text("""
    SELECT noise_max FROM checks WHERE index_id = :index_id AND noise_max IS NOT NULL
    ORDER BY created_at DESC LIMIT 1
""")


async def checks_since(
    connection: AsyncConnection, index_id: UUID, since: datetime
) -> list[PastCheck]:
    """List the checks of an index from a moment on, the earliest first."""
    rows = await connection.execute(_CHECKS, {"index_id": index_id, "since": since})
    return [PastCheck(**row) for row in rows.mappings()]


async def noise_seen(connection: AsyncConnection, index_id: UUID) -> float | None:
    """Give the largest 1 - cos between sends that the latest check to measure any saw."""
    found: float | None = await connection.scalar(_NOISE, {"index_id": index_id})
    return found


def _past(row: RowMapping | None) -> PastSearch | None:
    if row is None:
        return None
    return PastSearch(**{**dict(row), "chunking": Chunking(**row["chunking"]).name})
