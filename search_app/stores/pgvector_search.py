"""Nearest-neighbour statements, and what they find."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ColumnElement,
    Dialect,
    Double,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.filters import Filter
from search_app.stores.pgvector_copy import received_vector
from search_app.stores.pgvector_forms import Form, searched
from search_app.stores.pgvector_reading import Rows, rows_of_last
from search_app.stores.pgvector_sieve import Sieve, sieve_of, sieved, sieved_for
from search_app.stores.pgvector_tables import Layout
from search_app.types import Scored, Vector

LEAST_EFFORT = 100
MOST_EFFORT = 1000
"""Bounds of ``hnsw.ef_search``; the upper one is pgvector's own."""

# For this transaction alone, so that neither a pool nor a proxy carries it along. A plan kept for
# any filter would guess that filter's selectivity: each search is planned anew.
_EFFORT = """
    SELECT set_config('hnsw.ef_search', %(effort)s, true),
           set_config('hnsw.iterative_scan', 'relaxed_order', true),
           set_config('plan_cache_mode', 'force_custom_plan', true)
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A search by meaning: the ``k`` nearest that pass, with their ``vectors`` where wanted."""

    vector: Vector
    k: int
    condition: Filter | None
    vectors: bool = False


async def exact_search(connection: AsyncConnection, layout: Layout, asked: Asked) -> list[Scored]:
    """Compare with every point that passes.

    The order is that of a sum, which no HNSW index covers: none can be used.
    """
    sieve = sieve_of(asked.condition)
    statement = comparing(layout, connection.dialect, sieve, vectors=asked.vectors)
    given = _parameters(asked) | {"k": asked.k}
    return _scored(await rows_of_last(connection, (statement, given)), asked)


async def approximate_search(
    connection: AsyncConnection, layout: Layout, asked: Asked
) -> list[Scored] | None:
    """Walk the HNSW index and score what it finds by the float32 column.

    Returns:
        None where the walk cannot tell: it ended before k points passed the filter, or its last
        candidate ties with the k-th, so that points with lower ids may have been left out.
    """
    form, k = layout.form, asked.k
    effort = min(MOST_EFFORT, max(LEAST_EFFORT, form.least, form.oversampling * k))
    sieve = sieve_of(asked.condition)
    candidates = _candidates(k, effort, form, filtered=sieve.fields)
    statement = walking(layout, connection.dialect, sieve, vectors=asked.vectors)
    given = _parameters(asked) | {"k": k, "candidates": candidates}
    rows = await rows_of_last(connection, (_EFFORT, {"effort": str(effort)}), (statement, given))
    if len(rows) < k:
        return None
    _, _, distance, farthest, *_ = rows[-1]
    return None if distance == farthest else _scored(rows, asked)


def _candidates(k: int, effort: int, form: Form, *, filtered: bool) -> int:
    """Choose how many found points are scored by float32.

    With a filter the walk ends at the last candidate, and only a third of the effort keeps the
    recall above that without one (measured with filters that pass 1 to 50 %).
    """
    if filtered:
        return max(effort // 3, form.least, k + k // 2, k + 10)
    return max(min(form.oversampling * k, effort), form.least, k + 10)


_NOTHING: ColumnElement[float] = literal_column("0.0", Double())


# The text of a statement depends on the table and on what sort of filter there is, nothing else,
# and writing it takes longer than many a search.
@lru_cache(maxsize=256)
def comparing(layout: Layout, dialect: Dialect, sieve: Sieve, *, vectors: bool = False) -> str:
    """Write the statement of an exact search: chunk id, run id, distance, vector if wanted."""
    covered_by_none = _distance(layout) + _NOTHING
    statement = _measured(layout, sieve).order_by(covered_by_none, "chunk_id")
    return _written(statement.limit(_integer("k")), layout, dialect, vectors=vectors)


@lru_cache(maxsize=256)
def walking(layout: Layout, dialect: Dialect, sieve: Sieve, *, vectors: bool = False) -> str:
    """Write that of an approximate search: as above, and fourth the farthest distance met."""
    held, asked = (
        searched(vector, layout.precision, layout.table, layout.dimensions)
        for vector in (layout.table.c.embedding, _query(layout))
    )
    order = held.op(layout.form.distance)(asked)
    walked = _measured(layout, sieve).order_by(order).limit(_integer("candidates"))
    nearest = walked.subquery("nearest")
    farthest = func.max(nearest.c.distance).over()
    statement = select(nearest, farthest).order_by("distance", "chunk_id").limit(_integer("k"))
    return _written(statement, layout, dialect, vectors=vectors)


def _written(statement: Select[Any], layout: Layout, dialect: Dialect, *, vectors: bool) -> str:
    if vectors:
        # Looked up for the k alone: those that are sorted would all be copied.
        found, table = statement.subquery("found"), layout.table
        sent = select(func.vector_send(table.c.embedding)).where(
            table.c.chunk_id == found.c.chunk_id
        )
        statement = select(found, sent.scalar_subquery()).order_by("distance", "chunk_id")
    return str(statement.compile(dialect=dialect))


def _measured(layout: Layout, sieve: Sieve) -> Select[Any]:
    table = layout.table
    measured = _distance(layout).label("distance")
    return sieved(select(table.c.chunk_id, table.c.run_id, measured), table, sieve)


def _distance(layout: Layout) -> ColumnElement[float]:
    return layout.table.c.embedding.op("<#>", return_type=Double())(_query(layout))


def _query(layout: Layout) -> ColumnElement[Any]:
    return cast(bindparam("query", type_=Text), VECTOR(layout.dimensions))


def _integer(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=Integer)


def _parameters(asked: Asked) -> dict[str, Any]:
    query: dict[str, Any] = {"query": f"[{','.join(map(str, asked.vector.tolist()))}]"}
    return query | sieved_for(asked.condition)


def _scored(rows: Rows, asked: Asked) -> list[Scored]:
    # `<#>` is the negative inner product; taken from 0, a score is never -0.0.
    return [
        Scored(
            chunk_id=chunk_id,
            run_id=run_id,
            score=0.0 - distance,
            vector=received_vector(rest[-1]) if asked.vectors else None,
        )
        for chunk_id, run_id, distance, *rest in rows
    ]
