"""Marks of hits within noise, and query vectors that are kept, on the page and in the API."""

import json
from collections.abc import Iterator

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient

from search_app.web.app import create_app
from search_app.web.translation import COOKIE as LANGUAGE
from tests.catalog_dump import connect
from tests.web_site import Site, built_site

HOST = "http://localhost"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
QUERY = "lighthouse keeper"


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@pytest.fixture(scope="module")
def shared(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST, headers=HTML) as opened:
        yield opened


@pytest.fixture
def client(shared: TestClient) -> TestClient:
    shared.cookies.clear()
    return shared


def set_noise(site: Site, noise: float) -> None:
    assert site.settings.database_url is not None
    with connect(site.settings.database_url.get_secret_value()) as connection:
        connection.execute(
            "UPDATE model_versions SET noise_floor = %s, bit_stable = %s", (noise, noise == 0)
        )


@pytest.fixture
def noisy(site: Site) -> Iterator[None]:
    """Have the model be as noisy as hosted ones."""
    set_noise(site, 3.6e-3)
    yield
    set_noise(site, 0.0)


def found(client: TestClient, mode: str = "semantic") -> dict[str, object]:
    response = client.post("/api/v1/search", json={"query": QUERY, "mode": mode, "k": 5})
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    return answer


def marks(client: TestClient, mode: str = "semantic") -> list[bool | None]:
    hits = found(client, mode)["hits"]
    assert isinstance(hits, list)
    return [hit["within_noise_of_next"] for hit in hits]


def page(client: TestClient, **parameters: str) -> BeautifulSoup:
    response = client.get("/", params={"q": QUERY, "mode": "semantic", **parameters})
    assert response.status_code == 200
    return BeautifulSoup(response.text, "html.parser")


def test_a_steady_model_marks_nothing(client: TestClient) -> None:
    assert found(client)["noise"] == 0
    assert not any(marks(client))
    assert not page(client).select(".near")


@pytest.mark.usefixtures("noisy")
def test_marks_are_shown_and_explained(client: TestClient) -> None:
    assert found(client)["noise"] == 3.6e-3
    shown = marks(client)
    assert True in shown
    soup = page(client)
    marked = [bool(hit.select(".near")) for hit in soup.select(".hit")[:5]]
    assert marked == [bool(mark) for mark in shown]
    mark = soup.select(".near")[0]
    summary = mark.select("summary")[0]
    # What is read aloud says it in words; the sign alone would say nothing.
    assert summary.get_text(" ", strip=True) == "≈ As good as the next"
    assert summary.select("span[aria-hidden=true]")[0].get_text() == "≈"
    assert "never moved" in mark.get_text()
    assert "1 − cos up to 3.6e-03" in mark.get_text()
    assert found(client, "keyword")["noise"] is None


@pytest.mark.usefixtures("noisy")
def test_marks_are_told_in_japanese(client: TestClient) -> None:
    client.cookies.set(LANGUAGE, "ja")
    assert page(client).select(".near summary")[0].get_text(" ", strip=True) == "≈ 次と同等"


def test_kept_query_vectors_are_told_and_cleared(client: TestClient) -> None:
    found(client)
    client.post("/api/v1/search", json={"query": "harbour", "mode": "semantic"})
    (kept,) = client.get("/api/v1/query-vectors").json()["kept"]
    assert kept["vectors"] >= 2
    assert kept["bytes"] % (kept["vectors"] * 4) == 0
    assert client.delete("/api/v1/query-vectors", params={"q": QUERY}).json() == {"cleared": 1}
    version = kept["model_version_id"]
    rest = client.delete("/api/v1/query-vectors", params={"model": version[:8]}).json()
    assert rest == {"cleared": kept["vectors"] - 1}
    assert client.get("/api/v1/query-vectors").json() == {"kept": []}
    for parameters, status in (({"model": "zz"}, 404), ({"since": "soon"}, 422)):
        assert client.delete("/api/v1/query-vectors", params=parameters).status_code == status
    foreign = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
    assert client.delete("/api/v1/query-vectors", headers=foreign).status_code == 403


def test_why_leads_to_the_check(client: TestClient, site: Site) -> None:
    found(client)
    assert site.settings.database_url is not None
    with connect(site.settings.database_url.get_secret_value()) as connection:
        connection.execute("UPDATE query_log SET vector_hash = decode('00', 'hex')")
        connection.execute(
            "INSERT INTO checks (id, collection_id, index_id, verdict, sampled, changed, repeated,"
            " unsteady, noise_median, noise_max, drift, reproducibility, report, created_at)"
            " SELECT gen_random_uuid(), collection_id, id, 'fail', 43, 9, 20, 0, NULL, NULL, '{}',"
            " '{}', %s, now() + interval '1 minute' FROM indexes LIMIT 1",
            (
                json.dumps(
                    {
                        "findings": [{"kind": "model_changed"}],
                        "causes": [{"name": "model swap"}],
                    }
                ),
            ),
        )
        (row,) = connection.execute("SELECT id FROM checks").fetchall()
    address = {"q": QUERY, "document": "harbour.md", "mode": "semantic"}
    soup = BeautifulSoup(client.get("/why", params=address).text, "html.parser")
    told = soup.select(".finding-checked")[0]
    assert "found that another model answers." in told.get_text()
    assert "model swap" in told.get_text()
    assert told.select("a")[0]["href"] == f"/checks/{row['id']}"
    answer = client.get("/api/v1/why", params=address).json()
    (finding,) = [each for each in answer["findings"] if each["cause"] == "checked"]
    assert finding["evidence"]["link"] == f"/checks/{row['id']}"
    assert finding["evidence"]["causes"] == ["model swap"]
