"""The indexes that a run writes to, each with its embedder proved and its store made ready."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from shlex import quote
from typing import Self
from uuid import UUID, uuid4

from search_app import declared, identity
from search_app.bootstrap import Services
from search_app.catalog import indexes, models, runs
from search_app.catalog.engine import transaction
from search_app.catalog.models import CanaryVector
from search_app.embedders.base import Embedder
from search_app.embedders.metering import Counted, Meter
from search_app.errors import ConfigurationError, EmbedderError, InvalidInputError, StoreError
from search_app.identity import Outcome
from search_app.lexical import check_analyzer
from search_app.stores.base import VectorStore
from search_app.types import Chunking, Collection, Index, IndexState, ModelVersion


@dataclass(frozen=True, kw_only=True)
class Target:
    """An index with all that writing to it takes."""

    index: Index
    version: ModelVersion
    canaries: Sequence[CanaryVector]
    embedder: Counted
    store: VectorStore
    since: datetime | None = None
    """Only vectors of runs that began since are taken over; None: of any."""

    def with_meter(self, meter: Meter) -> Self:
        """Give the same target, what it sends counted by another meter."""
        return replace(self, embedder=self.embedder.with_meter(meter))


async def open_targets(
    services: Services,
    collection: Collection,
    *,
    embedder_spec: str | None,
    store: str | None,
    precision: str | None = None,
    meter: Meter,
) -> list[Target]:
    """Open every index of the collection that is not retired, making the first where none is.

    The active one comes first. An embedder named by the user is taken for it, and has to prove
    itself like any other; the rest use the one they were registered with. ``meter`` counts what
    any of them sends.

    Raises:
        InvalidInputError: the collection already lives in another store than asked for, is searched
            by other numbers, or money is limited and nobody says what a model costs.
        ConfigurationError: an embedder or store is not known.
        EmbedderError: an embedder does not answer.
    """
    async with transaction(services.engine) as connection:
        found = await indexes.live(connection, collection)
    if not found:
        found = [
            await _create(
                services, collection, embedder_spec, store=store, precision=precision, meter=meter
            )
        ]
    targets = []
    for index in sorted(found, key=lambda index: index.state is not IndexState.ACTIVE):
        answering = index.state is IndexState.ACTIVE or len(found) == 1
        chosen = embedder_spec if answering else None
        if store not in (None, index.store) and answering:
            raise InvalidInputError(
                f"collection {collection.name!r} lives in {index.store}, not in {store}; "
                "leave --store out, or build an index there: "
                f"ingest reindex --collection {quote(collection.name)} --store {store}"
            )
        if precision not in (None, index.precision) and answering:
            raise InvalidInputError(
                f"collection {collection.name!r} is searched as {index.precision}, not as "
                f"{precision}; leave --precision out, or build an index of that: "
                f"ingest reindex --collection {quote(collection.name)} --precision {precision}"
            )
        with kept_beside(index):
            target = await open_target(services, index, chosen, meter=meter)
        if len(found) == 1 and index.state is IndexState.BUILDING:
            # Searches find a collection's first index only once there is something to search in.
            async with transaction(services.engine) as connection:
                target = replace(target, index=await indexes.activate(connection, index.id))
        targets.append(target)
    return targets


@contextmanager
def kept_beside(index: Index) -> Iterator[None]:
    """Say of which index an error is, where it is not of the one that answers, and how to go on."""
    try:
        yield
    except (ConfigurationError, EmbedderError, StoreError) as exc:
        if index.state is IndexState.ACTIVE:
            raise
        name = str(index.id)[:8]
        raise type(exc)(
            f"{exc} (this is of index {name}, which is kept in state {index.state}; if it is not "
            f"wanted any more: ingest retire {name})"
        ) from exc


def metered(services: Services, spec: str, meter: Meter) -> Counted:
    """Get the embedder that a spec names, counted by a meter.

    Raises:
        ConfigurationError: the spec names none, or prices cannot be read.
        InvalidInputError: money is limited, and nobody says what it costs.
    """
    embedder, price = services.embedder(spec), services.price(spec)
    if meter.money is not None and price is None:
        raise InvalidInputError(
            f"a budget cannot be kept to: what {spec} costs is not known; set "
            "UNMOVED_EMBEDDING_PRICE to the price of a million tokens, or name it in the file of "
            "UNMOVED_PRICES"
        )
    amount = None if price is None else price.amount
    return Counted(embedder, meter, services.tokens, price=amount)


async def open_target(
    services: Services, index: Index, embedder_spec: str | None = None, *, meter: Meter
) -> Target:
    """Open one index, with room made for it in its store.

    Raises:
        InvalidInputError: money is limited and nobody says what its model costs.
        ConfigurationError: the embedder or store is not known.
        StoreError: the store cannot be reached.
    """
    async with transaction(services.engine) as connection:
        version = await models.get(connection, index.model_version_id)
        canaries = await models.canaries(connection, version.id)
        afresh = await runs.built_afresh(connection, index.id)
    store = services.store(index.store)
    # Before anything is written: a missing package shall not stop a run half-way.
    check_analyzer(services.settings.analyzer)
    # Again on every run: a run may have died between the catalog's row and this.
    await store.create(index.id, version.identity.dimensions, index.precision)
    return Target(
        index=index,
        version=version,
        canaries=canaries,
        embedder=metered(services, embedder_spec or version.spec, meter),
        store=store,
        since=index.created_at if afresh else None,
    )


async def _create(
    services: Services,
    collection: Collection,
    embedder_spec: str | None,
    *,
    store: str | None,
    precision: str | None,
    meter: Meter,
) -> Index:
    settings = services.settings
    embedder = metered(services, embedder_spec or settings.embedder, meter)
    name = store or settings.store
    searched_as = services.precision(name, precision)
    # Before the index is named in the catalog: a wrong address shall not bind the collection to it.
    await services.store(name).ping()
    version = await register(services, embedder)
    async with transaction(services.engine) as connection:
        return await indexes.create(
            connection,
            collection=collection,
            model_version_id=version.id,
            chunking=chunking_for(settings.chunk_tokens, version),
            store=name,
            precision=searched_as,
            state=IndexState.BUILDING,
        )


def chunking_for(wanted: int, version: ModelVersion) -> Chunking:
    """Keep chunks well below the model's limit: headings and prefix are embedded with them."""
    return chunking_for_limit(wanted, version.identity.max_tokens)


def chunking_for_limit(wanted: int, limit: int | None) -> Chunking:
    """Cut as wanted, but well below so many tokens; None: whatever is wanted."""
    return Chunking(max_tokens=wanted if limit is None else min(wanted, _share_of(limit)))


def most_tokens(version: ModelVersion) -> int | None:
    """Say how many tokens a chunk may have for a model; None where it names no limit."""
    limit = version.identity.max_tokens
    return None if limit is None else _share_of(limit)


def _share_of(limit: int) -> int:
    return limit * 3 // 4


async def register(services: Services, embedder: Embedder) -> ModelVersion:
    """Get the version of the model that answers, registering it if it was never seen.

    The same canary vectors are the same model, whatever it is called.
    """
    observation = await identity.observe(embedder)
    async with transaction(services.engine) as connection:
        await models.lock_registration(connection)
        for version in await models.listing(connection):
            known = await models.canaries(connection, version.id)
            if identity.recognise(observation, version, known):
                await models.note_alias(connection, version, embedder.spec)
                return version
        version = ModelVersion(
            id=uuid4(),
            spec=embedder.spec,
            identity=observation.identity,
            noise_floor=observation.noise_floor,
            bit_stable=observation.bit_stable,
        )
        await models.add(connection, version, observation.canaries)
    return version


async def prove(
    services: Services, target: Target, collection: Collection, run_id: UUID
) -> str | None:
    """Prove that the target's model answers, record the proof, and give a warning if it is new.

    Raises:
        ModelMismatchError: another model answers.
        EmbedderError: none answers.
    """
    with kept_beside(target.index):
        proof = await declared.proved(
            services.engine,
            target.embedder,
            target.version,
            target.canaries,
            at_once=target.embedder.concurrency,
        )
    async with transaction(services.engine) as connection:
        await models.add_proof(
            connection,
            model_version_id=target.version.id,
            run_id=run_id,
            outcome=proof.outcome.value,
            lowest_cosine=proof.lowest_cosine,
            canary=proof.canary,
            library_versions=proof.library_versions,
        )
        if proof.outcome is Outcome.SAME:
            await models.note_alias(connection, target.version, target.embedder.spec)
    if proof.outcome is Outcome.OTHER_MODEL:
        with kept_beside(target.index):
            raise identity.mismatch(target.embedder, target.version, proof, collection.name)
    if proof.outcome is Outcome.NEW_BUILD:
        return (
            f"a new build of {target.version.name} answers: lowest canary cosine "
            f"{proof.lowest_cosine:.8f} ({proof.canary}); recorded, and going on"
        )
    return None
