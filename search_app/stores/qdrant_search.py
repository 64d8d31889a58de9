"""Searches by Qdrant, ranked by our own arithmetic over the stored vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np
from qdrant_client import models

from search_app.errors import StoreRefusedError
from search_app.filters import Compare, Filter, field_values, passes
from search_app.stores.qdrant_collections import Layout
from search_app.stores.qdrant_connection import QdrantConnection
from search_app.stores.qdrant_filters import Resolved, equal_so_far, query_filter, unresolved
from search_app.stores.qdrant_forms import quantization_for
from search_app.stores.qdrant_payload import (
    DENSE,
    HALF,
    SLICE,
    SLICES,
    SPARSE,
    point_of,
    term,
    vector_of,
)
from search_app.stores.qdrant_points import cut, vectors_by_id
from search_app.stores.qdrant_queries import Query
from search_app.types import Scored

LEAST_EFFORT = 128
"""Least ``hnsw_ef``, the candidates that a walk through the graph keeps."""

LEAST_FILTERED_EFFORT = 256
"""The same with a filter: at 128, a filter that a third passes found 93 % of the true ten nearest
among 20,000; at 256, 98 %."""

_PAGE = 1000
_ANSWER = 20_000
"""Points in one answer of which only a payload key is read."""

_DEEP = 4000
"""Points asked for, from which vectors are read only once it is known of which."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One search: the query, how many are wanted, and what they have to pass."""

    query: Query
    k: int
    condition: models.Filter | None


async def resolve(connection: QdrantConnection, layout: Layout, wanted: Filter | None) -> Resolved:
    """Find the values that pass comparisons with very long texts, by reading them."""
    found = {}
    for condition in unresolved(wanted):
        terms: set[str] = set()
        offset = None
        while True:
            async with connection.client() as client:
                records, offset = await client.scroll(
                    layout.name,
                    scroll_filter=equal_so_far(condition),
                    limit=_PAGE,
                    offset=offset,
                    with_payload=True,
                )
            for record in records:
                terms |= _passing(record, condition)
            if offset is None:
                break
        found[condition] = sorted(terms)
    return found


def _passing(record: models.Record, condition: Compare) -> set[str]:
    alone = Filter(conditions=(replace(condition, field="value"),))
    values = field_values(point_of(record).fields, condition.field)
    return {term(condition.field, value) for value in values if passes({"value": value}, alone)}


async def search(
    connection: QdrantConnection,
    layout: Layout,
    query: Query,
    *,
    k: int,
    wanted: Filter | None,
    exact: bool,
) -> list[Scored]:
    """Find the k best; approximately only where that settles them all, ties included."""
    condition = query_filter(wanted, await resolve(connection, layout, wanted))
    asked = Asked(query=query, k=k, condition=condition)
    if not exact and not connection.is_local:
        near = await _approximately(connection, layout, asked)
        if near is not None:
            return near
    limit = _margin(k)
    while True:
        found = await _ask(connection, layout, asked, limit, exact=True)
        if len(found) < limit or _settled(found, asked):
            return await _ranked(connection, layout, asked, found)
        # More points tie with the k-th than were asked for.
        limit *= 4


async def _approximately(
    connection: QdrantConnection, layout: Layout, asked: Asked
) -> list[Scored] | None:
    """Search by the graph.

    Returns:
        None where it found fewer than k, or cannot tell which of equal ones come first.
    """
    if layout.halved:
        return await _by_halves(connection, layout, asked)
    found = await _ask(connection, layout, asked, _margin(asked.k), exact=False)
    if len(found) >= asked.k and _settled(found, asked):
        return await _ranked(connection, layout, asked, found)
    return None


async def _by_halves(
    connection: QdrantConnection, layout: Layout, asked: Asked
) -> list[Scored] | None:
    """Search the float16 vectors, whose scores say too little of which comes first."""
    every = replace(asked, k=max(2 * asked.k, _margin(asked.k)))
    found = await _ask(connection, layout, every, every.k, exact=False)
    ranked = await _ranked(connection, layout, every, found)
    if len(ranked) < asked.k or ranked[asked.k - 1].score == ranked[-1].score:
        return None
    return ranked[: asked.k]


def _margin(k: int) -> int:
    """Ask for some more than wanted: enough to see past the k-th and its ties."""
    return k + max(10, k // 10)


async def _ask(
    connection: QdrantConnection, layout: Layout, asked: Asked, limit: int, *, exact: bool
) -> list[models.ScoredPoint]:
    """Ask for points, best first by Qdrant's arithmetic."""
    # Local mode is exact, and warns of parameters that it has no use for.
    least = LEAST_EFFORT if asked.condition is None else LEAST_FILTERED_EFFORT
    effort = max(least, 2 * limit)
    is_dense = asked.query.using == DENSE
    parameters = models.SearchParams(
        exact=exact,
        hnsw_ef=None if exact else effort,
        quantization=quantization_for(layout.precision, exact=exact) if is_dense else None,
    )
    async with connection.client() as client:
        answer = await client.query_points(
            layout.name,
            query=asked.query.sent(),
            using=HALF if layout.halved and is_dense and not exact else asked.query.using,
            query_filter=asked.condition,
            search_params=None if connection.is_local else parameters,
            limit=limit,
            with_payload=["run_id"],
            with_vectors=[asked.query.using] if limit <= _DEEP else False,
        )
    return sorted(answer.points, key=lambda point: -point.score)


def _settled(found: Sequence[models.ScoredPoint], asked: Asked) -> bool:
    """Say whether every point that was not returned is certainly behind the k-th."""
    return found[-1].score < _cut(found, asked)


def _cut(found: Sequence[models.ScoredPoint], asked: Asked) -> float:
    """Give the score below which a point is behind the k-th, whatever rounding did to both."""
    if len(found) <= asked.k:
        return -np.inf
    return asked.query.clearly_below(found[asked.k - 1].score)


async def _ranked(
    connection: QdrantConnection,
    layout: Layout,
    asked: Asked,
    found: Sequence[models.ScoredPoint],
) -> list[Scored]:
    """Score what may be among the first k by its float32 vectors, and rank it."""
    least = _cut(found, asked)
    near = {UUID(str(point.id)): point for point in found if point.score >= least}
    if not near:
        return []
    name = asked.query.using
    vectors = {key: vector_of(point, name) for key, point in near.items()}
    if None in vectors.values():
        vectors = await vectors_by_id(connection, layout, list(near), name)
    # Points deleted between two requests are gone from here on.
    keys = [key for key in near if vectors.get(key) is not None]
    scores = asked.query.scores([vectors[key] for key in keys])
    scored = [
        Scored(
            chunk_id=key,
            run_id=_id_in(near[key], "run_id"),
            score=float(score),
            vector=np.array(vectors[key], np.float32) if asked.query.vectors else None,
        )
        for key, score in zip(keys, scores, strict=True)
        if score > -np.inf
    ]
    return sorted(scored, key=lambda each: (-each.score, each.chunk_id.bytes))[: asked.k]


def _id_in(point: models.ScoredPoint, key: str) -> UUID:
    try:
        return UUID((point.payload or {})[key])
    except (KeyError, TypeError, ValueError) as exc:
        raise StoreRefusedError(
            f"qdrant: point {point.id} is not one that was written here; drop the index and "
            "ingest again"
        ) from exc


async def documents_having(
    connection: QdrantConnection, layout: Layout, term_ids: Sequence[int], wanted: Filter | None
) -> set[UUID]:
    """Name the documents of all points that pass and have any of the terms.

    Every such point is read, since Qdrant has no filter for terms: in slices, so that no answer
    holds many more than some ten thousand of them.
    """
    ids = sorted(set(term_ids))
    if not ids:
        return set()
    condition = query_filter(wanted, await resolve(connection, layout, wanted))
    async with connection.client() as client:
        passing = await client.count(layout.name, count_filter=condition, exact=False)
    together = max(1, SLICES * _ANSWER // max(1, 2 * passing.count))
    found: set[UUID] = set()
    for slices in cut(range(SLICES), together):
        part = models.FieldCondition(key=SLICE, match=models.MatchAny(any=list(slices)))
        narrowed = models.Filter(must=[part] if condition is None else [condition, part])
        found |= await _documents(
            connection, layout, ids, condition if len(slices) == SLICES else narrowed
        )
    return found


async def _documents(
    connection: QdrantConnection,
    layout: Layout,
    term_ids: Sequence[int],
    condition: models.Filter | None,
) -> set[UUID]:
    limit = _ANSWER
    while True:
        async with connection.client() as client:
            answer = await client.query_points(
                layout.name,
                query=models.SparseVector(indices=list(term_ids), values=[1.0] * len(term_ids)),
                using=SPARSE,
                query_filter=condition,
                # A server with several shards asks each for a share of many points, unless exact.
                search_params=None if connection.is_local else models.SearchParams(exact=True),
                limit=limit,
                with_payload=["document_id"],
            )
        if len(answer.points) < limit:
            # Every weight is positive: what scores nothing shares no term.
            return {_id_in(point, "document_id") for point in answer.points if point.score > 0}
        limit *= 4
