"""Keyword search: an index over terms names candidates, ``sparsevec`` scores them exactly.

How long a search takes depends on the number of candidates, each of which is read. A passage that
has none of a query's rarer terms can hardly be among the best, so that common terms only score what
rarer ones have named. What a passage could have without them at most is known, since no weight is
above HIGHEST_WEIGHT: where that is less than what the k-th has, nothing was missed (the idea of
Turtle and Flood, "Query Evaluation: Strategies and Optimizations", 1995).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import SPARSEVEC
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Dialect,
    Double,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.bm25 import HIGHEST_WEIGHT
from search_app.filters import Filter
from search_app.jsonb import filter_path, path_clause
from search_app.lexical import TERM_IDS
from search_app.stores.pgvector_reading import Rows, rows_of_last
from search_app.stores.pgvector_tables import Layout
from search_app.types import Scored, TermQuery, Vector

CANDIDATES = 12_000
"""Candidates that a search which may be inexact reads, as far as the frequencies tell."""

# For this transaction alone. How many rows have one of many terms is often guessed far too high, so
# that reading the whole table, whose rows are wide, looks quicker than it is.
_SETTINGS = """
    SELECT set_config('enable_seqscan', 'off', true),
           set_config('jit', 'off', true),
           set_config('max_parallel_workers_per_gather', '0', true),
           set_config('plan_cache_mode', 'force_custom_plan', true)
"""


@dataclass(frozen=True, kw_only=True)
class TermSearch:
    """What is asked of the terms of an index; ``candidates`` bound an inexact search."""

    query: TermQuery
    k: int
    condition: Filter | None
    exact: bool
    candidates: int = CANDIDATES


async def best_by_terms(
    connection: AsyncConnection, layout: Layout, asked: TermSearch
) -> list[Scored]:
    """Find the k points that score highest, mostly in one round trip."""
    if not len(asked.query.ids) or not layout.has_terms:
        return []
    rarest = np.argsort(asked.query.passages, kind="stable")
    reach = _reach(asked.query.weights[rarest])
    named = _affordable(asked.query.passages[rarest], asked.k, asked.candidates)
    while True:
        ids = asked.query.ids[rarest[:named]].tolist()
        rows = await _scored_by(connection, layout, asked, ids)
        full = len(rows) == asked.k
        # Too few are found: then what has only the other terms counts as well, all of it.
        needed = int((reach >= _score(rows[-1])).sum()) if full else len(reach)
        if named >= needed or (full and not asked.exact):
            return [Scored(chunk_id=row[0], run_id=row[1], score=_score(row)) for row in rows]
        named = needed if asked.exact else min(needed, 2 * named)


async def documents_by_terms(
    connection: AsyncConnection, layout: Layout, ids: Sequence[int], condition: Filter | None
) -> set[UUID]:
    """Name the documents with a point that passes and has any of the terms."""
    if not ids or not layout.has_terms:
        return set()
    statement = naming(layout, connection.dialect, filtered=condition is not None)
    given = {"ids": list(ids)} | _path(condition)
    rows = await rows_of_last(connection, (_SETTINGS, {}), (statement, given))
    return {document_id for (document_id,) in rows}


def _reach(weights: Vector) -> NDArray[np.float64]:
    """Say, for every place, what a passage scores at most that has none of the terms before it."""
    rounding = 1 + 2 * len(weights) * float(np.finfo(np.float32).eps)
    highest = weights.astype(np.float64) * np.float32(HIGHEST_WEIGHT) * rounding
    reach: NDArray[np.float64] = np.cumsum(highest[::-1])[::-1]
    return reach


def _affordable(passages: NDArray[np.int64], k: int, candidates: int) -> int:
    """Choose how many of the rarest terms name candidates: within the bound, but at least k."""
    total = np.cumsum(passages)
    return max(
        int(np.searchsorted(total, candidates, side="right")),
        min(int(np.searchsorted(total, k)) + 1, len(total)),
    )


async def _scored_by(
    connection: AsyncConnection, layout: Layout, asked: TermSearch, ids: Sequence[int]
) -> Rows:
    statement = scoring(layout, connection.dialect, filtered=asked.condition is not None)
    given = {"query": _written(asked.query), "ids": ids, "k": asked.k} | _path(asked.condition)
    return await rows_of_last(connection, (_SETTINGS, {}), (statement, given))


def _score(row: tuple[Any, ...]) -> float:
    # `<#>` is the negative inner product; taken from 0, a score is never -0.0.
    return 0.0 - float(row[2])


@lru_cache(maxsize=256)
def scoring(layout: Layout, dialect: Dialect, *, filtered: bool) -> str:
    """Write the statement of a search: chunk id, run id, distance."""
    table = layout.terms
    query = cast(bindparam("query", type_=Text), SPARSEVEC(TERM_IDS))
    distance: ColumnElement[float] = table.c.weights.op("<#>", return_type=Double())(query)
    found = select(table.c.chunk_id, table.c.run_id, distance.label("distance"))
    statement = _having(found, table, filtered=filtered).order_by("distance", "chunk_id")
    return str(statement.limit(bindparam("k", type_=Integer)).compile(dialect=dialect))


@lru_cache(maxsize=256)
def naming(layout: Layout, dialect: Dialect, *, filtered: bool) -> str:
    """Write the statement that names documents."""
    found = select(layout.terms.c.document_id).distinct()
    return str(_having(found, layout.terms, filtered=filtered).compile(dialect=dialect))


def _having(statement: Select[Any], table: Table, *, filtered: bool) -> Select[Any]:
    """Keep the points with any of the terms, and of those the ones that pass."""
    statement = statement.where(
        table.c.terms.op("&&", is_comparison=True)(bindparam("ids", type_=ARRAY(Integer)))
    )
    if not filtered:
        return statement
    return statement.where(path_clause(table.c.fields, bindparam("path", type_=Text)))


def _written(query: TermQuery) -> str:
    """Write a query as ``sparsevec`` reads it; it counts from 1."""
    pairs = zip((query.ids + 1).tolist(), query.weights.tolist(), strict=True)
    return f"{{{','.join(f'{place}:{weight}' for place, weight in pairs)}}}/{TERM_IDS}"


def _path(condition: Filter | None) -> dict[str, str]:
    return {} if condition is None else {"path": filter_path(condition)}
