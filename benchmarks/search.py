"""The whole search, query vectors cached: by meaning, by words and by both; alone and in crowds.

The passages are real paragraphs, English and Japanese, joined at random to the size of a chunk, and
the queries are real questions; the vectors are drawn, as the store's own measurement explains.
"""

import asyncio
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np
from sqlalchemy import text

from benchmarks.passages import GOLDEN
from benchmarks.points import synthetic
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.embedders.base import Embedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix, Mode, ModelIdentity
from search_app.web.counting import Counter

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
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure whole searches with")
        return
    asyncio.run(measure())


async def measure() -> None:
    """Ingest, then ask the same questions in every mode and as bare SQL."""
    heading(f"whole search over {RECORDS:,} chunks of 384 dimensions, query vectors cached")
    async with scratch_services(SPEC) as services:
        services._embedders[SPEC] = Precomputed()
        queries = _queries()
        with tempfile.TemporaryDirectory() as folder:
            write_records(Path(folder) / "records.jsonl", RECORDS)
            started = time.perf_counter()
            report = await ingest(services, IngestRequest(arguments=[folder]))
        assert report.documents.added == RECORDS
        figure("ingest, index build included", f"{time.perf_counter() - started:.0f} s")
        recall = await _recall(services, queries)
        semantic = await _reported(services, queries, "semantic")
        keyword = await _reported(services, queries, "keyword")
        hybrid = await _reported(services, queries, "hybrid")
        bare = await _timed_bare(services, str(report.index_id), queries)
        same, identical = await _keyword_recall(services, queries)
        faceted = await _timed_facets(services, queries)
        few, many = [await _crowd(services, queries, users) for users in (4, 50)]
    _show("bare SQL kNN at the same effort", bare)
    _show("search by meaning", semantic)
    _show("search by words", keyword)
    _show("search by both", hybrid)
    ratio = _p(semantic, 50) / _p(bare, 50)
    figure("by meaning p50 / bare p50", f"{ratio:.2f}", target="<= 2", reached=ratio <= 2)
    ratio = _p(hybrid, 50) / _p(bare, 50)
    figure("by both p50 / bare p50", f"{ratio:.2f}", target="<= 3", reached=ratio <= 3)
    reached = _p(hybrid, 50) <= 15 and _p(hybrid, 95) <= 40
    figure("by both p50, p95", "as above", target="<= 15, 40 ms", reached=reached)
    reached = _p(keyword, 95) <= 30
    figure("by words p95", "as above", target="<= 30 ms", reached=reached)
    figure(
        "recall@10 by meaning against exact",
        f"{recall:.3f}",
        target=">= 0.95",
        reached=recall >= 0.95,
    )
    figure(
        "recall@10 by words against exact", f"{same:.4f}", target=">= 0.99", reached=same >= 0.99
    )
    figure("identical first ten by words", f"{identical:.3f}")
    figure(
        "facets beside a search p50, p95",
        f"{_p(faceted, 50):.1f}, {_p(faceted, 95):.1f} ms",
        target="<= 10 ms",
        reached=_p(faceted, 50) <= 10,
    )
    figure(
        "searches a second, 4 and 50 at once",
        f"{few:.0f}, {many:.0f}",
        target="no fewer",
        reached=many >= few,
    )


def _show(name: str, times: Sequence[float]) -> None:
    figure(f"{name}, p50, p95", f"{_p(times, 50):.1f}, {_p(times, 95):.1f} ms")


def write_records(path: Path, records: int) -> None:
    """Write records of about a chunk each, every other one in Japanese."""
    draw = random.Random("records")
    kinds = [
        ([*_texts("en_cranfield/corpus"), *_texts("en_npl/corpus")], 760),
        (_texts("ja_jsquad/corpus"), 300),
    ]
    with path.open("w", encoding="utf-8") as file:
        for number in range(records):
            texts, size = kinds[number % 2]
            body = ""
            while len(body) < size:
                body += draw.choice(texts) + "\n"
            file.write(json.dumps({"id": number, "text": f"[{number}] {body[:size]}"}) + "\n")


def _queries() -> list[str]:
    return queries_of(RECORDS)


def queries_of(first: int) -> list[str]:
    """Draw real questions, numbered from ``first``, as their vectors are."""
    draw = random.Random("queries")
    english = [*_texts("en_cranfield/queries"), *_texts("en_npl/queries")]
    texts = draw.sample(english, QUERIES // 2) + draw.sample(
        _texts("ja_jsquad/queries"), QUERIES // 2
    )
    return [f"[{first + number}] {text}" for number, text in enumerate(texts)]


def _texts(name: str) -> list[str]:
    with (GOLDEN / f"{name}.jsonl").open(encoding="utf-8") as file:
        return [row["text"] for line in file if (row := json.loads(line))["text"].strip()]


async def _reported(services: Services, queries: list[str], mode: Mode) -> list[float]:
    """Give how long each search took by its own word, its log entry aside."""
    times = []
    for query in queries:
        result = await services.searcher.search(SearchRequest(query=query, mode=mode))
        times.append(result.took_ms)
    return times


async def _recall(services: Services, queries: list[str]) -> float:
    found = []
    for query in queries:
        # The first search of a query also puts its vector into the cache.
        near = await _ids(services, query, "semantic")
        exact = await _ids(services, query, "semantic", exact=True)
        found.append(len(set(exact) & set(near)) / len(exact))
    return statistics.fmean(found)


async def _keyword_recall(services: Services, queries: list[str]) -> tuple[float, float]:
    """Give the share of the best ten that is found, and that of lists that are the same."""
    shares, same = [], []
    for query in queries:
        found = await _ids(services, query, "keyword")
        exact = await _ids(services, query, "keyword", exact=True)
        shares.append(len(set(exact) & set(found)) / max(len(exact), 1))
        same.append(found == exact)
    return statistics.fmean(shares), statistics.fmean(same)


async def _ids(services: Services, query: str, mode: Mode, *, exact: bool = False) -> list[UUID]:
    request = SearchRequest(query=query, mode=mode, exact=exact)
    return [hit.chunk_id for hit in (await services.searcher.search(request)).hits]


async def _timed_facets(services: Services, queries: list[str]) -> list[float]:
    """Time what the page counts beside a search; the first counting of all is left out."""
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
    counter = Counter(services.engine)

    async def count(_: str) -> None:
        await counter.facets(collection, (), ("language", "type", "folder"))

    await count("")
    return await _timed(queries, count)


async def _crowd(services: Services, queries: list[str], users: int) -> float:
    """Let users ask one query after the other; give searches a second. A failure ends it."""
    waiting = iter(queries * 3)

    async def user() -> None:
        for query in waiting:
            await services.searcher.search(SearchRequest(query=query))

    started = time.perf_counter()
    await asyncio.gather(*(user() for _ in range(users)))
    return 3 * len(queries) / (time.perf_counter() - started)


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
            text(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_schema = 'vectors' AND table_name NOT LIKE '%_terms'"
            )
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


def _p(times: Sequence[float], percent: int) -> float:
    return float(np.percentile(times, percent))


if __name__ == "__main__":
    main()
