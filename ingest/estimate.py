"""What an ingest would send, take and cost, without writing or sending anything.

Sources are read and cut as the ingest would, and what the catalog knows is looked up; the model is
not asked. Web pages would have to be fetched, so they are counted and no more.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import islice
from uuid import UUID, uuid4

from ingest.fetching.fetcher import Fetcher
from ingest.opening import ReadOptions
from ingest.pages import Found
from ingest.pipeline import IngestRequest, check_names
from ingest.plan import PlannedChunk
from ingest.reading import LOOKUP, Reading, read_known
from ingest.running import open_parsers
from ingest.sources import discover
from ingest.targets import chunking_for_limit
from ingest.types import PageRef, Skipped
from ingest.writing import segment_size
from search_app.bootstrap import Services
from search_app.catalog import (
    collections,
    documents,
    embedding_cache,
    indexes,
    models,
    records,
    sources,
)
from search_app.catalog import runs as run_rows
from search_app.catalog.chunks import indexed_text
from search_app.catalog.engine import reading
from search_app.embedders.batching import requests_of
from search_app.embedders.metering import Counted, Meter
from search_app.embedders.pieces import length, pieces_of
from search_app.errors import EmbedderRefusedError, SourceError
from search_app.identity import CANARIES, Canary
from search_app.prices import Price
from search_app.types import JSON, Chunking, Collection, Failure


@dataclass(kw_only=True)
class Passages:
    """Passages that one model would be sent: what for, and how much that is.

    ``cost`` and ``seconds`` are None where nobody knows the price, or how fast the model is.
    ``proofs`` are the tokens of texts that the model proves itself with, which are in ``tokens``.
    ``too_long`` are passages that would be sent in pieces, or refused.
    """

    spec: str
    chunks: int = 0
    reused: int = 0
    texts: int = 0
    too_long: int = 0
    requests: int = 0
    tokens: int = 0
    proofs: int = 0
    estimated: bool = False
    price: Price | None = None
    cost: float | None = None
    seconds: float | None = None
    measured_runs: int = 0


@dataclass(kw_only=True)
class Estimate:
    """What an ingest would do; ``pages`` are web addresses, of which nothing is known."""

    collection: str
    documents: int = 0
    unchanged: int = 0
    skipped: int = 0
    pages: int = 0
    failures: list[Failure] = field(default_factory=list)
    models: list[Passages] = field(default_factory=list)
    currency: str = ""

    def as_json(self) -> dict[str, JSON]:
        """Give it as ``ingest add --dry-run --json`` prints it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Aim:
    """An index that would be written to, or the one that would be made."""

    embedder: Counted
    chunking: Chunking
    canaries: Sequence[Canary]
    is_new: bool
    """The model would be registered first."""
    index_id: UUID | None = None
    model_version_id: UUID | None = None
    store: str = ""
    since: datetime | None = None


@dataclass(kw_only=True)
class _Segment:
    """Texts that one model would be sent between two proofs."""

    passages: Passages
    aim: _Aim
    seen: set[bytes] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)


async def estimate(
    services: Services, request: IngestRequest, *, has_catalog: bool = True
) -> Estimate:
    """Say what an ingest would do.

    Without a catalog nothing is known, and none is made.

    Raises:
        InvalidInputError: the request cannot be meant.
        ConfigurationError: the embedder or the store is not known.
        CatalogError: the catalog cannot be reached.
    """
    check_names(services, request, is_asked=False)
    collection = await _collection(services, request) if has_catalog else None
    found = Estimate(collection=request.collection, currency=services.prices.currency)
    found.failures.extend(request.refused)
    aims = await _aims(services, request, collection, has_catalog=has_catalog)
    segments = [_Segment(passages=Passages(spec=aim.embedder.spec), aim=aim) for aim in aims]
    with Fetcher(services.settings) as fetcher:
        async with open_parsers(services.settings) as parsers:
            options = ReadOptions(
                collection=collection or Collection(id=uuid4(), name=request.collection),
                run_id=uuid4(),
                chunkings=list({aim.chunking: None for aim in aims}),
                load=request.load,
                tokens=services.tokens,
                fetcher=fetcher,
                parsers=parsers,
                force=request.force,
                as_before=request.as_before,
            )
            stream = discover(request.arguments, exclude=request.load.exclude)
            async for each in _readings(services, options, collection, _files(stream, found)):
                await _count(services, collection, each, found, segments)
    for segment in segments:
        _flush(segment)
        if segment.passages.chunks:
            # Vectors that are taken over need the model's proof, too.
            _open(segment)
        await _sum_up(services, segment, has_catalog=has_catalog)
    found.models = [segment.passages for segment in segments]
    return found


async def _collection(services: Services, request: IngestRequest) -> Collection | None:
    async with reading(services.engine) as connection:
        return await collections.check_open(connection, request.collection)


async def _aims(
    services: Services,
    request: IngestRequest,
    collection: Collection | None,
    *,
    has_catalog: bool,
) -> list[_Aim]:
    """Say which models would be asked, without asking them."""
    if collection is not None:
        async with reading(services.engine) as connection:
            live = await indexes.live(connection, collection)
            aims = []
            for index in live:
                version = await models.get(connection, index.model_version_id)
                canaries = await models.canaries(connection, version.id)
                afresh = await run_rows.built_afresh(connection, index.id)
                aims.append(
                    _Aim(
                        embedder=_counted(services, version.spec),
                        chunking=index.chunking,
                        canaries=[
                            Canary(name=one.name, kind=one.kind, text=one.text) for one in canaries
                        ],
                        is_new=False,
                        index_id=index.id,
                        model_version_id=version.id,
                        store=index.store,
                        since=index.created_at if afresh else None,
                    )
                )
        if aims:
            return aims
    spec = request.embedder or services.settings.embedder
    embedder = _counted(services, spec)
    known = None
    if has_catalog:
        async with reading(services.engine) as connection:
            known = next(
                (each for each in reversed(await models.listing(connection)) if each.spec == spec),
                None,
            )
    limit = embedder.limits.text_tokens if known is None else known.identity.max_tokens
    return [
        _Aim(
            embedder=embedder,
            chunking=chunking_for_limit(services.settings.chunk_tokens, limit),
            canaries=CANARIES,
            # Whether it is one that is known, only asking it could tell.
            is_new=True,
            model_version_id=None if known is None else known.id,
            store=request.store or services.settings.store,
        )
    ]


def _counted(services: Services, spec: str) -> Counted:
    price = services.price(spec)
    return Counted(
        services.unasked(spec),
        Meter(),
        services.tokens,
        price=None if price is None else price.amount,
    )


def _files(stream: Iterable[Found], found: Estimate) -> Iterable[Found]:
    """Pass on what can be read here; pages are counted."""
    for item in stream:
        if isinstance(item, PageRef):
            found.pages += 1
        else:
            yield item


async def _readings(
    services: Services,
    options: ReadOptions,
    collection: Collection | None,
    stream: Iterable[Found],
) -> AsyncIterator[Reading]:
    items = iter(stream)
    while batch := list(islice(items, LOOKUP)):
        known: Mapping[str, sources.KnownSource] = {}
        if collection is not None:
            uris = [item.uri for item in batch if not isinstance(item, SourceError | Skipped)]
            async with reading(services.engine) as connection:
                known = await sources.known(connection, collection, uris)
        async for each in read_known(options, batch, known):
            yield each


async def _count(
    services: Services,
    collection: Collection | None,
    each: Reading,
    found: Estimate,
    segments: Sequence[_Segment],
) -> None:
    found.skipped += each.skipped.total()
    found.unchanged += len(each.unchanged)
    found.failures.extend(
        Failure(source=error.source, reason=error.reason) for _, error in each.failures
    )
    planned = [document for _, document in each.documents]
    earlier: dict[str, bytes | None] = {}
    if collection is not None and planned:
        async with reading(services.engine) as connection:
            known = await documents.known(
                connection, collection, [document.uri for document in planned]
            )
        earlier = {uri: document.content_hash for uri, document in known.items()}
    changed = [
        document for document in planned if earlier.get(document.uri) != document.content_hash
    ]
    found.unchanged += len(planned) - len(changed)
    found.documents += len(changed)
    for segment in segments:
        chunking = segment.aim.chunking.name
        passages = [passage for document in changed for passage in document.chunks[chunking]]
        await _add(services, segment, passages)


async def _add(services: Services, segment: _Segment, chunks: Sequence[PlannedChunk]) -> None:
    """Add the passages that no vector is known of, each text once."""
    aim, passages = segment.aim, segment.passages
    passages.chunks += len(chunks)
    texts, hashes = {}, {}
    for chunk in chunks:
        text = indexed_text(chunk.context, chunk.text)
        key = sha256(aim.embedder.text_sent(text, "document").encode()).digest()
        texts[key] = text
        hashes[chunk.id] = key
    there = await _there(services, aim, hashes)
    new = [key for key in texts if key not in there and key not in segment.seen]
    segment.seen.update(new)
    passages.reused += len(chunks) - len(new)
    for key in new:
        segment.waiting += _pieces(services, segment, texts[key])
        if len(segment.waiting) >= segment_size(aim.embedder):
            _flush(segment)


async def _there(services: Services, aim: _Aim, chunks: Mapping[UUID, bytes]) -> set[bytes]:
    """Say of which texts a vector is known: in the index, in its store, or kept."""
    if aim.model_version_id is None or not chunks:
        return set()
    hashes = sorted(set(chunks.values()))
    async with reading(services.engine) as connection:
        found = set(
            await records.reusable(
                connection, aim.model_version_id, aim.store, hashes, since=aim.since
            )
        )
        if aim.index_id is not None:
            embedded = await records.embedded(connection, aim.index_id, list(chunks))
            found |= {chunks[chunk_id] for chunk_id in embedded}
        if services.settings.vector_cache_mb:
            found |= await embedding_cache.known(
                connection, aim.model_version_id, "document", hashes, since=aim.since
            )
    return found


def _pieces(services: Services, segment: _Segment, text: str) -> list[str]:
    """Give what would be sent for a text; nothing where it would be refused."""
    embedder = segment.aim.embedder
    if length(embedder, text, "document") is None:
        segment.passages.texts += 1
        return [text]
    segment.passages.too_long += 1
    if services.settings.too_long == "refuse":
        return []
    try:
        pieces = pieces_of(embedder, text, "document")
    except EmbedderRefusedError:
        return []
    segment.passages.texts += 1
    return pieces


def _flush(segment: _Segment) -> None:
    """Count the requests that a segment comes to, and the proof at its end."""
    texts, segment.waiting = segment.waiting, []
    if not texts:
        return
    passages, aim = segment.passages, segment.aim
    _open(segment)
    for request in requests_of(aim.embedder, texts, "document"):
        sent = aim.embedder.counted(request, "document")
        passages.requests += 1
        passages.tokens += sent.tokens
        passages.estimated = passages.estimated or bool(sent.estimated_tokens)
    _prove(passages, aim, aim.canaries)


def _open(segment: _Segment) -> None:
    """Count what a model is sent before the first vector is written, once."""
    passages, aim = segment.passages, segment.aim
    if passages.requests:
        return
    if aim.is_new:
        _register(passages, aim)
    _prove(passages, aim, aim.canaries)


def _prove(passages: Passages, aim: _Aim, canaries: Sequence[Canary]) -> None:
    """Count texts that are sent one by one for a proof."""
    for canary in canaries:
        tokens = aim.embedder.tokens(canary.text, canary.kind)
        passages.requests += 1
        passages.tokens += tokens
        passages.proofs += tokens


def _register(passages: Passages, aim: _Aim) -> None:
    """Count what a new model is sent to be known again: see identity.observe."""
    _prove(passages, aim, [canary for canary in aim.canaries if canary.name == "long"])
    for _ in range(2):
        _prove(passages, aim, aim.canaries)
    if aim.embedder.batch_size > 1:
        _prove(passages, aim, aim.canaries)
        kinds = Counter(canary.kind for canary in aim.canaries)
        together = sum(-(-number // aim.embedder.batch_size) for number in kinds.values())
        passages.requests += together - len(aim.canaries)


async def _sum_up(services: Services, segment: _Segment, *, has_catalog: bool) -> None:
    """Say what it costs and how long it takes, by what earlier runs of the model took."""
    passages = segment.passages
    passages.price = services.price(passages.spec)
    passages.cost = None if passages.price is None else passages.price.of(passages.tokens)
    if not passages.tokens:
        passages.seconds = 0.0
    elif has_catalog:
        async with reading(services.engine) as connection:
            pace = await run_rows.pace(connection, passages.spec)
        if pace is not None:
            passages.seconds = passages.tokens / pace.tokens_a_second
            passages.measured_runs = pace.runs
