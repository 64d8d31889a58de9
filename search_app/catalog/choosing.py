"""Sources that something is to be done with, and what else that would touch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, column, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.tables import chunks, documents, sources
from search_app.types import Collection


@dataclass(frozen=True, kw_only=True)
class ChosenSource:
    """A source that something is to be done with, and how many documents it has."""

    id: UUID
    uri: str
    documents: int


async def chosen(
    connection: AsyncConnection, collection: Collection, source_ids: Sequence[UUID]
) -> list[ChosenSource]:
    """Look sources of a collection up by their ids, in the order of their uris."""
    statement = _counted_sources(collection).where(sources.c.id == func.any(list(source_ids)))
    return [ChosenSource(**row._mapping) for row in await connection.execute(statement)]  # noqa: SLF001 - a public name with an underscore


async def sources_of(
    connection: AsyncConnection, document_ids: Sequence[UUID], chunk_ids: Sequence[UUID]
) -> list[UUID]:
    """Name the sources of documents and passages; those that are gone are left out."""
    of_passages = select(chunks.c.document_id).where(chunks.c.id == func.any(list(chunk_ids)))
    statement = (
        select(documents.c.source_id)
        .where((documents.c.id == func.any(list(document_ids))) | documents.c.id.in_(of_passages))
        .distinct()
    )
    return list(await connection.scalars(statement))


async def below(
    connection: AsyncConnection, collection: Collection, uris: Sequence[str]
) -> list[ChosenSource]:
    """List the sources that lie below others, as web pages do: removing these removes them too."""
    values = func.unnest(literal(list(uris), ARRAY(Text)))
    above = values.table_valued(column("uri", Text)).render_derived()
    lies_below = select(true()).where(func.starts_with(sources.c.uri, _folder(above.c.uri)))
    statement = (
        _counted_sources(collection)
        .where(lies_below.exists())
        .where(sources.c.uri.not_in(list(uris)))
    )
    return [ChosenSource(**row._mapping) for row in await connection.execute(statement)]  # noqa: SLF001 - likewise


def _folder(uri: ColumnElement[str]) -> ColumnElement[str]:
    return func.rtrim(uri, "/", type_=Text) + "/"


def _counted_sources(collection: Collection) -> Select[Any]:
    number = (
        select(func.count())
        .where(documents.c.source_id == sources.c.id)
        .where(documents.c.state != "deleting")
        .scalar_subquery()
    )
    return (
        select(sources.c.id, sources.c.uri, number.label("documents"))
        .where(sources.c.collection_id == collection.id)
        .order_by(sources.c.uri)
    )
