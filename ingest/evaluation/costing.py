"""What search by meaning costs in the store, and what its graph misses."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.evaluation.golden import Query
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, models
from search_app.catalog.engine import reading
from search_app.embedders.batching import normalise
from search_app.stores.base import StoreSize
from search_app.types import Index, Matrix, Precision

NEAREST = 10
MOST = 200
"""Queries that are timed; their answers are known to differ little in what they cost."""


@dataclass(frozen=True, kw_only=True)
class StoreCost:
    """Of the store alone, without embedding: one query after the other, each asked before.

    ``recall`` is the share of the NEAREST true ones that were found, ``median_ms`` and ``p95_ms``
    how long it took to find them.
    """

    precision: Precision
    size: StoreSize
    queries: int
    recall: float
    median_ms: float
    p95_ms: float


async def measure_cost(
    services: Services, name: str, queries: Sequence[Query], *, exact: bool
) -> StoreCost:
    """Search the active index of a collection by the vectors of queries.

    Raises:
        EmbedderError, StoreError, CatalogError: as a search does.
    """
    async with reading(services.engine) as connection:
        index = await indexes.active(connection, await collections.get(connection, name))
        version = await models.get(connection, index.model_version_id)
    vectors = await _vectors(services, version.spec, [query.text for query in queries[:MOST]])
    found, taken = await _search(services, index, vectors, exact=exact)
    true, _ = await _search(services, index, vectors, exact=True)
    hit = sum(len(some & all_) for some, all_ in zip(found, true, strict=True))
    return StoreCost(
        precision=index.precision,
        size=await services.store(index.store).size(index.id),
        queries=len(vectors),
        recall=hit / max(1, sum(map(len, true))),
        median_ms=float(np.median(taken)),
        p95_ms=float(np.quantile(taken, 0.95)),
    )


async def _vectors(services: Services, spec: str, texts: Sequence[str]) -> Matrix:
    embedder = services.embedder(spec)
    parts = [
        await embedder.embed(texts[start : start + embedder.batch_size], "query")
        for start in range(0, len(texts), embedder.batch_size)
    ]
    return normalise(np.concatenate(parts))[0]


async def _search(
    services: Services, index: Index, vectors: Matrix, *, exact: bool
) -> tuple[list[set[object]], list[float]]:
    """Give the ids found for each vector, and how many milliseconds that took the second time."""
    store = services.store(index.store)
    found: list[set[object]] = []
    taken: list[float] = []
    for vector in vectors:
        await store.search(index.id, vector, k=NEAREST, exact=exact)
        began = time.perf_counter()
        hits = await store.search(index.id, vector, k=NEAREST, exact=exact)
        taken.append(1000 * (time.perf_counter() - began))
        found.append({hit.chunk_id for hit in hits})
    return found, taken
