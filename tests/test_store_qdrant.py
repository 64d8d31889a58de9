"""The Qdrant store, held to the contract of stores, and what only it does."""

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from qdrant_client import models

from search_app.errors import ConfigurationError, StoreRefusedError, StoreUnavailableError
from search_app.filters import Filter
from search_app.stores import qdrant_search
from search_app.stores.memory import MemoryStore
from search_app.stores.qdrant import QdrantStore
from search_app.stores.qdrant_collections import Layout, QdrantPlan, collection_name
from search_app.stores.qdrant_connection import MEMORY, QdrantAddress, QdrantConnection
from search_app.stores.qdrant_order import MOST_PIECES, order_entries, pieces
from search_app.stores.qdrant_payload import term
from search_app.stores.qdrant_search import Asked
from tests.filter_contract import NUMBERS, TEXTS
from tests.points import (
    DIMENSIONS,
    any_of,
    best_by_terms,
    by_id,
    everything,
    make_point,
    make_points,
    same,
    sparse,
    term_query,
    units,
)
from tests.store_contract import StoreContract

SERVER = os.environ.get("UNMOVED_TEST_QDRANT_URL")
KEY = os.environ.get("UNMOVED_TEST_QDRANT_API_KEY")
GRPC_PORT = int(os.environ.get("UNMOVED_TEST_QDRANT_GRPC_PORT", "0"))

SMALL_GRAPHS = QdrantPlan(hnsw_from_kb=20)
"""Builds a graph over a thousand short vectors, so that search is approximate."""


@pytest.fixture
async def local() -> AsyncIterator[QdrantStore]:
    store = QdrantStore(QdrantAddress(url=MEMORY))
    yield store
    await store.aclose()


class TestQdrantLocal(StoreContract):
    @pytest.fixture
    def store(self, local: QdrantStore) -> QdrantStore:
        return local


@pytest.mark.skipif(SERVER is None, reason="UNMOVED_TEST_QDRANT_URL names no server")
class TestQdrantRest(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[QdrantStore]:
        store = QdrantStore(QdrantAddress(url=str(SERVER), api_key=KEY), plan=SMALL_GRAPHS)
        yield store
        await store.aclose()


@pytest.mark.skipif(not GRPC_PORT, reason="UNMOVED_TEST_QDRANT_GRPC_PORT names no port")
class TestQdrantGrpc(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[QdrantStore]:
        address = QdrantAddress(url=str(SERVER), api_key=KEY, grpc_port=GRPC_PORT)
        store = QdrantStore(address, plan=SMALL_GRAPHS)
        yield store
        await store.aclose()


# Order and terms


@pytest.mark.parametrize("values", [NUMBERS, TEXTS], ids=["numbers", "texts"])
def test_pieces_are_in_the_order_of_their_values(values: Any) -> None:
    for left in values:
        for right in values:
            assert (pieces(left) < pieces(right)) == (left < right), (left, right)
            assert (term("f", left) == term("f", right)) == (left == right), (left, right)
        assert all(float(piece) == piece for piece in pieces(left))


def test_of_a_long_text_little_is_kept() -> None:
    entries = order_entries([("meta.abstract", "ぬ" * 20_000), ("meta.draft", True)])
    assert len(entries) == MOST_PIECES
    assert len(term("meta.abstract", "ぬ" * 20_000)) < 100


def test_truth_is_no_number_and_no_text() -> None:
    assert len({term("f", value) for value in (True, 1, "true", "True", "1")}) == 5


# Local mode


async def test_a_folder_keeps_everything(tmp_path: Path) -> None:
    address = QdrantAddress(url=f"local:{tmp_path / 'vectors'}")
    index_id = uuid4()
    points = by_id(
        [replace(p, terms=sparse({1: 1, 2: 0.5})) for p in make_points(index_id, units(20))]
    )
    store = QdrantStore(address)
    await store.create(index_id, DIMENSIONS)
    await store.upsert(index_id, points)
    await store.update_fields(index_id, {points[3].chunk_id: {"language": "ja"}})
    await store.delete(index_id, [points[0].chunk_id])
    await store.aclose()
    again = QdrantStore(address)
    await again.create(index_id, DIMENSIONS)
    points[3] = replace(points[3], fields={"language": "ja"})
    assert same(await everything(again, index_id), points[1:])
    hits = await again.search_terms(index_id, term_query({1: 1, 2: 2}), k=20)
    assert [(hit.chunk_id, hit.score) for hit in hits] == [(p.chunk_id, 2.0) for p in points[1:]]
    await again.drop(index_id)
    await again.aclose()


async def test_a_folder_in_use_by_another_process_is_unavailable(tmp_path: Path) -> None:
    script = (
        "import sys; from qdrant_client import QdrantClient; "
        "client = QdrantClient(path=sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path)), stdin=PIPE, stdout=PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"open\n"
    store = QdrantStore(QdrantAddress(url=f"local:{tmp_path}"))
    with pytest.raises(StoreUnavailableError, match="in use by another process") as raised:
        await store.ping()
    assert str(tmp_path) in str(raised.value)
    await holder.communicate(b"")
    await store.ping()
    await store.aclose()


async def test_the_loop_goes_on_while_local_mode_computes(local: QdrantStore) -> None:
    index_id = uuid4()
    await local.create(index_id, 64)
    write = asyncio.create_task(local.upsert(index_id, make_points(index_id, units(2_000, 64))))
    turns = 0
    while not write.done():
        turns += 1
        await asyncio.sleep(0.001)
    await write
    assert turns > 20


# What others made


def dense(size: int = 8, distance: models.Distance = models.Distance.DOT) -> Any:
    return {"dense": models.VectorParams(size=size, distance=distance)}


SPARSE = {"sparse": models.SparseVectorParams()}
IDF = {"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)}


@pytest.mark.parametrize(
    ("vectors", "terms", "reason"),
    [
        (dense()["dense"], SPARSE, "no vectors named dense"),
        ({"other": dense()["dense"]}, SPARSE, "no vectors named dense"),
        (dense(distance=models.Distance.COSINE), SPARSE, "Cosine, not Dot"),
        (dense(), None, "no sparse vectors named sparse"),
        (dense(), {"other": models.SparseVectorParams()}, "no sparse vectors named sparse"),
        (dense(), IDF, "frequencies of its own"),
        (dense(9), SPARSE, "9 dimensions, not 8"),
    ],
)
async def test_a_collection_of_another_kind_under_our_name_is_refused(
    local: QdrantStore, vectors: Any, terms: Any, reason: str
) -> None:
    index_id = uuid4()
    async with local._connection.client() as client:
        await client.create_collection(
            collection_name(index_id), vectors_config=vectors, sparse_vectors_config=terms
        )
    with pytest.raises(StoreRefusedError, match=reason):
        await local.create(index_id, 8)


async def test_a_point_that_another_wrote_is_refused(local: QdrantStore) -> None:
    index_id = uuid4()
    await local.create(index_id, DIMENSIONS)
    vector = units(1)[0]
    vectors = {
        "dense": vector.tolist(),
        "sparse": models.SparseVector(indices=[1], values=[1.0]),
    }
    foreign = models.PointStruct(id=str(uuid4()), vector=vectors, payload={"run_id": "x"})
    async with local._connection.client() as client:
        await client.upsert(collection_name(index_id), [foreign])
    for call in (
        local.scan(index_id),
        local.search(index_id, vector, k=1),
        local.search_terms(index_id, term_query({1: 1}), k=1),
        local.documents_with(index_id, [1]),
    ):
        with pytest.raises(StoreRefusedError, match="not one that was written here"):
            await call


async def test_an_index_made_anew_elsewhere_is_noticed(tmp_path: Path) -> None:
    address = QdrantAddress(url=f"local:{tmp_path}")
    store = QdrantStore(address)
    index_id = uuid4()
    await store.create(index_id, DIMENSIONS)
    await store.count(index_id)
    async with store._connection.client() as client:
        await client.delete_collection(collection_name(index_id))
        await client.create_collection(
            collection_name(index_id), vectors_config=dense(9), sparse_vectors_config=SPARSE
        )
    with pytest.raises(StoreRefusedError):
        await store.upsert(index_id, make_points(index_id, units(1, 9)))
    await store.upsert(index_id, make_points(index_id, units(1, 9)))
    await store.aclose()


# Ties


async def test_more_ties_than_one_answer_holds_are_cut_by_id(local: QdrantStore) -> None:
    index_id = uuid4()
    await local.create(index_id, 2)
    (vector,) = units(1, 2)
    points = by_id([make_point(index_id, vector) for _ in range(5_000)])
    await local.upsert(index_id, points)
    hits = await local.search(index_id, vector, k=3)
    assert [hit.chunk_id for hit in hits] == [point.chunk_id for point in points[:3]]
    assert len({hit.score for hit in hits}) == 1


async def test_more_ties_of_terms_than_one_answer_holds_are_cut_by_id(local: QdrantStore) -> None:
    index_id = uuid4()
    await local.create(index_id, 2)
    (vector,) = units(1, 2)
    terms = sparse({1: 0.3, 2: 0.7})
    points = by_id([make_point(index_id, vector, terms=terms) for _ in range(5_000)])
    await local.upsert(index_id, points)
    hits = await local.search_terms(index_id, term_query({1: 0.1, 2: 0.7}), k=3)
    assert [hit.chunk_id for hit in hits] == [point.chunk_id for point in points[:3]]
    assert len({hit.score for hit in hits}) == 1


def _rounding_at_random(monkeypatch: pytest.MonkeyPatch, most: int, error: float) -> None:
    """Let Qdrant err by as much as float32 may, in the scores and so in the order."""
    draw, ask = random.Random(6), qdrant_search._ask

    async def roughly(
        connection: QdrantConnection, layout: Layout, asked: Asked, limit: int, *, exact: bool
    ) -> list[models.ScoredPoint]:
        found = await ask(connection, layout, asked, most, exact=exact)
        for point in found:
            point.score += draw.uniform(-1, 1) * error
        return sorted(found, key=lambda point: -point.score)[:limit]

    monkeypatch.setattr(qdrant_search, "_ask", roughly)


async def test_ranking_does_not_hang_on_how_the_store_rounds(
    local: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_id, memory = uuid4(), MemoryStore()
    query, other = units(2, 384, seed=3)
    # So near to each other that float32 sums may order them in any way.
    close = query + 1e-6 * units(300, 384, seed=4) + 0.3 * other
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    points = make_points(index_id, close)
    for store in (local, memory):
        await store.create(index_id, 384)
        await store.upsert(index_id, points)
    _rounding_at_random(monkeypatch, len(points), 384 * 2.0**-24)
    for k in (1, 10, 100):
        assert await local.search(index_id, query, k=k) == await memory.search(index_id, query, k=k)


async def test_ranking_by_terms_does_not_hang_on_how_the_store_rounds(
    local: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_id, draw = uuid4(), np.random.default_rng(5)
    asked = term_query(dict(enumerate(draw.uniform(1, 9, 20))))
    points = [
        make_point(index_id, vector, terms=sparse(dict(enumerate(weights))))
        for vector, weights in zip(
            units(300), 1.5 + 1e-6 * draw.standard_normal((300, 20)), strict=True
        )
    ]
    await local.create(index_id, DIMENSIONS)
    await local.upsert(index_id, points)
    best = best_by_terms(points, asked)
    _rounding_at_random(monkeypatch, len(points), 20 * 2.0**-24 * best[0][1])
    # Sums that differ by less than the last bit of a score are ties.
    rounded = [(float(np.float32(score)), chunk_id) for chunk_id, score in best]
    expected = sorted(rounded, key=lambda each: (-each[0], each[1]))
    for k in (1, 10, 100):
        hits = await local.search_terms(index_id, asked, k=k)
        assert [(hit.score, hit.chunk_id) for hit in hits] == expected[:k]


async def test_documents_are_named_slice_by_slice(
    local: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_id = uuid4()
    await local.create(index_id, DIMENSIONS)
    points = [
        make_point(index_id, vector, {"language": ("en", "ja")[n % 2]}, terms=sparse({n % 3: 1}))
        for n, vector in enumerate(units(600))
    ]
    # Ids of one kind lie in one slice: more of them than an answer is asked for.
    crowded = [
        make_point(index_id, vector, chunk_id=UUID(int=n << 8), terms=sparse({1: 1}))
        for n, vector in enumerate(units(150))
    ]
    await local.upsert(index_id, [*points, *crowded])
    monkeypatch.setattr(qdrant_search, "_ANSWER", 100)
    named = await local.documents_with(index_id, [1, 2])
    having = [*points[1::3], *points[2::3], *crowded]
    assert named == {point.document_id for point in having}
    wanted = Filter(conditions=(any_of("language", "ja"),))
    named = await local.documents_with(index_id, [1], filter=wanted)
    assert named == {point.document_id for point in points[1::6]}


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:6333", "ftp://localhost", "http://", "http://host:port", "http://h:99999"),
        *("local:", "local: ", "http://u:secret@host:6333", "http://host/?key=secret", ""),
    ],
)
def test_what_cannot_be_an_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="UNMOVED_QDRANT_URL") as raised:
        QdrantAddress(url=url)
    assert "secret" not in str(raised.value)
