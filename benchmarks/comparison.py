"""Both stores side by side: the same points, the same queries, in turns.

The Qdrant server is named by UNMOVED_BENCH_QDRANT_URL (with UNMOVED_BENCH_QDRANT_API_KEY and
UNMOVED_BENCH_QDRANT_GRPC_PORT where needed). Without one, Qdrant's local mode is measured with few
points: it computes in Python, always exactly, and says nothing about a server.

    UNMOVED_BENCH_QDRANT_URL=http://localhost:6333 python -m benchmarks.comparison
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.points import (
    DIMENSIONS,
    QUERIES,
    SHARES,
    K,
    in_turns,
    passing,
    percentiles,
    points_of,
    recall_of,
    scan_rate,
    synthetic,
)
from benchmarks.workplace import heading, scratch_database
from search_app.filters import AnyOf, Compare, Filter
from search_app.stores.base import VectorStore
from search_app.stores.pgvector import PgvectorStore
from search_app.stores.qdrant import QdrantStore
from search_app.stores.qdrant_connection import MEMORY, QdrantAddress
from search_app.types import Matrix, Point, Vector

SERVER_POINTS = 100_000
LOCAL_POINTS, LOCAL_QUERIES = 2_000, 20
WRITTEN_AT_ONCE = 1_000
"""Points in one write: about what ingest hands over."""

Stores = tuple[VectorStore, VectorStore]


def main() -> None:
    """Print the figures, pgvector on an embedded server."""
    with scratch_database() as url:
        asyncio.run(compare(url))


async def compare(database_url: str) -> None:
    """Write, build, search and read the same points in both stores."""
    address = QdrantAddress(
        url=os.environ.get("UNMOVED_BENCH_QDRANT_URL") or MEMORY,
        api_key=os.environ.get("UNMOVED_BENCH_QDRANT_API_KEY"),
        grpc_port=int(os.environ.get("UNMOVED_BENCH_QDRANT_GRPC_PORT", "0")),
        timeout_s=120,
    )
    number = LOCAL_POINTS if address.is_local else SERVER_POINTS
    way = "gRPC" if address.grpc_port else "REST"
    kind = "local mode: in Python, always exact" if address.is_local else f"a server, by {way}"
    heading(f"pgvector and Qdrant ({kind}): {number:,} points of {DIMENSIONS} dimensions")
    engine = create_async_engine(database_url)
    stores = (PgvectorStore(engine), QdrantStore(address))
    points = points_of(uuid4(), synthetic(number + QUERIES)[:number])
    queries = synthetic(number + QUERIES)[number:][: LOCAL_QUERIES if address.is_local else None]
    _row("", "pgvector", "qdrant")
    try:
        await _measure(stores, points, queries)
    finally:
        for store in stores:
            await store.drop(points[0].index_id)
            await store.aclose()
        await engine.dispose()


async def _measure(stores: Stores, points: Sequence[Point], queries: Matrix) -> None:
    index_id = points[0].index_id
    for store in stores:
        await store.create(index_id, DIMENSIONS)
    await _rates("upsert, new ids, points/s", stores, len(points), _writing(points))
    await _seconds("until its index is built, s", stores, lambda s: s.optimize(index_id))
    await _searches("search", stores, points, queries)
    await _searches("exact search", stores, points, queries[:30], exact=True)
    for share, wanted in SHARES:
        few = passing(points, wanted)
        kept = Filter(conditions=(wanted,))
        await _searches(f"search, {share} pass", stores, few, queries, wanted=kept)
    recent = Filter(conditions=(Compare(field="meta.year", comparison=">=", value=2020),))
    newer = [point for point in points if point.fields["meta"]["year"] >= 2020]
    await _searches("search, year >= 2020", stores, newer, queries, wanted=recent)
    for vectors in (False, True):
        rates = [await scan_rate(store, index_id, vectors=vectors) for store in stores]
        name = "scan with vectors" if vectors else "scan"
        _row(f"{name}, points/s", *(f"{rate:,.0f}" for rate in rates))
    await _seconds("count, s", stores, lambda s: s.count(index_id))
    japanese = Filter(conditions=(AnyOf(field="language", values=("ja",)),))
    await _seconds("count of 33 %, s", stores, lambda s: s.count(index_id, japanese))
    chunk_ids = [point.chunk_id for point in points[: len(points) // 10]]
    fields = {key: {"language": "fr"} for key in chunk_ids}
    await _rates(
        "fields replaced, points/s",
        stores,
        len(fields),
        lambda s: s.update_fields(index_id, fields),
    )
    await _rates(
        "deleted, points/s", stores, len(chunk_ids), lambda s: s.delete(index_id, chunk_ids)
    )


def _writing(points: Sequence[Point]) -> Callable[[VectorStore], Awaitable[None]]:
    async def write(store: VectorStore) -> None:
        for start in range(0, len(points), WRITTEN_AT_ONCE):
            some = points[start : start + WRITTEN_AT_ONCE]
            await store.upsert(points[0].index_id, some)

    return write


async def _searches(
    name: str,
    stores: Stores,
    points: Sequence[Point],
    queries: Matrix,
    *,
    wanted: Filter | None = None,
    exact: bool = False,
) -> None:
    """Time searches in turns, so that a busy moment meets both stores; then judge them."""

    def of(store: VectorStore) -> Callable[[Vector], Awaitable[list[UUID]]]:
        async def search(query: Vector) -> list[UUID]:
            index_id = points[0].index_id
            hits = await store.search(index_id, query, k=K, filter=wanted, exact=exact)
            return [hit.chunk_id for hit in hits]

        return search

    searches = [of(store) for store in stores]
    _row(f"{name}, p50, p95", *map(percentiles, await in_turns(queries, *searches)))
    recalls = [await recall_of(points, queries, search) for search in searches]
    _row("  recall@10", *(f"{recall:.3f}" for recall in recalls))


async def _rates(
    name: str, stores: Stores, number: int, work: Callable[[VectorStore], Awaitable[object]]
) -> None:
    rates = [number / await _taken(store, work) for store in stores]
    _row(name, *(f"{rate:,.0f}" for rate in rates))


async def _seconds(
    name: str, stores: Stores, work: Callable[[VectorStore], Awaitable[object]]
) -> None:
    taken = [await _taken(store, work) for store in stores]
    _row(name, *(f"{seconds:.3f}" for seconds in taken))


async def _taken(store: VectorStore, work: Callable[[VectorStore], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work(store)
    return time.perf_counter() - started


def _row(name: str, ours: str, theirs: str) -> None:
    print(f"{name:<40} {ours:>20} {theirs:>20}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
