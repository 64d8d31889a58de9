"""Reading what facets are counted from, and choosing which metadata is worth a facet."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Select, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.columns import ABSENT
from search_app.catalog.exclusions import hidden_documents
from search_app.catalog.tables import documents
from search_app.filters import Condition, Filter
from search_app.jsonb import filter_clause
from search_app.types import JSON, Collection

STANDARD = ("language", "type", "folder", "date")
"""Fields that every collection has facets for."""

MOST_METADATA = 5
MOST_VALUES = 50
"""Metadata with more distinct values is not offered as a facet."""

LONGEST_VALUE = 80
"""Longest value, in characters, that can be chosen from a list."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SAMPLE = 2000
_LEAST_SHARE = 0.05
_SEPARATOR = "\x01"
"""JSON as PostgreSQL writes it has no control characters."""


async def metadata_fields(connection: AsyncConnection, collection: Collection) -> list[str]:
    """Choose the metadata to offer, by a sample that is always the same: ids are hashes."""
    sample = (
        select(documents.c.fields["meta"].label("meta"))
        .where(documents.c.collection_id == collection.id)
        .where(documents.c.state == "indexed")
        .order_by(documents.c.id)
        .limit(_SAMPLE)
    )
    return choose(list(await connection.scalars(sample)))


def choose(metas: Sequence[JSON]) -> list[str]:
    """Choose metadata with few values that many documents share, the most widespread first.

    It is on one document in twenty or more, has at most ``MOST_VALUES`` short values, each on two
    documents on average, and does not say the same of all. Fractions and days are left out.
    """
    held: dict[str, list[list[JSON]]] = {}
    for meta in metas:
        for name, value in meta.items() if isinstance(meta, Mapping) else ():
            held.setdefault(name, []).append(value if isinstance(value, list) else [value])
    offered = {name: values for name, values in held.items() if _is_offered(values, len(metas))}
    return sorted(offered, key=lambda name: (-len(offered[name]), name))[:MOST_METADATA]


def _is_offered(values: Sequence[Sequence[JSON]], documents: int) -> bool:
    singles = [single for several in values for single in several]
    if len(values) < _LEAST_SHARE * documents or not all(map(_can_be_chosen, singles)):
        return False
    distinct = {json.dumps(single) for single in singles}
    says_something = len(distinct) > 1 or len(values) < documents
    return says_something and 0 < len(distinct) <= min(MOST_VALUES, len(values) / 2)


def _can_be_chosen(value: JSON) -> bool:
    if isinstance(value, str):
        # Days are for the field `date`, which is counted by years.
        return len(value) <= LONGEST_VALUE and _DAY.match(value) is None
    return isinstance(value, int)


async def written_fields(
    connection: AsyncConnection, collection: Collection, fields: Sequence[str]
) -> tuple[bytes, dict[str, list[str]]]:
    """Read the ids of all documents that can be found, 16 bytes each, and their fields as JSON.

    The texts of each field are in the order of the ids, ``ABSENT`` where a document has none.
    """
    # One row for all: reading a hundred thousand takes many times as long. The aggregates of one
    # statement take the rows in one order.
    columns = [func.string_agg(_json(field), _SEPARATOR) for field in fields]
    statement = _of(collection, func.string_agg(_id(), cast(b"", LargeBinary)), *columns)
    ids, *texts = (await connection.execute(statement)).one()
    if ids is None:
        return b"", {field: [] for field in fields}
    return ids, {field: text.split(_SEPARATOR) for field, text in zip(fields, texts, strict=True)}


async def passing_ids(
    connection: AsyncConnection, collection: Collection, condition: Condition
) -> bytes:
    """Read the ids of the documents that pass, 16 bytes each."""
    wanted = Filter(conditions=(condition,))
    statement = _of(collection, func.string_agg(_id(), cast(b"", LargeBinary))).where(
        filter_clause(documents.c.fields, wanted)
    )
    found: bytes | None = await connection.scalar(statement)
    return found or b""


def _of(collection: Collection, *columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*columns)
        .where(documents.c.collection_id == collection.id)
        .where(documents.c.state == "indexed")
        .where(documents.c.id.not_in(select(hidden_documents().c.id)))
    )


def _id() -> ColumnElement[bytes]:
    return func.uuid_send(documents.c.id, type_=LargeBinary)


def _json(field: str) -> ColumnElement[str]:
    value: ColumnElement[Any] = documents.c.fields
    for name in field.split(".", 1):
        value = value[name]
    return func.coalesce(cast(value, Text), ABSENT)
