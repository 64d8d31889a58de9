"""Indexes on the page of a collection and over the API: built, activated, gone back to, retired."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from bs4 import BeautifulSoup, Tag
from starlette.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexRequest, reindex
from ingest.retiring import tidy_up
from search_app.bootstrap import open_services
from search_app.config import Settings, load_settings
from search_app.web.app import create_app
from tests.catalog_dump import connect
from tests.web_site import cloned, run_apart

HOST = "http://localhost"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAME = "harbour log"
NOTES = 5


async def fill(settings: Settings, folder: Path) -> tuple[UUID, UUID]:
    async with open_services(settings) as services:
        first = await ingest(services, IngestRequest(arguments=[str(folder)], collection=NAME))
        second = await reindex(services, ReindexRequest(collection=NAME, embedder="hashing:32"))
    return first.index_id, second.index_id


async def tidy(settings: Settings) -> None:
    async with open_services(settings) as services:
        await tidy_up(services)


@pytest.fixture
def settings(postgres_url: str, template: str, tmp_path: Path) -> Iterator[Settings]:
    with cloned(postgres_url, template) as database_url:
        yield load_settings(
            DATABASE_URL=database_url, data_dir=tmp_path / "data", embedder="hashing:64"
        )


@pytest.fixture
def ids(settings: Settings, tmp_path: Path) -> tuple[UUID, UUID]:
    """Give the ids of the active index and of one that is ready."""
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(NOTES):
        (folder / f"{number}.md").write_text(f"The keeper of light {number} counted ships. " * 4)
    return run_apart(fill(settings, folder))


@pytest.fixture
def client(settings: Settings, ids: tuple[UUID, UUID]) -> Iterator[TestClient]:
    del ids  # what is served must be there
    app = create_app(settings)
    with TestClient(app, base_url=HOST, headers=HTML, follow_redirects=False) as opened:
        yield opened


def post(client: TestClient, path: str, status: int = 200, **body: Any) -> Any:
    response = client.post(f"/api/v1{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


def listed(client: TestClient) -> list[dict[str, Any]]:
    response = client.get(f"/api/v1/collections/{NAME}/indexes")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["indexes"]
    return found


def answering(client: TestClient, **more: Any) -> str:
    found = post(client, "/search", query="keeper of light", collection=NAME, **more)
    assert {hit["index_id"] for hit in found["hits"]} == {found["index_id"]}
    index_id: str = found["index_id"]
    return index_id


def test_the_api_switches_between_indexes(
    client: TestClient, ids: tuple[UUID, UUID], settings: Settings
) -> None:
    first, second = map(str, ids)
    assert [(index["id"], index["state"]) for index in listed(client)] == [
        (first, "active"),
        (second, "ready"),
    ]
    assert [(index["passages"], index["missing"]) for index in listed(client)] == [(NOTES, 0)] * 2
    assert answering(client) == first
    assert answering(client, index=second[:12]) == second
    switched = post(client, f"/indexes/{second[:12]}/activate")
    assert (switched["index_id"], switched["left_index_id"]) == (second, first)
    assert answering(client) == second
    assert post(client, f"/indexes/{second}/activate")["left_index_id"] is None
    assert post(client, f"/collections/{NAME}/rollback")["index_id"] == first
    assert answering(client) == first
    refused = post(client, f"/indexes/{first}/retire", 400)
    assert "is active" in refused["detail"]
    assert post(client, f"/indexes/{second}/retire") == {"index_id": second, "state": "retired"}
    assert "is retired" in post(client, f"/indexes/{second}/activate", 409)["detail"]
    assert "no index to go back" in post(client, f"/collections/{NAME}/rollback", 404)["detail"]
    run_apart(tidy(settings))
    (last,) = [index for index in listed(client) if index["id"] == second]
    assert (last["state"], last["vectors"], last["passages"]) == ("retired", 0, None)
    assert [event["event"] for event in last["events"]] == [
        "created",
        "ready",
        "activated",
        "left",
        "retired",
        "cleared",
    ]


def test_an_unfit_index_is_a_conflict_and_says_what_it_lacks(
    client: TestClient, ids: tuple[UUID, UUID], settings: Settings
) -> None:
    assert settings.database_url is not None
    with connect(settings.database_url.get_secret_value()) as connection:
        connection.execute(
            "DELETE FROM vector_records WHERE index_id = %s AND chunk_id = "
            "(SELECT chunk_id FROM vector_records LIMIT 1)",
            [ids[1]],
        )
    refused = post(client, f"/indexes/{ids[1]}/activate", 409)
    assert refused["type"] == "/docs#unfit-index"
    assert "1 of 5 passages have no vector" in refused["detail"]
    assert listed(client)[1]["missing"] == 1
    assert answering(client) == str(ids[0])


def test_building_an_index_is_a_job(client: TestClient) -> None:
    wish = {"embedder": "hashing:16", "chunk_tokens": 128}
    job = post(client, f"/collections/{NAME}/reindex", 202, **wish)
    assert (job["kind"], job["status"], job["collection"]) == ("reindex", "waiting", NAME)
    # The same wish again is the same job; another one waits beside it.
    assert post(client, f"/collections/{NAME}/reindex", 202, **wish)["id"] == job["id"]
    other = post(client, f"/collections/{NAME}/reindex", 202, store="pgvector")
    assert other["id"] != job["id"]
    for wrong in ({"store": "excel"}, {"chunk_tokens": 3}, {"model": "x"}):
        post(client, f"/collections/{NAME}/reindex", 422, **wrong)
    post(client, "/collections/nowhere/reindex", 404)


def test_with_a_golden_gate_the_command_is_named(
    settings: Settings, ids: tuple[UUID, UUID], tmp_path: Path
) -> None:
    gated = settings.model_copy(update={"golden_gate": tmp_path / "golden"})
    with TestClient(create_app(gated), base_url=HOST) as client:
        refused = post(client, f"/indexes/{ids[1]}/activate", 409)
    assert f"ingest activate {str(ids[1])[:8]}" in refused["detail"]


def page(client: TestClient, address: str) -> BeautifulSoup:
    response = client.get(address)
    assert response.status_code == 200, response.text[:2000]
    return BeautifulSoup(response.text, "html.parser")


def send(client: TestClient, form: Tag, **fields: str) -> tuple[int, str]:
    """Send a form as a browser would."""
    hidden = {str(field["name"]): str(field["value"]) for field in form.select("[type=hidden]")}
    response = client.post(str(form["action"]), data=hidden | fields, headers={"origin": HOST})
    return response.status_code, response.headers.get("location", "")


def test_the_page_has_a_button_for_what_can_be_done(
    client: TestClient, ids: tuple[UUID, UUID]
) -> None:
    first, second = map(str, ids)
    address = f"/collections/{NAME}"

    def forms() -> dict[str, Tag]:
        found = page(client, address).select("form[action^='/indexes/'], form[action$=rollback]")
        return {str(form["action"]): form for form in found}

    assert forms().keys() == {f"/indexes/{second}/activate", f"/indexes/{second}/retire"}
    status, back = send(client, forms()[f"/indexes/{second}/activate"])
    assert (status, back.partition("#")[2]) == (303, "indexes")
    assert answering(client) == second
    rollback = next(action for action in forms() if action.endswith("/rollback"))
    assert forms().keys() == {f"/indexes/{first}/activate", f"/indexes/{first}/retire", rollback}
    assert send(client, forms()[rollback])[0] == 303
    assert answering(client) == first
    assert send(client, forms()[f"/indexes/{second}/retire"])[0] == 303
    assert not forms()
    (build,) = page(client, address).select("form.build")
    status, job = send(client, build, embedder="hashing:16", store="", chunk_tokens="64")
    assert (status, job.startswith("/jobs/")) == (303, True)
    assert "Building an index" in page(client, job).get_text()


def test_a_search_page_says_that_a_chosen_index_answered(
    client: TestClient, ids: tuple[UUID, UUID]
) -> None:
    address = f"/?q=keeper&collection={NAME}&index={str(ids[1])[:10]}"
    soup = page(client, address)
    (told,) = soup.select(".notice-told")
    assert str(ids[1])[:8] in told.get_text()
    (away,) = told.select("a")
    assert "index=" not in str(away["href"])
    assert not page(client, str(away["href"])).select(".notice-told")
    (kept,) = soup.select("form#search input[name=index]")
    assert kept["value"] == str(ids[1])[:10]
    assert client.get(f"/?q=keeper&collection={NAME}&index=beef").status_code == 404
