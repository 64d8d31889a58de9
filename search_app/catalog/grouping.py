"""Groups of documents that share a value of a field, and passages that stand for each."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog.serving import Serving
from search_app.types import JSON, Collection


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A value of a field, and how many documents and passages have it; ``key`` is its JSON."""

    key: str
    documents: int
    passages: int

    @property
    def value(self) -> JSON:
        """The value itself."""
        return json.loads(self.key)


# A document whose field is a list is in the group of each of its values.
_VALUED = """
    WITH valued AS (
        SELECT DISTINCT documents.id, one.value
        FROM documents CROSS JOIN LATERAL jsonb_array_elements(
            CASE jsonb_typeof(documents.fields #> CAST(:path AS text[]))
                WHEN 'array' THEN documents.fields #> CAST(:path AS text[])
                ELSE jsonb_build_array(documents.fields #> CAST(:path AS text[]))
            END
        ) AS one (value)
        WHERE documents.collection_id = :collection_id AND documents.state = 'indexed'
            AND jsonb_typeof(one.value) IN ('string', 'number', 'boolean')
    ), passages AS (
        SELECT valued.value, valued.id AS document_id, chunks.id
        FROM valued JOIN chunks ON chunks.document_id = valued.id
        WHERE chunks.chunking = :chunking AND chunks.state = 'live'
            AND chunks.id <> ALL(CAST(:hidden AS uuid[]))
    )
"""


def _of_values(statement: str) -> TextClause:
    return text(f"{_VALUED}{statement}")


_COUNTED = _of_values("""
    SELECT value::text AS key, count(DISTINCT document_id) AS documents, count(*) AS passages
    FROM passages GROUP BY value ORDER BY count(*) DESC, value LIMIT :most
""")

_MEMBERS = _of_values("""
    SELECT CAST(asked.place AS int) - 1 AS place, passages.id
    FROM passages
    JOIN unnest(CAST(:keys AS text[])) WITH ORDINALITY AS asked (key, place)
        ON passages.value::text = asked.key
    ORDER BY passages.id, place
""")

_NAMES = text("""
    SELECT DISTINCT name FROM documents CROSS JOIN LATERAL (
        SELECT jsonb_object_keys(documents.fields) AS name WHERE true
        UNION ALL
        SELECT 'meta.' || jsonb_object_keys(documents.fields -> 'meta')
        WHERE jsonb_typeof(documents.fields -> 'meta') = 'object'
        UNION ALL
        SELECT 'suggested.' || jsonb_object_keys(documents.fields -> 'suggested')
        WHERE jsonb_typeof(documents.fields -> 'suggested') = 'object'
    ) AS named
    WHERE documents.collection_id = :collection_id AND documents.state = 'indexed'
        AND name NOT IN ('meta', 'suggested')
    ORDER BY name LIMIT :most
""")


async def counted(
    connection: AsyncConnection, target: Serving, field: str, *, most: int
) -> list[Counted]:
    """Count the groups of a field, those with the most passages first."""
    rows = await connection.execute(_COUNTED, {**_keys(target, field), "most": most})
    return [Counted(key=row.key, documents=row.documents, passages=row.passages) for row in rows]


async def members(
    connection: AsyncConnection, target: Serving, field: str, keys: Sequence[str], *, batch: int
) -> AsyncIterator[tuple[list[UUID], list[int]]]:
    """Stream the passages of groups: ids, ascending, and beside them the places of their ``keys``.

    The connection must be in a transaction, which is what a cursor lives in.
    """
    values = {**_keys(target, field), "keys": list(keys)}
    rows = await connection.stream(_MEMBERS, values, execution_options={"yield_per": batch})
    async for some in rows.partitions():
        yield [row.id for row in some], [row.place for row in some]


async def names(connection: AsyncConnection, collection: Collection, *, most: int) -> list[str]:
    """Name the fields that documents of a collection have."""
    values = {"collection_id": collection.id, "most": most}
    return list(await connection.scalars(_NAMES, values))


def _keys(target: Serving, field: str) -> dict[str, JSON]:
    return {
        "collection_id": target.collection.id,
        "chunking": target.index.chunking.name,
        "path": field.split(".", 1),
        "hidden": list(target.hidden),
    }
