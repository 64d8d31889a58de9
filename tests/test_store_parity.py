"""The stores side by side: the same points give the same hits, and two collections may differ."""

import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from ingest.pipeline import IngestRequest, ingest, remove
from search_app.bm25 import K1, B, Weighting, passage_terms, query_terms
from search_app.bootstrap import Services, make_store, open_services
from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.config import Settings, load_settings
from search_app.errors import ConfigurationError, InvalidInputError, StoreUnavailableError
from search_app.filters import Filter
from search_app.grammar import parse_filter
from search_app.lexical import VERSION, analyse
from search_app.retrieval import SearchRequest
from search_app.stores.base import VectorStore
from search_app.stores.pgvector import PgvectorStore
from search_app.stores.qdrant import QdrantStore
from search_app.stores.qdrant_connection import MEMORY, QdrantAddress
from search_app.types import JSON, Matrix, Point, Scored, SearchResult, TermQuery
from tests.own_database import own_database
from tests.points import make_point

SERVER = os.environ.get("UNMOVED_TEST_QDRANT_URL")
KEY = os.environ.get("UNMOVED_TEST_QDRANT_API_KEY")

GOLDEN = Path(__file__).parents[2] / "shared" / "data" / "golden"
TEXTS = {"ja": GOLDEN / "ja_jsquad", "en": GOLDEN / "en_cranfield"}

PARAGRAPHS = 500
"""Of each language: local mode takes a tenth of a second to compare a query with two thousand."""

POINTS, QUERIES, K = 3_000, 500, 10
FILTERS = (
    (),
    ("language=ja",),
    ("meta.year>=2015",),
    ("type!=pdf", "meta.tags=a"),
    ("meta.date<2024-06-15",),
)


def clustered(rows: int, seed: int) -> Matrix:
    """Draw unit vectors that lie in forty topics, some of them twice."""
    draw = np.random.default_rng(seed)
    topics = np.random.default_rng(1).standard_normal((40, 64))
    drawn = topics[draw.integers(40, size=rows)] + 0.6 * draw.standard_normal((rows, 64))
    drawn[::50] = drawn[1::50]
    unit: Matrix = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


def fields(number: int) -> dict[str, JSON]:
    return {
        "language": ("en", "ja", "de")[number % 3],
        "type": ("pdf", "markdown")[number % 2],
        "meta": {
            "year": 2000 + number % 25,
            "tags": ["a", "b"][: number % 3],
            "date": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}",
        },
    }


@pytest.fixture(scope="module")
def points() -> list[Point]:
    index_id = uuid4()
    return [
        make_point(index_id, vector, fields(number))
        for number, vector in enumerate(clustered(POINTS, 2))
    ]


@pytest.fixture(scope="module")
def queries() -> Matrix:
    return clustered(QUERIES, 3)


@pytest.fixture(scope="module")
def url(postgres_url: str) -> Iterator[str]:
    with own_database(postgres_url) as address:
        yield address


@pytest.fixture(scope="module")
async def pgvector(url: str, points: list[Point]) -> AsyncIterator[PgvectorStore]:
    engine = create_async_engine(url)
    store = PgvectorStore(engine, hnsw_from=1_000)
    await _fill(store, points)
    yield store
    await engine.dispose()


@pytest.fixture(scope="module", params=[MEMORY, *([SERVER] if SERVER else [])])
async def qdrant(request: pytest.FixtureRequest, points: list[Point]) -> AsyncIterator[QdrantStore]:
    store = QdrantStore(QdrantAddress(url=request.param, api_key=KEY))
    await _fill(store, points)
    yield store
    await store.drop(points[0].index_id)
    await store.aclose()


@pytest.fixture(scope="module")
def passages() -> list[Point]:
    """Weight the terms of real paragraphs in two languages."""
    for folder in TEXTS.values():
        if not folder.is_dir():
            pytest.skip(f"no real texts at {folder}")
    counted = [
        (language, analyse(text).counts)
        for language, folder in TEXTS.items()
        for text in _read(folder / "corpus.jsonl", PARAGRAPHS)
    ]
    weighting = Weighting(
        analyzer="bigram",
        version=VERSION,
        k1=K1,
        b=B,
        average_length=float(np.mean([sum(counts.values()) for _, counts in counted])),
    )
    index_id, vector = uuid4(), clustered(2, 4)[0]
    return [
        make_point(index_id, vector, {"language": language}, terms=passage_terms(counts, weighting))
        for language, counts in counted
    ]


@pytest.fixture(scope="module")
def questions(passages: list[Point]) -> list[TermQuery]:
    frequencies = Counter(
        number for point in passages if point.terms for number in point.terms.ids.tolist()
    )
    texts = [
        *_read(TEXTS["en"] / "queries.jsonl", 225),
        *_read(TEXTS["ja"] / "queries.jsonl", QUERIES - 225),
    ]
    return [query_terms(analyse(text).counts, frequencies, len(passages)) for text in texts]


def _read(path: Path, most: int) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in islice(lines, most)]


@pytest.fixture(scope="module")
async def worded(
    pgvector: PgvectorStore, qdrant: QdrantStore, passages: list[Point]
) -> AsyncIterator[UUID]:
    for store in (pgvector, qdrant):
        await _fill(store, passages)
    yield passages[0].index_id
    for store in (pgvector, qdrant):
        await store.drop(passages[0].index_id)


async def _fill(store: VectorStore, points: list[Point]) -> None:
    await store.create(points[0].index_id, 64)
    await store.upsert(points[0].index_id, points)
    await store.optimize(points[0].index_id)


async def test_exact_search_gives_the_same_hits_and_scores(
    pgvector: PgvectorStore, qdrant: QdrantStore, points: list[Point], queries: Matrix
) -> None:
    index_id = points[0].index_id
    for number, query in enumerate(queries):
        wanted = _filter(number)
        ours = await qdrant.search(index_id, query, k=K, filter=wanted, exact=True)
        theirs = await pgvector.search(index_id, query, k=K, filter=wanted, exact=True)
        assert len(ours) == len(theirs) == K
        assert _same_but_for_ties(ours, theirs, within=1e-6)


async def test_approximate_search_finds_the_same(
    pgvector: PgvectorStore, qdrant: QdrantStore, points: list[Point], queries: Matrix
) -> None:
    index_id, found = points[0].index_id, 0
    for number, query in enumerate(queries):
        wanted = _filter(number)
        left = await qdrant.search(index_id, query, k=K, filter=wanted)
        right = await pgvector.search(index_id, query, k=K, filter=wanted)
        ours, theirs = ({hit.chunk_id: hit.score for hit in hits} for hits in (left, right))
        for both in ours.keys() & theirs.keys():
            assert abs(ours[both] - theirs[both]) <= 1e-6
        found += len(ours.keys() & theirs.keys())
    assert found >= 0.97 * QUERIES * K


async def test_counts_agree(
    pgvector: PgvectorStore, qdrant: QdrantStore, points: list[Point]
) -> None:
    for texts in FILTERS:
        wanted = parse_filter(texts)
        counted = await qdrant.count(points[0].index_id, wanted)
        assert counted == await pgvector.count(points[0].index_id, wanted)


def _filter(number: int) -> Filter | None:
    """Give every twentieth query a filter: local mode takes its time for each."""
    return parse_filter(FILTERS[number // 20 % len(FILTERS)]) if number % 20 == 0 else None


def _same_but_for_ties(ours: Sequence[Scored], theirs: Sequence[Scored], within: float) -> bool:
    """Compare rank by rank; where ids differ, rounding alone decided between equal scores."""
    known: dict[UUID, float] = {hit.chunk_id: hit.score for hit in [*ours, *theirs]}
    return len(ours) == len(theirs) and all(
        abs(left.score - right.score) <= within
        and left.run_id == right.run_id
        and abs(known[left.chunk_id] - known[right.chunk_id]) <= 2 * within
        for left, right in zip(ours, theirs, strict=True)
    )


# Keyword search


async def test_search_by_terms_gives_the_same_hits_and_scores(
    pgvector: PgvectorStore, qdrant: QdrantStore, worded: UUID, questions: list[TermQuery]
) -> None:
    same = hits = 0
    for number, question in enumerate(questions):
        wanted = parse_filter(["meta.n>=300", "meta.n<800"] if number % 10 == 0 else [])
        ours = await qdrant.search_terms(worded, question, k=K, filter=wanted)
        hits += len(ours)
        theirs = await pgvector.search_terms(worded, question, k=K, filter=wanted)
        # Both sum in float32, if not in the same order: what is lost grows with the sum.
        within = 1e-6 * max([hit.score for hit in ours], default=0)
        same += _same_but_for_ties(ours, theirs, within)
    assert same >= 0.99 * len(questions)
    assert hits >= 0.9 * K * len(questions)


async def test_the_same_documents_have_a_term(
    pgvector: PgvectorStore, qdrant: QdrantStore, worded: UUID, questions: list[TermQuery]
) -> None:
    wanted = parse_filter(["language=en"])
    for question in questions[::50]:
        ids = question.ids.tolist()
        for filtered in (None, wanted):
            ours = await qdrant.documents_with(worded, ids, filter=filtered)
            assert ours == await pgvector.documents_with(worded, ids, filter=filtered)


# Two collections, two stores, one process


@pytest.fixture
def both_settings(database_url: str, tmp_path: Path) -> Settings:
    return load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path / "data",
        embedder="hashing:64",
        qdrant_url=f"local:{tmp_path / 'qdrant'}",
    )


@pytest.fixture
async def services(both_settings: Settings) -> AsyncIterator[Services]:
    async with open_services(both_settings) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    for name, text in (
        ("harbour.md", "# Harbour\n\nGranite went by barge to the harbour of the capital.\n"),
        ("library.md", "# 図書館\n\n図書館は毎週月曜日に休館します。\n"),
        ("music.txt", "The orchestra rehearses the second symphony on Thursday afternoon.\n"),
    ):
        (root / name).write_text(text, encoding="utf-8")
    return root


async def read(services: Services, folder: Path, store: str) -> None:
    request = IngestRequest(arguments=[str(folder)], collection=f"in-{store}", store=store)
    report = await ingest(services, request)
    assert not report.errors


async def found(services: Services, store: str, query: str, *filters: str) -> SearchResult:
    request = SearchRequest(query=query, collection=f"in-{store}", filters=filters)
    return await services.searcher.search(request)


async def test_collections_in_two_stores_are_searched_by_one_process(
    services: Services, folder: Path
) -> None:
    for store in ("pgvector", "qdrant"):
        await read(services, folder, store)
    (folder / "music.txt").write_text("The choir rehearses on Friday.\n", encoding="utf-8")
    (folder / "harbour.md").unlink()
    for store in ("pgvector", "qdrant"):
        await read(services, folder, store)
        await remove(services, collection=f"in-{store}", sources=[str(folder / "harbour.md")])
    for query, filters in (
        ("choir rehearses", ()),
        ("図書館は休館します", ("language=ja",)),
        ("Friday", ("type!=markdown",)),
    ):
        ours, theirs = [await found(services, s, query, *filters) for s in ("qdrant", "pgvector")]
        assert [hit.text for hit in ours.hits] == [hit.text for hit in theirs.hits]
        assert [hit.score for hit in ours.hits] == pytest.approx([h.score for h in theirs.hits])
        assert ours.hits
        assert not any("Granite" in hit.text for hit in ours.hits)
    async with transaction(services.engine) as connection:
        kept = {entry.name: entry.store for entry in await collections.summaries(connection)}
    assert kept == {"in-pgvector": "pgvector", "in-qdrant": "qdrant"}


async def test_a_collection_stays_in_its_store(services: Services, folder: Path) -> None:
    await read(services, folder, "qdrant")
    moved = IngestRequest(arguments=[str(folder)], collection="in-qdrant", store="pgvector")
    with pytest.raises(InvalidInputError, match="lives in qdrant, not in pgvector"):
        await ingest(services, moved)


async def test_an_address_that_is_wrong_binds_no_collection(
    both_settings: Settings, folder: Path
) -> None:
    wrong = both_settings.model_copy(update={"qdrant_url": "http://127.0.0.1:1"})
    request = IngestRequest(arguments=[str(folder)], collection="new", store="qdrant")
    async with open_services(wrong) as services:
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await ingest(services, request)
        async with transaction(services.engine) as connection:
            assert not any(entry.store for entry in await collections.summaries(connection))


# Choosing


async def test_what_a_store_needs_is_said(both_settings: Settings, url: str) -> None:
    engine = create_async_engine(url)
    unset = both_settings.model_copy(update={"qdrant_url": None})
    with pytest.raises(ConfigurationError, match="set UNMOVED_QDRANT_URL"):
        make_store("qdrant", unset, engine)
    with pytest.raises(ConfigurationError, match="write pgvector or qdrant"):
        make_store("milvus", both_settings, engine)
    await engine.dispose()


async def test_without_the_extra_one_line_says_what_to_install(
    both_settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_async_engine(url)
    for name in [name for name in sys.modules if name.startswith("search_app.stores.qdrant")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'unmoved\[qdrant\]'"):
        make_store("qdrant", both_settings, engine)
    await engine.dispose()
