"""Query vectors that are kept: over restarts and between servers, until they are cleared."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services, open_services
from search_app.catalog import query_cache
from search_app.catalog.engine import reading, transaction
from search_app.config import Settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import EmbedderUnavailableError, InvalidInputError, ModelMismatchError
from search_app.identity import Prover
from search_app.retrieval import SearchRequest, clear_query_vectors
from search_app.types import Kind, Matrix, SearchResult
from tests.catalog_dump import connect

QUERY = "ferry timetable"


class Noisy(HashingEmbedder):
    """Never answers alike twice; ``other`` makes it another model, ``silent`` none at all."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(64)
        self.draw = np.random.default_rng(seed)
        self.queries: list[str] = []
        self.other = False
        self.silent = False

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if self.silent:
            raise EmbedderUnavailableError("no answer")
        self.queries += texts if kind == "query" else []
        vectors = await super().embed(texts, kind)
        moved = vectors + 0.01 * self.draw.normal(size=vectors.shape)
        return np.asarray(moved[:, ::-1] if self.other else moved, np.float32)


@asynccontextmanager
async def process(settings: Settings, model: Noisy) -> AsyncIterator[Services]:
    """Be another process on the same database."""
    async with open_services(settings) as opened:
        opened._embedders["hashing:64"] = model
        yield opened


@pytest.fixture
async def model() -> Noisy:
    return Noisy()


@pytest.fixture
async def filled(services: Services, tmp_path: Path, model: Noisy) -> Services:
    services._embedders["hashing:64"] = model
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in {
        "ferry": "The ferry timetable: boats leave at nine and at noon.",
        "soup": "Onion soup wants butter and a heavy pan.",
        "bread": "Bread rises slowly in the cold.",
        "boats": "Boats and ships carry people over water.",
    }.items():
        (folder / f"{name}.txt").write_text(text)
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    return services


async def ask(services: Services, query: str = QUERY) -> SearchResult:
    return await services.searcher.search(SearchRequest(query=query, mode="semantic"))


def scores(result: SearchResult) -> list[float]:
    return [hit.score for hit in result.hits]


def rows(services: Services) -> list[dict[str, object]]:
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        return connection.execute("SELECT * FROM query_vectors ORDER BY text_hash").fetchall()


def forget_proof(services: Services) -> None:
    """Have the model prove itself at the next occasion."""
    services.prover._proved.clear()
    services.prover._failed.clear()


async def test_a_list_stays_over_restarts(
    filled: Services, settings: Settings, model: Noisy
) -> None:
    first = await ask(filled)
    asked = len(model.queries)
    again = await ask(filled)
    # Not even the canaries were sent: the proof still stands.
    assert (scores(again), len(model.queries)) == (scores(first), asked)
    async with process(settings, Noisy(seed=9)) as restarted:
        assert scores(await ask(restarted)) == scores(first)
        # Now that the model proved itself again, nobody has to be asked.
        later = Noisy(seed=10)
        later.silent = True
        async with process(settings, later) as third:
            assert scores(await ask(third)) == scores(first)
    assert [row["proven"] for row in rows(filled)] == [True]


async def test_two_servers_that_embed_at_once_search_with_one_vector(
    filled: Services, settings: Settings
) -> None:
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(process(settings, Noisy(seed))) for seed in (1, 2)
        ]
        found = await asyncio.gather(*(ask(server) for server in [filled, *servers]))
    assert scores(found[0]) == scores(found[1]) == scores(found[2])
    assert len(rows(filled)) == 1


async def test_vectors_of_an_unproven_time_go_when_another_model_is_found(
    filled: Services, model: Noisy
) -> None:
    kept = await ask(filled)
    forget_proof(filled)
    await ask(filled, "onion")
    assert [row["proven"] for row in rows(filled)].count(True) == 1
    model.other = True
    forget_proof(filled)
    with pytest.raises(ModelMismatchError):
        await ask(filled, "onion")
    assert [row["proven"] for row in rows(filled)] == [True]
    # What was proven answers on, and what was not is asked anew once the model is back.
    assert scores(await ask(filled)) == scores(kept)
    model.other = False
    forget_proof(filled)
    assert len((await ask(filled, "onion")).hits) == 4


async def test_an_unproven_vector_is_not_used_while_nobody_can_prove_it(
    filled: Services, model: Noisy
) -> None:
    await ask(filled)
    model.silent = True
    forget_proof(filled)
    with pytest.raises(EmbedderUnavailableError):
        await ask(filled)
    hybrid = await filled.searcher.search(SearchRequest(query=QUERY))
    assert [notice.kind for notice in hybrid.notices] == ["not_semantic"]


async def test_a_check_goes_past_the_cache_and_settles_it(filled: Services, model: Noisy) -> None:
    before = scores(await ask(filled))
    await check(filled, CheckRequest(collection="default"))
    model.queries.clear()
    await ask(filled)
    assert model.queries == []
    await check(filled, CheckRequest(collection="default"))
    # The query of the log is a reference query: sent again, though its vector is kept.
    assert model.queries.count(QUERY) >= 1
    assert scores(await ask(filled)) == before
    assert [row["proven"] for row in rows(filled)] == [True]
    await ask(filled, "onion")
    model.other = True
    await check(filled, CheckRequest(collection="default"))
    assert [row["proven"] for row in rows(filled)] == [True]


async def test_clearing_is_what_changes_a_list(filled: Services) -> None:
    first = await ask(filled)
    await ask(filled, '"onion" soup')
    assert await clear_query_vectors(filled.engine, query="unheard of") == 0
    assert await clear_query_vectors(filled.engine, query=f" {QUERY} ") == 1
    assert scores(await ask(filled)) != scores(first)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert await clear_query_vectors(filled.engine, since=tomorrow) == 0
    version = str(first.model_version_id)
    assert await clear_query_vectors(filled.engine, model=version[:8], query='"onion" soup') == 1
    assert await clear_query_vectors(filled.engine) == 1
    with pytest.raises(InvalidInputError, match="NUL"):
        await clear_query_vectors(filled.engine, query="a\x00")


async def test_the_cache_is_bounded_and_keeps_what_is_asked_for(filled: Services) -> None:
    version: UUID = (await ask(filled)).model_version_id
    for number in range(19):
        await ask(filled, f"words {number}")
    # Asked again, so that it is the latest of the log.
    await ask(filled)
    async with transaction(filled.engine) as connection:
        assert await query_cache.trim(connection, version, most=20) == 0
        assert await query_cache.trim(connection, version, most=10) == 11
    async with reading(filled.engine) as connection:
        (left,) = await query_cache.kept(connection)
    assert (left.vectors, left.bytes) == (9, 9 * 64 * 4)
    assert await clear_query_vectors(filled.engine, query=QUERY) == 1
    with connect(filled.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        connection.execute("UPDATE indexes SET state = 'retired'")
    async with transaction(filled.engine) as connection:
        # No index is left that could ask for them.
        assert await query_cache.trim(connection, version) == 8


async def test_a_proof_says_nothing_of_what_came_while_it_was_made(filled: Services) -> None:
    version = (await ask(filled)).model_version_id
    async with transaction(filled.engine) as connection:
        await query_cache.prove(connection, version, seconds=3600)
    assert [row["proven"] for row in rows(filled)] == [False]
    async with transaction(filled.engine) as connection:
        await query_cache.prove(connection, version, seconds=0)
    assert [row["proven"] for row in rows(filled)] == [True]


def test_a_proof_lasts_ten_minutes() -> None:
    # What docs say of how long an unproven vector is used.
    assert Prover()._lasts_s == 600
