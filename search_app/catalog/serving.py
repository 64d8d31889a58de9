"""What answers a search, found in one round trip: every search begins with it."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import collections, indexes, lexicons, models
from search_app.catalog.lexicons import Lexicon
from search_app.catalog.tables import collections as collection_table
from search_app.catalog.tables import indexes as index_table
from search_app.catalog.tables import lexicons as lexicon_table
from search_app.catalog.tables import model_versions, query_vectors
from search_app.types import Collection, Index, IndexState, ModelVersion, Vector


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The active index of a collection, its model, and the query's vector if it is known.

    ``lexicon`` is None where the index was never given terms.
    """

    collection: Collection
    index: Index
    version: ModelVersion
    vector: Vector | None
    lexicon: Lexicon | None


_SERVING = (
    select(
        collection_table.c.id,
        *index_table.c,
        *model_versions.c,
        query_vectors.c.vector,
        *lexicons.COLUMNS,
    )
    .join(index_table, index_table.c.collection_id == collection_table.c.id)
    .join(model_versions, model_versions.c.id == index_table.c.model_version_id)
    .outerjoin(lexicon_table, lexicon_table.c.index_id == index_table.c.id)
    .outerjoin(
        query_vectors,
        (query_vectors.c.model_version_id == model_versions.c.id)
        & (query_vectors.c.text_hash == bindparam("query_hash")),
    )
    .where(collection_table.c.name == bindparam("name"))
    .where(index_table.c.state == IndexState.ACTIVE.value)
)


async def serving(connection: AsyncConnection, name: str, query_hash: bytes) -> Serving:
    """Find what answers a query, by the SHA-256 of its text.

    Raises:
        InvalidInputError: no collection can have that name.
        NotFoundError: no such collection, or nothing was ever ingested into it.
    """
    collections.check_name(name)
    found = await connection.execute(_SERVING, {"name": name, "query_hash": query_hash})
    row = found.mappings().one_or_none()
    if row is None:
        # Asked one by one, they say what exactly is missing.
        collection = await collections.get(connection, name)
        index = await indexes.active(connection, collection)
        version = await models.get(connection, index.model_version_id)
        lexicon = await lexicons.get(connection, index.id)
        return Serving(
            collection=collection, index=index, version=version, vector=None, lexicon=lexicon
        )
    known = row[query_vectors.c.vector]
    return Serving(
        collection=Collection(id=row[collection_table.c.id], name=name),
        index=indexes.from_row(row),
        version=models.from_row(row),
        vector=None if known is None else np.frombuffer(known, dtype="<f4"),
        lexicon=lexicons.from_row(row),
    )
