"""Recommendations beside searches: the same store, the same passages, one after the other.

    python -m benchmarks recommend

20,000 records, drawn vectors as in the measurement of searches; UNMOVED_BENCH_RECORDS names another
number. A search asks with a kept query vector, so that the model has no part in either.
"""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import text

from benchmarks.passages import GOLDEN
from benchmarks.search import RECORDS, SPEC, Precomputed, queries_of, write_records
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.groups import GroupRequest, Groups
from search_app.likeness import Example
from search_app.retrieval import RecommendRequest, SearchRequest
from search_app.types import Mode

WRITTEN = 20_000
ROUNDS = 3
SIDES: Sequence[tuple[int, int]] = ((1, 0), (3, 0), (3, 2), (10, 10))
"""Numbers of examples for and against."""

FEW = 100
"""Examples whose words are all known after the first few recommendations."""


def main() -> None:
    """Print the figures."""
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure recommendations with")
        return
    asyncio.run(measure(int(os.environ.get("UNMOVED_BENCH_RECORDS", WRITTEN))))


async def measure(records: int) -> None:
    """Time searches and recommendations in turn, so that whatever else runs slows both."""
    heading(f"recommendations over {records:,} chunks of 384 dimensions")
    async with scratch_services(SPEC) as services:
        services._embedders[SPEC] = Precomputed()
        with tempfile.TemporaryDirectory() as folder:
            write_records(Path(folder) / "records.jsonl", records)
            await ingest(services, IngestRequest(arguments=[folder]))
        # Beyond all records, as the vectors of queries are.
        queries = queries_of(RECORDS)
        examples = await _drawn(services)
        await _against_searches(services, queries, examples, "semantic")
        await _against_searches(services, queries, examples, "hybrid")
        # As when one example after the other is added: most were met before.
        await _against_searches(services, queries, examples[:FEW], "hybrid", "met before")
        await _groups(services, queries)


async def _against_searches(
    services: Services,
    queries: Sequence[str],
    examples: Sequence[Example],
    mode: Mode,
    note: str = "",
) -> None:
    async def search(number: int) -> None:
        await services.searcher.search(SearchRequest(query=queries[number], mode=mode))

    def recommend(like: int, unlike: int) -> Callable[[int], Awaitable[object]]:
        async def run(number: int) -> object:
            drawn = random.Random(number).sample(range(len(examples)), like + unlike)
            chosen = [examples[place] for place in drawn]
            return await services.searcher.recommend(
                RecommendRequest(like=chosen[:like], unlike=chosen[like:], mode=mode)
            )

        return run

    runs = {sides: recommend(*sides) for sides in SIDES}
    for number in range(len(queries)):
        # Puts the query's vector into the cache.
        await search(number)
    times: dict[object, list[float]] = {"search": [], **{sides: [] for sides in SIDES}}
    for _ in range(ROUNDS):
        for number in range(len(queries)):
            times["search"].append(await _timed(search, number))
            for sides, run in runs.items():
                times[sides].append(await _timed(run, number))
    plain = float(np.median(times["search"]))
    name = f"{mode}, {note}" if note else mode
    figure(f"{mode} search, p50", f"{plain:.1f} ms")
    for like, unlike in SIDES:
        median = float(np.median(times[like, unlike]))
        ratio = median / plain
        figure(
            f"{name}: {like} for, {unlike} against, p50, ratio",
            f"{median:.1f} ms, {ratio:.2f}",
            target="<= 1.20",
            reached=ratio <= 1.2,
        )


async def _groups(services: Services, queries: Sequence[str]) -> None:
    """Time groups beside searches by meaning, which is how they are asked."""
    for field in ("type", "language"):
        started = time.perf_counter()
        found = await Groups(services).of("default", field)
        took = time.perf_counter() - started
        largest = max(group.drawn for group in found.groups)
        figure(
            f"means of {field}, first time, the largest of {largest:,} passages", f"{took:.2f} s"
        )
    groups = Groups(services)
    request = GroupRequest(field="language", value=found.groups[0].label)
    await groups.about(request)

    async def search(number: int) -> None:
        await services.searcher.search(SearchRequest(query=queries[number], mode="semantic"))

    pairs = [
        (await _timed(search, number), await _timed(lambda _: groups.about(request), number))
        for number in range(len(queries))
    ]
    plain, again = np.median(pairs, axis=0).tolist()
    figure(
        "a group again, p50, ratio to a search by meaning", f"{again:.1f} ms, {again / plain:.2f}"
    )


async def _drawn(services: Services) -> list[Example]:
    async with services.engine.connect() as connection:
        ids = await connection.scalars(text("SELECT id FROM chunks ORDER BY id LIMIT 20000"))
        return [Example(kind="passage", id=each) for each in ids]


async def _timed(run: Callable[[int], Awaitable[object]], number: int) -> float:
    started = time.perf_counter()
    await run(number)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
