"""What a collection holds as one list: filtered, sorted, a page at a time.

The list is of documents. A source that is not in yet, or that failed, stands in it under its own
uri, since nobody would see it otherwise; where a document of that very uri is there from an earlier
reading, the document stands for both.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    Subquery,
    Uuid,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import chunks, documents, sources
from search_app.errors import InvalidInputError
from search_app.filters import AnyOf, Filter
from search_app.jsonb import filter_clause
from search_app.types import Collection

LONGEST_TEXT = 500
"""Characters of a text that is looked for in titles and paths."""


class EntryState(StrEnum):
    """How an entry stands."""

    INDEXED = "indexed"
    PENDING = "pending"
    """Begun and not in yet."""
    FAILED = "failed"
    """Its source could not be read, or not whole; ``reason`` says why."""
    REMOVING = "removing"


class Sort(StrEnum):
    """What a list can be sorted by."""

    PATH = "path"
    TITLE = "title"
    CHANGED = "changed"
    CHUNKS = "chunks"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which entries are wanted, in what order; an empty text asks for nothing in particular.

    ``text`` is looked for in titles and uris, whatever its case. Language, type, folder and what
    a filter looks at are known of documents only, so asking for one leaves out the sources that
    gave none.
    """

    text: str = ""
    state: EntryState | None = None
    language: str = ""
    type: str = ""
    folder: str = ""
    filter: Filter | None = None
    sort: Sort = Sort.PATH
    descending: bool = False

    def __post_init__(self) -> None:
        """Refuse what the database cannot hold.

        Raises:
            InvalidInputError: a text is too long, or has a NUL or half a surrogate pair.
        """
        for text in (self.text, self.language, self.type, self.folder):
            if len(text) > LONGEST_TEXT:
                raise InvalidInputError(
                    f"{text[:40]!r}… has {len(text):,} characters; at most {LONGEST_TEXT} work"
                )
            if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
                raise InvalidInputError(
                    f"{text[:40]!r} has a NUL or half of a surrogate pair; remove it"
                )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the list. Of a source without a document, ``document_id`` is None.

    ``language`` and ``type`` are empty then, ``chunks`` is 0 and the title is the file's name.
    """

    document_id: UUID | None
    source_id: UUID
    uri: str
    source: str
    title: str
    language: str
    type: str
    chunks: int
    state: EntryState
    reason: str | None
    changed_at: datetime


async def entries(
    connection: AsyncConnection,
    collection: Collection,
    wanted: Wanted,
    *,
    chunking: str,
    limit: int,
    offset: int = 0,
) -> list[Entry]:
    """List a page of the entries that are wanted; ``chunking`` says whose chunks are counted."""
    # Each arm gives no more than the page can need, so that an index can end its work early.
    reach = limit + offset
    arms = [
        _ordered(arm, wanted).limit(reach).subquery()
        for arm in _arms(collection, wanted, chunking=chunking)
    ]
    together = union_all(*(select(*arm.c) for arm in arms)).subquery()
    page = _ordered(select(*together.c), wanted).limit(limit).offset(offset).subquery()
    rows = await connection.execute(_ordered(_details(page, chunking), wanted, page))
    return [_entry(row) for row in rows]


async def count(connection: AsyncConnection, collection: Collection, wanted: Wanted) -> int:
    """Count the entries that are wanted."""
    numbers = [
        select(func.count()).select_from(arm.order_by(None).subquery()).scalar_subquery()
        for arm in _arms(collection, wanted, chunking=None)
    ]
    statement = select(sum(numbers[1:], start=numbers[0].label("number")))
    return (await connection.scalar(statement)) or 0


_WHOLE = documents.c.uri == sources.c.uri
"""The document is the whole of its source, so that what befell the source befell it."""

_REMOVING = or_(documents.c.state == "deleting", sources.c.state == "removing")
_FAILED = and_(sources.c.state == "failed", _WHOLE)
_STATE = case((_REMOVING, "removing"), (_FAILED, "failed"), else_=documents.c.state)

# What _STATE says, in conditions that the planner can estimate.
_STANDS = {
    EntryState.INDEXED: and_(documents.c.state == "indexed", ~_REMOVING, ~_FAILED),
    EntryState.PENDING: and_(documents.c.state == "pending", ~_REMOVING, ~_FAILED),
    EntryState.FAILED: and_(_FAILED, documents.c.state != "deleting"),
    EntryState.REMOVING: _REMOVING,
}


def _arms(collection: Collection, wanted: Wanted, *, chunking: str | None) -> list[Select[Any]]:
    """Select ids and sort key of the documents that are wanted, and of the sources."""
    arms = [_documents(collection, wanted, chunking)]
    if not (wanted.language or wanted.type or wanted.folder or wanted.filter):
        arms.append(_sources(collection, wanted))
    return arms


def _documents(collection: Collection, wanted: Wanted, chunking: str | None) -> Select[Any]:
    keys: dict[Sort, ColumnElement[Any]] = {
        Sort.PATH: documents.c.uri,
        Sort.TITLE: func.lower(documents.c.title),
        Sort.CHANGED: documents.c.updated_at,
    }
    statement = select(
        documents.c.id.label("document_id"), documents.c.source_id, documents.c.uri.label("uri")
    ).where(documents.c.collection_id == collection.id)
    if wanted.sort is Sort.CHUNKS and chunking is not None:
        numbers = _chunk_numbers(chunking)
        statement = statement.outerjoin(numbers, numbers.c.document_id == documents.c.id)
        statement = statement.add_columns(func.coalesce(numbers.c.chunks, 0).label("key"))
    else:
        statement = statement.add_columns(keys.get(wanted.sort, documents.c.uri).label("key"))
    if wanted.state is not None:
        statement = statement.join(sources, sources.c.id == documents.c.source_id)
        statement = statement.where(_STANDS[wanted.state])
    if wanted.text:
        statement = statement.where(_has(wanted.text, documents.c.title, documents.c.uri))
    if wanted.language:
        statement = statement.where(documents.c.language == wanted.language)
    if wanted.type:
        statement = statement.where(documents.c.media_type == wanted.type)
    if wanted.folder:
        within = Filter(conditions=(AnyOf(field="folder", values=(wanted.folder,)),))
        statement = statement.where(filter_clause(documents.c.fields, within))
    if wanted.filter:
        statement = statement.where(filter_clause(documents.c.fields, wanted.filter))
    return statement


def _chunk_numbers(chunking: str) -> Subquery:
    return (
        select(chunks.c.document_id, func.count().label("chunks"))
        .where(chunks.c.chunking == chunking)
        .where(chunks.c.state == "live")
        .group_by(chunks.c.document_id)
        .subquery()
    )


def _sources(collection: Collection, wanted: Wanted) -> Select[Any]:
    keys: dict[Sort, ColumnElement[Any]] = {
        Sort.PATH: sources.c.uri,
        Sort.TITLE: func.lower(_file_name()),
        Sort.CHANGED: sources.c.updated_at,
        Sort.CHUNKS: literal(0),
    }
    states: tuple[str, ...] = ("failed", "pending")
    if wanted.state is not None:
        states = tuple(state for state in states if state == wanted.state.value)
    stands = (
        select(true())
        .select_from(documents)
        .where(documents.c.collection_id == sources.c.collection_id)
        .where(documents.c.uri == sources.c.uri)
    )
    statement = (
        select(
            cast(null(), Uuid).label("document_id"),
            sources.c.id.label("source_id"),
            sources.c.uri.label("uri"),
            keys[wanted.sort].label("key"),
        )
        .where(sources.c.collection_id == collection.id)
        .where(sources.c.state.in_(states))
        .where(~stands.exists())
    )
    if wanted.text:
        statement = statement.where(_has(wanted.text, sources.c.uri))
    return statement


def _file_name() -> ColumnElement[str]:
    return func.regexp_replace(sources.c.uri, "^.*/(?=.)", "", type_=String)


def _has(text: str, *columns: ColumnElement[str]) -> ColumnElement[bool]:
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _ordered(statement: Select[Any], wanted: Wanted, page: Subquery | None = None) -> Select[Any]:
    """Sort by the key, equal ones by uri."""
    columns = page.c if page is not None else statement.selected_columns
    key = columns.key.desc() if wanted.descending else columns.key
    return statement.order_by(key, columns.uri, columns.source_id)


def _details(page: Subquery, chunking: str) -> Select[Any]:
    number = (
        select(func.count())
        .where(chunks.c.document_id == documents.c.id)
        .where(chunks.c.chunking == chunking)
        .where(chunks.c.state == "live")
        .scalar_subquery()
    )
    return (
        select(
            documents.c.id.label("document_id"),
            sources.c.id.label("source_id"),
            page.c.uri,
            sources.c.uri.label("source"),
            func.coalesce(documents.c.title, _file_name()).label("title"),
            func.coalesce(documents.c.language, "").label("language"),
            func.coalesce(documents.c.media_type, "").label("type"),
            number.label("chunks"),
            case((documents.c.id.is_(None), sources.c.state), else_=_STATE).label("state"),
            case((or_(documents.c.id.is_(None), _WHOLE), sources.c.reason)).label("reason"),
            func.coalesce(documents.c.updated_at, sources.c.updated_at).label("changed_at"),
        )
        .select_from(page)
        .join(sources, sources.c.id == page.c.source_id)
        .outerjoin(documents, documents.c.id == page.c.document_id)
    )


def _entry(row: Any) -> Entry:
    values = dict(row._mapping)  # noqa: SLF001 - a public name with an underscore
    return Entry(**values | {"state": EntryState(values["state"])})
