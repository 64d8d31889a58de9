"""From sources to planned documents: skip what is unchanged, read, cut and plan the rest.

Runs ahead of the embedding in a thread, a bounded way ahead, so that memory does not grow with
the corpus.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from ingest.chunker import chunk
from ingest.loaders.documents import EMPTY
from ingest.opening import OpenSource, Prepared, ReadOptions, Unchanged, prepared, too_long
from ingest.pages import Found
from ingest.plan import PlannedDocument, plan
from ingest.types import LoadedDocument, Skipped
from search_app.bootstrap import Services
from search_app.catalog import sources
from search_app.catalog.engine import transaction
from search_app.catalog.sources import KnownSource
from search_app.errors import SourceError

LOOKUP = 256
"""Sources looked up in the catalog at once."""

DOCUMENTS_AT_ONCE = 64
CHUNKS_AT_ONCE = 512
"""A reading is handed on once it has so many documents or chunks.

Each costs some statements, however little is in it: the first is to come soon, and those after it
may have as many documents as sources are looked up at once.
"""


@dataclass(kw_only=True)
class Reading:
    """A stretch of what was read, in order."""

    unchanged: list[Unchanged] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    opened: list[OpenSource] = field(default_factory=list)
    documents: list[tuple[OpenSource, PlannedDocument]] = field(default_factory=list)
    failures: list[tuple[OpenSource | None, SourceError]] = field(default_factory=list)
    exhausted: list[OpenSource] = field(default_factory=list)
    chunks: int = 0
    most_documents: int = LOOKUP
    part: int = 0
    last: bool = False
    """Nothing of the sources that were read together, its ``part`` of the run, comes after it."""

    @property
    def full(self) -> bool:
        """Say whether it is time to hand this on."""
        parts = len(self.documents) + len(self.failures)
        return parts >= self.most_documents or self.chunks >= CHUNKS_AT_ONCE


async def readings(
    services: Services, options: ReadOptions, found: Iterable[Found]
) -> AsyncIterator[Reading]:
    """Read sources in order, a stretch at a time; each source ends in unchanged or exhausted."""
    stream = iter(found)
    while batch := await asyncio.to_thread(lambda: list(islice(stream, LOOKUP))):
        async for reading in readings_of(services, options, batch):
            yield reading


async def readings_of(
    services: Services, options: ReadOptions, batch: Sequence[Found], part: int = 0
) -> AsyncIterator[Reading]:
    """Read a few sources, a stretch at a time; the last one says that it is the last."""
    uris = [item.uri for item in batch if not isinstance(item, SourceError | Skipped)]
    async with transaction(services.engine) as connection:
        known = await sources.known(connection, options.collection, uris)
    async for reading in read_known(options, batch, known, part):
        yield reading


async def read_known(
    options: ReadOptions,
    batch: Sequence[Found],
    known: Mapping[str, KnownSource],
    part: int = 0,
) -> AsyncIterator[Reading]:
    """Read a few sources of which it is known what they were; otherwise as ``readings_of``."""
    steps = _read(batch, known, options)
    while (reading := await asyncio.to_thread(next, steps, None)) is not None:
        reading.part = part
        yield reading


def _read(
    batch: Sequence[Found],
    known: Mapping[str, KnownSource],
    options: ReadOptions,
) -> Iterator[Reading]:
    reading = Reading(most_documents=DOCUMENTS_AT_ONCE)
    for one in prepared(batch, known, options):
        found = iter(one.found)
        first = next(found, None)
        if one.may_be_empty and isinstance(first, SourceError) and first.reason == EMPTY:
            reading.skipped["empty"] += 1
        else:
            _begin(reading, one)
            for document in chain(() if first is None else (first,), found):
                _take(reading, one.source, document, options)
                if reading.full:
                    yield reading
                    reading = Reading()
            if one.source is not None:
                reading.exhausted.append(one.source)
        if one.fetched is not None:
            options.fetcher.discard(one.fetched)
    reading.last = True
    yield reading


def _begin(reading: Reading, one: Prepared) -> None:
    if one.skipped is not None:
        reading.skipped[one.skipped] += 1
    if one.unchanged is not None:
        reading.unchanged.append(one.unchanged)
    if one.source is not None:
        reading.opened.append(one.source)


def _take(
    reading: Reading,
    source: OpenSource | None,
    document: LoadedDocument | SourceError,
    options: ReadOptions,
) -> None:
    refusal = document if isinstance(document, SourceError) else too_long(document.uri)
    if refusal is not None:
        reading.failures.append((source, refusal))
    elif isinstance(document, LoadedDocument) and source is not None:
        planned = _plan(document, source.root, options)
        reading.documents.append((source, planned))
        reading.chunks += sum(len(cut) for cut in planned.chunks.values())


def _plan(document: LoadedDocument, root: str, options: ReadOptions) -> PlannedDocument:
    spans = {chunking: chunk(document, chunking, options.tokens) for chunking in options.chunkings}
    return plan(options.collection.id, document, spans, root)
