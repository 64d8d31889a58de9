"""Nearest neighbours by Qdrant, ranked by our own arithmetic over the stored vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
from qdrant_client import models

from search_app.errors import StoreRefusedError
from search_app.filters import Compare, Filter, field_values, passes
from search_app.stores.points import inner_products
from search_app.stores.qdrant_collections import Layout
from search_app.stores.qdrant_connection import QdrantConnection
from search_app.stores.qdrant_filters import Resolved, equal_so_far, query_filter, unresolved
from search_app.stores.qdrant_payload import point_of, term
from search_app.stores.qdrant_points import points_by_id
from search_app.types import Scored, Vector

LEAST_EFFORT = 128
"""Least ``hnsw_ef``, the candidates that a walk through the graph keeps."""

LEAST_FILTERED_EFFORT = 256
"""The same with a filter: at 128, a filter that a third passes found 93 % of the true ten nearest
among 20,000; at 256, 98 %."""

_PAGE = 1000
_DEEP = 4000
"""Points asked for, from which vectors are read only once it is known of which."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One search: the query, how many are wanted, and what they have to pass."""

    vector: Vector
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
    vector: Vector,
    *,
    k: int,
    wanted: Filter | None,
    exact: bool,
) -> list[Scored]:
    """Find the k nearest; approximately only where that settles them all, ties included."""
    condition = query_filter(wanted, await resolve(connection, layout, wanted))
    asked = Asked(vector=vector, k=k, condition=condition)
    if not exact and not connection.is_local:
        found = await _ask(connection, layout, asked, _margin(k), exact=False)
        if len(found) >= k and _settled(found, asked, layout):
            return await _ranked(connection, layout, asked, found)
    limit = _margin(k)
    while True:
        found = await _ask(connection, layout, asked, limit, exact=True)
        if len(found) < limit or _settled(found, asked, layout):
            return await _ranked(connection, layout, asked, found)
        # More points tie with the k-th than were asked for.
        limit *= 4


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
    parameters = models.SearchParams(exact=exact, hnsw_ef=None if exact else effort)
    async with connection.client() as client:
        answer = await client.query_points(
            layout.name,
            query=asked.vector.tolist(),
            query_filter=asked.condition,
            search_params=None if connection.is_local else parameters,
            limit=limit,
            with_payload=["run_id"],
            with_vectors=limit <= _DEEP,
        )
    return sorted(answer.points, key=lambda point: -point.score)


def _settled(found: Sequence[models.ScoredPoint], asked: Asked, layout: Layout) -> bool:
    """Say whether every point that was not returned is certainly behind the k-th."""
    return found[-1].score < _cut(found, asked, layout)


def _cut(found: Sequence[models.ScoredPoint], asked: Asked, layout: Layout) -> float:
    """Give the score below which a point is behind the k-th, whatever rounding did to both."""
    if len(found) <= asked.k:
        return -np.inf
    # A float32 sum of d products errs by at most d · 2^-24 · |q| · |v|; vectors are of unit length,
    # or hardly longer.
    rounding = 2.0**-22 * layout.dimensions * float(np.linalg.norm(asked.vector))
    return found[asked.k - 1].score - 2 * rounding


async def _ranked(
    connection: QdrantConnection,
    layout: Layout,
    asked: Asked,
    found: Sequence[models.ScoredPoint],
) -> list[Scored]:
    """Score what may be among the first k by its float32 vectors, and rank it."""
    least = _cut(found, asked, layout)
    near = {UUID(str(point.id)): point for point in found if point.score >= least}
    if not near:
        return []
    vectors: dict[UUID, Any] = {key: point.vector for key, point in near.items()}
    if None in vectors.values():
        read = await points_by_id(connection, layout, list(near))
        vectors = {point.chunk_id: point.vector for point in read}
    # Points deleted between two requests are gone from here on.
    keys = [key for key in near if vectors.get(key) is not None]
    matrix = np.array([vectors[key] for key in keys], np.float32).reshape(len(keys), -1)
    scores = inner_products(matrix, asked.vector)
    scored = [
        Scored(chunk_id=key, run_id=_run_of(near[key]), score=float(score))
        for key, score in zip(keys, scores, strict=True)
    ]
    return sorted(scored, key=lambda each: (-each.score, each.chunk_id.bytes))[: asked.k]


def _run_of(point: models.ScoredPoint) -> UUID:
    try:
        return UUID((point.payload or {})["run_id"])
    except (KeyError, TypeError, ValueError) as exc:
        raise StoreRefusedError(
            f"qdrant: point {point.id} is not one that was written here; drop the index and "
            "ingest again"
        ) from exc
