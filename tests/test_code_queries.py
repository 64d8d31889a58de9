"""Queries that look for source code: what models are told, what is kept, logged and asked again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.catalog import collections, indexes, references
from search_app.catalog.engine import reading
from search_app.comparison import asking
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.embedders.base import Embedder
from search_app.embedders.bundled import BundledEmbedder
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.google import GoogleEmbedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.embedders.metering import Counted, Meter
from search_app.embedders.openai import OpenAIEmbedder
from search_app.embedders.voyage import VoyageEmbedder
from search_app.errors import InvalidInputError
from search_app.retrieval import SearchRequest, clear_query_vectors
from search_app.types import Kind, Matrix, QueryKind, SearchResult
from search_app.web.app import create_app
from search_app.web.state import SearchState
from search_app.why.inquiry import Inquiry, inquire
from tests.catalog_dump import connect

HOST = "http://127.0.0.1:8000"
QUERY = "parse a date"


class Alike(HashingEmbedder):
    """Notes what it is sent; queries for source code are sent like any other."""

    def __init__(self) -> None:
        super().__init__(64)
        self.sent: list[tuple[str, Kind]] = []

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.sent += [(text, kind) for text in texts if kind in ("query", "code")]
        return await super().embed(texts, kind)

    def of(self, text: str) -> list[Kind]:
        return [kind for sent, kind in self.sent if sent == text]


class Telling(Alike):
    """Has a prefix of its own for them."""

    def text_sent(self, text: str, kind: Kind) -> str:
        return f"write a function: {text}" if kind == "code" else text


async def fill(services: Services, folder: Path, model: Alike) -> None:
    services._embedders["hashing:64"] = model
    folder.mkdir()
    (folder / "dates.py").write_text('def read_day(text):\n    """Parse a date."""\n    return 1\n')
    (folder / "notes.md").write_text("# Dates\n\nA date is parsed by the day.\n")
    (folder / "soup.md").write_text("# Soup\n\nOnions, butter and a function of salt.\n")
    await ingest(services, IngestRequest(arguments=[str(folder)]))


@pytest.fixture
async def telling(services: Services, tmp_path: Path) -> Telling:
    model = Telling()
    await fill(services, tmp_path / "texts", model)
    return model


async def ask(services: Services, kind: QueryKind, **options: Any) -> SearchResult:
    request = SearchRequest(query=QUERY, mode="semantic", kind=kind, **options)
    return await services.searcher.search(request)


def rows(services: Services, table: str) -> list[dict[str, Any]]:
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        return connection.execute(f"SELECT * FROM {table} ORDER BY created_at").fetchall()


def scores(result: SearchResult) -> list[tuple[object, float]]:
    return [(hit.chunk_id, hit.score) for hit in result.hits]


async def test_a_model_with_a_task_for_code_is_told_and_both_vectors_are_kept(
    services: Services, telling: Telling
) -> None:
    for_code, for_any = await ask(services, "code"), await ask(services, "query")
    assert telling.of(QUERY) == ["code", "query"]
    assert scores(for_code) != scores(for_any)
    assert (for_code.kind, for_any.kind) == ("code", "query")
    # Neither is asked again, and neither is taken for the other.
    assert scores(await ask(services, "query")) == scores(for_any)
    assert scores(await ask(services, "code")) == scores(for_code)
    assert telling.of(QUERY) == ["code", "query"]
    assert len(rows(services, "query_vectors")) == 2
    assert [row["kind"] for row in rows(services, "query_log")] == [
        "code",
        "query",
        "query",
        "code",
    ]
    assert len({row["query_hash"] for row in rows(services, "query_log")}) == 2


async def test_one_clears_the_vectors_of_a_query_whatever_it_looked_for(
    services: Services, telling: Telling
) -> None:
    await ask(services, "code")
    await ask(services, "query")
    assert await clear_query_vectors(services.engine, query="another") == 0
    assert await clear_query_vectors(services.engine, query=QUERY) == 2
    await ask(services, "code")
    assert telling.of(QUERY) == ["code", "query", "code"]


async def test_for_a_model_without_one_both_are_the_same_query(
    services: Services, tmp_path: Path
) -> None:
    model = Alike()
    await fill(services, tmp_path / "texts", model)
    for_any = await ask(services, "query")
    assert scores(await ask(services, "code")) == scores(for_any)
    assert model.of(QUERY) == ["query"]
    assert len(rows(services, "query_vectors")) == 1


async def test_what_was_asked_for_code_is_checked_and_compared_as_such(
    services: Services, telling: Telling
) -> None:
    await ask(services, "code")
    await ask(services, "code")
    await ask(services, "query")
    telling.sent.clear()
    await check(services, CheckRequest(collection="default", seed=7))
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, "default")
        index = await indexes.active(connection, collection)
        found = await references.listing(connection, index.id)
        most = await asking.logged(connection, collection, 5)
    assert {each.kind for each in found if each.text == QUERY} == {"code", "query"}
    assert set(telling.of(QUERY)) == {"code", "query"}
    assert [(each.query, each.kind, each.times) for each in most] == [
        (QUERY, "code", 2),
        (QUERY, "query", 1),
    ]
    # A night later each is sent as it was, and its list is what it was.
    telling.sent.clear()
    again = await check(services, CheckRequest(collection="default", seed=7))
    assert set(telling.of(QUERY)) == {"code", "query"}
    assert again.layers.queries is not None
    assert again.layers.queries.changed == 0


@pytest.mark.usefixtures("telling")
async def test_why_looks_at_the_searches_for_code(services: Services) -> None:
    asked = await ask(services, "code")
    asked_why = Inquiry(
        query=QUERY, document="soup.md", collection="default", mode="semantic", kind="code"
    )
    answer = await inquire(services, asked_why)
    assert answer.facts.last is not None
    assert answer.facts.last.id == asked.search_id
    of_any = await inquire(services, replace(asked_why, kind="query"))
    assert of_any.facts.last is None


@pytest.mark.usefixtures("telling")
def test_the_page_and_the_api_take_it(services: Services) -> None:
    with TestClient(create_app(services.settings), base_url=HOST) as client:
        page = client.get("/", params={"q": QUERY, "kind": "code"})
        assert page.status_code == 200
        assert 'name="kind" value="code" checked' in page.text
        assert "for source code" in page.text
        assert "for source code" not in client.get("/", params={"q": QUERY}).text
        wrong = client.get("/", params={"q": QUERY, "kind": "tea"})
        assert wrong.status_code == 400
        assert "write query, code" in wrong.text
        body = {"query": QUERY, "kind": "code"}
        assert client.post("/api/v1/search", json=body).json()["kind"] == "code"
        refused = client.post("/api/v1/search", json={"query": QUERY, "kind": "document"})
        assert refused.status_code == 422


def test_addresses_carry_it_where_it_was_chosen() -> None:
    assert SearchState(query="x", kind="code").url() == "/?q=x&kind=code"
    assert SearchState(query="x", kind="query").url() == "/?q=x"
    assert "kind=code" in SearchState(query="x", kind="code").why_url("a")
    with pytest.raises(InvalidInputError, match="write query, code"):
        SearchState(query="x", kind="tea").chosen_kind()


def openai(prefix: str) -> Embedder:
    return OpenAIEmbedder(model="some", api_key="k", query_prefix=prefix)


def test_who_tells_code_from_other_queries() -> None:
    # By a task beside the text, by words before it, and not at all.
    assert GoogleEmbedder(model="gemini-embedding-001", api_key="k").tells_code()
    assert GoogleEmbedder(model="gemini-embedding-2", api_key="k").tells_code()
    assert not VoyageEmbedder(model="voyage-code-3", api_key="k").tells_code()
    assert not BundledEmbedder().tells_code()
    assert not openai("").tells_code()
    # A prefix that a user gave to queries is given to those for code.
    assert not openai("q: ").tells_code()
    assert openai("q: ").text_sent("x", "code") == "q: x"


def test_counting_changes_nothing_of_it() -> None:
    def counted(inner: Embedder) -> Embedder:
        return Counted(inner, Meter(), TokenCounter())

    assert counted(Telling()).tells_code()
    assert not counted(Alike()).tells_code()
