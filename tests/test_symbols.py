"""Filters by functions and classes: what passages can be found by, in both stores alike."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest
from ingest.reconcile import reconcile
from search_app.bootstrap import Services, open_services
from search_app.config import Settings, load_settings
from search_app.filters import passage_fields
from search_app.retrieval import SearchRequest
from search_app.stores.pgvector_tables import SCHEMA
from search_app.web.app import create_app
from search_app.why.inquiry import Inquiry, inquire
from search_app.why.of_search import FilteredOut
from tests.catalog_dump import connect

HARBOUR = '''"""Ships."""

import math


class Berth:
    """Where a ship lies."""

    def depth(self, tide):
        """Give the depth of water in metres."""
        return self.charted + tide + math.pi * 0


class Crane:
    """Lifts."""

    def lift(self, load):
        """Lift a load."""
        return load


def depth(port):
    """Give the depth of a port."""
    return port.charted
'''
STORES = ("pgvector", "qdrant")


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path / "data",
        embedder="hashing:64",
        qdrant_url=f"local:{tmp_path / 'qdrant'}",
        chunk_tokens=40,
    )


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    root.mkdir()
    (root / "harbour.py").write_text(HARBOUR, encoding="utf-8")
    (root / "note.md").write_text("# Depth\n\nThe depth of the port is charted.\n")
    return root


async def read(services: Services, folder: Path, store: str = "pgvector") -> None:
    request = IngestRequest(arguments=[str(folder)], collection=store, store=store)
    report = await ingest(services, request)
    assert not report.errors


async def texts(services: Services, *filters: str, store: str = "pgvector") -> set[str]:
    """Give the first line of each passage that a filter lets pass."""
    request = SearchRequest(
        query="depth of a port", collection=store, mode="semantic", filters=filters, exact=True
    )
    result = await services.searcher.search(request)
    return {hit.text.strip().splitlines()[0] for hit in result.hits}


FOUND = {
    "symbol=Crane": {"class Crane:"},
    "symbol=lift": {"class Crane:"},
    "symbol=Crane.lift,nothing": {"class Crane:"},
    "symbol=harbour.Crane.lift": {"class Crane:"},
    # A name alone is any of that name, with what it stands in only the one.
    "symbol=depth": {"def depth(self, tide):", "def depth(port):"},
    "symbol=Berth.depth": {"def depth(self, tide):"},
    "symbol=harbour.depth": {"def depth(port):"},
    # A class that did not fit is found with all of its methods.
    "symbol=Berth": {"class Berth:", "def depth(self, tide):"},
    "symbol_kind=function": {"def depth(port):"},
    "symbol<C": {"class Berth:", "def depth(self, tide):"},
    "symbol=depth and not symbol_kind=method": {"def depth(port):"},
    "symbol=Depth": set(),
    "symbol=harbour": set(),
}


async def test_passages_are_found_by_their_symbols_in_both_stores(
    services: Services, folder: Path
) -> None:
    for store in STORES:
        await read(services, folder, store)
        for text, expected in FOUND.items():
            assert await texts(services, text, store=store) == expected, (store, text)
        besides = await texts(services, "symbol!=depth", store=store)
        assert besides == {'"""Ships."""', "class Berth:", "class Crane:", "# Depth"}
        # What the catalog expects is what the store has.
        report = await reconcile(services, collection=store)
        assert report.faults == 0, store


async def test_passages_follow_where_their_text_goes(services: Services, folder: Path) -> None:
    await read(services, folder)
    path = folder / "harbour.py"
    # The passage of the method stays, but for what it stands in.
    path.write_text(HARBOUR.replace("class Crane", "class Winch"), encoding="utf-8")
    await read(services, folder)
    assert await texts(services, "symbol=Crane") == set()
    assert await texts(services, "symbol=Winch.lift") == {"class Winch:"}
    path.write_text(HARBOUR.replace("def depth(port)", "def deep(port)"), encoding="utf-8")
    await read(services, folder)
    assert await texts(services, "symbol=harbour.depth") == set()
    assert await texts(services, "symbol=deep") == {"def deep(port):"}
    report = await reconcile(services, collection="pgvector")
    assert report.faults == 0


async def test_collections_from_before_are_as_they_were_until_they_are_read_again(
    services: Services, folder: Path
) -> None:
    await read(services, folder)
    url = services.settings.database_url.get_secret_value()  # type: ignore[union-attr] # the fixture sets it
    with connect(url) as connection:
        (index,) = connection.execute("SELECT id FROM indexes").fetchall()
        table = f"{SCHEMA}.index_{index['id'].hex}"
        connection.execute("UPDATE chunks SET fields = NULL")
        connection.execute("UPDATE documents SET fields = fields - 'symbol' - 'symbol_kind'")
        connection.execute(f"UPDATE {table} SET fields = fields - 'symbol' - 'symbol_kind'")
        connection.execute("UPDATE sources SET content_hash = NULL")
        connection.execute("UPDATE documents SET content_hash = 'before'::bytea")
    assert (await reconcile(services, collection="pgvector")).faults == 0
    assert await texts(services, "symbol=Crane") == set()
    await read(services, folder)
    assert await texts(services, "symbol=Crane") == {"class Crane:"}
    assert (await reconcile(services, collection="pgvector")).faults == 0


async def test_documents_are_counted_by_what_they_define(services: Services, folder: Path) -> None:
    await read(services, folder)
    app = create_app(services.settings, services)
    with TestClient(app, base_url="http://localhost") as client:
        asked = {"q": "depth", "collection": "pgvector", "filter": "symbol=Berth.depth"}
        page = client.get("/", params=asked)
        assert page.status_code == 200
        assert "1 document<" in page.text
        body = {"query": "depth", "collection": "pgvector", "filters": ["symbol=Berth.depth"]}
        (hit,) = client.post("/api/v1/search", json=body).json()["hits"]
        assert "harbour.Berth.depth" in {each["name"] for each in hit["code"]["symbols"]}
        wrong = client.post("/api/v1/search", json={"query": "x", "filters": ["symbols=a"]})
        assert wrong.status_code == 400
        assert "symbol_kind" in wrong.json()["detail"]


async def test_why_names_a_few_symbols_of_what_a_filter_leaves_out(
    services: Services, folder: Path
) -> None:
    await read(services, folder)
    answer = await inquire(
        services,
        Inquiry(
            query="depth of a port",
            document="harbour.py",
            collection="pgvector",
            filters=["symbol=nothing"],
        ),
    )
    (found,) = [each for each in answer.findings if isinstance(each, FilteredOut)]
    assert found.has.startswith("symbol=Berth,harbour.Berth,depth,")
    assert found.has.endswith(",…")


def test_fields_of_a_passage_stand_in_the_place_of_its_documents() -> None:
    of_document = {"type": "python", "symbol": ["a", "b"], "meta": {"year": 1}}
    assert passage_fields(of_document, None) == of_document
    assert passage_fields(of_document, {"symbol": []}) == {**of_document, "symbol": []}
