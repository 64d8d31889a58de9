"""Keyword search: an index over terms names candidates, ``sparsevec`` scores them exactly.

How long a search takes depends on how many candidates are read; what the index finds without
reading them costs a tenth. A passage that has none of a query's rarer terms can hardly be among the
best, nor can one that has a single term of the middling ones. So the rarest terms name candidates
alone, the next ones where two meet, and common terms only score what others have named. What a
passage without the first terms could score at most is known, since no weight is above
HIGHEST_WEIGHT: where that is less than what the k-th has, nothing was missed (the idea of Turtle
and Flood, "Query Evaluation: Strategies and Optimizations", 1995).
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
    Boolean,
    ColumnElement,
    Dialect,
    Double,
    Integer,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.bm25 import HIGHEST_WEIGHT
from search_app.filters import Filter
from search_app.lexical import TERM_IDS
from search_app.stores.pgvector_reading import Rows, rows_of_last
from search_app.stores.pgvector_sieve import Sieve, sieve_of, sieved, sieved_for
from search_app.stores.pgvector_tables import Layout
from search_app.types import Scored, TermQuery, Vector

CANDIDATES = 6_000
"""Candidates that a search which may be inexact reads, as far as frequencies tell.

Among 100,000 passages it finds 99.7 % of the ten best in English, all in Japanese; without pairs
it takes 12,000, and nearly twice the time, for 99.4 % and all.
"""

_ALONE = 0.5
"""Share of them that may be named by one term."""

_ANCHORS = 3
"""Most terms that are looked for together with any of the commoner ones."""

_TOGETHER = 1.5
"""How often two terms of a query meet, as a multiple of what chance would have (the median)."""

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


Pairs = Sequence[tuple[int, Sequence[int]]]
"""Terms by their place, the rarest first, and the commoner ones of which one must stand beside."""


async def best_by_terms(
    connection: AsyncConnection, layout: Layout, asked: TermSearch
) -> list[Scored]:
    """Find the k points that score highest, mostly in one round trip."""
    if not len(asked.query.ids) or not layout.has_terms:
        return []
    rarest = np.argsort(asked.query.passages, kind="stable")
    ids, passages = asked.query.ids[rarest].tolist(), asked.query.passages[rarest]
    reach = _reach(asked.query.weights[rarest])
    alone, pairs = _affordable(passages, layout.passages, asked)
    while True:
        rows = await _scored_by(connection, layout, asked, _names(ids, alone, pairs))
        full = len(rows) == asked.k
        # Too few are found: then what has only the other terms counts as well, all of it.
        needed = int((reach >= _score(rows[-1])).sum()) if full else len(reach)
        if alone >= needed or (full and not asked.exact):
            return [Scored(chunk_id=row[0], run_id=row[1], score=_score(row)) for row in rows]
        pairs = ()
        alone = needed if asked.exact else min(needed, max(2 * alone, _least(passages, asked.k)))


async def documents_by_terms(
    connection: AsyncConnection, layout: Layout, ids: Sequence[int], condition: Filter | None
) -> set[UUID]:
    """Name the documents with a point that passes and has any of the terms."""
    if not ids or not layout.has_terms:
        return set()
    statement = naming(layout, connection.dialect, sieve_of(condition))
    given = {"ids": list(ids)} | sieved_for(condition)
    rows = await rows_of_last(connection, (_SETTINGS, {}), (statement, given))
    return {document_id for (document_id,) in rows}


def _reach(weights: Vector) -> NDArray[np.float64]:
    """Say, for every place, what a passage scores at most that has none of the terms before it."""
    rounding = 1 + 2 * len(weights) * float(np.finfo(np.float32).eps)
    highest = weights.astype(np.float64) * np.float32(HIGHEST_WEIGHT) * rounding
    reach: NDArray[np.float64] = np.cumsum(highest[::-1])[::-1]
    return reach


def _affordable(passages: NDArray[np.int64], of: int, asked: TermSearch) -> tuple[int, Pairs]:
    """Choose how many of the rarest terms name candidates alone, and which do so in pairs."""
    total = np.cumsum(passages)
    if total[-1] <= asked.candidates:
        return len(total), ()
    alone = int(np.searchsorted(total, _ALONE * asked.candidates, side="right"))
    found = float(total[alone - 1]) if alone else 0.0
    left = asked.candidates - found
    meeting = _TOGETHER * passages / max(of, int(passages[-1]))
    pairs: list[tuple[int, Sequence[int]]] = []
    for anchor in range(alone, min(alone + _ANCHORS, len(total) - 1)):
        estimates = np.cumsum(passages[anchor] * meeting[anchor + 1 :])
        beside = int(np.searchsorted(estimates, left, side="right"))
        if not beside:
            break
        left -= estimates[beside - 1]
        pairs.append((anchor, range(anchor + 1, anchor + 1 + beside)))
    if asked.candidates - left < asked.k:
        return _least(passages, asked.k), ()
    return alone, pairs


def _least(passages: NDArray[np.int64], k: int) -> int:
    """Say how many of the rarest terms it takes to name k candidates, as far as can be told."""
    return min(int(np.searchsorted(np.cumsum(passages), k)) + 1, len(passages))


async def _scored_by(
    connection: AsyncConnection, layout: Layout, asked: TermSearch, named: dict[str, list[int]]
) -> Rows:
    sieve = sieve_of(asked.condition)
    statement = scoring(layout, connection.dialect, sieve, pairs=len(named) // 2)
    given: dict[str, Any] = {"query": _written(asked.query), "k": asked.k}
    given |= named | sieved_for(asked.condition)
    return await rows_of_last(connection, (_SETTINGS, {}), (statement, given))


def _names(ids: Sequence[int], alone: int, pairs: Pairs) -> dict[str, list[int]]:
    """Give the parameters of ``_having``."""
    named = {"ids": list(ids[:alone])}
    for number, (anchor, beside) in enumerate(pairs):
        named |= {
            f"anchor{number}": [ids[anchor]],
            f"beside{number}": [ids[place] for place in beside],
        }
    return named


def _score(row: tuple[Any, ...]) -> float:
    # `<#>` is the negative inner product; taken from 0, a score is never -0.0.
    return 0.0 - float(row[2])


@lru_cache(maxsize=256)
def scoring(layout: Layout, dialect: Dialect, sieve: Sieve, *, pairs: int = 0) -> str:
    """Write the statement of a search: chunk id, run id, distance."""
    table = layout.terms
    query = cast(bindparam("query", type_=Text), SPARSEVEC(TERM_IDS))
    distance: ColumnElement[float] = table.c.weights.op("<#>", return_type=Double())(query)
    found = select(table.c.chunk_id, table.c.run_id, distance.label("distance"))
    statement = _having(found, table, sieve, pairs=pairs).order_by("distance", "chunk_id")
    return str(statement.limit(bindparam("k", type_=Integer)).compile(dialect=dialect))


@lru_cache(maxsize=256)
def naming(layout: Layout, dialect: Dialect, sieve: Sieve) -> str:
    """Write the statement that names documents."""
    found = select(layout.terms.c.document_id).distinct()
    return str(_having(found, layout.terms, sieve).compile(dialect=dialect))


def _having(statement: Select[Any], table: Table, sieve: Sieve, *, pairs: int = 0) -> Select[Any]:
    """Keep the points with any of the terms, or with both of a pair, and of those what passes."""

    def any_of(name: str) -> ColumnElement[bool]:
        overlap = table.c.terms.op("&&", is_comparison=True, return_type=Boolean())
        return overlap(bindparam(name, type_=ARRAY(Integer)))

    both = [and_(any_of(f"anchor{number}"), any_of(f"beside{number}")) for number in range(pairs)]
    return sieved(statement.where(or_(any_of("ids"), *both)), table, sieve)


def _written(query: TermQuery) -> str:
    """Write a query as ``sparsevec`` reads it; it counts from 1."""
    pairs = zip((query.ids + 1).tolist(), query.weights.tolist(), strict=True)
    return f"{{{','.join(f'{place}:{weight}' for place, weight in pairs)}}}/{TERM_IDS}"
