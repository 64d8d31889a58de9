"""The pgvector store against bare COPY and bare SQL on the same server; then both stores."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import numpy as np
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.comparison import compare
from benchmarks.points import (
    DIMENSIONS,
    QUERIES,
    SHARES,
    K,
    Search,
    in_turns,
    passing,
    percentiles,
    points_of,
    recall_of,
    scan_rate,
    synthetic,
    timed,
)
from benchmarks.workplace import figure, heading, scratch_database
from search_app.filters import AnyOf, Filter
from search_app.stores.pgvector import PgvectorStore
from search_app.stores.pgvector_copy import COLUMNS, copy_stream
from search_app.stores.pgvector_search import LEAST_EFFORT
from search_app.types import Matrix, Point, Vector

POINTS = 100_000

Connection = psycopg.AsyncConnection[tuple[object, ...]]


def main() -> None:
    """Print the figures, on an embedded server or the one whose address is given."""
    asyncio.run(measure(*sys.argv[1:2]))


async def measure(database_url: str | None = None) -> None:
    """Write, build, search and read 100,000 points."""
    heading(f"pgvector store: {POINTS:,} points of {DIMENSIONS} dimensions")
    if database_url is not None:
        await _measure(database_url)
        await compare(database_url)
        return
    with scratch_database() as url:
        await _measure(url)
        await compare(url)


async def _measure(url: str) -> None:
    drawn = synthetic(POINTS + QUERIES)
    vectors, queries = drawn[:POINTS], drawn[POINTS:]
    engine = create_async_engine(url)
    store = PgvectorStore(engine)
    async with _connected(url) as connection:
        try:
            points = await _writing(connection, store, vectors)
            try:
                await _building(store, points)
                await _searching(connection, store, points, queries)
                await _reading(store, points[0].index_id)
            finally:
                await store.drop(points[0].index_id)
        finally:
            await engine.dispose()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
        yield connection


async def _writing(connection: Connection, store: PgvectorStore, vectors: Matrix) -> list[Point]:
    """Write the same points three ways, twice and in turns; keep the last table of the store."""

    async def upsert(_: Connection, points: Sequence[Point]) -> float:
        started = time.perf_counter()
        await store.upsert(points[0].index_id, points)
        return time.perf_counter() - started

    ways = {"stream": _copy_stream, "rows": _copy_rows, "upsert": upsert}
    best = dict.fromkeys(ways, float("inf"))
    points: list[Point] = []
    for way in [*ways, *ways]:
        if points:
            await store.drop(points[0].index_id)
        points = points_of(uuid4(), vectors)
        await store.create(points[0].index_id, DIMENSIONS)
        best[way] = min(best[way], await ways[way](connection, points))
    best["replace"] = await upsert(connection, points)
    rates = {way: POINTS / seconds for way, seconds in best.items()}
    _rate("binary COPY, encoded beforehand", rates["stream"])
    _rate("binary COPY, row by row through the driver", rates["rows"])
    _rate("upsert, new ids", rates["upsert"], of=rates["stream"])
    _rate("upsert, all ids replaced", rates["replace"])
    return points


def _rate(name: str, rate: float, *, of: float | None = None) -> None:
    figure(name, f"{rate:,.0f} rows/s")
    if of is not None:
        ratio = rate / of
        figure("  as a part of COPY", f"{ratio:.2f}", target=">= 0.5", reached=ratio >= 0.5)


def _table(index_id: UUID) -> sql.Identifier:
    return sql.Identifier("vectors", f"index_{index_id.hex}")


def _copy_into(index_id: UUID) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(_table(index_id), columns)


async def _copy_stream(connection: Connection, points: Sequence[Point]) -> float:
    blocks = list(copy_stream(points, points[0].index_id, DIMENSIONS))
    started = time.perf_counter()
    statement = _copy_into(points[0].index_id)
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in blocks:
            await copy.write(block)
    return time.perf_counter() - started


async def _copy_rows(connection: Connection, points: Sequence[Point]) -> float:
    from pgvector.psycopg import register_vector_async

    await register_vector_async(connection)
    started = time.perf_counter()
    statement = _copy_into(points[0].index_id)
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([*["uuid"] * 5, "jsonb", "vector"])
        for point in points:
            await copy.write_row(_row(point))
    return time.perf_counter() - started


def _row(point: Point) -> tuple[object, ...]:
    return (
        point.chunk_id,
        point.document_id,
        point.run_id,
        point.index_id,
        point.model_version_id,
        Jsonb(point.fields),
        point.vector,
    )


async def _building(store: PgvectorStore, points: Sequence[Point]) -> None:
    started = time.perf_counter()
    await store.optimize(points[0].index_id)
    figure("HNSW and field index built", f"{time.perf_counter() - started:.0f} s")


async def _searching(
    connection: Connection, store: PgvectorStore, points: Sequence[Point], queries: Matrix
) -> None:
    index_id = points[0].index_id
    bare = await _bare(connection, index_id)

    async def search(query: Vector) -> list[UUID]:
        return [hit.chunk_id for hit in await store.search(index_id, query, k=K)]

    ours, theirs = await in_turns(queries, search, bare)
    figure(f"bare SQL kNN at ef {LEAST_EFFORT}, p50, p95", percentiles(theirs))
    figure("search, p50, p95", percentiles(ours))
    ratio = float(np.median(ours) / np.median(theirs))
    figure("search p50 / bare p50", f"{ratio:.2f}", target="<= 2", reached=ratio <= 2)
    recall = await recall_of(points, queries, bare)
    figure("recall@10 of bare SQL kNN", f"{recall:.3f}")
    recall = await recall_of(points, queries, search)
    figure("recall@10 of search", f"{recall:.3f}", target=">= 0.95", reached=recall >= 0.95)
    await _filtered(store, points, queries)

    async def exact(query: Vector) -> list[UUID]:
        return [hit.chunk_id for hit in await store.search(index_id, query, k=K, exact=True)]

    figure("exact search, p50, p95", percentiles(await timed(queries[:30], exact)))


async def _filtered(store: PgvectorStore, points: Sequence[Point], queries: Matrix) -> None:
    for share, wanted in SHARES:
        few = passing(points, wanted)

        async def search(query: Vector, wanted: AnyOf = wanted) -> list[UUID]:
            hits = await store.search(
                points[0].index_id, query, k=K, filter=Filter(conditions=(wanted,))
            )
            return [hit.chunk_id for hit in hits]

        figure(f"search, {share} pass, p50, p95", percentiles(await timed(queries, search)))
        recall = await recall_of(few, queries, search)
        figure(
            f"recall@10, {share} pass", f"{recall:.3f}", target=">= 0.95", reached=recall >= 0.95
        )


async def _bare(connection: Connection, index_id: UUID) -> Search:
    """Give the nearest-neighbour query alone, prepared, with the effort that the store uses."""
    await connection.execute("LOAD 'vector'")
    await connection.execute(f"SET hnsw.ef_search = {LEAST_EFFORT}".encode())
    statement = sql.SQL(
        "SELECT chunk_id, embedding <#> %(query)s::vector FROM {} "
        "ORDER BY embedding::halfvec({}) <#> %(query)s::vector::halfvec({}) LIMIT {}"
    ).format(_table(index_id), sql.Literal(DIMENSIONS), sql.Literal(DIMENSIONS), sql.Literal(K))

    async def run(query: Vector) -> list[UUID]:
        cursor = await connection.execute(
            statement, {"query": "[" + ",".join(map(str, query.tolist())) + "]"}, prepare=True
        )
        return [row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)]

    return run


async def _reading(store: PgvectorStore, index_id: UUID) -> None:
    started = time.perf_counter()
    assert await store.count(index_id) == POINTS
    figure("count", f"{1e3 * (time.perf_counter() - started):.0f} ms")
    for vectors in (False, True):
        rate = await scan_rate(store, index_id, vectors=vectors)
        name = "scan with vectors" if vectors else "scan"
        if vectors:
            figure(name, f"{rate:,.0f} points/s")
        else:
            figure(name, f"{rate:,.0f} points/s", target=">= 50,000", reached=rate >= 50_000)


if __name__ == "__main__":
    main()
