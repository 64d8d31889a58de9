"""A quiet night over 100,000 passages with the bundled model, and its parts against a bare scan."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

from benchmarks.points import scan_rate
from benchmarks.reconcile import Content, fill
from benchmarks.workplace import figure, heading, peak_mib, scratch_services
from search_app.bootstrap import Services
from search_app.catalog.chunks import indexed_text
from search_app.consistency import integrity
from search_app.consistency.checking import check
from search_app.consistency.integrity import Values
from search_app.consistency.ranking import BEYOND
from search_app.consistency.streaming import neighbours
from search_app.consistency.subject import CheckRequest
from search_app.embedders.batching import normalise
from search_app.embedders.bundled import BundledEmbedder
from search_app.identity import observe
from search_app.types import Index, Matrix, ModelVersion

ROWS = 100_000
TEXTS = 1_000
QUERIES = 43
K = 10


def main() -> None:
    """Print the figures; UNMOVED_BENCH_ROWS names another number of passages."""
    rows = int(os.environ.get("UNMOVED_BENCH_ROWS", ROWS))
    heading(f"ingest check over {rows:,} passages, pgvector, bundled model")
    asyncio.run(_measure(rows))


async def _measure(rows: int) -> None:
    embedder = BundledEmbedder()
    content = await _content(embedder)
    async with scratch_services("bundled") as services:
        index = await fill(services, rows, content)
        with tempfile.TemporaryDirectory() as folder:
            _write_questions(Path(folder))
            request = CheckRequest(collection="bench", golden=Path(folder))
            first = await check(services, request)
            figure("first night, which sets 600 references", f"{first.seconds:.1f} s")
            night = await check(services, request)
        await _parts(services, index, content.vectors[:QUERIES], rows)
    assert night.verdict.value == "stable", night.sentence
    told = f"{night.seconds:.1f} s"
    figure("a quiet night", told, target="<= 90 s", reached=night.seconds <= 90)
    figure("  texts sent, all of them free", f"{night.spent.texts:,}")
    figure("  peak memory of the process", f"{peak_mib():.0f} MiB")
    await embedder.aclose()


async def _parts(services: Services, index: Index, queries: Matrix, rows: int) -> None:
    store = services.store("pgvector")
    bare = max([await scan_rate(store, index.id, vectors=True) for _ in range(3)])
    started = time.perf_counter()
    seen = await integrity.inspected(services.engine, index, store, writing=False)
    scanned = seen.scanned / (time.perf_counter() - started)
    figure("bare scan with vectors", f"{bare:,.0f}/s")
    figure("integrity scan", f"{scanned:,.0f}/s", target=">= 50,000/s", reached=scanned >= 50_000)
    figure("  against the bare scan", f"{scanned / bare:.2f} x")
    started = time.perf_counter()
    await neighbours(store, index.id, queries, K + BEYOND, lambda _ids, _vectors: None)
    ratio = (time.perf_counter() - started) / (rows / bare)
    name = f"exact neighbours of {len(queries)} queries / reading"
    figure(name, f"{ratio:.2f} x", target="<= 2 x", reached=ratio <= 2)
    started = time.perf_counter()
    await neighbours(store, index.id, queries, K + BEYOND, Values(usual=()).add)
    ratio = (time.perf_counter() - started) / (rows / bare)
    figure("  with a look at all values", f"{ratio:.2f} x")


async def _content(embedder: BundledEmbedder) -> Content:
    seen = await observe(embedder)
    texts = _texts()
    vectors = await _embedded(embedder, texts)
    return Content(
        version=ModelVersion(
            id=uuid4(),
            spec=embedder.spec,
            identity=seen.identity,
            noise_floor=seen.noise_floor,
            bit_stable=seen.bit_stable,
        ),
        canaries=seen.canaries,
        texts=texts,
        sent=[embedder.text_sent(indexed_text("", text), "document") for text in texts],
        vectors=vectors,
    )


async def _embedded(embedder: BundledEmbedder, texts: Sequence[str]) -> Matrix:
    rows = []
    for start in range(0, len(texts), embedder.batch_size):
        answer = await embedder.embed(texts[start : start + embedder.batch_size], "document")
        rows.append(normalise(answer)[0])
    return np.concatenate(rows)


def _texts() -> list[str]:
    roots = ("tide", "moon", "kiln", "loom")
    words = [f"{root}{ending}" for root in roots for ending in "abcdefgh"]
    draw = np.random.default_rng(5)
    return [
        f"Note {number}. {' '.join(draw.permutation(words)[:24].tolist())}."
        for number in range(TEXTS)
    ]


def _write_questions(folder: Path) -> None:
    draw = np.random.default_rng(6)
    texts = [" ".join(draw.permutation(text.split())[:6].tolist()) for text in _texts()[:700]]
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "queries.jsonl").write_text(rows)
