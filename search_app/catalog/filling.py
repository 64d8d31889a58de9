"""What an index that is being built still lacks, and what it takes over from another one.

An index is to have a vector of every passage that is shown: of every live chunk, cut as the index
wants it, of every document that can be found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import FromClause, LargeBinary, Select, delete, func, insert, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.chunks import FIELDS
from search_app.catalog.tables import (
    chunks,
    collections,
    documents,
    indexes,
    lexicons,
    term_frequencies,
    vector_records,
)
from search_app.types import JSON, Collection, Index, IndexState


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A chunk to be embedded: the text that is sent is made of its context and its text.

    ``fields`` are its filter fields: its document's and its own.
    """

    id: UUID
    document_id: UUID
    context: str
    text: str
    fields: Mapping[str, JSON]


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """How much an index lacks; ``uncut`` are documents of which it has no chunk at all."""

    passages: int
    missing: int
    uncut: int

    @property
    def none(self) -> bool:
        """Say whether it lacks nothing."""
        return not self.missing and not self.uncut


async def documents_after(
    connection: AsyncConnection, collection: Collection, after: str, *, limit: int
) -> list[tuple[UUID, str]]:
    """List the next documents that can be found, ids and uris, in the order of the uris."""
    statement = (
        select(documents.c.id, documents.c.uri)
        .where(documents.c.collection_id == collection.id)
        .where(documents.c.state == "indexed")
        .where(documents.c.uri > after)
        .order_by(documents.c.uri)
        .limit(limit)
    )
    return [(row.id, row.uri) for row in await connection.execute(statement)]


def _lacking(index: Index, *columns: Any, few: bool = False) -> Select[Any]:
    """Select shown passages of which the index has no vector.

    ``few``: so few are asked for that each is to be looked up by itself. Left to guess, the server
    may read all records for every page.
    """
    record = (
        select(vector_records.c.chunk_id)
        .where(vector_records.c.index_id == index.id)
        .where(vector_records.c.chunk_id == chunks.c.id)
    )
    has = (record.offset(0) if few else record).exists()
    return (
        select(*columns)
        .select_from(chunks.join(documents, documents.c.id == chunks.c.document_id))
        .where(documents.c.state == "indexed")
        .where(chunks.c.state == "live")
        .where(chunks.c.chunking == index.chunking.name)
        .where(~has)
    )


async def lacking(
    connection: AsyncConnection, index: Index, document_ids: Sequence[UUID]
) -> list[UUID]:
    """Name the passages of documents of which the index has no vector, in reading order."""
    statement = (
        _lacking(index, chunks.c.id, few=True)
        .where(chunks.c.document_id == func.any(list(document_ids)))
        .order_by(documents.c.uri, chunks.c.ordinal)
    )
    return list(await connection.scalars(statement))


async def passages(
    connection: AsyncConnection, index: Index, chunk_ids: Sequence[UUID]
) -> list[Passage]:
    """Load those of the passages that are shown and lacking now, in the order of their ids."""
    statement = (
        _lacking(
            index,
            chunks.c.id,
            chunks.c.document_id,
            chunks.c.context,
            chunks.c.text,
            FIELDS,
            few=True,
        )
        .where(chunks.c.id == func.any(list(chunk_ids)))
        .order_by(chunks.c.id)
    )
    return [Passage(**row) for row in (await connection.execute(statement)).mappings()]


async def still_lacking(
    connection: AsyncConnection, index: Index, chunk_ids: Sequence[UUID]
) -> dict[UUID, Mapping[str, JSON]]:
    """Say which of the passages are shown and lacking now, with their filter fields."""
    statement = _lacking(index, chunks.c.id, FIELDS, few=True).where(
        chunks.c.id == func.any(list(chunk_ids))
    )
    return {row.id: row.fields for row in await connection.execute(statement)}


async def gaps(connection: AsyncConnection, index: Index) -> Gaps:
    """Count what an index lacks."""
    here = documents.c.collection_id == index.collection_id
    shown = (
        select(func.count())
        .select_from(chunks.join(documents, documents.c.id == chunks.c.document_id))
        .where(here)
        .where(documents.c.state == "indexed")
        .where(chunks.c.state == "live")
        .where(chunks.c.chunking == index.chunking.name)
    )
    cut = (
        select(chunks.c.id)
        .where(chunks.c.document_id == documents.c.id)
        .where(chunks.c.chunking == index.chunking.name)
        .where(chunks.c.state == "live")
        .exists()
    )
    uncut = (
        select(func.count())
        .select_from(documents)
        .where(here)
        .where(documents.c.state == "indexed")
        .where(~cut)
    )
    missing = _lacking(index, func.count()).where(here)
    return Gaps(
        passages=(await connection.scalar(shown)) or 0,
        missing=(await connection.scalar(missing)) or 0,
        uncut=(await connection.scalar(uncut)) or 0,
    )


async def number_of_records(connection: AsyncConnection, index_id: UUID) -> int:
    """Count the vectors that an index has by its records."""
    statement = (
        select(func.count())
        .select_from(vector_records)
        .where(vector_records.c.index_id == index_id)
    )
    return (await connection.scalar(statement)) or 0


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The passages of ``source`` with ids behind ``after`` (None: all) and up to ``last``."""

    source: Index
    after: UUID | None
    last: UUID


def _copyable(index: Index, stretch: Stretch, *columns: Any) -> Select[Any]:
    """Select what an index lacks and another one, which cuts alike, has in a stretch."""
    statement = _lacking(index, *columns).join(_THEIRS, _THEIRS.c.chunk_id == chunks.c.id)
    return _within(statement, _THEIRS, stretch)


def _within(statement: Select[Any], records: FromClause, stretch: Stretch) -> Select[Any]:
    """Keep the records of a stretch."""
    kept = statement.where(records.c.index_id == stretch.source.id)
    kept = kept.where(records.c.chunk_id <= stretch.last)
    return kept if stretch.after is None else kept.where(records.c.chunk_id > stretch.after)


_THEIRS = vector_records.alias("theirs")


async def copyable_digest(
    connection: AsyncConnection, index: Index, stretch: Stretch
) -> bytes | None:
    """Give SHA-256 of the stored hashes of a stretch in the order of ids, if all can be copied.

    None where something of the stretch is not shown or is in the index already.
    """
    nothing = literal(b"", LargeBinary)
    joined = func.string_agg(_THEIRS.c.stored_hash, aggregate_order_by(nothing, _THEIRS.c.chunk_id))
    digest = func.sha256(func.coalesce(joined, nothing))
    every = _within(select(func.count()).select_from(vector_records), vector_records, stretch)
    statement = _copyable(
        index, stretch, func.count(), digest.label("digest"), every.scalar_subquery()
    )
    number, found, recorded = (await connection.execute(statement)).one()
    return bytes(found) if number == recorded else None


async def copyable(
    connection: AsyncConnection, index: Index, stretch: Stretch
) -> dict[UUID, bytes]:
    """Name what can be copied in a stretch, with what each vector hashes to."""
    rows = await connection.execute(_copyable(index, stretch, chunks.c.id, _THEIRS.c.stored_hash))
    return {row.id: row.stored_hash for row in rows}


_OWN = ("index_id", "copied_by_run_id", "created_at")
_KEPT = tuple(column.name for column in vector_records.c if column.name not in _OWN)


async def copy_records(
    connection: AsyncConnection,
    index: Index,
    stretch: Stretch,
    run_id: UUID,
    only: Sequence[UUID] | None = None,
) -> None:
    """Record vectors of a stretch as copied by a run: all of them, or ``only`` some."""
    taken = select(
        literal(index.id, vector_records.c.index_id.type),
        literal(run_id, vector_records.c.copied_by_run_id.type),
        *(vector_records.c[name] for name in _KEPT),
    ).order_by(vector_records.c.chunk_id)
    if only is not None:
        taken = taken.where(vector_records.c.chunk_id == func.any(list(only)))
    taken = _within(taken, vector_records, stretch)
    await connection.execute(
        insert(vector_records).from_select(["index_id", "copied_by_run_id", *_KEPT], taken)
    )


async def copy_lexicon(connection: AsyncConnection, source_id: UUID, index_id: UUID) -> None:
    """Give an index the counts of terms of another one in the place of its own."""
    await forget_counts(connection, index_id)
    columns = [column.name for column in term_frequencies.c if column.name != "index_id"]
    taken = select(
        literal(index_id, term_frequencies.c.index_id.type),
        *(term_frequencies.c[name] for name in columns),
    ).where(term_frequencies.c.index_id == source_id)
    await connection.execute(insert(term_frequencies).from_select(["index_id", *columns], taken))
    number = select(lexicons.c.passages).where(lexicons.c.index_id == source_id).scalar_subquery()
    await connection.execute(
        lexicons.update().where(lexicons.c.index_id == index_id).values(passages=number)
    )


async def forget_counts(connection: AsyncConnection, index_id: UUID) -> None:
    """Set back the counts of terms of an index."""
    await connection.execute(
        delete(term_frequencies).where(term_frequencies.c.index_id == index_id)
    )
    await connection.execute(
        lexicons.update().where(lexicons.c.index_id == index_id).values(passages=0)
    )


async def only_in(connection: AsyncConnection, index_id: UUID, other_id: UUID) -> list[UUID]:
    """Name chunks that have a vector in the one index and none in the other."""
    theirs = vector_records.alias()
    missing = (
        select(theirs.c.chunk_id)
        .where(theirs.c.index_id == other_id)
        .where(theirs.c.chunk_id == vector_records.c.chunk_id)
        .exists()
    )
    statement = (
        select(vector_records.c.chunk_id)
        .where(vector_records.c.index_id == index_id)
        .where(~missing)
        .order_by(vector_records.c.chunk_id)
    )
    return list(await connection.scalars(statement))


async def uris(connection: AsyncConnection, document_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Give the uris of documents; those that are gone are left out."""
    statement = select(documents.c.id, documents.c.uri).where(
        documents.c.id == func.any(list(document_ids))
    )
    return {row.id: row.uri for row in await connection.execute(statement)}


async def is_open(connection: AsyncConnection, index_id: UUID) -> bool:
    """Say whether an index is still kept, and its collection too."""
    statement = (
        select(indexes.c.id)
        .join(collections, collections.c.id == indexes.c.collection_id)
        .where(indexes.c.id == index_id)
        .where(indexes.c.state != IndexState.RETIRED.value)
        .where(collections.c.state == "live")
    )
    return await connection.scalar(statement) is not None
