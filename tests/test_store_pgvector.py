"""The pgvector store, held to the contract of stores, and what only it does."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from psycopg import errors
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from search_app.errors import StoreError, StoreRefusedError, StoreUnavailableError
from search_app.grammar import parse_filter
from search_app.jsonb import filter_path
from search_app.stores.base import MAX_K
from search_app.stores.memory import MemoryStore
from search_app.stores.pgvector import HNSW_FROM, PgvectorStore
from search_app.stores.pgvector_errors import CollisionError, translated
from search_app.stores.pgvector_reading import Parameters, Rows, Sent, rows_of_last
from search_app.stores.pgvector_search import approximate_search, comparing, walking
from search_app.stores.pgvector_sieve import sieve_of, sieved_for
from search_app.stores.pgvector_tables import read_layout
from search_app.stores.pgvector_terms import scoring
from search_app.types import Point, Precision, Scored, Sparse
from tests.own_database import own_database
from tests.points import (
    DIMENSIONS,
    best_by_terms,
    by_id,
    everything,
    make_point,
    make_points,
    nearest,
    same,
    sparse,
    term_query,
    units,
    vector_of,
)
from tests.store_contract import StoreContract
from tests.term_contract import make_passages, make_queries


@pytest.fixture(scope="module")
def url(postgres_url: str) -> Iterator[str]:
    with own_database(postgres_url) as address:
        yield address


@pytest.fixture(scope="module")
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, pool_size=10)
    yield engine
    await engine.dispose()


@pytest.fixture
async def filled(engine: AsyncEngine) -> AsyncIterator[tuple[PgvectorStore, list[Point]]]:
    """Give a store with one index of 1,500 points and neither HNSW nor GIN yet."""
    store = PgvectorStore(engine, hnsw_from=1000)
    index_id = uuid4()
    await store.create(index_id, 24)
    points = make_points(index_id, units(1500, 24))
    await store.upsert(index_id, points)
    yield store, points
    await store.drop(index_id)


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record each approximate search: whether it gave the answer."""
    answered: list[bool] = []

    async def record(*args: Any, **kwargs: Any) -> list[Scored] | None:
        found = await approximate_search(*args, **kwargs)
        answered.append(found is not None)
        return found

    monkeypatch.setattr("search_app.stores.pgvector.approximate_search", record)
    return answered


async def plan(engine: AsyncEngine, statement: str, **parameters: object) -> str:
    """Explain a statement of a search."""
    async with engine.begin() as connection:
        query = "[" + ",".join(["0.2"] * 24) + "]"
        lines = await connection.exec_driver_sql(
            f"EXPLAIN {statement}", {"query": query, "k": 10, **parameters}
        )
        return "\n".join(line for (line,) in lines)


async def valid_indexes(engine: AsyncEngine, index_id: UUID, table: str = "") -> dict[str, bool]:
    """Say which indexes the table of points has, or another, and whether each is complete."""
    async with engine.begin() as connection:
        rows = await connection.execute(
            text(
                "SELECT indexrelid::regclass::text, indisvalid FROM pg_index "
                "WHERE indrelid = to_regclass(:name)"
            ),
            {"name": f"vectors.index_{index_id.hex}{table}"},
        )
        return {name.rpartition("_")[2].strip('"'): valid for name, valid in rows}


COMPLETE = {"pkey": True, "fields": True, "hnsw": True}
COMPLETE_TERMS = {"pkey": True, "fields": True, "gin": True}


class TestPgvectorStore(StoreContract):
    @pytest.fixture
    def store(self, engine: AsyncEngine) -> PgvectorStore:
        return PgvectorStore(engine, hnsw_from=1000)


# Plans


@pytest.mark.parametrize("condition", [[], ["language=en"], ["meta.n<1000"]])
async def test_exact_search_compares_and_approximate_search_walks(
    engine: AsyncEngine, filled: tuple[PgvectorStore, list[Point]], condition: list[str]
) -> None:
    store, points = filled
    await store.optimize(points[0].index_id)
    async with engine.begin() as connection:
        layout = await read_layout(connection, points[0].index_id)
    wanted = parse_filter(condition)
    given = {} if wanted is None else {"path": filter_path(wanted)}
    exact = comparing(layout, engine.dialect, sieve_of(wanted))
    walk = walking(layout, engine.dialect, sieve_of(wanted))
    assert "_hnsw" not in await plan(engine, exact, **given)
    assert "_hnsw" in await plan(engine, walk, **given, candidates=20)


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BINARY])
async def test_every_precision_is_walked_and_none_in_an_exact_search(
    engine: AsyncEngine, precision: Precision
) -> None:
    store, index_id = PgvectorStore(engine, hnsw_from=1000), uuid4()
    await store.create(index_id, 24, precision)
    await store.upsert(index_id, make_points(index_id, units(1500, 24)))
    await store.optimize(index_id)
    async with engine.begin() as connection:
        layout = await read_layout(connection, index_id)
    assert (layout.precision, layout.has_hnsw) == (precision, True)
    exact = comparing(layout, engine.dialect, sieve_of(None))
    walk = walking(layout, engine.dialect, sieve_of(None))
    assert "_hnsw" not in await plan(engine, exact)
    assert "_hnsw" in await plan(engine, walk, candidates=20)
    await store.drop(index_id)


async def test_bits_tell_vectors_apart_that_never_change_their_sign(engine: AsyncEngine) -> None:
    """Their numbers are all above 0, as those of many a model hardly ever change their sign."""
    store, index_id = PgvectorStore(engine, hnsw_from=1000), uuid4()
    near = 1 + 0.2 * units(1500, 128)
    vectors = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    points = make_points(index_id, vectors)
    await store.create(index_id, 128, Precision.BINARY)
    await store.upsert(index_id, points)
    await store.optimize(index_id)
    found = 0
    for number in range(20):
        hits = await store.search(index_id, vectors[number], k=10)
        found += len({hit.chunk_id for hit in hits} & set(nearest(points, vectors[number], 10)))
    # By signs all are alike, and two hundred candidates of 1,500 would hold 27 of these 200.
    assert found >= 0.8 * 200
    await store.drop(index_id)
    async with engine.begin() as connection:
        left = await connection.scalar(
            text("SELECT count(*) FROM pg_proc WHERE proname = :name"),
            {"name": f"index_{index_id.hex}_bits"},
        )
    assert left == 0


async def test_a_selective_filter_uses_the_index_on_fields(
    engine: AsyncEngine, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    store, points = filled
    await store.optimize(points[0].index_id)
    async with engine.begin() as connection:
        layout = await read_layout(connection, points[0].index_id)
    wanted = parse_filter(["meta.n=7"])
    assert wanted is not None
    walk = walking(layout, engine.dialect, sieve_of(wanted))
    assert "_fields" in await plan(engine, walk, path=filter_path(wanted), candidates=20)


@pytest.mark.parametrize("k", [1, 90, 500, MAX_K])
async def test_the_walk_is_wide_enough_for_any_k(
    filled: tuple[PgvectorStore, list[Point]], walks: list[bool], k: int
) -> None:
    store, points = filled
    await store.optimize(points[0].index_id)
    for wanted in (None, parse_filter(["meta.n<1400"])):
        hits = await store.search(points[0].index_id, units(1, 24)[0], k=k, filter=wanted)
        assert len(hits) == k
    assert walks == [True, True]


async def test_a_walk_that_cannot_tell_is_followed_by_an_exact_search(
    filled: tuple[PgvectorStore, list[Point]], walks: list[bool]
) -> None:
    store, points = filled
    index_id, near = points[0].index_id, units(1, 24, seed=2)[0]
    await store.upsert(index_id, twins := [make_point(index_id, near) for _ in range(300)])
    await store.optimize(index_id)
    hits = await store.search(index_id, near, k=5)
    assert [hit.chunk_id for hit in hits] == [point.chunk_id for point in by_id(twins)[:5]]
    assert walks == [False]


async def test_a_walk_that_ends_too_early_is_followed_by_an_exact_search(
    url: str, filled: tuple[PgvectorStore, list[Point]], walks: list[bool]
) -> None:
    _, points = filled
    # Nothing but a walk is planned, and it gives up after a few rows.
    options = "-c hnsw.max_scan_tuples=1 -c enable_seqscan=off -c enable_bitmapscan=off"
    engine = create_async_engine(url, connect_args={"options": options})
    store = PgvectorStore(engine, hnsw_from=1000)
    await store.optimize(points[0].index_id)
    query = units(1, 24, seed=2)[0]
    far = nearest(points, -query, 20)
    await store.update_fields(points[0].index_id, {key: {"meta": {"n": -1}} for key in far})
    hits = await store.search(points[0].index_id, query, k=15, filter=parse_filter(["meta.n<0"]))
    assert [hit.chunk_id for hit in hits] == far[::-1][:15]
    assert walks == [False]
    await engine.dispose()


async def test_settings_of_a_search_do_not_outlive_it(
    url: str, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    _, points = filled
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    store = PgvectorStore(engine, hnsw_from=1000)
    await store.optimize(points[0].index_id)
    await store.search(points[0].index_id, units(1, 24)[0], k=300)
    async with engine.begin() as connection:
        for setting, value in (("hnsw.ef_search", "40"), ("hnsw.iterative_scan", "off")):
            shown = await connection.scalar(text(f"SHOW {setting}"))
            assert shown == value
    await engine.dispose()


async def test_few_points_need_no_hnsw(engine: AsyncEngine) -> None:
    store = PgvectorStore(engine)
    index_id = uuid4()
    await store.create(index_id, DIMENSIONS)
    await store.upsert(index_id, make_points(index_id, units(HNSW_FROM - 1)))
    await store.optimize(index_id)
    assert await valid_indexes(engine, index_id) == {"pkey": True, "fields": True}
    await store.upsert(index_id, make_points(index_id, units(1)))
    await store.optimize(index_id)
    assert await valid_indexes(engine, index_id) == COMPLETE
    await store.drop(index_id)


@pytest.mark.parametrize(("dimensions", "indexed"), [(4000, True), (4001, False)])
async def test_hnsw_ends_where_pgvector_ends_it(
    engine: AsyncEngine, dimensions: int, *, indexed: bool
) -> None:
    store = PgvectorStore(engine, hnsw_from=10)
    index_id = uuid4()
    await store.create(index_id, dimensions)
    points = make_points(index_id, units(12, dimensions))
    await store.upsert(index_id, points)
    await store.optimize(index_id)
    assert ("hnsw" in await valid_indexes(engine, index_id)) == indexed
    hits = await store.search(index_id, units(12, dimensions)[3], k=1)
    assert [hit.chunk_id for hit in hits] == [points[3].chunk_id]
    await store.drop(index_id)


async def test_more_dimensions_than_pgvector_holds_are_refused(engine: AsyncEngine) -> None:
    store = PgvectorStore(engine)
    index_id = uuid4()
    await store.create(index_id, 16_000)
    await store.drop(index_id)
    with pytest.raises(StoreRefusedError, match="16000"):
        await store.create(index_id, 16_001)


async def test_another_process_learns_of_a_new_hnsw_index_in_time(
    engine: AsyncEngine,
    filled: tuple[PgvectorStore, list[Point]],
    walks: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, points = filled
    index_id, query = points[0].index_id, units(1, 24)[0]
    other = PgvectorStore(engine, hnsw_from=1000)
    await other.search(index_id, query, k=1)
    await store.optimize(index_id)
    monkeypatch.setattr("search_app.stores.pgvector._LAYOUT_S", 0.0)
    await other.search(index_id, query, k=1)
    assert walks == [True]


# Building


async def test_an_unfinished_index_is_not_used_and_built_anew(
    engine: AsyncEngine, filled: tuple[PgvectorStore, list[Point]], walks: list[bool]
) -> None:
    store, points = filled
    index_id, query = points[0].index_id, units(1, 24)[0]
    await store.optimize(index_id)
    before = await store.search(index_id, query, k=10)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE pg_index SET indisvalid = false WHERE NOT indisprimary "
                "AND indrelid IN (to_regclass(:name), to_regclass(:name || '_terms'))"
            ),
            {"name": f"vectors.index_{index_id.hex}"},
        )
    other = PgvectorStore(engine, hnsw_from=1000)
    assert await other.search(index_id, query, k=10) == before
    assert walks == [True]
    await other.optimize(index_id)
    assert await valid_indexes(engine, index_id) == COMPLETE
    assert await valid_indexes(engine, index_id, "_terms") == COMPLETE_TERMS
    assert await other.search(index_id, query, k=10) == before


async def test_a_build_that_is_killed_is_finished_by_the_next(
    engine: AsyncEngine, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    store, points = filled
    index_id = points[0].index_id
    async with engine.connect() as holder:
        # A transaction that holds a snapshot keeps any concurrent build waiting.
        await holder.execution_options(isolation_level="REPEATABLE READ")
        await holder.execute(text("SELECT count(*) FROM pg_class"))
        build = asyncio.create_task(store.optimize(index_id))
        victim = await _waiting_build(engine)
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_terminate_backend({victim})"))
        with pytest.raises(StoreUnavailableError):
            await build
    assert await valid_indexes(engine, index_id) != COMPLETE
    await store.optimize(index_id)
    assert await valid_indexes(engine, index_id) == COMPLETE


async def test_a_build_that_is_cancelled_gives_its_lock_up(
    engine: AsyncEngine, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    store, points = filled
    async with engine.connect() as holder:
        await holder.execution_options(isolation_level="REPEATABLE READ")
        await holder.execute(text("SELECT count(*) FROM pg_class"))
        build = asyncio.create_task(store.optimize(points[0].index_id))
        await _waiting_build(engine)
        build.cancel()
        with pytest.raises(asyncio.CancelledError):
            await build
    await asyncio.wait_for(store.optimize(points[0].index_id), 30)
    assert await valid_indexes(engine, points[0].index_id) == COMPLETE


async def test_a_time_limit_for_queries_does_not_end_a_build(
    url: str, engine: AsyncEngine, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    _, points = filled
    limited = create_async_engine(url, connect_args={"options": "-c statement_timeout=200"})
    async with engine.connect() as holder:
        await holder.execution_options(isolation_level="REPEATABLE READ")
        await holder.execute(text("SELECT count(*) FROM pg_class"))
        store = PgvectorStore(limited, hnsw_from=1000)
        build = asyncio.create_task(store.optimize(points[0].index_id))
        await _waiting_build(engine)
        await asyncio.sleep(0.4)
    await build
    assert await valid_indexes(engine, points[0].index_id) == COMPLETE
    await limited.dispose()


async def test_writers_go_on_while_an_index_is_built(
    engine: AsyncEngine, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    store, points = filled
    index_id = points[0].index_id
    more = make_points(index_id, units(20, 24, seed=5))
    async with engine.connect() as holder:
        await holder.execution_options(isolation_level="REPEATABLE READ")
        await holder.execute(text("SELECT count(*) FROM pg_class"))
        build = asyncio.create_task(store.optimize(index_id))
        second = asyncio.create_task(PgvectorStore(engine, hnsw_from=1000).optimize(index_id))
        await _waiting_build(engine)
        await asyncio.wait_for(store.upsert(index_id, more), 30)
        await asyncio.wait_for(store.delete(index_id, [points[0].chunk_id]), 30)
        assert not build.done()
        assert not second.done()
    await asyncio.gather(build, second)
    assert await valid_indexes(engine, index_id) == COMPLETE
    assert same(await everything(store, index_id), by_id([*points[1:], *more]))
    hits = await store.search(index_id, units(20, 24, seed=5)[7], k=1)
    assert [hit.chunk_id for hit in hits] == [more[7].chunk_id]


async def _waiting_build(engine: AsyncEngine) -> int:
    """Wait until a session builds an index; give its process id."""
    query = text(
        "SELECT pid FROM pg_stat_progress_create_index "
        "WHERE datname = current_database() AND phase LIKE 'waiting%'"
    )
    async with asyncio.timeout(30):
        while True:
            async with engine.begin() as connection:
                pid = await connection.scalar(query)
            if pid is not None:
                return int(pid)
            await asyncio.sleep(0.01)


# Agreement


async def test_both_stores_give_the_same_ranking_and_scores(
    filled: tuple[PgvectorStore, list[Point]],
) -> None:
    store, points = filled
    memory = MemoryStore()
    await memory.create(points[0].index_id, 24)
    await memory.upsert(points[0].index_id, points)
    for query in units(20, 24, seed=9):
        ours = await store.search(points[0].index_id, query, k=50, exact=True)
        theirs = await memory.search(points[0].index_id, query, k=50)
        assert [hit.chunk_id for hit in ours] == [hit.chunk_id for hit in theirs]
        assert [hit.score for hit in ours] == pytest.approx([h.score for h in theirs], abs=1e-6)


async def test_a_search_right_after_heavy_rewriting_returns_enough(
    filled: tuple[PgvectorStore, list[Point]],
) -> None:
    store, points = filled
    index_id = points[0].index_id
    await store.optimize(index_id)
    for seed in range(2):
        vectors = units(len(points), 24, seed=seed)
        points = [
            make_point(index_id, vector, chunk_id=point.chunk_id)
            for point, vector in zip(points, vectors, strict=True)
        ]
        await store.upsert(index_id, points)
    await store.delete(index_id, [point.chunk_id for point in points[5:]])
    hits = await store.search(index_id, units(1, 24, seed=4)[0], k=100)
    assert {hit.chunk_id for hit in hits} == {point.chunk_id for point in points[:5]}


# Terms


@pytest.fixture
async def passages(engine: AsyncEngine) -> AsyncIterator[list[Point]]:
    """Give the points of an optimized index of 3,000 passages."""
    store = PgvectorStore(engine)
    index_id = uuid4()
    await store.create(index_id, DIMENSIONS)
    points = make_passages(index_id, 3_000)
    await store.upsert(index_id, points)
    await store.optimize(index_id)
    yield points
    await store.drop(index_id)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[Parameters]:
    """Record what is sent with each search by terms."""
    sent: list[Parameters] = []

    async def record(connection: AsyncConnection, *statements: Sent) -> Rows:
        sent.append(statements[-1][1])
        return await rows_of_last(connection, *statements)

    monkeypatch.setattr("search_app.stores.pgvector_terms.rows_of_last", record)
    return sent


@pytest.mark.parametrize("candidates", [1, 60, 300, 1500])
async def test_few_candidates_lose_neither_exactness_nor_number(
    engine: AsyncEngine, passages: list[Point], candidates: int
) -> None:
    store = PgvectorStore(engine, candidates=candidates)
    index_id = passages[0].index_id
    wanted = parse_filter(["meta.n>=1700"])
    for query in make_queries(passages, 12, seed=21):
        for condition, passing in ((None, passages), (wanted, passages[1700:])):
            best = best_by_terms(passing, query, len(passing))
            scores = dict(best)
            for k in (1, 10, 200):
                hits = await store.search_terms(index_id, query, k=k, filter=condition, exact=True)
                assert [(hit.chunk_id, hit.score) for hit in hits] == best[:k]
                hits = await store.search_terms(index_id, query, k=k, filter=condition)
                assert len(hits) == len(best[:k])
                order = [(-hit.score, hit.chunk_id) for hit in hits]
                assert order == sorted(order)
                assert all(scores[hit.chunk_id] == hit.score for hit in hits)


async def test_both_stores_rank_any_terms_alike(engine: AsyncEngine) -> None:
    draw = np.random.default_rng(22)
    stores = (PgvectorStore(engine, candidates=40), MemoryStore())
    index_id = uuid4()
    points = [
        make_point(index_id, vector, {"meta": {"n": number}}, terms=_any_terms(draw, 2.2))
        for number, vector in enumerate(units(400))
    ]
    for store in stores:
        await store.create(index_id, DIMENSIONS)
        await store.upsert(index_id, points)
    for turn in range(60):
        query = term_query(_weights(draw, 15.0), points)
        condition = parse_filter([f"meta.n<{turn * 7}"]) if turn % 2 else None
        ours, theirs = [
            await store.search_terms(index_id, query, k=30, filter=condition, exact=True)
            for store in stores
        ]
        assert [hit.chunk_id for hit in ours] == [hit.chunk_id for hit in theirs]
        assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs])
        named = [
            await store.documents_with(index_id, query.ids[:2].tolist(), filter=condition)
            for store in stores
        ]
        assert named[0] == named[1]
    await stores[0].drop(index_id)


def _any_terms(draw: np.random.Generator, most: float) -> Sparse | None:
    weights = _weights(draw, most)
    return sparse(weights) if weights else None


def _weights(draw: np.random.Generator, most: float) -> dict[int, float]:
    ids = np.unique(draw.zipf(1.3, size=draw.integers(40)) % 10**9)
    return {int(number): float(draw.uniform(1e-3, most)) for number in ids}


async def test_a_search_that_is_surely_exact_takes_one_round_trip(
    engine: AsyncEngine, passages: list[Point], trips: list[Parameters]
) -> None:
    store = PgvectorStore(engine, candidates=60)
    index_id = passages[0].index_id
    common, rare = _common_and_rare(passages)
    heavy = term_query({common: 0.25, rare: 8}, passages)
    light = term_query({common: 8, rare: 0.25}, passages)
    hits = await store.search_terms(index_id, heavy, k=2, exact=True)
    assert [(hit.chunk_id, hit.score) for hit in hits] == best_by_terms(passages, heavy, 2)
    assert [given["ids"] for given in trips] == [[rare]]
    trips.clear()
    hits = await store.search_terms(index_id, light, k=2, exact=True)
    assert [(hit.chunk_id, hit.score) for hit in hits] == best_by_terms(passages, light, 2)
    assert [given["ids"] for given in trips] == [[rare], [rare, common]]
    trips.clear()
    assert len(await store.search_terms(index_id, light, k=2)) == 2
    assert [given["ids"] for given in trips] == [[rare]]


def _common_and_rare(points: Sequence[Point]) -> tuple[int, int]:
    """Give a term of most points, and one of 20 to 30."""
    counted = Counter(number for p in points if p.terms for number in p.terms.ids.tolist())
    rare = next(number for number, having in counted.items() if 20 <= having <= 30)
    return counted.most_common(1)[0][0], rare


async def test_middling_terms_name_candidates_where_they_meet(
    engine: AsyncEngine, passages: list[Point], trips: list[Parameters]
) -> None:
    store = PgvectorStore(engine, candidates=300)
    counted = Counter(number for p in passages if p.terms for number in p.terms.ids.tolist())
    middling = [number for number, having in counted.items() if 200 <= having <= 400][:4]
    query = term_query(dict.fromkeys(middling, 2.0), passages)
    hits = await store.search_terms(passages[0].index_id, query, k=10)
    assert [(hit.chunk_id, hit.score) for hit in hits] == best_by_terms(passages, query, 10)
    (given,) = trips
    assert given["ids"] == []
    assert {"anchor0", "beside0"} <= given.keys()


@pytest.mark.parametrize("pairs", [0, 1, 3])
@pytest.mark.parametrize("filtered", [False, True])
async def test_search_by_terms_reads_only_what_the_index_names(
    engine: AsyncEngine, passages: list[Point], pairs: int, *, filtered: bool
) -> None:
    async with engine.begin() as connection:
        layout = await read_layout(connection, passages[0].index_id)
        assert layout.passages == sum(point.terms is not None for point in passages)
        terms = passages[1].terms
        assert terms is not None
        given: dict[str, Any] = {
            "query": "{1:1}/1000000000",
            "k": 10,
            "ids": terms.ids[:2].tolist(),
        }
        for number in range(pairs):
            given |= {f"anchor{number}": [number], f"beside{number}": [7, 8]}
        wanted = parse_filter(["meta.n=7"]) if filtered else None
        given |= sieved_for(wanted)
        statement = scoring(layout, engine.dialect, sieve_of(wanted), pairs=pairs)
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        lines = await connection.exec_driver_sql(f"EXPLAIN {statement}", given)
        shown = "\n".join(line for (line,) in lines)
    assert "_terms_fields" in shown if filtered else "_terms_gin" in shown
    assert "Seq Scan" not in shown


async def test_settings_of_a_search_by_terms_do_not_outlive_it(
    url: str, passages: list[Point]
) -> None:
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    store = PgvectorStore(engine)
    await store.search_terms(passages[0].index_id, term_query({1: 1}), k=3)
    await store.documents_with(passages[0].index_id, [1])
    async with engine.begin() as connection:
        for setting, value in (("enable_seqscan", "on"), ("plan_cache_mode", "auto")):
            assert await connection.scalar(text(f"SHOW {setting}")) == value
    await engine.dispose()


async def test_an_index_from_before_terms_gets_them_when_created_again(
    engine: AsyncEngine, passages: list[Point]
) -> None:
    index_id, query = passages[0].index_id, make_queries(passages, 1, seed=23)[0]
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP TABLE vectors.index_{index_id.hex}_terms"))
    store = PgvectorStore(engine)
    bare = [replace(point, terms=None) for point in passages]
    assert await store.search_terms(index_id, query, k=10, exact=True) == []
    assert await store.documents_with(index_id, query.ids.tolist()) == set()
    await store.upsert(index_id, bare[:10])
    await store.delete(index_id, [bare[10].chunk_id])
    await store.update_fields(index_id, {bare[11].chunk_id: {"language": "ja"}})
    await store.optimize(index_id)
    with pytest.raises(StoreRefusedError, match="create it first"):
        await store.upsert(index_id, passages[:20])
    assert await store.count(index_id) == len(passages) - 1
    await store.create(index_id, DIMENSIONS)
    assert await store.count(index_id) == len(passages) - 1
    await store.upsert(index_id, passages)
    hits = await store.search_terms(index_id, query, k=10, exact=True)
    assert [(hit.chunk_id, hit.score) for hit in hits] == best_by_terms(passages, query, 10)
    await store.optimize(index_id)
    assert await valid_indexes(engine, index_id, "_terms") == COMPLETE_TERMS


async def test_what_is_written_after_the_build_is_found_before_and_after_the_next(
    engine: AsyncEngine, passages: list[Point]
) -> None:
    store, index_id = PgvectorStore(engine), passages[0].index_id
    more = make_passages(index_id, 200, seed=24)
    await store.upsert(index_id, more)
    for _ in ("in the list of the pending", "in the index"):
        for query in make_queries(passages, 5, seed=25):
            hits = await store.search_terms(index_id, query, k=50, exact=True)
            expected = best_by_terms([*passages, *more], query, 50)
            assert [(hit.chunk_id, hit.score) for hit in hits] == expected
        await store.optimize(index_id)


async def test_points_and_terms_are_written_together_or_not_at_all(
    engine: AsyncEngine, passages: list[Point]
) -> None:
    store, index_id = PgvectorStore(engine), passages[0].index_id
    known = len(passages)
    rewritten = [
        replace(point, fields={"meta": {"n": -1}}, terms=sparse({5: 1.0}))
        for point in passages[: known // 2]
    ]
    query = term_query({5: 1})
    for seconds in (0.001, 0.01, 0.03, 0.06, 0.12, 0.25, None):
        write = asyncio.create_task(store.upsert(index_id, rewritten))
        if seconds is not None:
            await asyncio.sleep(seconds)
            write.cancel()
        await asyncio.gather(write, return_exceptions=True)
        new = await store.count(index_id, parse_filter(["meta.n=-1"]))
        assert new in {0, len(rewritten)}
        found = await store.search_terms(index_id, query, k=MAX_K, exact=True)
        assert len(found) == min(new, MAX_K)
        assert await store.count(index_id) == known
    assert new == len(rewritten)


# Failures


async def test_a_write_that_fails_in_the_middle_leaves_nothing(
    filled: tuple[PgvectorStore, list[Point]],
) -> None:
    store, points = filled
    index_id = points[0].index_id
    vectors = units(1500, 24, seed=3)
    bad = [
        make_point(index_id, vector, {"n": "\x00"} if number == 1400 else {}, point.chunk_id)
        for number, (point, vector) in enumerate(zip(by_id(points), vectors, strict=True))
    ]
    with pytest.raises(StoreRefusedError):
        await store.upsert(index_id, bad)
    assert same(await everything(store, index_id), by_id(points))


async def test_a_cancelled_write_leaves_all_or_nothing(
    filled: tuple[PgvectorStore, list[Point]],
) -> None:
    store, points = filled
    index_id = points[0].index_id
    rewritten = [make_point(index_id, -vector_of(p), chunk_id=p.chunk_id) for p in points]
    for seconds in (0.001, 0.005, 0.01, 0.02, 0.04):
        write = asyncio.create_task(store.upsert(index_id, rewritten))
        await asyncio.sleep(seconds)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)
        found = await everything(store, index_id)
        assert same(found, by_id(points)) or same(found, by_id(rewritten))


async def test_a_cancelled_search_spoils_no_connection(
    url: str, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    _, points = filled
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    store = PgvectorStore(engine, hnsw_from=1000)
    await store.optimize(points[0].index_id)
    query = units(1, 24)[0]
    expected = await store.search(points[0].index_id, query, k=10)
    for turn in range(20):
        search = asyncio.create_task(store.search(points[0].index_id, query, k=10))
        await asyncio.sleep(turn / 10_000)
        search.cancel()
        await asyncio.gather(search, return_exceptions=True)
        assert await store.search(points[0].index_id, query, k=10) == expected
    await engine.dispose()


async def test_two_engines_write_the_same_new_ids_at_once(url: str) -> None:
    engines = [create_async_engine(url) for _ in range(2)]
    stores = [PgvectorStore(engine) for engine in engines]
    index_id = uuid4()
    await stores[0].create(index_id, DIMENSIONS)
    for turn in range(5):
        points = make_points(index_id, units(1200, seed=turn))
        await asyncio.gather(*(store.upsert(index_id, points) for store in stores))
        found = await stores[0].fetch(index_id, [point.chunk_id for point in points])
        assert same(found, by_id(points))
    await stores[0].drop(index_id)
    for engine in engines:
        await engine.dispose()


async def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        engine = create_async_engine(f"postgresql+psycopg://nobody@127.0.0.1:{port}/none")
        store = PgvectorStore(engine)
        for call in (
            store.ping(),
            store.create(uuid4(), 3),
            store.count(uuid4()),
            store.search(uuid4(), units(1)[0], k=1),
            store.search_terms(uuid4(), term_query({1: 1}), k=1),
            store.documents_with(uuid4(), [1]),
            store.upsert(index_id := uuid4(), make_points(index_id, units(1))),
            store.optimize(uuid4()),
            store.drop(uuid4()),
        ):
            with pytest.raises(StoreUnavailableError, match="reached"):
                await call
        await engine.dispose()


async def test_a_server_that_went_away_is_unavailable_and_then_there_again(
    url: str, engine: AsyncEngine
) -> None:
    mine = create_async_engine(url, pool_size=1, max_overflow=0)
    store = PgvectorStore(mine)
    index_id = uuid4()
    await store.create(index_id, DIMENSIONS)
    async with mine.begin() as connection:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
    async with engine.begin() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
    with pytest.raises(StoreUnavailableError):
        await store.count(index_id)
    assert await store.count(index_id) == 0
    await store.drop(index_id)
    await mine.dispose()


async def test_no_free_connection_is_unavailable(url: str) -> None:
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    async with engine.connect():
        with pytest.raises(StoreUnavailableError, match="try again"):
            await PgvectorStore(engine).ping()
    await engine.dispose()


async def test_a_statement_that_takes_too_long_is_unavailable(
    url: str, filled: tuple[PgvectorStore, list[Point]]
) -> None:
    _, points = filled
    engine = create_async_engine(url, connect_args={"options": "-c statement_timeout=1"})
    store = PgvectorStore(engine)
    vectors = np.repeat(units(1, 24), 3000, axis=0)
    with pytest.raises(StoreUnavailableError, match="timeout"):
        await store.upsert(points[0].index_id, make_points(points[0].index_id, vectors))
    await engine.dispose()


async def test_a_role_that_owns_only_the_schema_is_enough(postgres_url: str) -> None:
    with own_database(postgres_url) as url:
        admin = create_async_engine(url)
        role = f"role_{uuid4().hex}"
        async with admin.begin() as connection:
            await connection.execute(text("CREATE EXTENSION vector"))
            await connection.execute(text(f"CREATE ROLE {role}"))
            await connection.execute(text(f"CREATE SCHEMA vectors AUTHORIZATION {role}"))
        engine = create_async_engine(url, connect_args={"options": f"-c role={role}"})
        store = PgvectorStore(engine, hnsw_from=10)
        index_id = uuid4()
        await store.create(index_id, DIMENSIONS)
        await store.upsert(index_id, make_points(index_id, units(20)))
        await store.optimize(index_id)
        assert len(await store.search(index_id, units(1)[0], k=10)) == 10
        await store.drop(index_id)
        await engine.dispose()
        async with admin.begin() as connection:
            await connection.execute(text(f"DROP OWNED BY {role}"))
            await connection.execute(text(f"DROP ROLE {role}"))
        await admin.dispose()


async def test_a_database_without_the_extension_is_refused(postgres_url: str) -> None:
    with own_database(postgres_url) as url:
        engine = create_async_engine(url)
        with pytest.raises(StoreRefusedError, match="create it first"):
            await PgvectorStore(engine).count(uuid4())
        await engine.dispose()


def _classes(base: type[psycopg.Error]) -> set[type[psycopg.Error]]:
    return {base}.union(*(_classes(child) for child in base.__subclasses__()))


def test_every_error_of_the_driver_is_translated() -> None:
    classes = _classes(psycopg.Error)
    assert len(classes) > 200
    for driver_error in classes:
        ours = translated(driver_error("first line\nsecond line"))
        assert type(ours) in (StoreRefusedError, StoreUnavailableError, CollisionError)
        assert "first line" in str(ours)
        assert "\n" not in str(ours)


@pytest.mark.parametrize(
    ("driver_error", "expected"),
    [
        (psycopg.OperationalError, StoreUnavailableError),
        (psycopg.InterfaceError, StoreUnavailableError),
        (errors.ConnectionTimeout, StoreUnavailableError),
        (errors.AdminShutdown, StoreUnavailableError),
        (errors.CannotConnectNow, StoreUnavailableError),
        (errors.TooManyConnections, StoreUnavailableError),
        (errors.QueryCanceled, StoreUnavailableError),
        (errors.LockNotAvailable, StoreUnavailableError),
        (errors.DeadlockDetected, CollisionError),
        (errors.UniqueViolation, CollisionError),
        (errors.DiskFull, StoreRefusedError),
        (errors.UndefinedTable, StoreRefusedError),
        (errors.DataException, StoreRefusedError),
        (errors.InsufficientPrivilege, StoreRefusedError),
        (errors.ReadOnlySqlTransaction, StoreRefusedError),
        (psycopg.NotSupportedError, StoreRefusedError),
    ],
)
def test_errors_are_told_apart(
    driver_error: type[psycopg.Error], expected: type[StoreError]
) -> None:
    assert type(translated(driver_error("why"))) is expected
