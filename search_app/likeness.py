"""More like this: what passages are asked with where they stand in for a query."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.bm25 import passage_terms, query_terms
from search_app.catalog import chunks, documents, lexicons
from search_app.catalog.engine import reading
from search_app.catalog.lexicons import Lexicon
from search_app.catalog.serving import Serving, serving
from search_app.embedders.batching import normalise
from search_app.errors import NotFoundError
from search_app.lexical import analyse
from search_app.stores.base import VectorStore
from search_app.types import DocumentRef, TermQuery, Vector

MOST_TERMS = 25
"""Terms that passages are looked for by, the strongest."""

_FETCHED = 500
_MOST_PASSAGES = 100_000


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Passages that stand in for a query, in the index that answers for their collection.

    ``own`` are the passages that are no answer: these, and all others of a whole document.
    """

    target: Serving
    document: DocumentRef
    chunk_ids: Sequence[UUID]
    own: frozenset[UUID]


async def seeds_of_chunk(engine: AsyncEngine, chunk_id: UUID) -> Seeds:
    """Find a passage.

    Raises:
        NotFoundError: it is not there, or not any more.
    """
    async with reading(engine) as connection:
        passage = (await chunks.passages(connection, [chunk_id])).get(chunk_id)
        if passage is None:
            raise NotFoundError(f"no passage {chunk_id}; its document may have changed")
        name = (await documents.get(connection, passage.document.id)).collection
        return Seeds(
            target=await serving(connection, name, b""),
            document=passage.document,
            chunk_ids=[chunk_id],
            own=frozenset([chunk_id]),
        )


async def seeds_of_document(engine: AsyncEngine, document_id: UUID) -> Seeds:
    """Find the passages of a document.

    Raises:
        NotFoundError: it is not there, or nothing of it can be found yet or any more.
    """
    async with reading(engine) as connection:
        name = (await documents.get(connection, document_id)).collection
        target = await serving(connection, name, b"")
        passages = await chunks.of_document(
            connection, document_id, target.index.chunking.name, limit=_MOST_PASSAGES
        )
        if not passages:
            raise NotFoundError(f"document {document_id} has no passage that can be found")
        every = await chunks.ids_by_document(connection, [document_id])
        return Seeds(
            target=target,
            document=passages[0].document,
            chunk_ids=[passage.chunk_id for passage in passages],
            own=frozenset(every[document_id]),
        )


async def mean_vector(store: VectorStore, seeds: Seeds) -> Vector:
    """Give the mean of the passages' vectors as a unit vector; of one passage, its own.

    Raises:
        NotFoundError: none of them has a vector.
    """
    index_id = seeds.target.index.id
    vectors: list[Vector] = []
    for start in range(0, len(seeds.chunk_ids), _FETCHED):
        points = await store.fetch(index_id, seeds.chunk_ids[start : start + _FETCHED])
        vectors += [point.vector for point in points if point.vector is not None]
    if not vectors:
        raise NotFoundError(
            f"nothing of {seeds.document.uri!r} that was asked for has a vector in index {index_id}"
        )
    if len(vectors) == 1:
        return vectors[0]
    mean: Vector = np.stack(vectors).mean(axis=0, dtype=np.float64).astype(np.float32)
    # Of vectors that cancel each other out no mean can be asked for, but one of them can.
    return normalise(mean.reshape(1, -1))[0][0] if np.any(mean) else vectors[0]


async def strongest_terms(engine: AsyncEngine, seeds: Seeds, lexicon: Lexicon) -> TermQuery:
    """Give the terms that set the passages apart most: the highest of their weights × IDF."""
    index_id, analyzer = seeds.target.index.id, lexicon.weighting.analyzer
    async with reading(engine) as connection:
        recorded = await chunks.recorded(connection, index_id, seeds.chunk_ids)
        texts = [f"{each.context}\n\n{each.text}" for each in recorded]
        # Beside the loop: a book takes seconds.
        counts = await asyncio.to_thread(_counted, texts, analyzer)
        frequencies = await lexicons.frequencies(connection, index_id, counts)
    return strongest(counts, frequencies, lexicon)


def strongest(
    counts: Mapping[int, int], frequencies: Mapping[int, int], lexicon: Lexicon
) -> TermQuery:
    """Weight the terms of a text as a passage's and as a query's at once; keep the strongest."""
    passage = passage_terms(counts, lexicon.weighting)
    weights = dict(zip(passage.ids.tolist(), passage.weights.tolist(), strict=True))
    query = query_terms(dict.fromkeys(counts, 1), frequencies, lexicon.passages)
    both = query.weights * np.array([weights[term] for term in query.ids.tolist()], np.float32)
    # Those that stand out first, equal ones by their ids; then in the order of ids again.
    kept = np.sort(np.lexsort((query.ids, -both))[:MOST_TERMS])
    return TermQuery(ids=query.ids[kept], weights=both[kept], passages=query.passages[kept])


def _counted(texts: Sequence[str], analyzer: str) -> Counter[int]:
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(analyse(text, analyzer).counts)
    return counts
