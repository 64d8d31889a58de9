"""Ingest against the bare work in it: embedding alone, the speed of skipping, flat memory."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from benchmarks.workplace import figure, heading, peak_mib, scratch_services
from ingest.chunker import chunk
from ingest.loaders import LoadOptions, load
from ingest.pipeline import IngestRequest, ingest
from ingest.plan import plan
from ingest.sources import discover
from ingest.types import LoadedDocument, SourceRef
from search_app.bootstrap import Services
from search_app.catalog.chunks import indexed_text
from search_app.embedders.base import Embedder
from search_app.embedders.batching import embed_all
from search_app.identity import CANARIES
from search_app.types import Chunking

MANUALS = Path(__file__).parent.parent.parent / "shared" / "data" / "docs_fastapi"
OWN_DOCS = Path(__file__).parent.parent / "docs"
CHUNKS = 500
SKIPPED = 5000
SMALL, LARGE = 5_000, 50_000


def main() -> None:
    """Print the three figures."""
    asyncio.run(against_bare_embedding())
    asyncio.run(skipping())
    memory()


async def against_bare_embedding() -> None:
    """Compare the time of an ingest with that of embedding the same chunks alone."""
    heading("ingest of new chunks against bare embedding of the same chunks (bundled)")
    async with scratch_services("bundled") as services:
        with tempfile.TemporaryDirectory() as folder:
            texts = chunks_of_pages(services, Path(folder))
            embedder = services.embedder("bundled")
            await embedder.embed(["warm"], "document")
            # The first ingest sets up the collection and takes the identity proof with it.
            warm = Path(folder) / "warm"
            warm.mkdir()
            (warm / "warm.txt").write_text("warm", encoding="utf-8")
            await ingest(services, IngestRequest(arguments=[str(warm)]))
            bare = await _seconds_of_embedding(services, texts)
            started = time.perf_counter()
            report = await ingest(services, IngestRequest(arguments=[f"{folder}/new"]))
            whole = time.perf_counter() - started
            proofs = await seconds_of_proofs(services.embedder("bundled"), report.chunks.embedded)
            again = await _seconds_of_embedding(services, texts)
    base = min(bare, again)
    ratio = (whole - proofs) / base
    figure("chunks", f"{report.chunks.embedded} ({len(texts)} bare)")
    figure("bare embedding, before and after", f"{bare:.1f} s, {again:.1f} s")
    figure("ingest, of it identity proofs", f"{whole:.1f} s, {proofs:.1f} s")
    figure("ingest without proofs / bare", f"{ratio:.3f}", target="<= 1.05", reached=ratio <= 1.05)


def chunks_of_pages(services: Services, folder: Path) -> list[str]:
    """Copy real pages until they make enough chunks; give the texts as they are embedded."""
    corpus = MANUALS if MANUALS.exists() else OWN_DOCS
    target, texts = folder / "new", dict[str, None]()
    target.mkdir()
    for number, ref in enumerate(found for found in discover([str(corpus)])):
        if not isinstance(ref, SourceRef) or len(texts) >= CHUNKS or ref.size > 40_000:
            continue
        for document in load(ref, LoadOptions()):
            if isinstance(document, LoadedDocument):
                spans = {Chunking(): chunk(document, Chunking(), services.tokens)}
                planned = plan(uuid4(), document, spans, str(corpus))
                chunks = planned.chunks[Chunking().name]
                texts |= {indexed_text(one.context, one.text): None for one in chunks}
        (target / f"{number:03}-{ref.path.name}").write_bytes(ref.path.read_bytes())
    return list(texts)


async def _seconds_of_embedding(services: Services, texts: list[str]) -> float:
    started = time.perf_counter()
    await embed_all(services.embedder("bundled"), texts, "document")
    return time.perf_counter() - started


async def seconds_of_proofs(embedder: Embedder, embedded: int) -> float:
    """Measure one proof and count how many the ingest made: the opening and one a segment."""
    from ingest.writing import SEGMENT

    started = time.perf_counter()
    for canary in CANARIES:
        await embedder.embed([canary.text], canary.kind)
    return (time.perf_counter() - started) * (1 + -(-embedded // SEGMENT))


async def skipping() -> None:
    """Measure how fast unchanged documents are passed over."""
    heading("re-ingest of an unchanged folder")
    async with scratch_services("hashing:64") as services:
        with tempfile.TemporaryDirectory() as folder:
            _write_small(Path(folder), SKIPPED)
            request = IngestRequest(arguments=[folder])
            await ingest(services, request)
            report = await ingest(services, request)
            assert report.documents.unchanged == SKIPPED
            started = time.perf_counter()
            for path in sorted(Path(folder).iterdir()):
                path.read_bytes()
            reading = time.perf_counter() - started
    rate = SKIPPED / report.seconds
    figure("reading the files alone", f"{SKIPPED / reading:,.0f} documents/s")
    figure("re-ingest", f"{rate:,.0f} documents/s", target=">= 2,000/s", reached=rate >= 2000)


def _write_small(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number:06}.txt").write_text(
            f"Note {number}: the tide of day {number % 365} was {number % 97} cm high.",
            encoding="utf-8",
        )


def memory() -> None:
    """Compare the peak memory of a small and a large ingest, each in a process of its own."""
    heading(f"peak memory of ingesting {LARGE:,} documents against {SMALL:,} (hashing)")
    peaks = {}
    for count in (SMALL, LARGE):
        command = [sys.executable, "-m", "benchmarks.ingest", "peak", str(count)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ)
        found = json.loads(output.stdout)
        peaks[count] = found["peak_mib"]
        figure(f"{count:,} documents", f"{found['peak_mib']:.0f} MiB, {found['seconds']:.0f} s")
    growth = peaks[LARGE] / peaks[SMALL]
    figure("peak large / small", f"{growth:.3f}", target="<= 1.10", reached=growth <= 1.10)


async def peak(count: int) -> None:
    """Ingest so many small documents and print this process's peak."""
    async with scratch_services("hashing:64") as services:
        with tempfile.TemporaryDirectory() as folder:
            _write_small(Path(folder), count)
            report = await ingest(services, IngestRequest(arguments=[folder]))
            assert report.documents.added == count
    print(json.dumps({"peak_mib": peak_mib(), "seconds": report.seconds}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        asyncio.run(peak(int(sys.argv[2])))
    else:
        main()
