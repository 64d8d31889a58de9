"""The page and the API of a vector's provenance, and verifying it at a button."""

from collections.abc import Iterator

import pytest
from bs4 import BeautifulSoup, Tag
from starlette.testclient import TestClient

from search_app.embedders.hashing import HashingEmbedder
from search_app.web.app import create_app
from search_app.web.csrf import COOKIE, FIELD
from search_app.web.provenance_examples import EXAMPLES
from search_app.web.translation import COOKIE as LANGUAGE
from tests.test_provenance import Silent
from tests.web_site import Site, built_site

HOST = "http://localhost"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST, headers=HTML) as opened:
        yield opened


@pytest.fixture
def chunk(client: TestClient) -> str:
    body = {"query": "lighthouse keeper", "k": 1}
    hit = client.post("/api/v1/search", json=body).json()["hits"][0]
    return str(hit["chunk_id"])


def one(soup: BeautifulSoup, selector: str) -> Tag:
    (found,) = soup.select(selector)
    return found


def press(client: TestClient, chunk: str, status: int = 200) -> BeautifulSoup:
    """Press the button of the page and read what comes."""
    client.cookies.delete(COOKIE)
    page = BeautifulSoup(client.get(f"/chunks/{chunk}/provenance").text, "html.parser")
    form = one(page, "form[action*=provenance]")
    fields = {str(field["name"]): str(field["value"]) for field in form.select("input")}
    response = client.post(str(form["action"]).partition("#")[0], data=fields)
    assert response.status_code == status, response.text
    return BeautifulSoup(response.text, "html.parser")


def test_the_page_shows_the_text_that_was_sent(client: TestClient, chunk: str) -> None:
    soup = BeautifulSoup(client.get(f"/chunks/{chunk}/provenance").text, "html.parser")
    assert "The lighthouse keeper writes the weather" in one(soup, "pre.sent").get_text()
    assert not soup.select("#record pre"), "the badge of a hit fetches the record alone"
    assert not soup.select("[role=status].notice")


def test_the_button_embeds_again(client: TestClient, chunk: str) -> None:
    told = one(press(client, chunk), "[role=status].notice").get_text(" ", strip=True)
    assert "The same vector, to the bit" in told
    assert "1.000000000" in told


def test_the_button_speaks_japanese(client: TestClient, chunk: str) -> None:
    client.cookies.set(LANGUAGE, "ja")
    try:
        told = one(press(client, chunk), "[role=status].notice").get_text(" ", strip=True)
        assert "ビット単位で同じベクトルです" in told
    finally:
        client.cookies.delete(LANGUAGE)


def test_the_button_wants_its_token(client: TestClient, chunk: str) -> None:
    client.get(f"/chunks/{chunk}/provenance")
    response = client.post(f"/chunks/{chunk}/provenance", data={FIELD: "forged"})
    assert response.status_code == 403


def test_an_embedder_that_does_not_answer_is_told(
    client: TestClient, chunk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HashingEmbedder, "embed", Silent.embed)
    soup = press(client, chunk, 503)
    told = one(soup, "[role=alert]").get_text(" ", strip=True)
    assert "no answer from the embedder" in told
    assert soup.select("#record"), "what is known is still shown"
    answer = client.post(f"/api/v1/chunks/{chunk}/verify", json={})
    assert answer.status_code == 503
    assert answer.json()["detail"] == "no answer from the embedder"


def test_the_api_tells_the_same(client: TestClient, chunk: str) -> None:
    found = client.get(f"/api/v1/chunks/{chunk}/provenance").json()
    assert found.keys() == EXAMPLES["provenance"].keys()
    assert "lighthouse" in found["sent"]
    assert found["sent_as_recorded"] is True
    checked = client.post(f"/api/v1/chunks/{chunk}/verify", json={})
    assert checked.json() == {
        **EXAMPLES["verification"],
        "chunk_id": chunk,
        "index_id": found["index_id"],
        "model": found["model"],
    }
    named = f"/api/v1/chunks/{chunk}/provenance?index={found['index_id'][:8]}"
    assert client.get(named).json() == found
    assert client.post(f"/api/v1/chunks/{chunk}/verify").status_code == 415
    assert client.get(f"/api/v1/chunks/{chunk}/provenance?index=zz").status_code == 404
