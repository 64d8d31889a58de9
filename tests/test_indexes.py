"""The life of indexes in the catalog: states, events, names, and two who change one at once."""

import asyncio
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, models
from search_app.catalog.engine import transaction
from search_app.catalog.models import CanaryVector
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import (
    Chunking,
    Collection,
    Index,
    IndexState,
    ModelIdentity,
    ModelVersion,
    Precision,
)

VERSION = ModelVersion(
    id=UUID(int=7),
    spec="hashing:8",
    identity=ModelIdentity(
        provider="hashing",
        model="8",
        revision="1",
        dimensions=8,
        max_tokens=None,
        document_prefix="",
        query_prefix="",
    ),
    noise_floor=0.0,
    bit_stable=True,
)

CANARY = CanaryVector(
    name="short", kind="document", text="water", vector=np.eye(8, dtype=np.float32)[0]
)


async def make(services: Services, number: int) -> tuple[Collection, list[Index]]:
    """Make a collection with indexes in state building."""
    async with transaction(services.engine) as connection:
        collection = await collections.get_or_create(connection, "notes")
        await models.add(connection, VERSION, [CANARY])
        made = [
            await indexes.create(
                connection,
                collection=collection,
                model_version_id=VERSION.id,
                chunking=Chunking(),
                store="pgvector",
                precision=Precision.FLOAT16,
                state=IndexState.BUILDING,
            )
            for _ in range(number)
        ]
    return collection, made


async def activate(services: Services, index: Index, reason: str | None = None) -> Index:
    async with transaction(services.engine) as connection:
        return await indexes.activate(connection, index.id, reason=reason)


async def left_id(connection: AsyncConnection, collection: Collection) -> UUID | None:
    left = await indexes.last_left(connection, collection)
    return left.id if left else None


async def states(services: Services, collection: Collection) -> list[IndexState]:
    async with transaction(services.engine) as connection:
        return [index.state for index in await indexes.every(connection, collection)]


async def told(services: Services, collection: Collection) -> list[tuple[UUID, str, str | None]]:
    async with transaction(services.engine) as connection:
        events = await indexes.events(connection, collection)
    return [(event.index_id, event.event, event.reason) for event in events]


async def test_every_change_of_state_is_an_event(services: Services) -> None:
    collection, (first, second) = await make(services, 2)
    await activate(services, first)
    async with transaction(services.engine) as connection:
        assert (await indexes.make_ready(connection, second.id)).state is IndexState.READY
        # Said again, it is no event.
        await indexes.make_ready(connection, second.id)
    await activate(services, second, "a better model")
    await activate(services, second)
    async with transaction(services.engine) as connection:
        assert await left_id(connection, collection) == first.id
        await indexes.retire(connection, first.id, reason="old")
        await indexes.retire(connection, first.id)
    assert await told(services, collection) == [
        (first.id, "created", None),
        (second.id, "created", None),
        (first.id, "activated", None),
        (second.id, "ready", None),
        (first.id, "left", "a better model"),
        (second.id, "activated", "a better model"),
        (first.id, "retired", "old"),
    ]
    assert set(await states(services, collection)) == {IndexState.RETIRED, IndexState.ACTIVE}


async def test_what_cannot_be_is_refused_and_changes_nothing(services: Services) -> None:
    collection, (first, second) = await make(services, 2)
    await activate(services, first)
    before = await told(services, collection)
    with pytest.raises(InvalidInputError, match="is active"):
        async with transaction(services.engine) as connection:
            await indexes.retire(connection, first.id)
    async with transaction(services.engine) as connection:
        assert await indexes.last_left(connection, collection) is None
    async with transaction(services.engine) as connection:
        await indexes.retire(connection, second.id)
    with pytest.raises(InvalidInputError, match="is retired"):
        await activate(services, second)
    assert await told(services, collection) == [*before, (second.id, "retired", None)]


async def test_going_back_goes_to_the_index_left_last(services: Services) -> None:
    collection, (first, second, third) = await make(services, 3)
    for index in (first, second, third, first):
        await activate(services, index)
    async with transaction(services.engine) as connection:
        assert await left_id(connection, collection) == third.id
        await indexes.retire(connection, third.id)
        assert await left_id(connection, collection) == second.id


async def test_an_index_is_named_by_the_beginning_of_its_id(services: Services) -> None:
    _, made = await make(services, 40)
    index = made[3]
    async with transaction(services.engine) as connection:
        assert (await indexes.find(connection, str(index.id))).id == index.id
        assert (await indexes.find(connection, f" {str(index.id)[:18].upper()} ")).id == index.id
        # Of 40 ids, some two begin with the same of 16 digits.
        firsts = [str(each.id)[0] for each in made]
        shared = next(digit for digit in firsts if firsts.count(digit) > 1)
        with pytest.raises(InvalidInputError, match="several indexes begin"):
            await indexes.find(connection, shared)
        for unknown in ("", "  ", "%", "zebra", "'", str(UUID(int=0)), "é"):
            with pytest.raises(NotFoundError, match="ingest indexes lists them"):
                await indexes.find(connection, unknown)


async def test_of_many_activated_at_once_one_is_active(services: Services) -> None:
    collection, made = await make(services, 5)
    await activate(services, made[0])
    await asyncio.gather(*(activate(services, index) for _ in range(4) for index in made))
    found = await states(services, collection)
    assert found.count(IndexState.ACTIVE) == 1
    assert found.count(IndexState.STANDBY) == 4
    events = [event for _, event, _ in await told(services, collection)]
    # Every index that was left was active before, in turn.
    flips = [event for event in events if event != "created"]
    assert flips == ["activated", *(["left", "activated"] * (len(flips) // 2))]


async def test_of_activating_and_retiring_at_once_one_comes_first(services: Services) -> None:
    collection, (first, second) = await make(services, 2)
    await activate(services, first)

    async def retire() -> None:
        async with transaction(services.engine) as connection:
            await indexes.retire(connection, second.id)

    outcomes = await asyncio.gather(activate(services, second), retire(), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 1
    assert isinstance(refused[0], InvalidInputError)
    assert (await states(services, collection)).count(IndexState.ACTIVE) == 1
