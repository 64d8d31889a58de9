"""Building a second index of a collection beside the one that answers, from the catalog."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from uuid import UUID

from ingest.cutting import cut_anew
from ingest.filling import Filler, Origin
from ingest.pipeline import IngestRequest, ingest
from ingest.report import Progress, Silent
from ingest.running import Order, record_failure, record_start, sent_in, spent_up
from ingest.tally import Tally, kept
from ingest.targets import Target, chunking_for, metered, most_tokens, open_target, register
from ingest.turns import Turns
from ingest.writing import Writer
from search_app.bootstrap import Services
from search_app.catalog import (
    collections,
    embedding_cache,
    indexes,
    lexicons,
    locks,
    models,
    records,
    runs,
)
from search_app.catalog.engine import transaction
from search_app.catalog.lexicons import Lexicon
from search_app.catalog.locks import WritingLock
from search_app.embedders.metering import Meter, Sent
from search_app.embedders.metering import as_json as sent_json
from search_app.errors import InvalidInputError, SpentUpError
from search_app.lexical import VERSION, check_analyzer
from search_app.stages import stage
from search_app.stores.base import read_precision
from search_app.types import (
    JSON,
    Chunking,
    Collection,
    Failure,
    Index,
    IndexState,
    ModelVersion,
    Precision,
    RunStatus,
)

SOURCES = 500
"""Sources that are read again in one run of ingest."""

FEWEST_TOKENS, MOST_TOKENS = 32, 400
"""How long chunks may be asked for, as the setting for new indexes has it."""


@dataclass(frozen=True, kw_only=True)
class ReindexRequest:
    """What the new index shall be; None means as the active one.

    Terms are cut as the settings say for new indexes. ``force`` builds one even where it would be
    like the active one in everything. ``fresh`` does, too, and takes no vector over: every text is
    embedded again, which mends what was embedded wrongly.
    """

    collection: str = "default"
    embedder: str | None = None
    store: str | None = None
    precision: str | None = None
    chunk_tokens: int | None = None
    force: bool = False
    fresh: bool = False
    budget: float | None = None
    """Most money that may be spent, in the currency of the prices; None: any amount."""


@dataclass(frozen=True, kw_only=True)
class ReindexReport:
    """The outcome: ``missing`` passages and ``uncut`` documents are 0 where the index is ready.

    ``sent`` is what the model was sent, its cost in ``currency``. ``stopped`` says why the run
    ended before the index was whole, where it kept to a budget.
    """

    run_id: UUID
    collection: str
    index_id: UUID
    state: IndexState
    model_version_id: UUID
    model: str
    store: str
    precision: Precision
    chunk_tokens: int
    passages: int
    embedded: int
    copied: int
    missing: int
    uncut: int
    sent: Sent
    currency: str
    errors: Sequence[Failure]
    warnings: Sequence[str]
    stopped: str | None
    seconds: float

    @property
    def complete(self) -> bool:
        """Say whether the index has a vector of every passage."""
        return not self.missing and not self.uncut

    def as_json(self) -> dict[str, JSON]:
        """Give the report as ``ingest reindex --json`` prints it."""
        return {
            **asdict(self),
            "run_id": str(self.run_id),
            "index_id": str(self.index_id),
            "model_version_id": str(self.model_version_id),
            "sent": sent_json(self.sent),
            "errors": [asdict(failure) for failure in self.errors],
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the vectors are of that are waiting to be taken over: nobody is asked for it again.

    Where nobody could ask the model they are taken over unproved, and it stays unverified.
    """

    version: ModelVersion
    chunking: Chunking


@dataclass(frozen=True, kw_only=True)
class _Traits:
    """What tells one index of a collection from another."""

    version: ModelVersion
    chunking: Chunking
    store: str
    precision: Precision
    analyzer: str

    def __str__(self) -> str:
        return (
            f"model {self.version.name}, store {self.store}, precision {self.precision}, passages "
            f"of {self.chunking.max_tokens} tokens, analyzer {self.analyzer}"
        )


async def reindex(
    services: Services,
    request: ReindexRequest,
    progress: Progress | None = None,
    *,
    job_id: int | None = None,
    given: Given | None = None,
) -> ReindexReport:
    """Build an index with other traits than the active one's, or go on with building it.

    Vectors of the same model are copied, whatever store they are in. What ingest adds, changes or
    removes meanwhile is in both. The new index becomes ready once it lacks nothing; which index
    answers does not change.

    Raises:
        InvalidInputError: the active index has all that is asked for, or it cannot be meant, or
            there is a budget and nobody says what the model costs.
        NotFoundError: there is no such collection, or nothing was ever ingested into it.
        EmbedderError, StoreError, CatalogError: as ingest does; the same again goes on from there.
    """
    began = time.perf_counter()
    tally = Tally(progress or Silent())
    meter = Meter(money=request.budget)
    check(services, request)
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, request.collection)
        await indexes.active(connection, collection)
    async with locks.building(services.engine, collection, tally.waiting) as lock:
        async with transaction(services.engine) as connection:
            # Whoever has the lock of those that build knows that no other one does.
            await runs.mark_builders_interrupted(connection, collection)
        situation = await _situation(services, collection)
        traits = await _wanted(services, request, situation.active, meter, given)
        index = await _find_or_create(services, request, situation, traits, tally)
        build = _Build(
            collection=collection,
            target=await open_target(services, index, request.embedder, meter=meter),
            order=_order(request, situation, traits, job_id),
            lock=lock,
        )
        async with _recorded(services, build, tally) as (run_id, writer):
            turns = Turns(services, collection, index, tally)
            try:
                await _cut(services, situation, index, turns, writer)
            except SpentUpError:
                writer.stopped = spent_up(services, meter)
            filler = Filler(
                services=services,
                collection=collection,
                run_id=run_id,
                target=build.target,
                origin=None if request.fresh else await _origin(services, collection, index),
                fresh=request.fresh,
                proved=given is not None and given.version.unverified,
                writer=writer,
                turns=turns,
                progress=tally,
            )
            try:
                # Copies cost nothing; they are made even where nothing is left.
                await filler.fill()
            except SpentUpError:
                writer.stopped = spent_up(services, meter)
            gaps = await filler.finish()
            if request.fresh:
                await _forget_older(services, index)
                for warning in await _taken_over(services, index):
                    writer.warnings.append(warning)
                    tally.warned(warning)
    async with transaction(services.engine) as connection:
        state = (await indexes.get(connection, index.id)).state
    return ReindexReport(
        run_id=run_id,
        collection=collection.name,
        index_id=index.id,
        state=state,
        model_version_id=traits.version.id,
        model=traits.version.name,
        store=traits.store,
        precision=traits.precision,
        chunk_tokens=traits.chunking.max_tokens,
        passages=gaps.passages,
        embedded=writer.counts.chunks.embedded,
        copied=writer.counts.chunks.reused,
        missing=gaps.missing,
        uncut=gaps.uncut,
        sent=writer.counts.sent,
        currency=services.prices.currency,
        errors=writer.failures,
        warnings=writer.warnings,
        stopped=writer.stopped,
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, kw_only=True)
class _Situation:
    """What there is: the indexes that are kept, and what keyword search knows of each."""

    collection: Collection
    active: Index
    live: Sequence[Index]
    lexicons: Mapping[UUID, Lexicon | None]


@dataclass(frozen=True, kw_only=True)
class _Build:
    """What a run is to fill, as it is recorded."""

    collection: Collection
    target: Target
    order: Order
    lock: WritingLock


async def _situation(services: Services, collection: Collection) -> _Situation:
    async with transaction(services.engine) as connection:
        live = await indexes.live(connection, collection)
        return _Situation(
            collection=collection,
            active=await indexes.active(connection, collection),
            live=live,
            lexicons={index.id: await lexicons.get(connection, index.id) for index in live},
        )


async def _cut(
    services: Services, situation: _Situation, index: Index, turns: Turns, writer: Writer
) -> None:
    """Cut documents as the index wants them; those that cannot be are read again, or fail."""
    known = situation.active.chunking
    if known == index.chunking:
        return
    collection = situation.collection
    unknown = await cut_anew(services, collection, index, known, turns)
    uris = list(dict.fromkeys(document.source for document in unknown))
    reasons: dict[str, str] = {}
    for start in range(0, len(uris), SOURCES):
        async with transaction(services.engine) as connection:
            # By the name that it has now.
            name = (await indexes.collection_of(connection, index)).name
        request = IngestRequest(
            arguments=uris[start : start + SOURCES],
            collection=name,
            force=True,
            as_before=True,
            budget=writer.meter.left(),
        )
        report = await ingest(services, request)
        writer.meter.spent_elsewhere(report.sent.cost)
        if report.stopped:
            raise SpentUpError(report.stopped)
        reasons |= {failure.source: failure.reason for failure in report.errors}
    if unknown:
        await writer.fail(
            Failure(
                source=document.uri,
                reason="cannot be cut anew, since it is not known how it was read, and its source "
                f"cannot be read again ({reasons.get(document.source, 'it no longer has it')}); "
                "put it back, or remove it with ingest rm, and run the same again",
            )
            for document in await cut_anew(services, collection, index, known, turns)
        )


async def _forget_older(services: Services, index: Index) -> None:
    """Keep no vectors for texts that come again which are older than what was to replace them."""
    async with transaction(services.engine) as connection:
        await embedding_cache.forget_before(connection, index.model_version_id, index.created_at)


async def _taken_over(services: Services, index: Index) -> list[str]:
    """Say whether ingests took vectors over into an index that was to have new ones alone."""
    async with transaction(services.engine) as connection:
        if not await records.has_older(connection, index):
            return []
    told = (
        f"what was ingested meanwhile brought vectors from before into index {str(index.id)[:8]}; "
        "run the same again while nothing is ingested, so that those texts are embedded again too"
    )
    return [told]


def _order(
    request: ReindexRequest, situation: _Situation, traits: _Traits, job_id: int | None
) -> Order:
    return Order(
        kind=runs.REINDEX,
        collection=situation.collection.name,
        configuration={
            **asdict(request),
            "from_index": str(situation.active.id),
            "model": traits.version.name,
            "chunking": traits.chunking.name,
            "analyzer": traits.analyzer,
        },
        job_id=job_id,
    )


def check(services: Services, request: ReindexRequest) -> None:
    """See that a request can be meant, before anything is asked for, locked or made.

    Raises:
        ConfigurationError: the embedder or the store is not known.
        InvalidInputError: passages cannot be so long or so short, or there are no such numbers to
            search by.
    """
    if request.embedder is not None:
        services.embedder(request.embedder)
    if request.store is not None:
        services.store(request.store)
    if request.precision is not None:
        read_precision(request.precision)
    tokens = request.chunk_tokens
    if tokens is not None and not FEWEST_TOKENS <= tokens <= MOST_TOKENS:
        raise InvalidInputError(
            f"passages of {tokens:,} tokens: write {FEWEST_TOKENS} to {MOST_TOKENS}"
        )
    check_analyzer(services.settings.analyzer)


async def _wanted(
    services: Services,
    request: ReindexRequest,
    active: Index,
    meter: Meter,
    given: Given | None,
) -> _Traits:
    """Say what the new index shall be, asking the model who it is unless that is given."""
    if given is not None:
        version = given.version
    elif request.embedder is not None:
        version = await register(services, metered(services, request.embedder, meter))
    else:
        async with transaction(services.engine) as connection:
            version = await models.get(connection, active.model_version_id)
        # Before an index is made that nothing could be spent on.
        metered(services, version.spec, meter)
    store = request.store or active.store
    await services.store(store).ping()
    precision = active.precision
    if request.precision is not None or store != active.store:
        precision = services.precision(store, request.precision)
    chunking = active.chunking
    limit = most_tokens(version)
    if given is not None:
        chunking = given.chunking
    elif request.chunk_tokens is not None:
        chunking = chunking_for(request.chunk_tokens, version)
    elif limit is not None and limit < chunking.max_tokens:
        chunking = chunking_for(chunking.max_tokens, version)
    return _Traits(
        version=version,
        chunking=chunking,
        store=store,
        precision=precision,
        analyzer=services.settings.analyzer,
    )


async def _find_or_create(
    services: Services,
    request: ReindexRequest,
    situation: _Situation,
    traits: _Traits,
    progress: Progress,
) -> Index:
    """Find the index that was begun or built with these traits, or make it.

    Raises:
        InvalidInputError: the active index has them.
    """
    alike = [index for index in situation.live if _has(index, situation.lexicons[index.id], traits)]
    active, name = situation.active, situation.collection.name
    again = request.force or request.fresh
    if active in alike and not again:
        raise InvalidInputError(
            f"index {str(active.id)[:8]}, which answers for collection {name!r}, has all of that "
            f"already ({traits}); say what shall differ with --embedder, --store, "
            "--precision or --chunk-tokens, --force to build another one like it, or --fresh to "
            "embed everything again"
        )
    begun = [index for index in alike if index.state is IndexState.BUILDING]
    if request.fresh:
        async with transaction(services.engine) as connection:
            begun = [index for index in begun if not await records.has_older(connection, index)]
    complete = [index for index in alike if index.state in (IndexState.READY, IndexState.STANDBY)]
    if begun or (complete and not again):
        return (begun or complete)[-1]
    return await _create(services, situation, traits, progress, fresh=request.fresh)


def _has(index: Index, lexicon: Lexicon | None, traits: _Traits) -> bool:
    return (
        index.model_version_id == traits.version.id
        and index.chunking == traits.chunking
        and index.store == traits.store
        and index.precision == traits.precision
        # Without terms an index is given those that the settings say at the next ingest.
        and (lexicon is None or lexicon.weighting.analyzer == traits.analyzer)
    )


async def _create(
    services: Services,
    situation: _Situation,
    traits: _Traits,
    progress: Progress,
    *,
    fresh: bool,
) -> Index:
    collection, active = situation.collection, situation.active
    async with (
        # A run under way writes to the indexes that there were when it began: what it adds would
        # be missing here.
        locks.writing(services.engine, collection, progress.waiting),
        transaction(services.engine) as connection,
    ):
        # It may have been deleted meanwhile.
        await collections.get(connection, collection.name)
        index = await indexes.create(
            connection,
            collection=collection,
            model_version_id=traits.version.id,
            chunking=traits.chunking,
            store=traits.store,
            precision=traits.precision,
            state=IndexState.BUILDING,
        )
        lexicon = situation.lexicons[active.id]
        if lexicon is not None and _cuts_alike(active, lexicon, traits):
            # Keyword search is to rank as before. Terms that the store copies by itself are
            # counted at the end; until then the counts are not complete.
            alike = active.model_version_id == traits.version.id and active.store == traits.store
            copied = alike and not fresh
            await lexicons.create(connection, index.id, lexicon.weighting, complete=not copied)
        return index


def _cuts_alike(active: Index, lexicon: Lexicon, traits: _Traits) -> bool:
    return (
        lexicon.complete
        and active.chunking == traits.chunking
        and lexicon.weighting.analyzer == traits.analyzer
        and lexicon.weighting.version == VERSION
    )


async def _origin(services: Services, collection: Collection, index: Index) -> Origin | None:
    """Find an index of the same model whose vectors can be taken over, the active one first."""
    situation = await _situation(services, collection)
    own = situation.lexicons[index.id]
    others = [
        other
        for other in situation.live
        if other.id != index.id
        and other.model_version_id == index.model_version_id
        and other.state is not IndexState.BUILDING
    ]
    if not others:
        return None
    best = min(others, key=lambda other: other.state is not IndexState.ACTIVE)
    theirs = situation.lexicons[best.id]
    alike = own is not None and theirs is not None and own.weighting == theirs.weighting
    return Origin(
        index=best,
        with_terms=alike
        and theirs is not None
        and theirs.complete
        and best.chunking == index.chunking,
    )


@asynccontextmanager
async def _recorded(
    services: Services, build: _Build, tally: Tally
) -> AsyncIterator[tuple[UUID, Writer]]:
    """Record the run and how it ends."""
    async with AsyncExitStack() as stack:
        told = stack.enter_context(stage("run", kind="reindex"))
        run_id, writer = await stack.enter_async_context(_recording(services, build, tally))
        told["run_id"] = str(run_id)
        try:
            yield run_id, writer
        finally:
            told |= sent_in(writer)


@asynccontextmanager
async def _recording(
    services: Services, build: _Build, tally: Tally
) -> AsyncIterator[tuple[UUID, Writer]]:
    run_id = await record_start(services, build.order, build.collection)
    writer = Writer(
        services=services,
        collection=build.collection,
        run_id=run_id,
        targets=[build.target],
        progress=tally,
        lock=build.lock,
    )
    try:
        async with transaction(services.engine) as connection:
            await runs.set_index(connection, run_id, build.target.index.id)
        async with kept(services.engine, run_id, tally):
            yield run_id, writer
    except BaseException as exc:
        await record_failure(services, run_id, writer.counts, exc)
        raise
    status = RunStatus.PARTIAL if writer.failures else RunStatus.SUCCEEDED
    if writer.stopped is not None:
        status = RunStatus.INTERRUPTED
    async with transaction(services.engine) as connection:
        await runs.finish(
            connection,
            run_id,
            status=status,
            counts=writer.counts.as_json(),
            reason=writer.stopped,
        )
