"""What answers a search, found in one round trip: every search begins with it.

All of a search is answered by the index found here, whatever is activated meanwhile.
"""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.catalog import collections, exclusions, indexes, lexicons, models
from search_app.catalog.lexicons import Lexicon
from search_app.catalog.tables import checks, model_versions, query_vectors
from search_app.catalog.tables import collections as collection_table
from search_app.catalog.tables import exclusions as exclusion_table
from search_app.catalog.tables import indexes as index_table
from search_app.catalog.tables import lexicons as lexicon_table
from search_app.errors import InvalidInputError
from search_app.types import Collection, Index, IndexState, ModelVersion, Vector


@dataclass(frozen=True, kw_only=True)
class Serving:
    """An index of a collection, its model, and the query's vector if it is known.

    ``proven`` says that the model proved itself after it gave the vector; ``noise`` is the largest
    1 - cos that the latest check of the index saw between two sends of a query, None where none
    did. ``lexicon`` is None where the index was never given terms. ``hidden`` are the passages
    that are excluded from searches.
    """

    collection: Collection
    index: Index
    version: ModelVersion
    vector: Vector | None
    lexicon: Lexicon | None
    proven: bool = False
    noise: float | None = None
    hidden: frozenset[UUID] = frozenset()


_NOISE = (
    select(checks.c.noise_max)
    .where(checks.c.index_id == index_table.c.id, checks.c.noise_max.is_not(None))
    .order_by(checks.c.created_at.desc())
    .limit(1)
    .scalar_subquery()
    .label("check_noise")
)
_EXCLUDING = (
    select(exclusion_table.c.document_id)
    .where(exclusion_table.c.collection_id == collection_table.c.id)
    .exists()
    .label("excluding")
)
_KEPT = (
    select(
        collection_table.c.id,
        *index_table.c,
        *model_versions.c,
        query_vectors.c.vector,
        query_vectors.c.proven,
        _NOISE,
        _EXCLUDING,
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
)
_SERVING = _KEPT.where(index_table.c.state == IndexState.ACTIVE.value)
_SERVING_OF = _KEPT.where(index_table.c.id == bindparam("index_id"))


async def serving(
    connection: AsyncConnection, name: str, query_hash: bytes, *, index: str | None = None
) -> Serving:
    """Find what answers a query, by the SHA-256 of its text.

    ``index`` names an index of the collection other than the active one, as indexes.find does.

    Raises:
        InvalidInputError: no collection can have that name, or the index cannot answer for it.
        NotFoundError: no such collection or index, or nothing was ever ingested.
    """
    collections.check_name(name)
    values = {"name": name, "query_hash": query_hash}
    if index is None:
        found = await connection.execute(_SERVING, values)
    else:
        chosen = await _chosen(connection, name, index)
        found = await connection.execute(_SERVING_OF, {**values, "index_id": chosen.id})
    row = found.mappings().one_or_none()
    if row is None:
        # Asked one by one, they say what exactly is missing.
        collection = await collections.get(connection, name)
        answering = await indexes.active(connection, collection)
        version = await models.get(connection, answering.model_version_id)
        lexicon = await lexicons.get(connection, answering.id)
        return Serving(
            collection=collection,
            index=answering,
            version=version,
            vector=None,
            lexicon=lexicon,
            hidden=await exclusions.hidden(connection, collection.id, answering.chunking.name),
        )
    known = row[query_vectors.c.vector]
    answering = indexes.from_row(row)
    collection = Collection(id=row[collection_table.c.id], name=name)
    hidden: frozenset[UUID] = frozenset()
    if row["excluding"]:
        hidden = await exclusions.hidden(connection, collection.id, answering.chunking.name)
    return Serving(
        collection=collection,
        index=answering,
        version=models.from_row(row),
        vector=None if known is None else np.frombuffer(known, dtype="<f4"),
        lexicon=lexicons.from_row(row),
        proven=bool(row[query_vectors.c.proven]),
        noise=row["check_noise"],
        hidden=hidden,
    )


async def _chosen(connection: AsyncConnection, name: str, text: str) -> Index:
    """Find an index by as much of its id as names it, and see that it can answer.

    Raises:
        InvalidInputError: it is of another collection, not filled yet, or retired.
        NotFoundError: there is none.
    """
    collection = await collections.get(connection, name)
    index = await indexes.find(connection, text)
    short = str(index.id)[:8]
    if index.collection_id != collection.id:
        raise InvalidInputError(f"index {short} is not one of collection {name!r}")
    if index.state is IndexState.BUILDING:
        raise InvalidInputError(
            f"index {short} is still being built and would answer with a part; "
            "ingest indexes says how far it is"
        )
    if index.state is IndexState.RETIRED:
        raise InvalidInputError(f"index {short} is retired, and its vectors are gone")
    return index
