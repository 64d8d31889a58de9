"""One run of ingest, from arguments to report. The command, and later the workers, call this."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from ingest.loaders import LoadOptions
from ingest.opening import ReadOptions
from ingest.pages import Found
from ingest.patterns import exclusion
from ingest.reading import readings
from ingest.removal import is_gone, remove_source
from ingest.report import IngestReport, Progress, Silent
from ingest.running import Order, Run, report_of, started
from ingest.sharing import Aside, Assignment, in_parts, share
from ingest.sources import discover, root_of, roots, shown
from ingest.streaming import write_all
from ingest.tally import counting
from ingest.types import PageRef, Skipped, SourceRef
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes
from search_app.catalog import sources as source_rows
from search_app.catalog.engine import transaction
from search_app.catalog.sources import FinishedSource, KnownSource
from search_app.errors import NotFoundError, SourceError
from search_app.stores.base import read_precision
from search_app.types import Collection, Failure
from search_app.uploads import is_kept

_DEFAULTS = LoadOptions()
GONE = "gone since it was last read; ingest rm removes what is left of it"
GONE_HALFWAY = "gone before it was read to its end; ingest rm removes what is left"


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What to ingest and how; None means what the collection has, or the settings say."""

    arguments: Sequence[str]
    collection: str = "default"
    embedder: str | None = None
    store: str | None = None
    precision: str | None = None
    prune: bool = False
    force: bool = False
    """Read sources again that have not changed."""
    as_before: bool = False
    """Read known sources with the options that they were last read with."""
    load: LoadOptions = field(default_factory=LoadOptions)
    only: AbstractSet[str] | None = None
    """Of what the arguments name, read only these files and what is in these folders; None: all."""
    budget: float | None = None
    """Most money that may be spent, in the currency of the prices; None: any amount."""
    refused: Sequence[Failure] = ()
    """What was given beside the arguments and is none: failures like those of sources."""


async def ingest(
    services: Services,
    request: IngestRequest,
    progress: Progress | None = None,
    *,
    job_id: int | None = None,
    queue: str | None = None,
) -> IngestReport:
    """Read, cut, embed and store what the arguments name; finish what earlier runs left.

    Sources that fail are in the report; the rest goes in. A new collection that nothing came into
    is gone again. ``job_id`` is the queued job that asked for it, if any; workers of its ``queue``
    are asked to help if there is much to do. Where the budget is reached, the report says so, and
    the same again goes on.

    Raises:
        InvalidInputError: the request cannot be meant, or has a budget and nobody says what the
            model costs.
        ConfigurationError: the embedder or the store is not known.
        EmbedderError: the embedder fails or is not the model of the index; what was proved
            before stays, the rest is finished by the next run.
        StoreError: likewise for the store.
        CatalogError: likewise for the catalog.
    """
    check_names(services, request)
    order = Order(
        kind="ingest",
        collection=request.collection,
        configuration={
            **asdict(replace(request, only=None)),
            "load": request.load.as_json(),
            "arguments": [shown(argument) for argument in request.arguments],
        },
        embedder=request.embedder,
        store=request.store,
        precision=request.precision,
        job_id=job_id,
        budget=request.budget,
        nothing=await asyncio.to_thread(_finds_nothing, request),
    )
    async with started(services, order, progress or Silent()) as run:
        refused = (SourceError(one.source, one.reason) for one in request.refused)
        found = chain(refused, discover(request.arguments, exclude=request.load.exclude))
        how = _How(load=request.load, force=request.force, as_before=request.as_before)
        if request.only is not None:
            await _read_all(services, run, how, _among(found, request.only))
        elif queue is not None and request.budget is None:
            # Who keeps to a budget works alone: nobody else can know what is left of it.
            await _read_with_help(services, run, how, found, queue=queue, embedder=request.embedder)
        else:
            async with counting(request.arguments, request.load.exclude, run.tally.reached):
                await _read_all(services, run, how, found)
        if request.prune:
            await _prune(services, run, request)
        await _read_unfinished(services, run, request.load)
        for target in run.targets:
            await target.store.optimize(target.index.id)
    return report_of(run)


def _finds_nothing(request: IngestRequest) -> bool:
    """Say whether there is nothing to read; ends at the first thing that there is."""
    found = discover(request.arguments, exclude=request.load.exclude)
    return all(isinstance(item, Skipped | SourceError) for item in found)


def check_names(services: Services, request: IngestRequest, *, is_asked: bool = True) -> None:
    """See that embedder and store are known, before a misspelt name leaves anything behind.

    Where the embedder is not to be asked (``is_asked``), its key may be missing.

    Raises:
        ConfigurationError: one of them is not.
        InvalidInputError: a pattern to exclude stands for nothing, or there are no such numbers
            to search by.
    """
    for pattern in request.load.exclude:
        exclusion(pattern)
    if request.embedder is not None:
        (services.embedder if is_asked else services.unasked)(request.embedder)
    if request.store is not None:
        services.store(request.store)
    if request.precision is not None:
        read_precision(request.precision)


async def retry(
    services: Services,
    *,
    collection: str,
    load: LoadOptions = _DEFAULTS,
    progress: Progress | None = None,
    job_id: int | None = None,
    queue: str | None = None,
) -> IngestReport:
    """Read every source again that failed, each with the options it was last read with.

    Only the limit and the passwords are those of ``load``. ``queue``: see ``ingest``.

    Raises:
        NotFoundError: there is no such collection, or nothing was ever ingested into it.
        EmbedderError, StoreError, CatalogError: as ``ingest`` does.
    """
    async with transaction(services.engine) as connection:
        await indexes.active(connection, await collections.get(connection, collection))
    order = Order(
        kind="retry",
        collection=collection,
        configuration={"collection": collection},
        job_id=job_id,
    )
    async with started(services, order, progress or Silent()) as run:
        async with transaction(services.engine) as connection:
            failed = await source_rows.failed(connection, run.collection)
        if queue is None:
            run.tally.reached.sources_found = len(failed)
        await _read_again(services, run, failed, load, GONE, queue=queue)
        await _read_unfinished(services, run, load)
        for target in run.targets:
            await target.store.optimize(target.index.id)
    return report_of(run)


async def remove(
    services: Services,
    *,
    sources: Sequence[str],
    collection: str,
    progress: Progress | None = None,
    job_id: int | None = None,
) -> IngestReport:
    """Remove sources, each with all that lies below it, from a collection.

    A file that was uploaded goes too; others stay where they lie.

    Raises:
        NotFoundError: the collection has none of that name; then nothing is removed at all.
    """
    wanted = list(dict.fromkeys(root_of(source) for source in sources))
    await _check_known(services, collection, wanted, finished=job_id is not None)
    order = Order(
        kind="remove",
        collection=collection,
        configuration={"collection": collection, "arguments": [shown(root) for root in wanted]},
        job_id=job_id,
    )
    async with started(services, order, progress or Silent()) as run:
        for root in wanted:
            async for found in _below(services, run, root):
                await run.writer.check()
                await remove_source(services, run.targets, found.id, run.id, run.writer.counts)
                await asyncio.to_thread(_forget_upload, services, run.collection, found.uri)
    return report_of(run)


async def _check_known(
    services: Services, collection: str, wanted: Sequence[str], *, finished: bool
) -> None:
    """Refuse names that the collection does not have, before anything is removed.

    ``finished``: a job may go on with what was cut short, when some of it is gone already.
    """
    async with transaction(services.engine) as connection:
        known = await collections.get(connection, collection)
        missing = [
            root for root in wanted if not await source_rows.under(connection, known, root, limit=1)
        ]
    if missing and not (finished and len(missing) < len(wanted)):
        raise NotFoundError(
            f"no source {', '.join(map(repr, missing))} in collection {collection!r}"
        )


def _forget_upload(services: Services, collection: Collection, uri: str) -> None:
    path = Path(uri)
    if is_kept(services.settings, collection.id, path):
        path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class _How:
    """How sources are read; see ``ReadOptions``."""

    load: LoadOptions
    force: bool = False
    as_before: bool = False


async def _read_all(services: Services, run: Run, how: _How, found: Iterable[Found]) -> None:
    options = ReadOptions(
        collection=run.collection,
        run_id=run.id,
        chunkings=list({target.index.chunking: None for target in run.targets}),
        load=how.load,
        tokens=services.tokens,
        fetcher=run.fetcher,
        parsers=run.parsers,
        force=how.force,
        as_before=how.as_before,
    )
    await write_all(run.writer, readings(services, options, found))


async def _read_with_help(
    services: Services,
    run: Run,
    how: _How,
    found: Iterable[Found],
    *,
    queue: str,
    embedder: str | None = None,
) -> None:
    """Read what was found; files that are more than one part together with other workers."""
    aside = Aside()
    parts = in_parts(found, aside)
    first = await asyncio.to_thread(lambda: list(islice(parts, 2)))

    async def read_the_rest() -> None:
        run.writer.counts.skip(aside.skipped)
        await _read_all(services, run, how, aside.others)

    if len(first) > 1:
        assignment = Assignment(
            run_id=run.id,
            collection=run.collection.name,
            queue=queue,
            load=how.load,
            force=how.force,
            as_before=how.as_before,
            embedder=embedder,
        )
        await share(services, run, assignment, chain(first, parts), read_the_rest)
        return
    files = [source for part in first for source in part]
    pages = sum(isinstance(item, PageRef) for item in aside.others)
    before = run.tally.reached.sources_found or 0
    run.tally.reached.sources_found = before + len(files) + pages
    run.writer.counts.skip(aside.skipped)
    await _read_all(services, run, how, [*aside.others, *files])


def _among(found: Iterable[Found], only: AbstractSet[str]) -> Iterator[Found]:
    """Give the files that are among those meant, or below a folder that is."""
    for item in found:
        if isinstance(item, SourceRef) and (
            item.uri in only or any(str(above) in only for above in item.path.parents)
        ):
            yield item


async def _read_unfinished(services: Services, run: Run, load: LoadOptions) -> None:
    """Read again what earlier runs began, wherever it lies, with the options it was begun with."""
    async with transaction(services.engine) as connection:
        left = await source_rows.unfinished(connection, run.collection, run.id)
    await _read_again(services, run, left, load, GONE_HALFWAY)


async def _read_again(
    services: Services,
    run: Run,
    left: Sequence[KnownSource],
    load: LoadOptions,
    if_gone: str,
    *,
    queue: str | None = None,
) -> None:
    """Read known sources with the options they were last read with."""
    gone = {source.uri: source for source in left if is_gone(source.uri)}
    await _give_up(services, run, list(gone.values()), if_gone)
    # Together where the options are the same: each reading ends in a proof of the model.
    by_options: dict[LoadOptions, list[str]] = {}
    for source in left:
        if source.uri not in gone:
            by_options.setdefault(load.with_kept(source.options), []).append(source.uri)
    for options, uris in by_options.items():
        # What was a file may be a folder by now: what is new in it is read like the file was.
        how = _How(load=options, as_before=True)
        found = discover(uris, exclude=options.exclude)
        if queue is None:
            await _read_all(services, run, how, found)
        else:
            await _read_with_help(services, run, how, found, queue=queue)


async def _give_up(services: Services, run: Run, lost: Sequence[KnownSource], reason: str) -> None:
    await run.writer.fail(Failure(source=source.uri, reason=reason) for source in lost)
    async with transaction(services.engine) as connection:
        await source_rows.finish(
            connection,
            [FinishedSource(id=source.id, content_hash=None, reason=reason) for source in lost],
        )


async def _prune(services: Services, run: Run, request: IngestRequest) -> None:
    """Remove sources below the arguments whose files are gone, and pages that are.

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
                await run.writer.check()
                await remove_source(services, run.targets, source.id, run.id, run.writer.counts)
    await _prune_pages(services, run)


async def _prune_pages(services: Services, run: Run) -> None:
    """Remove pages that were asked for in this run and whose servers say that they are gone."""
    async with transaction(services.engine) as connection:
        gone = await source_rows.known(connection, run.collection, sorted(run.fetcher.gone))
    for source in gone.values():
        await remove_source(services, run.targets, source.id, run.id, run.writer.counts)


async def _below(services: Services, run: Run, root: str) -> AsyncIterator[KnownSource]:
    after = ""
    while True:
        async with transaction(services.engine) as connection:
            page = await source_rows.under(connection, run.collection, root, after=after)
        if not page:
            return
        for source in page:
            yield source
        after = page[-1].uri
