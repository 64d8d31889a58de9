"""The whole search in the server, query vector cached, against the bare SQL in it."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from sqlalchemy import text

from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.retrieval import SearchRequest

RECORDS = 100_000
QUERIES = 200
WORDS = 4000


def main() -> None:
    """Print the figures."""
    asyncio.run(measure())


async def measure() -> None:
    """Ingest, then search the same queries through the product and as bare SQL."""
    heading(f"search over {RECORDS:,} chunks (hashing:384), query vectors cached")
    async with scratch_services("hashing:384") as services:
        with tempfile.TemporaryDirectory() as folder:
            queries = _write(Path(folder) / "records.jsonl")
            started = time.perf_counter()
            report = await ingest(services, IngestRequest(arguments=[folder]))
        figure("ingest, index build included", f"{time.perf_counter() - started:.0f} s")
        assert report.documents.added == RECORDS
        recall = await _recall(services, queries)
        searches = await _timed(queries, lambda query: _search(services, query))
        bare = await _timed(queries, await _bare(services, str(report.index_id)))
    figure("bare SQL kNN, p50, p95", f"{_p(bare, 50):.1f}, {_p(bare, 95):.1f} ms")
    figure("search, p50, p95", f"{_p(searches, 50):.1f}, {_p(searches, 95):.1f} ms")
    ratio = _p(searches, 50) / _p(bare, 50)
    figure("search p50 / bare p50", f"{ratio:.2f}", target="<= 2", reached=ratio <= 2)
    figure("recall@10 against exact", f"{recall:.3f}", target=">= 0.95", reached=recall >= 0.95)


def _write(path: Path) -> list[str]:
    """Write records of words with a Zipf-like frequency; give queries of the same words."""
    draw = np.random.default_rng(7)
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnprstvz" for b in "aeiou" for c in _ENDS])
    words = draw.permutation(words)[:WORDS]
    weights = 1.0 / np.arange(1, len(words) + 1)
    weights /= weights.sum()
    with path.open("w", encoding="utf-8") as file:
        for number in range(RECORDS):
            chosen = draw.choice(words, size=40, p=weights)
            file.write(json.dumps({"id": number, "text": " ".join(chosen)}) + "\n")
    return [" ".join(draw.choice(words, size=6, p=weights)) for _ in range(QUERIES)]


_ENDS = [f"{x}{y}{z}" for x in "lmnrst" for y in "aeiou" for z in ("", "n", "s", "k")]


async def _search(services: Services, query: str) -> None:
    await services.searcher.search(SearchRequest(query=query))


async def _recall(services: Services, queries: list[str]) -> float:
    found = []
    for query in queries:
        # The first search of a query also puts its vector into the cache.
        near = await services.searcher.search(SearchRequest(query=query))
        exact = await services.searcher.search(SearchRequest(query=query, exact=True))
        wanted = {hit.chunk_id for hit in exact.hits}
        found.append(len(wanted & {hit.chunk_id for hit in near.hits}) / len(wanted))
    return statistics.fmean(found)


async def _bare(services: Services, index_id: str) -> Callable[[str], Awaitable[None]]:
    """Prepare the nearest-neighbour query alone, with the effort that the store uses."""
    embedder = services.embedder("hashing:384")
    table = f'vectors."{await _table(services, index_id)}"'
    connection = await services.engine.connect()
    await connection.execute(text("SET hnsw.ef_search = 100"))
    statement = text(
        f"SELECT chunk_id FROM {table} "
        "ORDER BY embedding::halfvec(384) <#> CAST(:vector AS halfvec(384)) LIMIT 11"
    )

    async def run(query: str) -> None:
        vector = (await embedder.embed([query], "query"))[0]
        written = "[" + ",".join(map(str, vector.tolist())) + "]"
        (await connection.execute(statement, {"vector": written})).all()

    return run


async def _table(services: Services, index_id: str) -> str:
    async with services.engine.connect() as connection:
        names = await connection.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'vectors'")
        )
        wanted = index_id.replace("-", "")
        return next(str(name) for name in names if wanted in name.replace("-", ""))


async def _timed(queries: list[str], run: Callable[[str], Awaitable[None]]) -> list[float]:
    times = []
    for query in queries:
        started = time.perf_counter()
        await run(query)
        times.append((time.perf_counter() - started) * 1000)
    return times


def _p(times: list[float], percent: int) -> float:
    return float(np.percentile(times, percent))


if __name__ == "__main__":
    main()
