"""Checks on pages, over the API and as the sign on every page."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from bs4 import BeautifulSoup, Tag
from starlette.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import open_services
from search_app.catalog import nights
from search_app.config import Settings, load_settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.reports.file import style
from search_app.web.app import create_app
from search_app.web.check_sign import GRAVITY, Sign, gravest
from search_app.web.csrf import FIELD
from search_app.web.translation import COOKIE as LANGUAGE
from tests.catalog_dump import connect
from tests.web_site import ATTACK, cloned, run_apart

HOST = "http://localhost"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAME, OTHER = f"notes & {ATTACK}", "untouched"
NOTES = 45


async def fill(settings: Settings, folder: Path) -> tuple[UUID, UUID, UUID]:
    """Ingest, and check three times: nothing to compare with, all well, other stored vectors."""
    async with open_services(settings) as services:
        report = await ingest(services, IngestRequest(arguments=[str(folder)], collection=NAME))
        await ingest(services, IngestRequest(arguments=[str(folder / "0.md")], collection=OTHER))
        first = await check(services, CheckRequest(collection=NAME))
        second = await check(services, CheckRequest(collection=NAME))
    with connect(url_of(settings)) as connection:
        connection.execute(
            "UPDATE vector_records SET stored_hash = decode(repeat('00', 32), 'hex') "
            "WHERE index_id = %s AND chunk_id IN "
            "(SELECT chunk_id FROM vector_records WHERE index_id = %s ORDER BY chunk_id LIMIT 7)",
            [report.index_id, report.index_id],
        )
    async with open_services(settings) as services:
        third = await check(services, CheckRequest(collection=NAME))
    return first.check_id, second.check_id, third.check_id


def url_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


@pytest.fixture(scope="module")
def settings(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    with cloned(postgres_url, template) as database_url:
        yield load_settings(
            DATABASE_URL=database_url,
            data_dir=tmp_path_factory.mktemp("data"),
            embedder="hashing:64",
        )


@pytest.fixture(scope="module")
def ids(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[UUID, UUID, UUID]:
    """Give the ids of an inconclusive, a stable and a failed check, in that order."""
    folder = tmp_path_factory.mktemp("library")
    draw = random.Random(3)
    words = [f"word{number}" for number in range(40)]
    for number in range(NOTES):
        text = f"# {ATTACK} {number}\n\n" + " ".join(draw.sample(words, 20))
        (folder / f"{number}.md").write_text(text, encoding="utf-8")
    return run_apart(fill(settings, folder))


@pytest.fixture
def client(settings: Settings, ids: tuple[UUID, UUID, UUID]) -> Iterator[TestClient]:
    del ids  # what is served must be there
    app = create_app(settings)
    with TestClient(app, base_url=HOST, headers=HTML, follow_redirects=False) as opened:
        yield opened


def page(client: TestClient, path: str, status: int = 200) -> BeautifulSoup:
    response = client.get(path)
    assert response.status_code == status, response.text
    assert "<script>document" not in response.text
    assert not BeautifulSoup(response.text, "html.parser").select("[style], main script, [onerror]")
    return BeautifulSoup(response.text, "html.parser")


def one(soup: BeautifulSoup | Tag, selector: str) -> Tag:
    found = soup.select_one(selector)
    assert found is not None, selector
    return found


def got(client: TestClient, path: str, status: int = 200) -> Any:
    response = client.get(f"/api/v1{path}")
    assert response.status_code == status, response.text
    return response.json()


def test_the_list_says_how_each_collection_stands(
    client: TestClient, ids: tuple[UUID, UUID, UUID]
) -> None:
    soup = page(client, "/checks")
    failed, never = soup.select(".standing")
    assert "Failed" in failed.get_text()
    assert NAME in failed.get_text()
    assert "Never checked" in never.get_text()
    assert [svg["aria-label"] for svg in failed.select("svg[role=img]")]
    assert not never.select("svg[role=img]")
    rows = soup.select("tbody tr")
    assert [one(row, ".sign").get_text(strip=True) for row in rows] == [
        "Failed",
        "Stable",
        "Inconclusive",
    ]
    assert [one(row, "a")["href"] for row in rows] == [f"/checks/{each}" for each in ids[::-1]]
    filtered = page(client, f"/checks?collection={OTHER}")
    assert len(filtered.select(".standing")) == 1
    assert not filtered.select("tbody tr")
    assert "no more checks" in page(client, "/checks?page=9").get_text()
    page(client, "/checks?collection=nowhere", 404)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_check_is_told_on_its_page(
    client: TestClient, ids: tuple[UUID, UUID, UUID], language: str
) -> None:
    client.cookies.set(LANGUAGE, language)
    failed = page(client, f"/checks/{ids[2]}")
    assert "7" in one(failed, ".judged-what").get_text()
    assert failed.select(".judged-fail")
    assert len(failed.select(".ids code")) >= 5
    links = [str(link["href"]) for link in failed.select("main a[href]")]
    for address in (f"/checks/{ids[2]}/accept", f"/api/v1/checks/{ids[2]}"):
        assert address in links
    (report,) = [link for link in links if "report.html" in link]
    assert report.endswith(f"language={language}")
    provenance = next(link for link in links if "/provenance" in link)
    assert client.get(provenance).status_code == 200
    stable = page(client, f"/checks/{ids[1]}")
    assert stable.select(".judged-stable")
    assert not stable.select(f"a[href='/checks/{ids[1]}/accept']"), "a later one was made"
    assert page(client, f"/checks/{str(ids[0])[:13]}").select(".judged-inconclusive")
    for wrong in ("/checks/00000000-0000-0000-0000-000000000000", "/checks/xyz", "/checks/%00"):
        page(client, wrong, 404)


def test_the_report_is_a_file_that_needs_nothing(
    client: TestClient, ids: tuple[UUID, UUID, UUID]
) -> None:
    response = client.get(f"/api/v1/checks/{ids[2]}/report.html?language=ja")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "attachment" in response.headers["content-disposition"]
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    soup = BeautifulSoup(response.text, "html.parser")
    assert not soup.select("script, link, img, a, [src], [href]")
    assert one(soup, "style").get_text() == style()
    assert one(soup, "html")["lang"] == "ja"
    assert client.get(f"/api/v1/checks/{ids[2]}/report.html?language=xx").status_code == 422


def test_the_api_gives_what_was_kept(client: TestClient, ids: tuple[UUID, UUID, UUID]) -> None:
    listed = got(client, "/checks?limit=2")
    assert [each["id"] for each in listed["checks"]] == [str(ids[2]), str(ids[1])]
    assert listed["more"] is True
    assert [(each["collection"], each["state"]) for each in listed["standings"]] == [
        (NAME, "fail"),
        (OTHER, "unknown"),
    ]
    assert got(client, f"/checks?collection={OTHER}")["checks"] == []
    assert got(client, "/checks?collection=nowhere", 404)["type"] == "/docs#not-found"
    found = got(client, f"/checks/{ids[2]}")
    report = found["report"]
    assert (found["is_latest"], report["verdict"], report["schema"]) == (True, "fail", 1)
    faults = report["layers"]["integrity"]["faults"]
    assert len({chunk_id for fault in faults for chunk_id in fault["ids"]}) == 7
    assert report["findings"][0]["kind"] == "corrupt"
    assert got(client, f"/checks/{ids[0]}")["is_latest"] is False
    assert got(client, "/checks/xyz", 404)["status"] == 404


def test_accepting_is_a_decision_of_its_own(
    client: TestClient, ids: tuple[UUID, UUID, UUID]
) -> None:
    refused = client.post(f"/api/v1/checks/{ids[1]}/accept", json={})
    assert refused.status_code == 400
    assert "not the latest" in refused.json()["detail"]
    assert client.post(f"/api/v1/checks/{ids[2]}/accept").status_code == 415
    assert "cannot be accepted" in page(client, f"/checks/{ids[1]}/accept").get_text()
    asked = page(client, f"/checks/{ids[2]}/accept")
    form = one(asked, "form[action$=accept]")
    assert client.post(str(form["action"]), data={}).status_code == 403
    token = str(one(form, f"input[name={FIELD}]")["value"])
    answer = client.post(str(form["action"]), data={FIELD: token})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/checks/{ids[2]}")
    told = page(client, f"/checks/{ids[2]}")
    assert "accepted this state" in told.get_text()
    assert not told.select("main a[href$=accept]"), "once is enough"
    assert got(client, f"/checks/{ids[2]}")["accepted_at"] is not None
    assert "accepted" in page(client, "/checks").select("tbody tr")[0].get_text()


def test_a_check_is_asked_for(client: TestClient) -> None:
    form = page(client, "/checks").select(".standing form")[1]
    fields = {str(field["name"]): str(field["value"]) for field in form("input")}
    assert fields["collection"] == OTHER
    answer = client.post("/checks", data=fields)
    assert answer.status_code == 303
    job = answer.headers["location"]
    waiting = page(client, f"/checks?collection={OTHER}")
    assert one(waiting, f".standing a[href='{job}']")
    assert not waiting.select(".standing form"), "it waits already"
    again = client.post("/api/v1/checks", json={"collection": OTHER})
    assert again.status_code == 202
    assert job == f"/jobs/{again.json()['id']}"
    assert client.post("/api/v1/checks", json={"collection": "nowhere"}).status_code == 404
    assert client.post("/checks", data={"collection": OTHER}).status_code == 403


def test_one_under_way_is_said_to_be(client: TestClient, settings: Settings) -> None:
    index_id = got(client, "/checks")["standings"][0]["index_id"]
    with connect(url_of(settings)) as connection, connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"check {index_id}"]
        )
        standings = got(client, "/checks")["standings"]
        assert [each["running"] for each in standings] == [True, False]
        assert "being checked now" in page(client, "/checks").get_text()
    assert "being checked now" not in page(client, "/checks").get_text()


def sign(client: TestClient, path: str = "/runs", status: int = 200) -> str:
    shown = one(page(client, path, status), "header .standing-sign")
    assert shown["href"] == "/checks"
    assert shown.select("svg[aria-hidden=true]")
    assert "find the same" in one(shown, ".unseen").get_text(), "said to screen readers"
    (state,) = [name for name in shown["class"] if name in {f"sign-{each}" for each in GRAVITY}]
    assert one(shown, ".sign-word").get_text(strip=True)
    return str(state).removeprefix("sign-")


def test_every_page_has_a_sign_of_the_gravest_state(client: TestClient) -> None:
    for path in ("/", "/collections", "/jobs", "/runs", "/models", "/docs", "/checks"):
        assert sign(client, path) == "fail"
    assert sign(client, "/nowhere", 404) == "fail"


def test_what_is_too_old_is_not_known(settings: Settings, ids: tuple[UUID, UUID, UUID]) -> None:
    with connect(url_of(settings)) as connection:
        connection.execute("UPDATE checks SET created_at = created_at - interval '9 days'")
        try:
            with TestClient(create_app(settings), base_url=HOST, headers=HTML) as later:
                assert sign(later) == "unknown"
                soup = page(later, "/checks")
                assert "Overdue" in soup.select(".standing")[0].get_text()
                assert got(later, "/checks")["standings"][0]["state"] == "unknown"
                assert got(later, f"/checks/{ids[2]}")["is_latest"] is True
        finally:
            connection.execute("UPDATE checks SET created_at = created_at + interval '9 days'")


def test_a_catalog_that_does_not_answer_leaves_the_sign_unknown(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unanswered(connection: Any) -> Any:
        del connection
        raise TimeoutError

    monkeypatch.setattr(nights, "verdicts", unanswered)
    client.app.state.signs.forget()  # type: ignore[attr-defined] # an application of ours
    assert sign(client) == "unknown"


def test_without_an_index_there_is_nothing_to_show(
    postgres_url: str, template: str, tmp_path: Path
) -> None:
    with cloned(postgres_url, template) as database_url:
        empty = load_settings(DATABASE_URL=database_url, data_dir=tmp_path, embedder="hashing:64")
        with TestClient(create_app(empty), base_url=HOST, headers=HTML) as client:
            soup = page(client, "/checks")
            assert "no index yet" in soup.get_text()
            assert not soup.select("header .standing-sign")
            assert got(client, "/checks") == {"checks": [], "standings": [], "more": False}


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ([], "unknown"),
        (["stable"], "stable"),
        (["stable", "warn"], "warn"),
        (["stable", "unknown"], "unknown"),
        (["warn", "inconclusive", "stable"], "inconclusive"),
        (["stable", "fail", "unknown"], "fail"),
    ],
)
def test_the_gravest_state_is_shown(states: list[str], worst: str) -> None:
    assert gravest(states) == worst
    assert Sign(state=worst, counts={worst: 1}).shown
    assert Sign().shown
