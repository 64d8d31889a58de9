"""What changed in a collection between two moments, and which runs made its vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Change = Literal["added", "updated", "removed"]


@dataclass(frozen=True, kw_only=True)
class DocumentChange:
    """What became of a document, all its events together; ``chunks`` it has or had in the end."""

    document_id: UUID
    uri: str
    title: str
    change: Change
    chunks: int


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many documents and chunks the changes come to.

    ``chunks_then`` are those that the documents had before, as far as their history goes back.
    """

    documents: Mapping[Change, int]
    chunks_then: int
    chunks_now: int


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Vectors of two runs, by chunk.

    Of runs that wrote to one index: ``made_by_first`` and ``made_by_second`` of the vectors it has
    now were embedded by either, ``copied_by_second`` taken over by the second, ``others`` all else.
    Of two indexes: chunks that both have, by whether their bytes are ``equal`` or ``differing``,
    and those that only one has.
    """

    same_index: bool
    made_by_first: int
    made_by_second: int
    copied_by_second: int
    others: int
    equal: int
    differing: int
    only_first: int
    only_second: int


# A document that was added and removed again in between did not change.
_BETWEEN = """
    WITH touched AS (
        SELECT document_id,
               (array_agg(event ORDER BY id))[1] AS first,
               (array_agg(event ORDER BY id DESC))[1] AS last,
               (array_agg(uri ORDER BY id DESC))[1] AS uri,
               (array_agg(title ORDER BY id DESC))[1] AS title,
               (array_agg(chunks ORDER BY id DESC))[1] AS chunks,
               min(id) AS first_id
        FROM document_events
        WHERE collection_id = (SELECT collection_id FROM runs WHERE id = :run_id)
            AND created_at > :after AND created_at <= :until
        GROUP BY document_id
    ), changed AS (
        SELECT *, CASE WHEN first = 'added' THEN 'added'
                       WHEN last = 'removed' THEN 'removed'
                       ELSE 'updated' END AS change
        FROM touched WHERE NOT (first = 'added' AND last = 'removed')
    )
"""
_LIST = text(f"""{_BETWEEN}
    SELECT document_id, uri, title, change, chunks FROM changed
    ORDER BY uri, document_id LIMIT :limit OFFSET :offset
""")  # noqa: S608 - both parts stand here
_COUNT = text(f"""{_BETWEEN}
    SELECT change, count(*) AS documents,
           coalesce(sum(CASE WHEN last = 'removed' THEN 0 ELSE chunks END), 0) AS now,
           coalesce(sum((
               SELECT CASE WHEN e.event = 'removed' THEN 0 ELSE e.chunks END
               FROM document_events e
               WHERE e.document_id = changed.document_id AND e.id < changed.first_id
               ORDER BY e.id DESC LIMIT 1
           )), 0) AS then
    FROM changed GROUP BY change
""")  # noqa: S608 - likewise


async def documents_between(
    connection: AsyncConnection,
    run_id: UUID,
    after: datetime,
    until: datetime,
    *,
    limit: int,
    offset: int = 0,
) -> list[DocumentChange]:
    """List what became of documents of a run's collection between two moments, by their uri."""
    given = {"run_id": run_id, "after": after, "until": until, "limit": limit, "offset": offset}
    rows = await connection.execute(_LIST, given)
    return [DocumentChange(**row) for row in rows.mappings()]


async def totals_between(
    connection: AsyncConnection, run_id: UUID, after: datetime, until: datetime
) -> Totals:
    """Count what became of documents of a run's collection between two moments."""
    rows = (
        await connection.execute(_COUNT, {"run_id": run_id, "after": after, "until": until})
    ).all()
    return Totals(
        documents={row.change: row.documents for row in rows},
        chunks_then=sum(int(row.then) for row in rows),
        chunks_now=sum(int(row.now) for row in rows),
    )


_ONE_INDEX = text("""
    SELECT count(*) FILTER (WHERE made = 1) AS first, count(*) FILTER (WHERE made = 2) AS second,
           count(*) FILTER (WHERE made = 3) AS copied, count(*) FILTER (WHERE made = 0) AS others
    FROM (
        SELECT CASE
            WHEN copied_by_run_id IN (SELECT id FROM runs WHERE :second IN (id, part_of)) THEN 3
            WHEN run_id IN (SELECT id FROM runs WHERE :second IN (id, part_of)) THEN 2
            WHEN run_id IN (SELECT id FROM runs WHERE :first IN (id, part_of)) THEN 1
            ELSE 0 END AS made
        FROM vector_records WHERE index_id = :index_id
    ) records
""")
_TWO_INDEXES = text("""
    SELECT count(*) FILTER (WHERE a.stored_hash = b.stored_hash) AS equal,
           count(*) FILTER (WHERE a.stored_hash <> b.stored_hash) AS differing,
           count(*) FILTER (WHERE b.chunk_id IS NULL) AS only_first,
           count(*) FILTER (WHERE a.chunk_id IS NULL) AS only_second
    FROM (SELECT chunk_id, stored_hash FROM vector_records WHERE index_id = :first) a
    FULL JOIN (SELECT chunk_id, stored_hash FROM vector_records WHERE index_id = :second) b
        ON b.chunk_id = a.chunk_id
""")


async def vectors_of_runs(
    connection: AsyncConnection, index_id: UUID, first: UUID, second: UUID
) -> Vectors:
    """Say which of two runs made the vectors that an index has now."""
    given = {"index_id": index_id, "first": first, "second": second}
    row = (await connection.execute(_ONE_INDEX, given)).one()
    return Vectors(
        same_index=True,
        made_by_first=row.first,
        made_by_second=row.second,
        copied_by_second=row.copied,
        others=row.others,
        equal=0,
        differing=0,
        only_first=0,
        only_second=0,
    )


async def vectors_of_indexes(connection: AsyncConnection, first: UUID, second: UUID) -> Vectors:
    """Compare the vectors that two indexes have now, by the hashes of their bytes."""
    row = (await connection.execute(_TWO_INDEXES, {"first": first, "second": second})).one()
    return Vectors(
        same_index=False,
        made_by_first=0,
        made_by_second=0,
        copied_by_second=0,
        others=0,
        equal=row.equal,
        differing=row.differing,
        only_first=row.only_first,
        only_second=row.only_second,
    )
