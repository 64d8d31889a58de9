"""Settings → services: the only place that chooses backends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.access.commands import doing
from search_app.access.masking import masked
from search_app.answering.asking import Answerer
from search_app.answering.generators.base import Generator
from search_app.answering.generators.chat import ChatGenerator
from search_app.answering.generators.extractive import Extractive
from search_app.answering.retrieving import Defaults
from search_app.catalog import migrate, trail
from search_app.catalog.embedded import EmbeddedPostgres
from search_app.catalog.embedded_place import has_database
from search_app.catalog.embedding_cache import VectorCache
from search_app.catalog.engine import create_engine, transaction
from search_app.catalog.trail import Change
from search_app.config import Settings
from search_app.embedders.base import Embedder
from search_app.embedders.bedrock import BedrockEmbedder
from search_app.embedders.bundled import BundledEmbedder
from search_app.embedders.cohere import CohereEmbedder
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.google import GoogleEmbedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.embedders.hosted.embedder import HostedEmbedder
from search_app.embedders.hosted.traffic import Traffic
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.onnx import OnnxEmbedder
from search_app.embedders.openai import OpenAIEmbedder
from search_app.embedders.sentence_transformers import SentenceTransformersEmbedder
from search_app.embedders.sentence_transformers_onnx import SentenceTransformersOnnxEmbedder
from search_app.embedders.spec import Spec
from search_app.embedders.voyage import VoyageEmbedder
from search_app.errors import (
    CatalogError,
    ConfigurationError,
    InvalidInputError,
    NotFoundError,
    SchemaError,
    StoreError,
    StoreRefusedError,
    UnmovedError,
)
from search_app.identity import Prover
from search_app.prices import Price, Prices, load_prices
from search_app.ranking import Ranking
from search_app.rerankers.base import Reranker
from search_app.rerankers.endpoint import EndpointReranker
from search_app.rerankers.sentence_transformers import SentenceTransformersReranker
from search_app.retrieval import Searcher
from search_app.stores.base import VectorStore, read_precision
from search_app.stores.pgvector import PgvectorStore
from search_app.types import Precision

EMBEDDERS = (
    "bundled, openai:MODEL, google:MODEL, bedrock:MODEL, cohere:MODEL, voyage:MODEL, onnx:FOLDER, "
    "sentence-transformers:NAME_OR_PATH or hashing:DIM"
)
ALONE = frozenset({"bundled"})
"""Providers of one model, which is not named."""

SHORTENING = frozenset(
    {"bedrock", "cohere", "google", "onnx", "openai", "sentence-transformers", "voyage"}
)
"""Providers that give vectors of fewer dimensions where ``?dimensions=`` asks for them."""

ONE_BY_ONE = 8
"""Requests under way at once to providers most of whose models take one text in a request."""

_KEYS = {name: f"{name}_api_key" for name in ("cohere", "google", "openai", "voyage")}

RERANKERS = "sentence-transformers:NAME_OR_PATH or endpoint:MODEL"
GENERATORS = "extractive or chat:MODEL"
STORES = "pgvector or qdrant"

log = structlog.get_logger()


def make_embedder(spec: str, settings: Settings) -> Embedder:
    """Make the embedder that a spec names; nothing is loaded or sent yet.

    Raises:
        ConfigurationError: the spec names none, or a setting it needs is missing.
    """
    named = Spec.parse(spec)
    make = _MAKERS.get(named.provider)
    if make is None or (named.model and named.provider in ALONE):
        raise ConfigurationError(f"embedder {spec!r} is not known; write {EMBEDDERS}")
    if named.dimensions is not None and named.provider not in SHORTENING:
        raise ConfigurationError(f"embedder {spec!r}: {named.provider} has no choice of dimensions")
    return make(named, settings)


def plan_of(settings: Settings, *, concurrency: int = Plan.concurrency) -> Plan:
    """Say how hard to try with a hosted model; ``concurrency`` is what suits the provider."""
    return Plan(
        timeout_s=settings.embedding_timeout,
        max_retries=settings.embedding_retries,
        concurrency=settings.embedding_concurrency or concurrency,
        requests_per_minute=settings.embedding_requests_per_minute or None,
        tokens_per_minute=settings.embedding_tokens_per_minute or None,
    )


def _bundled(_named: Spec, settings: Settings) -> Embedder:
    return BundledEmbedder(threads=settings.threads)


def _hashing(named: Spec, _settings: Settings) -> Embedder:
    return HashingEmbedder(named.model)


def _google(named: Spec, settings: Settings) -> Embedder:
    return GoogleEmbedder(
        model=named.model,
        api_key=_secret(settings.google_api_key),
        project=settings.google_project,
        location=settings.google_location,
        base_url=settings.google_base_url,
        dimensions=named.dimensions,
        batch_size=settings.google_batch_size,
        plan=plan_of(settings, concurrency=ONE_BY_ONE),
    )


def _bedrock(named: Spec, settings: Settings) -> Embedder:
    return BedrockEmbedder(
        model=named.model,
        region=settings.bedrock_region,
        profile=settings.bedrock_profile,
        endpoint_url=settings.bedrock_endpoint_url,
        dimensions=named.dimensions,
        normalize=settings.bedrock_normalize,
        query_purpose=settings.bedrock_nova_purpose,
        batch_size=settings.bedrock_batch_size,
        plan=plan_of(settings, concurrency=ONE_BY_ONE),
    )


def _cohere(named: Spec, settings: Settings) -> Embedder:
    return CohereEmbedder(
        model=named.model,
        api_key=_secret(settings.cohere_api_key),
        base_url=settings.cohere_base_url,
        dimensions=named.dimensions,
        batch_size=settings.cohere_batch_size,
        plan=plan_of(settings),
    )


def _voyage(named: Spec, settings: Settings) -> Embedder:
    return VoyageEmbedder(
        model=named.model,
        api_key=_secret(settings.voyage_api_key),
        base_url=settings.voyage_base_url,
        dimensions=named.dimensions,
        batch_size=settings.voyage_batch_size,
        plan=plan_of(settings),
    )


def _onnx(named: Spec, settings: Settings) -> Embedder:
    return OnnxEmbedder(
        named.model,
        batch_size=settings.onnx_batch_size,
        threads=settings.threads,
        dimensions=named.dimensions,
    )


def _sentence_transformers(named: Spec, settings: Settings) -> Embedder:
    if settings.sentence_transformers_backend == "onnx":
        return SentenceTransformersOnnxEmbedder(
            named.model,
            batch_size=settings.sentence_transformers_batch_size,
            threads=settings.threads,
            dimensions=named.dimensions,
        )
    return SentenceTransformersEmbedder(
        named.model,
        batch_size=settings.sentence_transformers_batch_size,
        dimensions=named.dimensions,
    )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _openai(named: Spec, settings: Settings) -> Embedder:
    key = settings.openai_api_key
    return OpenAIEmbedder(
        model=named.model,
        base_url=settings.openai_base_url,
        api_key=key.get_secret_value() if key is not None else None,
        dimensions=named.dimensions or settings.openai_dimensions,
        encoding=settings.openai_encoding,
        batch_size=settings.openai_batch_size,
        document_prefix=settings.openai_document_prefix,
        query_prefix=settings.openai_query_prefix,
        plan=plan_of(settings),
        api_version=settings.openai_api_version,
        ranks=settings.tiktoken_file,
    )


_MAKERS: Mapping[str, Callable[[Spec, Settings], Embedder]] = {
    "bedrock": _bedrock,
    "bundled": _bundled,
    "cohere": _cohere,
    "google": _google,
    "hashing": _hashing,
    "onnx": _onnx,
    "openai": _openai,
    "sentence-transformers": _sentence_transformers,
    "voyage": _voyage,
}


def prices_in_force(settings: Settings) -> Prices:
    """Read what models cost.

    Raises:
        ConfigurationError: the file that UNMOVED_PRICES names cannot be used.
    """
    address = settings.openai_base_url
    own = address is None or urlsplit(address).hostname == "api.openai.com"
    return load_prices(
        settings.prices,
        every=settings.embedding_price,
        elsewhere=frozenset() if own else frozenset(["openai"]),
    )


def make_reranker(spec: str, settings: Settings) -> Reranker:
    """Make the reranker that a spec names; nothing is loaded or sent yet.

    Raises:
        ConfigurationError: the spec names none, or a setting it needs is missing.
    """
    provider, _, argument = spec.partition(":")
    match provider:
        case "sentence-transformers":
            return SentenceTransformersReranker(argument)
        case "endpoint":
            key = settings.rerank_api_key
            return EndpointReranker(
                model=argument,
                url=settings.rerank_url,
                api_key=key.get_secret_value() if key is not None else None,
            )
    raise ConfigurationError(f"reranker {spec!r} is not known; write {RERANKERS}")


def make_generator(spec: str, settings: Settings) -> Generator:
    """Make the generator that a spec names; nothing is sent yet.

    Raises:
        ConfigurationError: the spec names none, or a setting it needs is missing.
    """
    provider, _, argument = spec.partition(":")
    match provider, argument:
        case "extractive", "":
            return Extractive()
        case "chat", _:
            key = settings.chat_api_key
            return ChatGenerator(
                model=argument,
                base_url=settings.chat_base_url,
                api_key=key.get_secret_value() if key is not None else None,
                timeout_s=settings.chat_seconds,
                stall_s=settings.chat_stall_seconds,
            )
    raise ConfigurationError(f"generator {spec!r} is not known; write {GENERATORS}")


def make_store(name: str, settings: Settings, engine: AsyncEngine) -> VectorStore:
    """Make the store of that name; nothing is opened yet.

    Raises:
        ConfigurationError: there is none of that name, or what it needs is missing.
    """
    match name:
        case "pgvector":
            return PgvectorStore(engine, hnsw_from=settings.hnsw_from)
        case "qdrant":
            return _qdrant(settings)
    raise ConfigurationError(f"store {name!r} is not known; write {STORES}")


def _qdrant(settings: Settings) -> VectorStore:
    if not settings.qdrant_url:
        raise ConfigurationError(
            "the store qdrant needs its address; set UNMOVED_QDRANT_URL, for example to "
            "http://localhost:6333"
        )
    try:
        from search_app.stores.qdrant import QdrantStore
        from search_app.stores.qdrant_collections import QdrantPlan
        from search_app.stores.qdrant_connection import QdrantAddress
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"the store qdrant needs the package {exc.name}; run: pip install 'unmoved[qdrant]'"
        ) from exc
    key = settings.qdrant_api_key
    return QdrantStore(
        QdrantAddress(
            url=settings.qdrant_url,
            api_key=(key.get_secret_value() or None) if key is not None else None,
            grpc_port=settings.qdrant_grpc_port,
            timeout_s=settings.qdrant_timeout,
        ),
        plan=QdrantPlan(
            shards=settings.qdrant_shards,
            replicas=settings.qdrant_replicas,
            write_consistency=settings.qdrant_write_consistency,
        ),
    )


class Services:
    """What one process works with; each embedder and store is made once, at first use."""

    def __init__(self, settings: Settings, engine: AsyncEngine) -> None:
        """Take an engine whose schema is up to date."""
        self.settings = settings
        self.engine = engine
        self.prover = Prover()
        self.tokens = TokenCounter()
        self.vectors = VectorCache(
            engine,
            most_bytes=settings.vector_cache_mb * 1_000_000,
            days=settings.vector_cache_days,
        )
        self.searcher = Searcher(
            engine=engine,
            store=self.store,
            embedder=self.embedder,
            prover=self.prover,
            ranking=Ranking(
                mode=settings.search_mode,
                method=settings.fusion,
                dense_weight=settings.dense_weight,
                rerank_depth=settings.rerank_depth,
            ),
            reranker=lambda: self.reranker(settings.reranker) if settings.reranker else None,
            keep_texts=settings.query_log,
        )
        self.answerer = Answerer(
            engine=engine,
            store=self.store,
            embedder=self.embedder,
            searcher=self.searcher,
            generator=self.generator,
            count_tokens=self.tokens.count_tokens,
            defaults=Defaults(
                generator=settings.generator,
                budget=settings.answer_tokens,
                threshold=settings.answer_threshold,
                keep=settings.query_log,
            ),
        )
        self._embedders: dict[str, Embedder] = {}
        self._rerankers: dict[str, Reranker] = {}
        self._stores: dict[str, VectorStore] = {}
        self._generators: dict[str, Generator] = {}

    def embedder(self, spec: str) -> Embedder:
        """Get the embedder that a spec names.

        Raises:
            ConfigurationError: the spec names none.
        """
        if spec not in self._embedders:
            self._embedders[spec] = make_embedder(spec, self.settings)
        return self._embedders[spec]

    def unasked(self, spec: str) -> Embedder:
        """Get the embedder that a spec names to count and cut with, though its key is missing.

        Raises:
            ConfigurationError: the spec names none, or another setting it needs is missing.
        """
        try:
            return self.embedder(spec)
        except ConfigurationError:
            setting = _KEYS.get(Spec.parse(spec).provider)
            # Vertex AI takes none.
            if setting is None or getattr(self.settings, setting) or self.settings.google_project:
                raise
            key = SecretStr("none")
            return make_embedder(spec, self.settings.model_copy(update={setting: key}))

    @property
    def traffic(self) -> Mapping[str, Traffic]:
        """What this process sent to hosted models, by their specs."""
        return {
            spec: embedder.traffic
            for spec, embedder in self._embedders.items()
            if isinstance(embedder, HostedEmbedder)
        }

    def price(self, spec: str) -> Price | None:
        """Get what a million tokens of an embedder cost; None where nobody says it.

        Raises:
            ConfigurationError: the file that UNMOVED_PRICES names cannot be used.
        """
        return self.prices.of(spec)

    @cached_property
    def prices(self) -> Prices:
        """The prices in force.

        Raises:
            ConfigurationError: the file that UNMOVED_PRICES names cannot be used.
        """
        return prices_in_force(self.settings)

    def reranker(self, spec: str) -> Reranker:
        """Get the reranker that a spec names.

        Raises:
            ConfigurationError: the spec names none, or a setting it needs is missing.
        """
        if spec not in self._rerankers:
            self._rerankers[spec] = make_reranker(spec, self.settings)
        return self._rerankers[spec]

    def generator(self, spec: str) -> Generator:
        """Get the generator that a spec names.

        Raises:
            ConfigurationError: the spec names none.
        """
        if spec not in self._generators:
            self._generators[spec] = make_generator(spec, self.settings)
        return self._generators[spec]

    def store(self, name: str) -> VectorStore:
        """Get the store of that name.

        Raises:
            ConfigurationError: there is none of that name, or what it needs is missing.
        """
        if name not in self._stores:
            self._stores[name] = make_store(name, self.settings, self.engine)
        return self._stores[name]

    def precision(self, store: str, wanted: str | None = None) -> Precision:
        """Say what numbers a new index in a store searches by: as wanted, set, or its first.

        Raises:
            ConfigurationError: the store is not known.
            InvalidInputError: there are no such numbers, or the store cannot search by them.
        """
        chosen = self.store(store)
        named = wanted or self.settings.precision
        if named is None:
            return chosen.precisions[0]
        precision = read_precision(named)
        try:
            chosen.check_precision(precision)
        except StoreRefusedError as exc:
            raise InvalidInputError(str(exc)) from exc
        return precision

    async def aclose(self) -> None:
        """Release generators, embedders, rerankers and stores."""
        await self.answerer.aclose()
        for generator in self._generators.values():
            await generator.aclose()
        for embedder in self._embedders.values():
            await embedder.aclose()
        for reranker in self._rerankers.values():
            await reranker.aclose()
        for store in self._stores.values():
            await store.aclose()


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[str]:
    """Give the address of the database: the one configured, or that of the embedded server.

    Raises:
        EmbeddedPostgresError: the embedded server cannot be started.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = EmbeddedPostgres(settings.data_dir)
    try:
        # Inside, because a start that is cancelled half-way goes on in its thread.
        yield await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.release)


async def prepare_schema(settings: Settings, database_url: str) -> None:
    """Migrate the embedded database; of a configured one, only check that it is migrated.

    Raises:
        SchemaError: the configured database is not at the revision that this code needs.
        CatalogUnavailableError: it cannot be reached.
    """
    current = await asyncio.to_thread(migrate.current, database_url)
    if current == migrate.HEAD:
        return
    if settings.database_url is None:
        await asyncio.to_thread(migrate.upgrade, database_url)
        return
    raise SchemaError(
        f"the database is at revision {current or 'none'}, this code needs {migrate.HEAD}; "
        "run: search-app migrate"
    )


@asynccontextmanager
async def _written_down(engine: AsyncEngine) -> AsyncIterator[None]:
    """Write down in the log of changes what the command under way does, if it changes anything."""
    outcome, told = "done", False
    try:
        yield
    except BaseException as exc:
        told = isinstance(exc, CatalogError | StoreError)
        outcome = f"failed: {exc}" if isinstance(exc, UnmovedError) else type(exc).__name__
        raise
    finally:
        command = doing()
        if command is not None:
            command.recorded = True
            change = Change(
                who=command.who,
                via="command",
                action=command.action,
                target=command.target,
                outcome=masked(outcome),
            )
            try:
                async with transaction(engine) as connection:
                    await trail.record(connection, change)
            except UnmovedError as exc:
                # What keeps the database from writing it down, the command says itself.
                level = logging.DEBUG if told else logging.WARNING
                log.log(level, "a change was not written down", reason=str(exc))


@asynccontextmanager
async def open_services(
    settings: Settings, *, create: bool = True, connections: int = 10
) -> AsyncIterator[Services]:
    """Open everything that one process needs, and release it at the end.

    Without ``create``, a data directory that has no database stays as it is. ``connections`` to
    the database are kept; for moments there may be twice as many.

    Raises:
        NotFoundError: there is no database yet, and none is to be made.
        CatalogError: the database cannot be started, reached or is not migrated.
    """
    if not create and settings.database_url is None and not has_database(settings.data_dir):
        raise NotFoundError(
            f"there is no database in {settings.data_dir} (UNMOVED_DATA_DIR) yet; "
            "the first ingest add makes one"
        )
    async with open_database(settings) as url:
        await prepare_schema(settings, url)
        engine = create_engine(url, pool_size=connections)
        services = Services(settings, engine)
        try:
            async with _written_down(engine):
                yield services
        finally:
            await services.aclose()
            await engine.dispose()
