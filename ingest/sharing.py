"""One run whose sources many workers share, any of which may die.

The worker that has the job finds the sources, writes them down in parts and asks for helpers; then
it takes part itself, like everybody else: whoever is free takes the next part, and a part is done
once all of its sources are in the catalog. Parts of those who died are free again. When all are
done, the worker that has the job ends the run; should it die before, the job begins anew, and what
is in stays in. Helpers write only as long as the run that they help goes on.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import UUID

from ingest.fetching.fetcher import Fetcher
from ingest.opening import OpenSource, ReadOptions
from ingest.pages import Found
from ingest.parsing import ParserPool
from ingest.reading import Reading, readings_of
from ingest.removal import finish_removals
from ingest.report import KEPT_FAILURES, Counts, Silent
from ingest.running import Order, Run, open_parsers, record_end, record_failure, record_start
from ingest.streaming import write_all
from ingest.tally import Reached, Tally, kept
from ingest.targets import Target, open_targets
from ingest.types import LoadOptions, Skipped, SourceRef
from ingest.writing import Writer
from search_app import jobs
from search_app.bootstrap import Services
from search_app.catalog import collections, locks, parts, runs
from search_app.catalog.engine import transaction
from search_app.catalog.locks import HelpingLock, SupersededError
from search_app.catalog.parts import Part
from search_app.embedders.metering import Meter
from search_app.errors import CatalogError, UnmovedError
from search_app.types import JSON, Collection, RunStatus

PART_SOURCES = 64
PART_BYTES = 16_000_000
"""A part has at most so many sources, and as few as one if they are large."""

MOST_HELPERS = 32

_WRITTEN_AT_ONCE = 50
_POLL_S = 0.3
_WATCH_S = 1.0
_SUM_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What those who take part in a run have to know of it; ``queue`` is where helpers wait."""

    run_id: UUID
    collection: str
    queue: str
    load: LoadOptions
    force: bool = False
    as_before: bool = False
    embedder: str | None = None

    def as_json(self) -> dict[str, JSON]:
        """Give what a helper's job says; passwords and the limit of the moment are not in it."""
        return {
            "run": str(self.run_id),
            "collection": self.collection,
            "load": self.load.as_json(),
            "force": self.force,
            "as_before": self.as_before,
            "embedder": self.embedder,
        }


@dataclass(frozen=True, kw_only=True)
class Helped:
    """What a helper did, or that it came too late; ``parts_left`` are free to be taken."""

    counts: Counts
    parts_left: int


@dataclass(kw_only=True)
class Aside:
    """What was found besides files, and is not shared out."""

    skipped: Counter[str] = field(default_factory=Counter)
    others: list[Found] = field(default_factory=list)


def in_parts(found: Iterable[Found], aside: Aside) -> Iterator[list[SourceRef]]:
    """Put the files of what was found into parts, in their order; all else goes to ``aside``."""
    part: list[SourceRef] = []
    size = 0
    for item in found:
        match item:
            case SourceRef():
                if part and (len(part) >= PART_SOURCES or size + item.size > PART_BYTES):
                    yield part
                    part, size = [], 0
                part.append(item)
                size += item.size
            case Skipped():
                aside.skipped[item.kind] += 1
            case _:
                # Pages too: only who fetches all of them keeps to the pace of their servers.
                aside.others.append(item)
    if part:
        yield part


async def share(
    services: Services,
    run: Run,
    assignment: Assignment,
    found: Iterator[list[SourceRef]],
    do_own: Callable[[], Awaitable[None]],
) -> None:
    """Share parts out, do what is not shared, take part, and return when all parts are done.

    Raises:
        EmbedderError, StoreError, CatalogError: met here; what helpers meet ends their help only.
    """
    engine = services.engine
    try:
        number, sources = await _write_down(services, run.id, found)
        run.tally.reached.sources_found = (run.tally.reached.sources_found or 0) + sources
        await jobs.ask_for_help(
            engine,
            assignment.as_json(),
            queue=assignment.queue,
            helpers=min(number - 1, MOST_HELPERS),
        )
        async with _summing(services, run):
            await do_own()
            crew = _Crew(targets=run.targets, fetcher=run.fetcher, parsers=run.parsers)
            while True:
                await _take_part(services, assignment, run.collection, crew)
                if await _all_done(services, run.id):
                    break
    finally:
        with suppress(UnmovedError):
            # Those that still wait find nothing to do in any case; nor is a part taken any more.
            await jobs.cancel_help(engine, run.id)
            async with transaction(engine) as connection:
                await parts.forget(connection, run.id)
    await run.writer.check()
    # Whoever died in the middle of one left it to the next run; that is this one.
    await finish_removals(services, run.collection, run.targets, run.id, run.writer.counts)
    await _sum_up(services, run)
    async with transaction(engine) as connection:
        failures = await runs.errors(connection, run.id, limit=KEPT_FAILURES)
    run.writer.failures = failures


async def help_with(
    services: Services, assignment: Assignment, give_way: Callable[[], Awaitable[bool]]
) -> Helped:
    """Take part in a run of another worker until no part is free, or one has to give way.

    Raises:
        EmbedderError, StoreError, CatalogError: others go on with what was begun here.
    """
    async with transaction(services.engine) as connection:
        goes_on = await runs.goes_on(connection, assignment.run_id)
        if not goes_on or not (await parts.standing(connection, assignment.run_id)).free:
            return Helped(counts=Counts(), parts_left=0)
        collection = await collections.get(connection, assignment.collection)
    targets = await open_targets(
        services, collection, embedder_spec=assignment.embedder, store=None, meter=Meter()
    )
    with Fetcher(services.settings) as fetcher:
        async with open_parsers(services.settings) as parsers:
            crew = _Crew(targets=targets, fetcher=fetcher, parsers=parsers, give_way=give_way)
            try:
                counts = await _take_part(services, assignment, collection, crew)
            except SupersededError:
                return Helped(counts=Counts(), parts_left=0)
    async with transaction(services.engine) as connection:
        goes_on = await runs.goes_on(connection, assignment.run_id)
        standing = await parts.standing(connection, assignment.run_id)
    return Helped(counts=counts, parts_left=standing.free if goes_on else 0)


async def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class _Crew:
    """What one worker takes part with."""

    targets: Sequence[Target]
    fetcher: Fetcher
    parsers: ParserPool
    give_way: Callable[[], Awaitable[bool]] = _never


async def _write_down(
    services: Services, run_id: UUID, found: Iterator[list[SourceRef]]
) -> tuple[int, int]:
    """Write parts down; give how many there are, and of how many sources."""
    number, sources = 0, 0
    while some := await asyncio.to_thread(lambda: list(islice(found, _WRITTEN_AT_ONCE))):
        rows = [
            Part(number=number + offset, sources=[_described(source) for source in part])
            for offset, part in enumerate(some)
        ]
        async with transaction(services.engine) as connection:
            await parts.add(connection, run_id, rows)
        number += len(some)
        sources += sum(len(part) for part in some)
    return number, sources


def _described(source: SourceRef) -> dict[str, JSON]:
    return {
        "uri": source.uri,
        "root": source.root,
        "size": source.size,
        "mtime_ns": source.mtime_ns,
    }


def _found_again(described: Sequence[dict[str, JSON]]) -> list[Found]:
    return [_as_it_is(one) for one in described]


def _as_it_is(described: dict[str, JSON]) -> SourceRef:
    path = Path(described["uri"])
    size, mtime_ns = described["size"], described["mtime_ns"]
    try:
        status = path.stat()
    except OSError:
        # Whoever reads it says what is the matter.
        pass
    else:
        size, mtime_ns = status.st_size, status.st_mtime_ns
    return SourceRef(
        uri=described["uri"],
        path=path,
        name=path.name,
        root=described["root"],
        size=size,
        mtime_ns=mtime_ns,
    )


async def _take_part(
    services: Services, assignment: Assignment, collection: Collection, crew: _Crew
) -> Counts:
    """Do parts until none is free, as a run of one's own; give what was done."""
    async with transaction(services.engine) as connection:
        if not (await parts.standing(connection, assignment.run_id)).free:
            return Counts()
    async with locks.helping(services.engine, collection, assignment.run_id) as lock:
        order = Order(kind="ingest", collection=collection.name, configuration={})
        run_id = await record_start(services, order, collection, part_of=assignment.run_id)
        await lock.show_presence(run_id)
        work = _Participation(services, assignment, collection, crew, lock=lock, run_id=run_id)
        try:
            await work.do()
        except SupersededError:
            await _record_superseded(services, run_id, work.writer.counts)
            raise
        except BaseException as exc:
            await record_failure(services, run_id, work.writer.counts, exc)
            raise
        await record_end(services, run_id, work.writer)
        return work.writer.counts


class _Participation:
    """One worker's share of a run, from its first part to its last."""

    def __init__(
        self,
        services: Services,
        assignment: Assignment,
        collection: Collection,
        crew: _Crew,
        *,
        lock: HelpingLock,
        run_id: UUID,
    ) -> None:
        self._services = services
        self._assignment = assignment
        self._crew = crew
        self._lock = lock
        self._run_id = run_id
        self._family: set[UUID] = set()
        self._tally = Tally(Silent())
        self._open: dict[int, list[OpenSource]] = {}
        self._ended: set[int] = set()
        self._options = ReadOptions(
            collection=collection,
            run_id=run_id,
            chunkings=list({target.index.chunking: None for target in crew.targets}),
            load=assignment.load,
            tokens=services.tokens,
            fetcher=crew.fetcher,
            parsers=crew.parsers,
            force=assignment.force,
            as_before=assignment.as_before,
        )
        # By a meter of its own: what this share sends is added to what the others do.
        meter = Meter()
        self.writer = Writer(
            services=services,
            collection=collection,
            run_id=run_id,
            targets=[target.with_meter(meter) for target in crew.targets],
            progress=self._tally,
            lock=lock,
            family=self._family,
        )

    async def do(self) -> None:
        """Work, and stop at once when the run is ended by somebody else."""
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                async with kept(self._services.engine, self._run_id, self._tally):
                    await write_all(self.writer, self._readings(), self._note_done)
                watching.cancel()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            await self._lock.check()

    async def _readings(self) -> AsyncIterator[Reading]:
        while not await self._crew.give_way():
            async with transaction(self._services.engine) as connection:
                part = await parts.claim(connection, self._assignment.run_id, self._run_id)
                family = await parts.family(connection, self._assignment.run_id)
            if part is None:
                return
            # All that ever had a part before it was taken here.
            self._family |= family - {self._run_id}
            described = [dict(source) for source in part.sources]
            found = await asyncio.to_thread(_found_again, described)
            async for reading in readings_of(self._services, self._options, found, part.number):
                yield reading

    async def _note_done(self, reading: Reading | None) -> None:
        """Note parts as done once all that was opened of them is closed."""
        if reading is not None:
            self._open.setdefault(reading.part, []).extend(reading.opened)
            if reading.last:
                self._ended.add(reading.part)
        done = [
            number for number in self._ended if all(source.closed for source in self._open[number])
        ]
        if done:
            async with transaction(self._services.engine) as connection:
                await parts.finish(connection, self._assignment.run_id, done)
            self._ended.difference_update(done)
            for number in done:
                del self._open[number]


async def _record_superseded(services: Services, run_id: UUID, counts: Counts) -> None:
    async with transaction(services.engine) as connection:
        await runs.finish(
            connection,
            run_id,
            status=RunStatus.INTERRUPTED,
            counts=counts.as_json(),
            reason="the run that it was a part of ended before",
        )


async def _all_done(services: Services, run_id: UUID) -> bool:
    """Wait until all parts are done, or until one is free again, which gives False."""
    while True:
        async with transaction(services.engine) as connection:
            claimers = await parts.claimers(connection, run_id)
        for claimer in claimers:
            if not await locks.is_present(services.engine, claimer):
                async with transaction(services.engine) as connection:
                    await parts.release(connection, run_id, claimer)
        async with transaction(services.engine) as connection:
            standing = await parts.standing(connection, run_id)
        if standing.free or not standing.under_way:
            return not standing.free
        await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def _summing(services: Services, run: Run) -> AsyncIterator[None]:
    """Keep the run's own counts, progress and failures what those of all parts come to."""

    async def sum_again_and_again() -> None:
        while True:
            await asyncio.sleep(_SUM_S)
            with suppress(CatalogError):
                # The run itself meets the same, and says so; this is only a look at it.
                await _sum_up(services, run)

    summing = asyncio.create_task(sum_again_and_again())
    try:
        yield
    finally:
        summing.cancel()
        await asyncio.wait([summing])


async def _sum_up(services: Services, run: Run) -> None:
    async with transaction(services.engine) as connection:
        failed = await parts.gather_errors(connection, run.id)
        shares = await parts.shares(connection, run.id)
    others, helped = Counts(), Reached()
    for share_of_one in shares:
        others.add(share_of_one.counts)
        helped.sources_read += share_of_one.progress.get("sources_read", 0)
        helped.chunks_planned += share_of_one.progress.get("chunks_planned", 0)
        helped.chunks_written += share_of_one.progress.get("chunks_written", 0)
    others.documents.failed = failed
    run.writer.others = others
    run.tally.helped = helped
    async with transaction(services.engine) as connection:
        await runs.set_counts(connection, run.id, run.writer.total().as_json())
