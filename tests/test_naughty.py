"""The big list of naughty strings through ingest, search and pages, in both stores alike."""

import json
from pathlib import Path

import pytest
from httpx2 import ASGITransport, AsyncClient

from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport
from ingest.types import LoadOptions
from search_app.bootstrap import Services
from search_app.config import Settings
from search_app.question import read_question
from search_app.retrieval import SearchRequest
from search_app.web.app import create_app

NAUGHTY = Path(__file__).parents[2] / "shared" / "data" / "naughty" / "strings.jsonl"
STORES = ("pgvector", "qdrant")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NAUGHTY.exists(), reason="the list of naughty strings is not here"),
]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"qdrant_url": f"local:{tmp_path / 'qdrant'}"})


async def fill(services: Services, store: str) -> IngestReport:
    return await ingest(
        services,
        IngestRequest(
            arguments=[str(NAUGHTY)],
            collection=store,
            store=store,
            load=LoadOptions(text_fields=("text",), title_field="text", meta_fields=("text",)),
        ),
    )


async def found(services: Services, store: str, query: str) -> list[tuple[str, float]]:
    request = SearchRequest(query=query, collection=store, k=5, exact=True)
    result = await services.searcher.search(request)
    return [(hit.document.uri, round(hit.score, 5)) for hit in result.hits]


async def test_both_stores_take_and_find_every_string(services: Services) -> None:
    texts = [json.loads(line)["text"] for line in NAUGHTY.read_text("utf-8").splitlines()]
    reports = {store: await fill(services, store) for store in STORES}
    counts = {store: report.documents for store, report in reports.items()}
    assert counts["pgvector"] == counts["qdrant"]
    refused = {failure.reason for failure in reports["qdrant"].errors}
    assert counts["qdrant"].added + counts["qdrant"].failed == len(texts) == 485
    assert counts["qdrant"].added > 470, refused
    for text in filter(str.strip, texts):
        expected, actual = [await found(services, store, text) for store in STORES]
        assert [score for _, score in actual] == pytest.approx(
            [score for _, score in expected], abs=1e-4
        ), text
        # What is quoted or follows a minus sign in a string narrows what can be found.
        assert len(actual) == 5 or read_question(text).is_strict, text


async def test_pages_show_them_from_either_store(services: Services) -> None:
    for store in STORES:
        await fill(services, store)
    app = create_app(services.settings, services)
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        for number, line in enumerate(NAUGHTY.read_text("utf-8").splitlines()):
            text, store = json.loads(line)["text"], STORES[number % 2]
            page = await client.get("/", params={"q": text, "collection": store})
            assert page.status_code in (200, 400), (store, text)
            assert "<script>alert" not in page.text, (store, text)
        for number in range(1, 12):
            for store in STORES:
                listed = await client.get(f"/collections/{store}/documents?page={number}")
                assert listed.status_code == 200
                assert "<script>alert" not in listed.text
