"""The page and the API that say why a document is not found."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient

from search_app.web.app import create_app
from search_app.web.translation import COOKIE as LANGUAGE
from search_app.web.why_examples import EXAMPLES
from tests.web_site import ATTACK, Site, built_site

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


def page(client: TestClient, address: str, status: int = 200) -> BeautifulSoup:
    response = client.get(address)
    assert response.status_code == status, response.text
    return BeautifulSoup(response.text, "html.parser")


def causes(soup: BeautifulSoup) -> list[str]:
    return [str(found["data-cause"]) for found in soup.select(".finding")]


def test_the_page_asks_first(client: TestClient) -> None:
    soup = page(client, "/why")
    assert soup.select("form.ask input[name=q]")
    assert not soup.select(".finding, [role=alert]")


@pytest.mark.parametrize(
    ("query", "document", "expected"),
    [
        ("lighthouse keeper", "harbour.md", ["found"]),
        ("harbour office", "quarry.txt", ["found"]),
        ("lighthouse", "nowhere.md", ["never_ingested"]),
        ("lighthouse", "broken.pdf", ["failed"]),
        ("ferry -harbour", "harbour.md", ["excluded"]),
        ("図書館の休館日", "図書館.md", ["found"]),
    ],
)
def test_the_page_answers(
    client: TestClient, query: str, document: str, expected: list[str]
) -> None:
    soup = page(client, f"/why?q={quote(query)}&document={quote(document)}")
    assert causes(soup) == expected
    for finding in soup.select(".finding"):
        assert len(finding.get_text(strip=True)) > 20
        assert "%(" not in finding.get_text()


def test_links_lead_there_from_results_and_documents(client: TestClient) -> None:
    results = page(client, "/?q=lighthouse+keeper&mode=keyword&filter=language%3Den")
    (link,) = results.select(".missed a")
    parts = urlsplit(str(link["href"]))
    assert parts.path == "/why"
    assert dict(parse_qsl(parts.query)) == {
        "q": "lighthouse keeper",
        "mode": "keyword",
        "filter": "language=en",
    }
    asked = page(client, str(link["href"]) + "&document=" + quote("図書館.md"))
    assert causes(asked) == ["filtered_out"]
    assert "language=en" in asked.select(".finding")[0].get_text()
    document = page(client, str(results.select(".hit-title a")[0]["href"]))
    (why,) = [link for link in document.select(".document-head a") if "/why" in str(link["href"])]
    assert causes(page(client, str(why["href"]))) == ["found"]


def test_those_above_are_shown_with_links(client: TestClient) -> None:
    soup = page(client, "/why?q=observatory+night+star&document=quarry.txt&mode=keyword")
    assert causes(soup) == ["outranked"]
    rows = soup.select("tbody tr")
    assert len(rows) == 10
    link = str(rows[0].select("a")[0]["href"])
    assert client.get(link).status_code == 200
    assert "not found" in soup.select(".facts")[0].get_text()


def test_the_page_speaks_japanese(client: TestClient) -> None:
    client.cookies.set(LANGUAGE, "ja")
    soup = page(client, "/why?q=lighthouse&document=harbour.md")
    assert "1 位で見つかります。" in soup.select(".finding")[0].get_text()


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        ("/why?q=a&document=m&since=yesterday", 400, "2026-01-31"),
        ("/why?q=a&document=.", 400, "may mean"),
        ("/why?q=a&document=x&mode=none", 400, "mode"),
        ("/why?q=a&document=x&collection=nowhere", 404, "nowhere"),
        ("/why?q=a&document=harbour.md&filter=language", 400, "language=ja"),
        ("/why?q=a&document=00000000-0000-0000-0000-000000000007", 404, "no document"),
        ("/why?q=a&document=harbour.md&index=zz", 404, "no index"),
    ],
)
def test_mistakes_are_explained_in_place(
    client: TestClient, address: str, status: int, told: str
) -> None:
    soup = page(client, address, status)
    assert told in soup.select("[role=alert]")[0].get_text()
    assert soup.select("form.ask")


def test_names_from_outside_stay_text(client: TestClient) -> None:
    soup = page(client, f"/why?q={quote(ATTACK)}&document={quote('hostile')}")
    assert soup.select(".finding")
    assert not soup.select("main img, main script")


def test_the_api_answers_alike(client: TestClient) -> None:
    address = f"/api/v1/why?q=lighthouse&document={quote('図書館.md')}&filter=language%3Den"
    answer = client.get(address).json()
    assert answer.keys() == EXAMPLES["why"].keys()
    (finding,) = answer["findings"]
    assert finding.keys() == EXAMPLES["why"]["findings"][0].keys()
    assert finding["cause"] == "filtered_out"
    assert finding["evidence"]["filter"] == "language=en"
    assert finding["evidence"]["has"] == "language=ja"
    assert finding["sentence"].startswith("The filter language=en leaves it out")
    since = client.get(f"{address}&since=2020-01-31").json()
    assert since["since"] == "2020-01-31T00:00:00Z"
    for wrong in ("q=a", "document=a", "q=a&document=a&k=0", "q=a&document=a&since=x"):
        assert client.get(f"/api/v1/why?{wrong}").status_code == 422
    assert client.get("/api/v1/why?q=a&document=.").status_code == 400
    outranked = client.get(
        "/api/v1/why?q=observatory+night+star&document=quarry.txt&mode=keyword&k=3"
    ).json()
    assert [hit["rank"] for hit in outranked["above"]] == [1, 2, 3]
