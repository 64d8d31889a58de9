"""Documents and passages that searches leave out: still there, not removed, and taken back at will.

An exclusion of a document holds as long as the document is there, whatever becomes of its text. One
of a passage is of its text in that document: cut or read again it stays out, and once its text has
changed it is another passage, which is found. With a document its exclusions go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Subquery, and_, delete, exists, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import chunks, collections, documents, exclusions
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Collection

WHOLE = b""
"""Stands for the text of a passage where the whole document is excluded."""

MOST_HIDDEN = 10_000
"""Passages of a collection that can be left out, since every search names them to its store."""

LONGEST_REASON = 200
SHOWN_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """What is left out, since when and why; ``chunk_id`` is None of a whole document.

    ``text`` is the beginning of a passage, ``passages`` how many are left out by it.
    """

    document_id: UUID
    chunk_id: UUID | None
    collection: str
    title: str
    text: str
    reason: str
    passages: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Left:
    """What of a document is left out: all of it, or the passages with these ids; since when."""

    whole: bool = False
    chunk_ids: frozenset[UUID] = frozenset()
    reason: str = ""
    since: datetime | None = None


_HIDDEN = text("""
    SELECT chunks.id FROM exclusions
    JOIN chunks ON chunks.document_id = exclusions.document_id
        AND (exclusions.text_hash = ''::bytea OR chunks.text_hash = exclusions.text_hash)
    WHERE exclusions.collection_id = :collection_id AND chunks.chunking = :chunking
""")


async def hidden(
    connection: AsyncConnection, collection_id: UUID, chunking: str
) -> frozenset[UUID]:
    """Name the passages that searches leave out."""
    keys = {"collection_id": collection_id, "chunking": chunking}
    return frozenset(await connection.scalars(_HIDDEN, keys))


def hidden_documents() -> Subquery:
    """Select the documents of which nothing can be found: column ``id``."""
    other = exclusions.alias("other")
    found = exists().where(
        chunks.c.document_id == exclusions.c.document_id,
        chunks.c.state == "live",
        ~exists().where(
            other.c.document_id == chunks.c.document_id, other.c.text_hash == chunks.c.text_hash
        ),
    )
    return (
        select(exclusions.c.document_id.label("id"))
        .where((exclusions.c.text_hash == WHOLE) | ~found)
        .distinct()
        .subquery("hidden")
    )


_ADD = text("""
    INSERT INTO exclusions (document_id, text_hash, collection_id, reason)
    SELECT DISTINCT documents.id, ''::bytea, documents.collection_id, :reason
    FROM documents WHERE documents.id = ANY(:documents)
    UNION
    SELECT DISTINCT documents.id, chunks.text_hash, documents.collection_id, :reason
    FROM chunks JOIN documents ON documents.id = chunks.document_id
    WHERE chunks.id = ANY(:passages)
    ON CONFLICT DO NOTHING RETURNING collection_id
""")
_COLLECTIONS_OF = text("""
    SELECT DISTINCT documents.collection_id FROM documents
    WHERE documents.id = ANY(:documents) OR documents.id IN (
        SELECT chunks.document_id FROM chunks WHERE chunks.id = ANY(:passages)
    )
""")
_NUMBER_HIDDEN = text("""
    SELECT count(DISTINCT chunks.id) FROM exclusions
    JOIN chunks ON chunks.document_id = exclusions.document_id
        AND (exclusions.text_hash = ''::bytea OR chunks.text_hash = exclusions.text_hash)
    WHERE exclusions.collection_id = :collection_id
""")


async def add(
    connection: AsyncConnection,
    *,
    documents: Sequence[UUID] = (),
    passages: Sequence[UUID] = (),
    reason: str = "",
) -> int:
    """Leave documents and passages out of searches; say how many were not left out before.

    Raises:
        NotFoundError: one is not there.
        InvalidInputError: too many would be left out of a collection, or the reason is too long.
    """
    if len(reason) > LONGEST_REASON or not all(map(str.isprintable, reason)):
        raise InvalidInputError(
            f"the reason has {len(reason):,} characters; one line of at most {LONGEST_REASON} works"
        )
    await _check_there(connection, documents, passages)
    keys = {"documents": list(documents), "passages": list(passages)}
    added = list(await connection.scalars(_ADD, {**keys, "reason": reason}))
    for collection_id in set(added):
        number = await connection.scalar(_NUMBER_HIDDEN, {"collection_id": collection_id}) or 0
        if number > MOST_HIDDEN:
            raise InvalidInputError(
                f"{number:,} passages of one collection would be left out; at most "
                f"{MOST_HIDDEN:,} can be: remove documents instead, or filter by their source"
            )
        await touch(connection, collection_id)
    return len(added)


async def lift(
    connection: AsyncConnection, *, documents: Sequence[UUID] = (), passages: Sequence[UUID] = ()
) -> int:
    """Have documents and passages found again; say how many were left out.

    Raises:
        NotFoundError: one is not there.
    """
    await _check_there(connection, documents, passages)
    keys = {"documents": list(documents), "passages": list(passages)}
    seen = list(await connection.scalars(_COLLECTIONS_OF, keys))
    of_passages = select(chunks.c.document_id, chunks.c.text_hash).where(
        chunks.c.id == func.any(list(passages))
    )
    gone = await connection.execute(
        delete(exclusions)
        .where(exclusions.c.collection_id == func.any(seen))
        .where(
            and_(
                exclusions.c.document_id == func.any(list(documents)),
                exclusions.c.text_hash == WHOLE,
            )
            | tuple_(exclusions.c.document_id, exclusions.c.text_hash).in_(of_passages)
        )
        .returning(exclusions.c.document_id)
    )
    number = len(gone.all())
    if number:
        for collection_id in seen:
            await touch(connection, collection_id)
    return number


async def touch(connection: AsyncConnection, collection_id: UUID) -> None:
    """Note that what can be found in a collection has changed, though no run did it."""
    await connection.execute(
        collections.update()
        .where(collections.c.id == collection_id)
        .values(touched_at=func.clock_timestamp())
    )


_LISTING = text("""
    SELECT exclusions.document_id, exclusions.reason, exclusions.created_at,
        documents.title, collections.name AS collection, found.chunk_id,
        coalesce(found.text, '') AS text, found.passages
    FROM exclusions
    JOIN documents ON documents.id = exclusions.document_id
    JOIN collections ON collections.id = exclusions.collection_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN exclusions.text_hash <> ''::bytea
                THEN CAST(min(CAST(chunks.id AS text)) AS uuid) END AS chunk_id,
            CASE WHEN exclusions.text_hash <> ''::bytea THEN left(min(chunks.text), :shown) END
                AS text,
            count(*) FILTER (WHERE chunks.state = 'live') AS passages
        FROM chunks WHERE chunks.document_id = exclusions.document_id
            AND (exclusions.text_hash = ''::bytea OR chunks.text_hash = exclusions.text_hash)
    ) AS found
    WHERE (CAST(:collection AS text) IS NULL OR collections.name = :collection)
        -- The text of a passage may be there no more.
        AND (exclusions.text_hash = ''::bytea OR found.chunk_id IS NOT NULL)
    ORDER BY exclusions.created_at DESC, exclusions.document_id, exclusions.text_hash
    LIMIT :limit OFFSET :offset
""")


async def listing(
    connection: AsyncConnection, *, collection: str | None = None, limit: int = 50, offset: int = 0
) -> list[Exclusion]:
    """List what is left out, the latest first."""
    keys = {"collection": collection, "shown": SHOWN_TEXT, "limit": limit, "offset": offset}
    rows = await connection.execute(_LISTING, keys)
    return [
        Exclusion(**{name: getattr(row, name) for name in Exclusion.__dataclass_fields__})
        for row in rows
    ]


_OF_DOCUMENT = text("""
    SELECT exclusions.text_hash = ''::bytea AS whole, exclusions.reason, exclusions.created_at,
        chunks.id
    FROM exclusions LEFT JOIN chunks ON chunks.document_id = exclusions.document_id
        AND chunks.text_hash = exclusions.text_hash
    WHERE exclusions.document_id = :document_id
""")


async def of_document(connection: AsyncConnection, document_id: UUID) -> Left:
    """Say what of a document is left out."""
    rows = (await connection.execute(_OF_DOCUMENT, {"document_id": document_id})).all()
    return Left(
        whole=any(row.whole for row in rows),
        chunk_ids=frozenset(row.id for row in rows if row.id is not None),
        reason=next((row.reason for row in rows if row.whole), ""),
        # A passage whose text is there no more leaves nothing out.
        since=min(
            (row.created_at for row in rows if row.whole or row.id is not None), default=None
        ),
    )


_LEFT_AMONG = text("""
    SELECT chunks.id FROM chunks JOIN exclusions ON exclusions.document_id = chunks.document_id
        AND (exclusions.text_hash = ''::bytea OR chunks.text_hash = exclusions.text_hash)
    WHERE chunks.id = ANY(:passages)
    UNION
    SELECT exclusions.document_id FROM exclusions
    WHERE exclusions.document_id = ANY(:documents) AND exclusions.text_hash = ''::bytea
""")


async def among(
    connection: AsyncConnection, *, documents: Sequence[UUID] = (), passages: Sequence[UUID] = ()
) -> set[UUID]:
    """Say which of these documents and passages are left out."""
    keys = {"documents": list(documents), "passages": list(passages)}
    return set(await connection.scalars(_LEFT_AMONG, keys))


_MEANT = text("""
    SELECT id, true AS document FROM documents
    WHERE collection_id = :collection_id AND CAST(id AS text) LIKE :begins
    UNION ALL
    SELECT chunks.id, false FROM chunks JOIN documents ON documents.id = chunks.document_id
    WHERE documents.collection_id = :collection_id AND CAST(chunks.id AS text) LIKE :begins
    LIMIT 2
""")


async def meant(
    connection: AsyncConnection, collection: Collection, texts: Sequence[str]
) -> tuple[list[UUID], list[UUID]]:
    """Find documents and passages by their ids, or by as much of them as names one only.

    Raises:
        NotFoundError: one is not in the collection.
        InvalidInputError: several begin so.
    """
    found: dict[bool, list[UUID]] = {True: [], False: []}
    for written in texts:
        begins = written.strip().lower()
        if not begins or set(begins) - set("0123456789abcdef-"):
            raise InvalidInputError(
                f"{written[:50]!r} is no id of a document or a passage; "
                "ingest outliers and the pages show them"
            )
        keys = {"collection_id": collection.id, "begins": f"{begins}%"}
        rows = (await connection.execute(_MEANT, keys)).all()
        if not rows:
            raise NotFoundError(
                f"no document and no passage {written[:50]!r} in collection {collection.name!r}"
            )
        if len(rows) > 1:
            raise InvalidInputError(f"several ids begin with {written!r}; write more of it")
        found[rows[0].document].append(rows[0].id)
    return found[True], found[False]


async def _check_there(
    connection: AsyncConnection, document_ids: Sequence[UUID], passages: Sequence[UUID]
) -> None:
    if not document_ids and not passages:
        raise InvalidInputError("nothing is named; name documents or passages by their ids")
    for kind, table, ids in (
        ("document", documents, document_ids),
        ("passage", chunks, passages),
    ):
        statement = select(table.c.id).where(table.c.id == func.any(list(ids)))
        there = set(await connection.scalars(statement))
        for each in ids:
            if each not in there:
                raise NotFoundError(f"no {kind} {each}; it may have been removed or changed")
