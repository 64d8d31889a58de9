"""Reference queries: texts whose lists are expected to hold, with the vectors that they got."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import reference_queries
from search_app.types import Index, QueryKind

Origin = Literal["golden", "log", "title"]
Sends = NDArray[np.float32]
"""Unit vectors of one query, one row for each send."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A text that may become a reference query, and where it is from."""

    text: str
    origin: Origin
    kind: QueryKind = "query"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A reference query of an index."""

    id: UUID
    text: str
    origin: Origin
    sends: Sends
    kind: QueryKind = "query"


async def listing(connection: AsyncConnection, index_id: UUID) -> list[Reference]:
    """Get all reference queries of an index, in the order of their ids."""
    rows = await connection.execute(
        select(*reference_queries.c)
        .where(reference_queries.c.index_id == index_id)
        .order_by(reference_queries.c.id)
    )
    return [
        Reference(
            id=row.id,
            text=row.text,
            origin=row.origin,
            sends=as_sends(row.vectors, row.sends),
            kind=row.kind,
        )
        for row in rows
    ]


async def number(connection: AsyncConnection, index_id: UUID) -> int:
    """Count the reference queries of an index."""
    statement = select(func.count()).where(reference_queries.c.index_id == index_id)
    return int(await connection.scalar(statement) or 0)


async def add(
    connection: AsyncConnection, index_id: UUID, wishes: Sequence[Wish], sends: Sequence[Sends]
) -> None:
    """Keep texts with the vectors that they got."""
    if wishes:
        await connection.execute(
            insert(reference_queries),
            [
                {
                    "id": uuid4(),
                    "index_id": index_id,
                    "text": wish.text,
                    "kind": wish.kind,
                    "origin": wish.origin,
                    "sends": len(vectors),
                    "vectors": as_bytes(vectors),
                }
                for wish, vectors in zip(wishes, sends, strict=True)
            ],
        )


async def replace(connection: AsyncConnection, reference_id: UUID, sends: Sends) -> None:
    """Take other vectors as what a query is expected to get, unless more are known.

    One send is made of a query whose list is what it was: that says less than the five before it.
    """
    await connection.execute(
        update(reference_queries)
        .where(reference_queries.c.id == reference_id)
        .where(reference_queries.c.sends <= len(sends))
        .values(sends=len(sends), vectors=as_bytes(sends))
    )


async def forget(connection: AsyncConnection, index_id: UUID) -> None:
    """Delete the reference queries of an index."""
    await connection.execute(
        delete(reference_queries).where(reference_queries.c.index_id == index_id)
    )


_LOGGED = text("""
    SELECT query, kind FROM query_log
    WHERE collection_id = :collection_id AND query IS NOT NULL AND first_rank = 1
        AND cardinality(hit_ids) > 0 AND client <> 'eval'
        AND created_at >= :since
    GROUP BY query, kind ORDER BY count(*) DESC, min(created_at), query, kind LIMIT :most
""")
_TITLED = text("""
    SELECT title FROM documents
    WHERE collection_id = :collection_id AND state = 'indexed' AND title <> ''
    GROUP BY title ORDER BY md5(title) LIMIT :most
""")


async def logged(connection: AsyncConnection, index: Index, most: int) -> list[Wish]:
    """List what was asked since the index began, the most often asked first."""
    given = {"collection_id": index.collection_id, "since": index.created_at, "most": most}
    rows = await connection.execute(_LOGGED, given)
    return [Wish(text=row.query, origin="log", kind=row.kind) for row in rows]


async def titles(connection: AsyncConnection, index: Index, most: int) -> list[Wish]:
    """List titles of documents, as if drawn at random and always the same."""
    given = {"collection_id": index.collection_id, "most": most}
    return [Wish(text=title, origin="title") for title in await connection.scalars(_TITLED, given)]


def as_bytes(sends: Sends) -> bytes:
    """Give the bytes of vectors, as they are kept."""
    return sends.astype("<f4").tobytes()


def as_sends(kept: bytes, number_of_sends: int) -> Sends:
    """Read vectors as they are kept."""
    return np.frombuffer(kept, "<f4").reshape(number_of_sends, -1)
