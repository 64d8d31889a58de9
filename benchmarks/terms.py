"""Keyword search in pgvector alone: how long it takes and what it misses, in two languages.

    python -m benchmarks terms

UNMOVED_BENCH_ROWS names another number of passages, UNMOVED_BENCH_CANDIDATES, separated by commas,
other bounds of what a search reads.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.passages import GOLDEN, LANGUAGES, Counts, Dialects, Language
from benchmarks.workplace import figure, heading, scratch_services
from search_app.bm25 import K1, B, Weighting, passage_terms, query_terms
from search_app.lexical import VERSION
from search_app.stores.pgvector import PgvectorStore
from search_app.stores.pgvector_terms import CANDIDATES
from search_app.types import Point, Scored, TermQuery

ROWS = 100_000
BLOCK = 5_000
QUERIES = 200
K, DEPTH = 10, 100
"""Hits of a search by words alone, and as many as hybrid search asks for."""


def main() -> None:
    """Print the figures of each language."""
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: no real texts to search in")
        return
    rows = int(os.environ.get("UNMOVED_BENCH_ROWS", ROWS))
    bounds = os.environ.get("UNMOVED_BENCH_CANDIDATES", str(CANDIDATES)).split(",")
    for language in LANGUAGES:
        heading(f"keyword search over {rows:,} passages, {language.name}")
        asyncio.run(_measure(language, rows, [int(bound) for bound in bounds]))


async def _measure(language: Language, rows: int, bounds: Sequence[int]) -> None:
    dialects = Dialects(language, rows)
    async with scratch_services("hashing:8") as services:
        store = PgvectorStore(services.engine)
        index_id = uuid4()
        await store.create(index_id, 8)
        having = await _fill(store, index_id, dialects, rows)
        await store.optimize(index_id)
        queries = [query_terms(dialects.query(), having, rows) for _ in range(QUERIES)]
        exact = [await store.search_terms(index_id, query, k=10, exact=True) for query in queries]
        for bound in bounds:
            await _searched(services.engine, index_id, queries, exact, bound)


async def _fill(
    store: PgvectorStore, index_id: UUID, dialects: Dialects, rows: int
) -> Counter[int]:
    """Write passages with terms; give in how many each term is."""
    first = [dialects.passage() for _ in range(min(rows, BLOCK))]
    average = float(np.mean([sum(counts.values()) for counts in first]))
    weighting = Weighting(analyzer="bigram", version=VERSION, k1=K1, b=B, average_length=average)
    having: Counter[int] = Counter()
    vector = np.zeros(8, np.float32)
    vector[0] = 1
    run_id, version = uuid4(), uuid4()

    def all_of_them() -> Iterator[Counts]:
        yield from first
        for _ in range(rows - len(first)):
            yield dialects.passage()

    passages = all_of_them()
    while some := list(islice(passages, BLOCK)):
        for counts in some:
            having.update(counts.keys())
        points = [
            Point(
                chunk_id=uuid4(),
                document_id=uuid4(),
                index_id=index_id,
                model_version_id=version,
                run_id=run_id,
                fields={},
                vector=vector,
                terms=passage_terms(counts, weighting),
            )
            for counts in some
        ]
        await store.upsert(index_id, points)
    return having


async def _searched(
    engine: AsyncEngine,
    index_id: UUID,
    queries: Sequence[TermQuery],
    exact: Sequence[Sequence[Scored]],
    bound: int,
) -> None:
    store = PgvectorStore(engine, candidates=bound)
    shares, same = [], []
    times: dict[int, list[float]] = {K: [], DEPTH: []}
    for query, best in zip(queries, exact, strict=True):
        for k, taken in times.items():
            await store.search_terms(index_id, query, k=k)
            started = time.perf_counter()
            found = await store.search_terms(index_id, query, k=k)
            taken.append((time.perf_counter() - started) * 1000)
            if k == K:
                wanted, ten = ({each.chunk_id for each in some} for some in (best, found))
                shares.append(len(wanted & ten) / max(len(wanted), 1))
                same.append(wanted == ten)
    share = float(np.mean(shares))
    for k, taken in times.items():
        middle, high = np.percentile(taken, [50, 95])
        figure(
            f"about {bound:,} candidates, the best {k}, p50, p95",
            f"{middle:.1f}, {high:.1f} ms",
            target="<= 30 ms" if k == K else "",
            reached=bool(high <= 30) if k == K else None,
        )
    figure("  of the ten best", f"{share:.4f}", target=">= 0.99", reached=share >= 0.99)
    figure("  lists that are the same", f"{float(np.mean(same)):.3f}")
