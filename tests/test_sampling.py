"""What a check draws of an index: spread over runs and lengths, seeded, each passage once."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, sampling
from search_app.catalog.engine import reading
from search_app.catalog.sampling import Drawn
from tests.catalog_dump import connect

SHORT, LONG = 30, 220


@dataclass(frozen=True)
class Filled:
    """An index with a run of many short passages and some long ones, then one of long ones alone,
    then one of two short ones.
    """

    connection: AsyncConnection
    index_id: UUID
    runs: list[UUID]


def words(number: int, start: int) -> str:
    return " ".join(f"word{start + place}" for place in range(number))


@pytest.fixture
async def filled(services: Services, tmp_path: Path) -> AsyncIterator[Filled]:
    runs = []
    sizes = ([SHORT] * 40 + [LONG] * 2, [LONG] * 6, [SHORT] * 2)
    for run, wanted in enumerate(sizes):
        folder = tmp_path / str(run)
        folder.mkdir()
        for number, size in enumerate(wanted):
            text = words(size, 1000 * (run + 1) + 7 * number)
            (folder / f"{run}-{number}.txt").write_text(f"{run} {number} {text}")
        runs.append((await ingest(services, IngestRequest(arguments=[str(folder)]))).run_id)
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, "default")
        index = await indexes.active(connection, collection)
        yield Filled(connection=connection, index_id=index.id, runs=runs)


async def draw(filled: Filled, *, seed: int = 1, most: int = 8) -> list[Drawn]:
    return await sampling.draw(filled.connection, filled.index_id, seed=seed, most=most)


async def test_every_run_and_length_has_its_turn(filled: Filled) -> None:
    by_length = Counter((each.run_id, min(each.tokens // 200, 3)) for each in await all_of(filled))
    assert len(by_length) == 4
    for seed in range(5):
        drawn = await draw(filled, seed=seed, most=len(by_length))
        # A run of two passages counts as much as one of forty.
        assert {each.run_id for each in drawn} == set(filled.runs)
        assert len({(each.run_id, min(each.tokens // 200, 3)) for each in drawn}) == len(by_length)


async def all_of(filled: Filled) -> list[Drawn]:
    return await draw(filled, most=10_000)


async def test_a_seed_draws_the_same_again_and_another_one_others(filled: Filled) -> None:
    first = [each.chunk_id for each in await draw(filled, seed=5)]
    assert [each.chunk_id for each in await draw(filled, seed=5)] == first
    others = [frozenset(each.chunk_id for each in await draw(filled, seed=n)) for n in range(6, 16)]
    assert len(set(others)) == 10
    # Over the nights, all of the large run come up.
    seen = frozenset().union(*others)
    assert len(seen) > 20


async def test_a_larger_draw_has_all_of_a_smaller_one(filled: Filled) -> None:
    small = {each.chunk_id for each in await draw(filled, most=5)}
    assert small < {each.chunk_id for each in await draw(filled, most=12)}


async def test_each_passage_is_drawn_once_and_none_is_made_up(filled: Filled) -> None:
    everything = await all_of(filled)
    ids = [each.chunk_id for each in everything]
    assert len(set(ids)) == len(ids) >= 50
    assert ids == sorted(ids)
    assert len(await draw(filled, most=len(ids) + 1)) == len(ids)
    assert await draw(filled, most=0) == []
    for each in everything[:5]:
        assert each.text
        assert len(each.sent_hash) == len(each.stored_hash) == 32
        assert 0 <= each.batch_position < each.batch_size
        assert each.run_id in filled.runs


async def test_only_live_passages_of_the_index_are_drawn(
    filled: Filled, services: Services
) -> None:
    ids = [each.chunk_id for each in await all_of(filled)]
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        connection.execute("UPDATE chunks SET state = 'pending' WHERE id = ANY(%s)", (ids[:10],))
    left = [each.chunk_id for each in await all_of(filled)]
    assert left == ids[10:]
    assert await sampling.draw(filled.connection, uuid4(), seed=1, most=8) == []


async def test_old_vectors_of_a_large_run_come_up_beside_new_ones(filled: Filled) -> None:
    # Runs are what tells the ages apart: each begins and ends before the next.
    times = {run: set[float]() for run in filled.runs}
    for each in await all_of(filled):
        times[each.run_id].add(each.created_at.timestamp())
    spans = [(min(times[run]), max(times[run])) for run in filled.runs]
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    drawn = await draw(filled, most=6)
    ages = Counter(filled.runs.index(each.run_id) for each in drawn)
    assert set(ages) == {0, 1, 2}
