"""The whole search in the server, query vector cached, against the bare SQL in it."""

import asyncio
import json
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import text

from benchmarks.points import synthetic
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.embedders.base import Embedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix, ModelIdentity

RECORDS = 100_000
QUERIES = 200
SPEC = "hashing:384"


class Precomputed(Embedder):
    """Gives numbered texts vectors that are about as hard to search as real ones.

    Embedding 100,000 passages for real takes an hour; the vectors are those of the store's own
    measurement, where the choice is explained.
    """

    spec = SPEC
    batch_size = 256

    def __init__(self) -> None:
        """Draw the vectors of all records and queries."""
        self._real = HashingEmbedder(384)
        self._vectors = synthetic(RECORDS + QUERIES)

    async def describe(self) -> ModelIdentity:
        """Say what the hashing embedder says."""
        return await self._real.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Look numbered texts up; hash the canaries."""
        vectors = await self._real.embed(texts, kind)
        for row, given in enumerate(texts):
            if (number := re.search(r"\[(\d+)\]", given)) is not None:
                vectors[row] = self._vectors[int(number[1])]
        return vectors

    def text_sent(self, text: str, kind: Kind) -> str:
        """Send texts as they are."""
        return self._real.text_sent(text, kind)


def main() -> None:
    """Print the figures."""
    asyncio.run(measure())


async def measure() -> None:
    """Ingest, then search the same queries through the product and as bare SQL."""
    heading(f"whole search over {RECORDS:,} chunks of 384 dimensions, query vectors cached")
    async with scratch_services(SPEC) as services:
        services._embedders[SPEC] = Precomputed()
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder) / "records.jsonl")
            started = time.perf_counter()
            report = await ingest(services, IngestRequest(arguments=[folder]))
        assert report.documents.added == RECORDS
        figure("ingest, index build included", f"{time.perf_counter() - started:.0f} s")
        queries = [f"query [{RECORDS + number}]" for number in range(QUERIES)]
        recall = await _recall(services, queries)
        reported: list[float] = []
        whole = await _timed(queries, lambda query: _search(services, query, reported))
        bare = await _timed_bare(services, str(report.index_id), queries)
    figure(
        "bare SQL kNN at the same effort, p50, p95", f"{_p(bare, 50):.1f}, {_p(bare, 95):.1f} ms"
    )
    figure("search as reported, p50, p95", f"{_p(reported, 50):.1f}, {_p(reported, 95):.1f} ms")
    figure("search and its log entry, p50, p95", f"{_p(whole, 50):.1f}, {_p(whole, 95):.1f} ms")
    ratio = _p(reported, 50) / _p(bare, 50)
    figure("search as reported p50 / bare p50", f"{ratio:.2f}", target="<= 2", reached=ratio <= 2)
    figure("recall@10 against exact", f"{recall:.3f}", target=">= 0.95", reached=recall >= 0.95)


def _write(path: Path) -> None:
    filler = "A passage of a few dozen words, as long as those that people keep in tables. " * 3
    with path.open("w", encoding="utf-8") as file:
        for number in range(RECORDS):
            file.write(json.dumps({"id": number, "text": f"passage [{number}] {filler}"}) + "\n")


async def _search(services: Services, query: str, reported: list[float]) -> None:
    result = await services.searcher.search(SearchRequest(query=query))
    reported.append(result.took_ms)


async def _recall(services: Services, queries: list[str]) -> float:
    found = []
    for query in queries:
        # The first search of a query also puts its vector into the cache.
        near = await services.searcher.search(SearchRequest(query=query))
        exact = await services.searcher.search(SearchRequest(query=query, exact=True))
        wanted = {hit.chunk_id for hit in exact.hits}
        found.append(len(wanted & {hit.chunk_id for hit in near.hits}) / len(wanted))
    return statistics.fmean(found)


async def _timed_bare(services: Services, index_id: str, queries: list[str]) -> list[float]:
    """Time the nearest-neighbour query alone, with the effort that the store uses."""
    embedder = services.embedder(SPEC)
    table = f'vectors."{await _table(services, index_id)}"'
    statement = text(
        f"SELECT chunk_id FROM {table} "
        "ORDER BY embedding::halfvec(384) <#> CAST(:vector AS halfvec(384)) LIMIT 11"
    )
    written = {}
    for query in queries:
        vector = (await embedder.embed([query], "query"))[0]
        written[query] = "[" + ",".join(map(str, vector.tolist())) + "]"
    async with services.engine.connect() as connection:
        await connection.execute(text("SET hnsw.ef_search = 100"))

        async def run(query: str) -> None:
            (await connection.execute(statement, {"vector": written[query]})).all()

        return await _timed(queries, run)


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
