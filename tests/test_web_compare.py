"""The page and the API that put two indexes side by side."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient

from search_app.bootstrap import open_services
from search_app.config import Settings, load_settings
from search_app.embedders.hashing import HashingEmbedder
from search_app.retrieval import SearchRequest
from search_app.types import Index
from search_app.web.app import create_app
from search_app.web.compare_examples import EXAMPLES
from search_app.web.translation import COOKIE as LANGUAGE
from tests.test_comparison import TEXTS, fill, make_index
from tests.test_provenance import Silent
from tests.web_site import ATTACK, cloned, run_apart

HOST = "http://localhost"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@dataclass(frozen=True)
class Two:
    """What is served: settings, and the two indexes of its one collection."""

    settings: Settings
    first: Index
    second: Index


@pytest.fixture(scope="module")
def two(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    rows = [{"id": name, "title": name, "text": text} for name, text in TEXTS.items()]
    rows.append({"id": "attack", "title": ATTACK, "text": f"Onion {ATTACK}"})
    corpus = folder / "corpus.jsonl"
    corpus.write_text("\n".join(json.dumps(row) for row in rows))
    with cloned(postgres_url, template) as url:
        settings = load_settings(DATABASE_URL=url, data_dir=folder / "data", embedder="hashing:256")
        first, second = run_apart(_built(settings, corpus))
        yield Two(settings, first, second)


async def _built(settings: Settings, corpus: Path) -> tuple[Index, Index]:
    async with open_services(settings) as services:
        first = await make_index(services, "hashing:256")
        second = await make_index(services, "hashing:16")
        await fill(services, corpus, first, second)
        for query in ("onion soup", "onion soup", "who steers"):
            await services.searcher.search(SearchRequest(query=query))
    return first, second


@pytest.fixture(scope="module")
def shared(two: Two) -> Iterator[TestClient]:
    with TestClient(create_app(two.settings), base_url=HOST, headers=HTML) as opened:
        yield opened


@pytest.fixture
def client(shared: TestClient) -> TestClient:
    shared.cookies.clear()
    return shared


def page(client: TestClient, address: str, status: int = 200) -> BeautifulSoup:
    response = client.get(address)
    assert response.status_code == status, response.text
    return BeautifulSoup(response.text, "html.parser")


def address(two: Two, more: str = "") -> str:
    return f"/compare?a={two.first.id}&b={str(two.second.id)[:13]}{more}"


def test_the_collection_leads_to_the_comparison(client: TestClient, two: Two) -> None:
    collection = page(client, "/collections/default")
    (link,) = [link for link in collection.select("a.button") if "/compare" in str(link["href"])]
    soup = page(client, str(link["href"]))
    chosen = [str(option["value"]) for option in soup.select("option[selected]")]
    assert chosen == [str(two.first.id), str(two.second.id)]
    assert len(soup.select(".sides .panel")) == 2
    assert not soup.select(".side")


def test_two_are_suggested_where_none_is_named(client: TestClient, two: Two) -> None:
    soup = page(client, "/compare")
    chosen = [str(option["value"]) for option in soup.select("option[selected]")]
    assert chosen == [str(two.first.id), str(two.second.id)]


def test_both_lists_stand_side_by_side_with_their_moves(client: TestClient, two: Two) -> None:
    soup = page(client, address(two, "&q=who+steers&mode=semantic"))
    columns = soup.select(".side")
    assert len(columns) == 2
    titles = [[link.get_text() for link in column.select("li a")] for column in columns]
    api = client.get(
        f"/api/v1/compare?a={two.first.id}&b={two.second.id}&q=who+steers&mode=semantic"
    ).json()
    assert titles == [[hit["title"] for hit in api["lists"][0][name]] for name in ("a", "b")]
    for column, name in zip(columns, ("a", "b"), strict=True):
        for place, item in enumerate(column.select("li"), start=1):
            told = " ".join(item.select(".move")[0].get_text().split())
            (move,) = [move for move in api["lists"][0]["moves"] if move[name] == place]
            other = move["b" if name == "a" else "a"]
            if other is None:
                assert told == "only here"
            elif other == place:
                assert told == "same rank"
            else:
                assert str(other) in told
    assert not soup.select("main script, main img")
    link = str(columns[0].select("li a")[0]["href"])
    assert client.get(link).status_code == 200


def test_the_summary_is_made_when_asked_for(client: TestClient, two: Two) -> None:
    first = page(client, address(two))
    (button,) = first.select("#summary a.button")
    soup = page(client, str(button["href"]).partition("#")[0])
    told = " ".join(soup.select("#summary .facts")[0].get_text(" ").split())
    assert told.startswith("Queries 2 ")
    rows = [row.select("a")[0].get_text() for row in soup.select("#summary tbody tr")]
    assert set(rows) <= {"onion soup", "who steers"}
    if rows:
        detail = page(client, str(soup.select("#summary tbody a")[0]["href"]))
        assert len(detail.select(".side")) == 2


def test_the_page_speaks_japanese(client: TestClient, two: Two) -> None:
    client.cookies.set(LANGUAGE, "ja")
    soup = page(client, address(two, "&q=onion+soup&summary=1"))
    assert soup.select("h1")[0].get_text() == "二つの索引を比べる"
    assert "位" in soup.select("#one")[0].get_text() + soup.select(".sides")[1].get_text()


@pytest.mark.parametrize(
    ("parameters", "status", "told"),
    [
        ("a=zz&b=zz", 404, "no index"),
        ("a={a}&b={a}", 400, "both are index"),
        ("a={a}&b={b}&q=x&mode=none", 400, "mode"),
        ("a={a}&b={b}&q={long}", 400, "at most"),
    ],
)
def test_mistakes_are_explained_in_place(
    client: TestClient, two: Two, parameters: str, status: int, told: str
) -> None:
    filled = parameters.format(a=two.first.id, b=two.second.id, long="x" * 2001)
    soup = page(client, f"/compare?{filled}", status)
    assert told in soup.select("[role=alert]")[0].get_text()


def test_the_api_compares_by_given_and_by_logged_queries(client: TestClient, two: Two) -> None:
    logged = client.get(f"/api/v1{address(two)}").json()
    assert logged.keys() == EXAMPLES["comparison"].keys()
    assert logged["queries"] == 2
    assert {(each["query"], each["asked"]) for each in logged["lists"]} == {
        ("onion soup", 2),
        ("who steers", 1),
    }
    assert logged["lists"][0].keys() == EXAMPLES["comparison"]["lists"][0].keys()
    assert logged["a"]["state"] == "active"
    assert logged["b"]["state"] == "ready"
    one = client.get(f"/api/v1{address(two, '&limit=1&k=3')}").json()
    assert [each["query"] for each in one["lists"]] == ["onion soup"]
    assert len(one["lists"][0]["a"]) == 3
    given = client.get(f"/api/v1{address(two, '&q=bread&q=boats')}").json()
    assert {each["query"] for each in given["lists"]} == {"bread", "boats"}
    for wrong in ("limit=0", "k=0", "limit=100000", "mode=x"):
        assert client.get(f"/api/v1{address(two, '&' + wrong)}").status_code == 422
    assert client.get("/api/v1/compare?a=zz&b=zz").status_code == 404
    assert client.get("/api/v1/compare?a=zz").status_code == 422


def test_a_silent_model_is_told_and_never_compared_by_words_alone(
    client: TestClient, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Last of all: a model that did not answer is left alone for a while.
    monkeypatch.setattr(HashingEmbedder, "embed", Silent.embed)
    soup = page(client, address(two, "&q=nobody+asked+this"), 503)
    assert "no answer from the embedder" in soup.select("[role=alert]")[0].get_text()
    answer = client.get(f"/api/v1{address(two, '&q=nor+this')}")
    assert answer.status_code == 503
