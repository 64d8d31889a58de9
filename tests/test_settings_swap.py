"""Settings that change vectors behind an unchanged name: refused at ingest and at every search."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import open_services
from search_app.config import Settings, load_settings
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import ModelMismatchError
from search_app.retrieval import SearchRequest
from tests.catalog_dump import dump
from tests.scripted_endpoint import (
    Received,
    ScriptedEndpoint,
    encoded,
    json_body,
    scripted_endpoint,
)


async def hashed(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer as a model that takes every wish for dimensions; 64 unless told."""
    embedder = HashingEmbedder(request.json.get("dimensions", 64))
    vectors = await embedder.embed(request.texts, "document")
    items = [
        {"object": "embedding", "index": place, "embedding": encoded(vector, "base64")}
        for place, vector in enumerate(vectors)
    ]
    payload = {"object": "list", "model": request.json["model"], "data": items}
    await json_body(payload)(request, writer)


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.script(hashed)
        yield running


def served(settings: Settings, endpoint: ScriptedEndpoint, **changed: Any) -> Settings:
    assert settings.database_url is not None
    given = {
        "embedder": "openai:hashed",
        "openai_base_url": endpoint.url,
        "openai_document_prefix": "passage: ",
        "openai_query_prefix": "query: ",
        **changed,
    }
    return load_settings(
        DATABASE_URL=settings.database_url.get_secret_value(),
        data_dir=settings.data_dir,
        **given,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"openai_document_prefix": ""},
        {"openai_document_prefix": "passage:"},
        {"openai_query_prefix": "question: "},
        {"openai_dimensions": 32},
        {"openai_dimensions": 128},
    ],
    ids=["no prefix", "nearly the prefix", "query prefix", "fewer dimensions", "more dimensions"],
)
async def test_a_setting_that_changes_vectors_is_another_model(
    settings: Settings, endpoint: ScriptedEndpoint, tmp_path: Path, changed: dict[str, Any]
) -> None:
    assert settings.database_url is not None
    address = settings.database_url.get_secret_value()
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("The bridge opens at noon for ships.", encoding="utf-8")
    second.write_text("The ferry waits for nobody.", encoding="utf-8")
    async with open_services(served(settings, endpoint)) as services:
        await ingest(services, IngestRequest(arguments=[str(first)]))
        await services.searcher.search(SearchRequest(query="drawbridge"))
    before = dump(address)
    async with open_services(served(settings, endpoint, **changed)) as services:
        with pytest.raises(ModelMismatchError):
            await ingest(services, IngestRequest(arguments=[str(second)]))
        with pytest.raises(ModelMismatchError):
            await services.searcher.search(
                SearchRequest(query="never asked before", mode="semantic")
            )
        # By words it still answers, and says that it is by words alone.
        found = await services.searcher.search(SearchRequest(query="bridge at noon"))
        assert [notice.kind for notice in found.notices] == ["not_semantic"]
        assert [hit.document.uri for hit in found.hits] == [str(first)]
    after = dump(address)
    assert (after["vectors"], after["records"]) == (before["vectors"], before["records"])
    # The same settings again are the same model again, and finish what was begun.
    async with open_services(served(settings, endpoint)) as services:
        report = await ingest(services, IngestRequest(arguments=[str(second)]))
    assert report.documents.added == 1
