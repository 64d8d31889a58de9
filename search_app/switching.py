"""Which index answers: seeing that one is fit to, and switching to it and back."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.catalog import collections, filling, indexes
from search_app.catalog.engine import reading, transaction
from search_app.catalog.filling import Gaps
from search_app.errors import InvalidInputError, NotFoundError
from search_app.stores.base import VectorStore
from search_app.types import Collection, Index, IndexState

AGREE_S = 5.0
"""How long store and records may differ: an ingest writes to the one before the other."""

_PAUSE_S = 0.1

Stores = Callable[[str], VectorStore]


class UnfitIndexError(InvalidInputError):
    """An index lacks something, or was not measured well enough, to answer searches."""


@dataclass(frozen=True, kw_only=True)
class Switched:
    """What a switch came to: ``left`` is None where the index was active before.

    ``passages`` were found to have a vector; ``flip_ms`` is what the change itself took.
    """

    collection: Collection
    index: Index
    left: Index | None
    passages: int
    flip_ms: float


async def fit(engine: AsyncEngine, stores: Stores, index: Index) -> Gaps:
    """See that an index has a vector of every passage, by its records and by its store.

    Raises:
        UnfitIndexError: it has not; says what is missing and what to do.
        StoreError: the store cannot be reached.
    """
    short = str(index.id)[:8]
    async with reading(engine) as connection:
        gaps = await filling.gaps(connection, index)
    if index.state is IndexState.BUILDING:
        raise UnfitIndexError(
            f"index {short} is still being built: {gaps.passages - gaps.missing:,} of "
            f"{gaps.passages:,} passages are in; the ingest reindex that began it goes on with it"
        )
    if index.state is IndexState.RETIRED:
        raise UnfitIndexError(
            f"index {short} is retired, and its vectors are gone; ingest reindex builds another one"
        )
    if gaps.missing or gaps.uncut:
        raise UnfitIndexError(
            f"index {short} is not complete: {gaps.missing:,} of {gaps.passages:,} passages have "
            f"no vector, and {gaps.uncut:,} documents were never cut for it; the ingest reindex "
            "that built it completes it"
        )
    await _agree(engine, stores(index.store), index)
    return gaps


async def _agree(engine: AsyncEngine, store: VectorStore, index: Index) -> None:
    """See that the store holds as many vectors as are recorded."""
    until = time.monotonic() + AGREE_S
    while True:
        async with reading(engine) as connection:
            recorded = await filling.number_of_records(connection, index.id)
        stored = await store.count(index.id)
        if stored == recorded:
            return
        if time.monotonic() > until:
            short = str(index.id)[:8]
            raise UnfitIndexError(
                f"index {short} should have {recorded:,} vectors by its records, and "
                f"{store.name} holds {stored:,}; if an ingest is under way, try again once it has "
                f"ended, else: ingest reconcile --index {short} --repair"
            )
        await asyncio.sleep(_PAUSE_S)


async def activate(
    engine: AsyncEngine, stores: Stores, index: Index, *, reason: str | None = None
) -> Switched:
    """Let a complete index answer the searches of its collection.

    Searches under way end with the index that they began with. The index left stays as it is, and
    ingest goes on to write to it.

    Raises:
        UnfitIndexError: it is not complete.
        NotFoundError: its collection is being deleted.
        StoreError: its store cannot be reached.
    """
    gaps = await fit(engine, stores, index)
    began = time.perf_counter()
    async with transaction(engine) as connection:
        await indexes.locked(connection, index.id)
        collection = await indexes.collection_of(connection, index)
        left = await indexes.active(connection, collection)
        found = await indexes.activate(connection, index.id, reason=reason)
    return Switched(
        collection=collection,
        index=found,
        left=None if left.id == found.id else left,
        passages=gaps.passages,
        flip_ms=(time.perf_counter() - began) * 1000,
    )


async def rollback(engine: AsyncEngine, stores: Stores, collection: str) -> Switched:
    """Let the index answer again that did before the one that does now.

    Raises:
        NotFoundError: there is no such collection, or no such index of it is kept.
        UnfitIndexError: it is not complete.
        StoreError: its store cannot be reached.
    """
    async with reading(engine) as connection:
        known = await collections.get(connection, collection)
        index = await indexes.last_left(connection, known)
    if index is None:
        raise NotFoundError(
            f"collection {collection!r} has no index to go back to; ingest indexes lists those it "
            "has"
        )
    return await activate(engine, stores, index, reason="rollback")
