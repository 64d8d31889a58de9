"""Nearest-neighbour statements, and what they find."""

from collections.abc import Sequence
from typing import Any

from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy import ColumnElement, Double, Row, Select, bindparam, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.filters import Filter
from search_app.jsonb import filter_clause
from search_app.stores.pgvector_tables import Layout
from search_app.types import Scored, Vector

LEAST_EFFORT = 100
MOST_EFFORT = 1000
"""Bounds of ``hnsw.ef_search``; the upper one is pgvector's own."""

# One round trip, ended by the transaction, so that neither a pool nor a proxy carries it along.
# A plan kept for any filter would guess that filter's selectivity: each search is planned anew.
_EFFORT = text("""
    SELECT set_config('hnsw.ef_search', :effort, true),
           set_config('hnsw.iterative_scan', 'relaxed_order', true),
           set_config('plan_cache_mode', 'force_custom_plan', true)
""")


async def exact_search(
    connection: AsyncConnection, layout: Layout, vector: Vector, *, k: int, condition: Filter | None
) -> list[Scored]:
    """Compare with every point that passes.

    The order is that of the float32 column, which no HNSW index covers: none can be used.
    """
    statement = _measured(layout, condition).order_by("distance", "chunk_id").limit(k)
    return _scored((await connection.execute(statement, {"query": vector})).all())


async def approximate_search(
    connection: AsyncConnection, layout: Layout, vector: Vector, *, k: int, condition: Filter | None
) -> list[Scored] | None:
    """Walk the HNSW index and score what it finds by the float32 column.

    Returns:
        None where the walk cannot tell: it ended before k points passed the filter, or its last
        candidate ties with the k-th, so that points with lower ids may have been left out.
    """
    effort = min(MOST_EFFORT, max(LEAST_EFFORT, 2 * k))
    await connection.execute(_EFFORT, {"effort": str(effort)})
    # Without a filter the walk has seen that many anyway; with one, each costs more walking.
    candidates = max(effort if condition is None else 2 * k, k + 1)
    nearest = (
        _measured(layout, condition).order_by(_walk(layout)).limit(candidates).subquery("nearest")
    )
    farthest = func.max(nearest.c.distance).over().label("farthest")
    statement = select(nearest, farthest).order_by("distance", "chunk_id").limit(k)
    rows = (await connection.execute(statement, {"query": vector})).all()
    if len(rows) < k or rows[-1].distance == rows[-1].farthest:
        return None
    return _scored(rows)


def _measured(layout: Layout, condition: Filter | None) -> Select[Any]:
    table = layout.table
    distance: ColumnElement[float] = table.c.embedding.op("<#>", return_type=Double())(
        _query(layout)
    ).label("distance")
    statement = select(table.c.chunk_id, table.c.run_id, distance)
    return (
        statement
        if condition is None
        else statement.where(filter_clause(table.c.fields, condition))
    )


def _walk(layout: Layout) -> ColumnElement[float]:
    half = HALFVEC(layout.dimensions)
    return cast(layout.table.c.embedding, half).op("<#>", return_type=Double())(
        cast(_query(layout), half)
    )


def _query(layout: Layout) -> ColumnElement[Any]:
    vector = VECTOR(layout.dimensions)
    return cast(bindparam("query", type_=vector), vector)


def _scored(rows: Sequence[Row[Any]]) -> list[Scored]:
    # `<#>` is the negative inner product; adding 0 turns a score of -0.0 into 0.0.
    return [
        Scored(chunk_id=row.chunk_id, run_id=row.run_id, score=0.0 - row.distance) for row in rows
    ]
