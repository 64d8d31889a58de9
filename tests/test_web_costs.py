"""What runs sent, what models cost and which vectors are kept: on pages and over the API."""

import json
from collections.abc import Iterator

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient

from search_app.prices import load_prices
from search_app.web.app import create_app
from search_app.web.translation import COOKIE as LANGUAGE
from tests.catalog_dump import connect
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
def shared(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST, headers=HTML) as opened:
        yield opened


@pytest.fixture
def client(shared: TestClient) -> TestClient:
    shared.cookies.clear()
    return shared


def page(client: TestClient, path: str) -> BeautifulSoup:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return BeautifulSoup(response.text, "html.parser")


def run_that_sent(client: TestClient) -> dict[str, object]:
    found: dict[str, object] = next(
        run
        for run in client.get("/api/v1/runs").json()["runs"]
        if run["counts"].get("sent", {}).get("tokens")
    )
    return found


def test_runs_say_what_they_sent(client: TestClient) -> None:
    run = run_that_sent(client)
    counts = run["counts"]
    assert isinstance(counts, dict)
    sent = counts["sent"]
    assert sent["requests"] > 0
    # The fake that the site is built with has no tokenizer, and costs nothing.
    assert sent["estimated_tokens"] == sent["tokens"] > sent["texts"]
    assert (sent["cost"], sent["unpriced_tokens"], counts["currency"]) == (0, 0, "USD")
    shown = page(client, f"/runs/{run['id']}").get_text(" ", strip=True)
    assert "Sent to the model" in shown
    assert f"{sent['tokens']:,}" in shown
    assert "the bundled tokenizer" in shown
    assert f"{sent['tokens']:,}" in page(client, "/runs").get_text(" ", strip=True)


def test_runs_of_before_are_shown_without(client: TestClient, site: Site) -> None:
    run = run_that_sent(client)
    assert site.settings.database_url is not None
    with connect(site.settings.database_url.get_secret_value()) as connection:
        kept = connection.execute("SELECT counts FROM runs WHERE id = %s", (run["id"],)).fetchone()
        assert kept is not None
        connection.execute(
            "UPDATE runs SET counts = counts - 'sent' - 'currency' WHERE id = %s", (run["id"],)
        )
    try:
        assert "Sent to the model" not in page(client, f"/runs/{run['id']}").get_text(" ")
        assert page(client, "/runs").select("table")
    finally:
        with connect(site.settings.database_url.get_secret_value()) as connection:
            connection.execute(
                "UPDATE runs SET counts = %s WHERE id = %s", (json.dumps(kept["counts"]), run["id"])
            )


def test_kept_vectors_are_shown_and_cleared(client: TestClient) -> None:
    (kept,) = client.get("/api/v1/document-vectors").json()["kept"]
    assert kept["vectors"] > 0
    assert kept["kind"] == "document"
    assert kept["bytes"] % (4 * kept["vectors"]) == 0
    assert "kept for texts that come again" in page(client, "/models").get_text(" ")
    model = page(client, f"/models/{kept['model_version_id']}").get_text(" ", strip=True)
    assert "Vectors kept" in model
    client.cookies.set(LANGUAGE, "ja")
    assert "文書ベクトル" in page(client, "/models").get_text(" ")
    nothing = client.delete("/api/v1/document-vectors", params={"older_than_days": 3650})
    assert nothing.json() == {"cleared": 0}
    for parameters, status in (({"model": "zz"}, 404), ({"older_than_days": -1}, 422)):
        found = client.delete("/api/v1/document-vectors", params=parameters)
        assert found.status_code == status
    foreign = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
    assert client.delete("/api/v1/document-vectors", headers=foreign).status_code == 403
    version = kept["model_version_id"][:13]
    cleared = client.delete("/api/v1/document-vectors", params={"model": version}).json()
    assert cleared == {"cleared": kept["vectors"]}
    assert client.get("/api/v1/document-vectors").json()["kept"] == []
    client.cookies.clear()
    assert "No document vectors are kept" in page(client, "/models").get_text(" ")


def test_prices_are_listed(client: TestClient) -> None:
    found = client.get("/api/v1/prices").json()
    table = load_prices().table
    assert found["prices"].keys() == table.keys()
    for price in found["prices"].values():
        assert price["origin"] == "shipped"
        assert price["source"]
