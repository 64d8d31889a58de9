"""From sources to planned documents: skip what is unchanged, read, cut and plan the rest.

Runs ahead of the embedding in a thread, a bounded way ahead, so that memory does not grow with
the corpus.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from uuid import UUID

from ingest import loaders
from ingest.chunker import TokenCounter, chunk
from ingest.loaders import LoadOptions
from ingest.plan import PlannedDocument, plan, source_id
from ingest.types import LoadedDocument, SourceRef
from search_app.bootstrap import Services
from search_app.catalog import sources
from search_app.catalog.engine import transaction
from search_app.catalog.sources import KnownSource
from search_app.errors import SourceError
from search_app.types import JSON, Chunking, Collection

LOOKUP = 256
"""Sources looked up in the catalog at once."""

DOCUMENTS_AT_ONCE = 64
CHUNKS_AT_ONCE = 512
"""A reading is handed on once it has so many documents or chunks."""

LONGEST_URI = 2_500
"""Bytes of a source's or document's uri; an index of PostgreSQL takes no more than 2,700."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What decides how sources become documents: the run, the chunkings in use, the choices."""

    collection: Collection
    run_id: UUID
    chunkings: Sequence[Chunking]
    load: LoadOptions
    tokens: TokenCounter


@dataclass(kw_only=True)
class OpenSource:
    """A source that is being read; ``outstanding`` documents of it are not in yet.

    Whoever reads it fills in the first fields and hands it on; the rest is the writer's.
    """

    id: UUID
    uri: str
    size: int
    reader: str
    options: Mapping[str, JSON]
    root: str
    content_hash: bytes | None = None
    outstanding: int = 0
    exhausted: bool = False
    failures: int = 0
    first_reason: str | None = None


@dataclass(kw_only=True)
class Reading:
    """A stretch of what was read, in order."""

    unchanged: list[tuple[UUID, SourceRef]] = field(default_factory=list)
    opened: list[OpenSource] = field(default_factory=list)
    documents: list[tuple[OpenSource, PlannedDocument]] = field(default_factory=list)
    failures: list[tuple[OpenSource | None, SourceError]] = field(default_factory=list)
    exhausted: list[OpenSource] = field(default_factory=list)
    chunks: int = 0

    @property
    def full(self) -> bool:
        """Say whether it is time to hand this on."""
        parts = len(self.documents) + len(self.failures)
        return parts >= DOCUMENTS_AT_ONCE or self.chunks >= CHUNKS_AT_ONCE


async def readings(
    services: Services, options: ReadOptions, found: Iterable[SourceRef | SourceError]
) -> AsyncIterator[Reading]:
    """Read sources in order, a stretch at a time; each source ends in unchanged or exhausted."""
    stream = iter(found)
    while batch := await asyncio.to_thread(lambda: list(islice(stream, LOOKUP))):
        refs = [ref for ref in batch if isinstance(ref, SourceRef)]
        async with transaction(services.engine) as connection:
            known = await sources.known(connection, options.collection, [ref.uri for ref in refs])
        steps = _read(batch, known, options)
        while (reading := await asyncio.to_thread(next, steps, None)) is not None:
            yield reading


def _read(
    batch: Sequence[SourceRef | SourceError],
    known: Mapping[str, KnownSource],
    options: ReadOptions,
) -> Iterator[Reading]:
    reading = Reading()
    for item in batch:
        if isinstance(item, SourceError):
            reading.failures.append((None, item))
            continue
        source = _open(reading, item, known.get(item.uri), options)
        if source is None:
            continue
        for document in loaders.load(item, options.load, expected_hash=source.content_hash):
            _take(reading, source, document, options)
            if reading.full:
                yield reading
                reading = Reading()
        reading.exhausted.append(source)
    yield reading


def _open(
    reading: Reading, item: SourceRef, earlier: KnownSource | None, options: ReadOptions
) -> OpenSource | None:
    """Decide whether a source has to be read; None where it is unchanged or cannot be."""
    if (refusal := _too_long(item.uri)) is not None:
        reading.failures.append((None, refusal))
        return None
    source = OpenSource(
        id=source_id(options.collection.id, item.uri),
        uri=item.uri,
        size=item.size,
        reader=loaders.reader(item, options.load),
        options=options.load.as_json(),
        root=_root(item, earlier),
    )
    try:
        source.content_hash = loaders.content_hash(item)
    except SourceError as exc:
        reading.opened.append(source)
        reading.failures.append((source, exc))
        reading.exhausted.append(source)
        return None
    if earlier is not None and _unchanged(earlier, source):
        reading.unchanged.append((source.id, item))
        return None
    reading.opened.append(source)
    return source


def _root(item: SourceRef, earlier: KnownSource | None) -> str:
    """Name folders from the widest folder that the source was ever ingested below.

    Otherwise a file that is added again by itself would change its place for the filters.
    """
    if earlier is None or PurePosixPath(earlier.root).is_relative_to(item.root):
        return item.root
    return earlier.root


def _take(
    reading: Reading,
    source: OpenSource,
    document: LoadedDocument | SourceError,
    options: ReadOptions,
) -> None:
    refusal = document if isinstance(document, SourceError) else _too_long(document.uri)
    if refusal is not None:
        reading.failures.append((source, refusal))
    elif isinstance(document, LoadedDocument):
        planned = _plan(document, source.root, options)
        reading.documents.append((source, planned))
        reading.chunks += sum(len(cut) for cut in planned.chunks.values())


def _too_long(uri: str) -> SourceError | None:
    size = len(uri.encode())
    if size <= LONGEST_URI:
        return None
    return SourceError(
        f"{uri[:80]}…", f"its path and key have {size:,} bytes; at most {LONGEST_URI:,} are kept"
    )


def _unchanged(earlier: KnownSource, now: OpenSource) -> bool:
    return (
        earlier.state == "indexed"
        and earlier.content_hash == now.content_hash
        and earlier.reader == now.reader
        and earlier.root == now.root
    )


def _plan(document: LoadedDocument, root: str, options: ReadOptions) -> PlannedDocument:
    spans = {chunking: chunk(document, chunking, options.tokens) for chunking in options.chunkings}
    return plan(options.collection.id, document, spans, root)
