"""Comparing catalog and store against a bare scan of the store; memory at two sizes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

import numpy as np
import psycopg
from sqlalchemy import make_url

from benchmarks.points import DIMENSIONS, fields_of, scan_rate, synthetic
from benchmarks.workplace import figure, heading, own_peak_mib, scratch_services
from ingest.reconcile import reconcile
from search_app.bootstrap import Services, open_services
from search_app.catalog import collections, indexes, models, runs
from search_app.catalog.engine import transaction
from search_app.catalog.models import CanaryVector
from search_app.config import load_settings
from search_app.types import (
    Chunking,
    Collection,
    Index,
    IndexState,
    Matrix,
    ModelIdentity,
    ModelVersion,
    Point,
    Precision,
)

SMALL, LARGE = 10_000, 100_000
BLOCK = 10_000
CHUNKS_OF_DOCUMENT = 10
ROUNDS = 3
_TEXT = "A passage of a few hundred characters, as long as most are in real documents. " * 5
_SYNTHETIC = ModelVersion(
    id=uuid4(),
    spec="hashing:64",
    identity=ModelIdentity(
        provider="bench",
        model="synthetic",
        revision="",
        dimensions=DIMENSIONS,
        max_tokens=None,
        document_prefix="",
        query_prefix="",
    ),
    noise_floor=0.0,
    bit_stable=True,
)
CANARY = CanaryVector(
    name="short", kind="document", text="water", vector=np.zeros(DIMENSIONS, np.float32)
)


def main() -> None:
    """Print the figures of both sizes; UNMOVED_BENCH_ROWS names others."""
    heading(f"ingest reconcile on pgvector, {DIMENSIONS} dimensions")
    sizes = os.environ.get("UNMOVED_BENCH_ROWS", f"{SMALL},{LARGE}").split(",")
    peaks = [asyncio.run(measure(int(size))) for size in sizes]
    ratio = peaks[-1] / peaks[0]
    figure("peak memory, last size / first", f"{ratio:.2f}", target="<= 1.1", reached=ratio <= 1.1)


async def measure(rows: int) -> float:
    """Fill catalog and store, then compare them in a process of its own; give its peak in MiB."""
    async with scratch_services("hashing:64") as services:
        index = await fill(services, rows)
        address = services.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "benchmarks.reconcile", address, str(rows)]
        done = await asyncio.to_thread(
            subprocess.run, command, check=True, stdout=subprocess.PIPE, text=True
        )
        rate, peak = map(float, done.stdout.split())
        store = services.store("pgvector")
        bare = max([await scan_rate(store, index.id, vectors=True) for _ in range(ROUNDS)])
    figure(
        f"{rows:,} vectors: reconcile", f"{rate:,.0f}/s", target=">= 50,000", reached=rate >= 5e4
    )
    figure("  bare scan with vectors", f"{bare:,.0f}/s")
    figure("  reconcile / bare scan", f"{rate / bare:.2f}")
    figure("  peak memory", f"{peak:.0f} MiB")
    return peak


async def compare(address: str, rows: int) -> None:
    """Compare them some times; print the best rate and the peak of memory."""
    settings = load_settings(DATABASE_URL=address)
    rates = []
    async with open_services(settings) as services:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            report = await reconcile(services)
            rates.append(rows / (time.perf_counter() - started))
            found = report.indexes[0]
            assert not +found.found, report.as_json()
            assert found.points == rows, report.as_json()
    print(max(rates), own_peak_mib())


@dataclass(frozen=True, kw_only=True)
class Content:
    """What an index is filled with, over and over: texts, and vectors of the model that made them.

    ``sent`` are the exact texts that were embedded; ``vectors`` (texts, d).
    """

    version: ModelVersion
    canaries: Sequence[CanaryVector]
    texts: Sequence[str]
    sent: Sequence[str]
    vectors: Matrix


async def fill(services: Services, rows: int, content: Content | None = None) -> Index:
    """Write documents, chunks, records and points, as an ingest would, block by block."""
    collection, index, run_id = await _begin(services, content)
    await services.store("pgvector").create(index.id, DIMENSIONS)
    async with _connected(services) as connection:
        source = uuid4()
        await connection.execute(
            "INSERT INTO sources (id, collection_id, uri, reader, options, root, state)"
            " VALUES (%s, %s, 'bench', 'bench', '{}', '', 'ingested')",
            (source, collection.id),
        )
        for start in range(0, rows, BLOCK):
            points = _points(index, run_id, start, min(BLOCK, rows - start), content)
            await services.store("pgvector").upsert(index.id, points)
            texts = _texts(start, len(points), content)
            await _record(connection, collection, index, source, zip(points, texts, strict=True))
        await connection.execute("ANALYZE")
    async with transaction(services.engine) as connection:
        return await indexes.activate(connection, index.id)


async def _begin(services: Services, content: Content | None) -> tuple[Collection, Index, UUID]:
    version = _SYNTHETIC if content is None else content.version
    async with transaction(services.engine) as connection:
        collection = await collections.get_or_create(connection, "bench")
        await models.add(connection, version, [CANARY] if content is None else content.canaries)
        index = await indexes.create(
            connection,
            collection=collection,
            model_version_id=version.id,
            chunking=Chunking(),
            store="pgvector",
            precision=Precision.FLOAT16,
            state=IndexState.BUILDING,
        )
        run_id = await runs.start(
            connection,
            kind="ingest",
            collection=collection,
            configuration={},
            code_version="bench",
            library_versions={},
        )
    return collection, index, run_id


def _points(
    index: Index, run_id: UUID, start: int, number: int, content: Content | None
) -> list[Point]:
    if content is None:
        vectors = synthetic(number)
    else:
        vectors = content.vectors[np.arange(start, start + number) % len(content.texts)]
    made = []
    for place, vector in enumerate(vectors):
        if place % CHUNKS_OF_DOCUMENT == 0:
            document, fields = uuid4(), fields_of(start + place)
        made.append(
            Point(
                chunk_id=uuid4(),
                document_id=document,
                index_id=index.id,
                model_version_id=index.model_version_id,
                run_id=run_id,
                fields=fields,
                vector=vector,
            )
        )
    return made


def _texts(start: int, number: int, content: Content | None) -> list[tuple[str, str]]:
    """Give the text of each passage, and what was sent of it."""
    if content is None:
        return [(_TEXT, _TEXT)] * number
    places = [(start + place) % len(content.texts) for place in range(number)]
    return [(content.texts[place], content.sent[place]) for place in places]


async def _record(
    connection: "psycopg.AsyncConnection[object]",
    collection: Collection,
    index: Index,
    source: UUID,
    passages: Iterable[tuple[Point, tuple[str, str]]],
) -> None:
    from psycopg.types.json import Jsonb

    written = list(passages)
    known = {point.document_id: point for point, _ in written}
    documents = (
        "COPY documents (id, collection_id, source_id, uri, title, language, media_type, fields,"
        " content_hash, state) FROM STDIN"
    )
    async with connection.cursor() as cursor, cursor.copy(documents) as copy:
        for point in known.values():
            name = str(point.document_id)
            await copy.write_row(
                (point.document_id, collection.id, source, name, name, "en", "markdown",
                 Jsonb(dict(point.fields)), b"h" * 32, "indexed")
            )  # fmt: skip
    chunks = (
        "COPY chunks (id, document_id, chunking, ordinal, text, context, text_hash, char_start,"
        " char_end, heading_path, tokens, state) FROM STDIN"
    )
    async with connection.cursor() as cursor, cursor.copy(chunks) as copy:
        for place, (point, (text, _)) in enumerate(written):
            await copy.write_row(
                (point.chunk_id, point.document_id, index.chunking.name, place, text, "",
                 b"t" * 32, 0, 400, Jsonb([]), 90, "live")
            )  # fmt: skip
    records = (
        "COPY vector_records (index_id, chunk_id, run_id, sent_hash, received_hash, stored_hash,"
        " norm, batch_size, batch_position) FROM STDIN"
    )
    async with connection.cursor() as cursor, cursor.copy(records) as copy:
        for place, (point, (_, sent)) in enumerate(written):
            assert point.vector is not None
            digest = sha256(point.vector.tobytes()).digest()
            await copy.write_row(
                (index.id, point.chunk_id, point.run_id,
                 sha256(sent.encode()).digest(), digest, digest, 1.0, 16, place % 16)
            )  # fmt: skip
    await connection.commit()


@asynccontextmanager
async def _connected(
    services: Services,
) -> AsyncIterator["psycopg.AsyncConnection[object]"]:
    url = make_url(services.engine.url.render_as_string(hide_password=False))
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(address) as connection:
        yield connection


if __name__ == "__main__":
    asyncio.run(compare(sys.argv[1], int(sys.argv[2])))
