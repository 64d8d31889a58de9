"""Building an index beside another one: copying against a bare COPY; switching between the two."""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from uuid import UUID

import psycopg

from benchmarks.passages import GOLDEN
from benchmarks.search import write_records
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexRequest, reindex
from ingest.report import Silent
from search_app.bootstrap import Services
from search_app.catalog import indexes
from search_app.catalog.engine import transaction
from search_app.switching import Switched, activate, rollback

RECORDS = 50_000
SWITCHES = 10


def main() -> None:
    """Print the figures; UNMOVED_BENCH_ROWS names another size."""
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure reindexing with")
        return
    asyncio.run(measure(int(os.environ.get("UNMOVED_BENCH_ROWS", str(RECORDS)))))


async def measure(records: int) -> None:
    """Ingest, copy all of it into a second index, and switch to and fro."""
    heading(f"reindex within pgvector, {records:,} passages of 384 dimensions")
    watch = _Watch()
    async with scratch_services("hashing:384") as services:
        with tempfile.TemporaryDirectory() as folder:
            write_records(Path(folder) / "records.jsonl", records)
            first = await ingest(services, IngestRequest(arguments=[folder]))
        bare = await asyncio.to_thread(_bare_copy, services, first.index_id)
        started = time.perf_counter()
        report = await reindex(services, ReindexRequest(force=True), watch)
        whole = time.perf_counter() - started
        assert report.complete
        assert report.copied == records
        switches = await _switch(services, report.index_id)
    figure(
        "copied: vectors, terms and records",
        f"{records / watch.seconds:,.0f}/s",
        target=">= 20,000/s",
        reached=records / watch.seconds >= 20_000,
    )
    figure("the same rows by a bare COPY out and in", f"{records / bare:,.0f}/s")
    figure("copied / bare COPY", f"{bare / watch.seconds:.2f}")
    figure("whole reindex, HNSW index and all checks included", f"{whole:.1f} s")
    flips = [switched.flip_ms for _, switched in switches]
    figure(
        "activate or rollback, the change itself, median, worst",
        f"{statistics.median(flips):.1f}, {max(flips):.1f} ms",
        target="<= 100 ms",
        reached=max(flips) <= 100,
    )
    times = [taken for taken, _ in switches]
    figure(
        "  with the check for completeness, median, worst",
        f"{statistics.median(times):.0f}, {max(times):.0f} ms",
    )


class _Watch(Silent):
    """Times the filling: from when it is known how much there is to when the last of it is in."""

    def __init__(self) -> None:
        """Wait for the beginning."""
        self._began = 0.0
        self.seconds = 0.0

    def planned(self, chunks: int) -> None:  # noqa: ARG002 - of the protocol
        """Begin."""
        self._began = time.perf_counter()

    def written(self, *, embedded: int, reused: int) -> None:  # noqa: ARG002 - of the protocol
        """Note how long it took to here."""
        self.seconds = time.perf_counter() - self._began


def _bare_copy(services: Services, index_id: UUID) -> float:
    """Copy vectors, terms and records out of their tables and into others alike; give seconds."""
    url = services.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"vectors.index_{index_id.hex}"
    tables = {"bare": name, "bare_terms": f"{name}_terms", "bare_records": "vector_records"}
    with psycopg.connect(url, autocommit=True) as source, psycopg.connect(url) as target:
        for copy, table in tables.items():
            # With the key alone: what reindex builds afterwards is not counted either.
            source.execute(f"CREATE TABLE {copy} (LIKE {table} INCLUDING STORAGE)".encode())
            source.execute(f"ALTER TABLE {copy} ADD PRIMARY KEY (chunk_id)".encode())
        started = time.perf_counter()
        for copy, table in tables.items():
            with (
                source.cursor().copy(f"COPY {table} TO STDOUT (FORMAT BINARY)".encode()) as out,
                target.cursor().copy(f"COPY {copy} FROM STDIN (FORMAT BINARY)".encode()) as into,
            ):
                for block in out:
                    into.write(block)
        target.commit()
        seconds = time.perf_counter() - started
        for copy in tables:
            source.execute(f"DROP TABLE {copy}".encode())
    return seconds


async def _switch(services: Services, index_id: UUID) -> list[tuple[float, Switched]]:
    """Switch to an index and back some times; give the milliseconds of each, and what it was."""
    async with transaction(services.engine) as connection:
        ready = await indexes.get(connection, index_id)
    switches = []
    for number in range(SWITCHES):
        started = time.perf_counter()
        if number == 0:
            switched = await activate(services.engine, services.store, ready)
        else:
            switched = await rollback(services.engine, services.store, "default")
        switches.append(((time.perf_counter() - started) * 1000, switched))
    return switches
