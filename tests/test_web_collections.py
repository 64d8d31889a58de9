"""The pages to look after collections, without scripts, and the API beside them."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import psycopg
import pytest
from bs4 import BeautifulSoup, Tag
from sqlalchemy import insert, make_url, text
from starlette.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest
from search_app import jobs
from search_app.bootstrap import Services, open_services
from search_app.catalog import listing
from search_app.catalog import tables as t
from search_app.catalog.addressing import address_of, at
from search_app.catalog.collections import LONGEST_NAME, check_name, get_or_create
from search_app.catalog.engine import transaction
from search_app.catalog.listing import EntryState, Sort, Wanted
from search_app.config import Settings, load_settings
from search_app.errors import InvalidInputError, NotFoundError
from search_app.jobs import Job
from search_app.types import Collection
from search_app.web.app import create_app
from search_app.web.collection_view import collection_url
from search_app.web.csrf import FIELD
from tests.web_site import cloned, run_apart

HOST = "http://localhost"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAUGHTY = Path(__file__).parents[2] / "shared" / "data" / "naughty" / "strings.jsonl"
ODD = "Büro/Akten <b>#1?"


def write_files(folder: Path) -> None:
    (folder / "ja").mkdir(parents=True)
    (folder / "en").mkdir()
    for number in range(60):
        (folder / "en" / f"note {number:02}.md").write_text(
            f"# Note {99 - number}\n\n" + f"Sentence {number} of the harbour log. " * (number + 1)
        )
    (folder / "ja" / "図書館.md").write_text("# 図書館\n\n図書館は毎週月曜日に休館します。\n")
    (folder / "en" / "100%_done.txt").write_text("Everything is done, by a hundred percent.\n")
    for number in range(7):
        (folder / f"scan {number}.pdf").write_bytes(b"%PDF-1.7 nothing in it")
    (folder / "torn.docx").write_bytes(b"PK\x03\x04 nothing in it")
    rows = [{"id": f"row {n}", "text": f"Record number {n} about granite."} for n in range(5)]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


async def fill(settings: Settings, folder: Path) -> None:
    async with open_services(settings) as services:
        await ingest(services, IngestRequest(arguments=[str(folder)], collection="harbour"))
        await ingest(services, IngestRequest(arguments=[str(folder / "ja")], collection=ODD))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("care") / "library"
    write_files(made)
    return made


@pytest.fixture(scope="module")
def settings(postgres_url: str, template: str, folder: Path) -> Iterator[Settings]:
    with cloned(postgres_url, template) as database_url:
        made = load_settings(
            DATABASE_URL=database_url,
            data_dir=folder.parent / "data",
            embedder="hashing:64",
            max_file_mb=1,
        )
        run_apart(fill(made, folder))
        yield made


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(settings: Settings) -> Iterator[TestClient]:
    app = create_app(settings)
    with TestClient(app, base_url=HOST, headers=HTML, follow_redirects=False) as opened:
        yield opened


@pytest.fixture
def client(shared: TestClient, settings: Settings) -> Iterator[TestClient]:
    """Give a browser without cookies; what it asked for is forgotten afterwards."""
    shared.cookies.clear()
    yield shared
    assert settings.database_url is not None
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        connection.execute("DELETE FROM procrastinate_jobs")


def page(client: TestClient, address: str, status: int = 200) -> BeautifulSoup:
    response = client.get(address)
    assert response.status_code == status, (address, response.text[:2000])
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return BeautifulSoup(response.text, "html.parser")


def texts(soup: BeautifulSoup | Tag, selector: str) -> list[str]:
    return [" ".join(found.get_text(" ").split()) for found in soup.select(selector)]


def one(soup: BeautifulSoup | Tag, selector: str) -> Tag:
    (found,) = soup.select(selector)
    return found


def facts(soup: BeautifulSoup | Tag) -> dict[str, str]:
    return dict(zip(texts(soup, ".facts dt"), texts(soup, ".facts dd"), strict=True))


def submit(client: TestClient, form: Tag, **changes: Any) -> tuple[int, str]:
    """Send a form as a browser would, its hidden fields included; give status and location."""
    fields = [
        (str(field["name"]), str(field.get("value", "")))
        for field in form.select("input[name]")
        if field.get("type") in {"hidden", "url", "text"} and str(field["name"]) not in changes
    ]
    for name, value in changes.items():
        fields += [(name, each) for each in (value if isinstance(value, list) else [value])]
    response = client.post(
        str(form["action"]),
        content=urlencode(fields),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    return response.status_code, response.headers.get("location", response.text)


def rows(soup: BeautifulSoup) -> list[str]:
    return texts(soup, ".documents tbody .entry-title")


async def job_at(services: Services, location: str) -> Job:
    assert re.fullmatch(r"/jobs/\d+", location), location[:500]
    return await jobs.get(services.engine, int(location.rpartition("/")[2]))


# --- Collections ------------------------------------------------------------------------------


def test_every_collection_says_what_it_holds(client: TestClient) -> None:
    soup = page(client, "/collections")
    assert texts(soup, ".shelf-item h2") == [ODD, "harbour"]
    harbour = soup.select(".shelf-item")[1]
    assert texts(harbour, ".counts")[0].startswith("67 documents")
    assert "8 failed" in texts(harbour, ".counts")[0]
    assert texts(harbour, ".shelf-shares a")[0] == "English 66"
    assert "Markdown 61" in texts(harbour, ".shelf-shares a")
    shown = " ".join(texts(harbour, ".shelf-facts div"))
    assert "pgvector" in shown
    assert "256 tokens a passage" in shown
    assert "hashing/hashing:64" in shown
    assert "Partly failed" in shown
    assert soup.select(".places a[aria-current]")[0]["href"] == "/collections"


def test_every_link_of_the_collections_leads_somewhere(client: TestClient) -> None:
    for address in {str(link["href"]) for link in page(client, "/collections").select("main a")}:
        page(client, address)


def test_a_collection_shows_its_index_and_runs(client: TestClient) -> None:
    soup = page(client, "/collections/harbour")
    assert facts(soup)["Documents"] == "67"
    assert facts(soup)["Sources"] == "71"
    assert facts(soup)["Failed sources"] == "8"
    assert int(facts(soup)["Passages"].replace(",", "")) > 67
    (index,) = texts(soup, "main > h2:-soup-contains('Indexes') + .table-frame tbody tr")
    assert "Active" in index
    assert "pgvector" in index
    assert "Ingest" in texts(soup, "main > h2:-soup-contains('runs') + .table-frame tbody tr")[0]
    for address in {str(link["href"]) for link in soup.select("main a:not([href^='/api/'])")}:
        page(client, address)
    formats = [str(link["href"]) for link in soup.select("main a[href^='/api/']")]
    assert formats
    for address in formats:
        assert client.get(address).status_code == 200


def test_unknown_collections_lead_to_those_there_are(client: TestClient) -> None:
    for address in ("nope", "..%2f..%2fetc", quote(str(uuid4())), "a%00b", "x" * 300, "%20"):
        for rest in ("", "/documents", "/remove"):
            response = client.get(f"/collections/{address}{rest}")
            assert response.status_code in {400, 404}, address
            soup = BeautifulSoup(response.text, "html.parser")
            if response.status_code == 404:
                assert "/collections" in [str(link["href"]) for link in soup.select("main a")]
    assert client.get("/collections?name=nope").status_code == 404


def test_names_a_path_cannot_carry_are_addressed_by_id(client: TestClient) -> None:
    link = page(client, "/collections").select(".shelf-item h2 a")[0]
    assert re.fullmatch(r"/collections/[0-9a-f-]{36}", str(link["href"]))
    assert texts(page(client, str(link["href"])), "h1") == [ODD]
    led = client.get("/collections?name=" + quote(ODD))
    assert (led.status_code, led.headers["location"]) == (303, link["href"])


def test_a_collection_goes_only_after_a_question(client: TestClient) -> None:
    soup = page(client, "/collections/harbour/remove")
    assert "67 documents would go" in soup.get_text()
    assert not page(client, "/jobs").select(".table")
    status, location = submit(client, one(soup, "form[action$='/remove']"))
    assert status == 303
    job = page(client, location)
    assert texts(job, "h1") == ["Removal of the collection"]
    assert facts(job)["Collection"] == "harbour"


def test_forms_without_their_token_are_refused(client: TestClient) -> None:
    form = one(page(client, "/collections/harbour/remove"), "form[action$='/remove']")
    assert submit(client, form, **{FIELD: "0" * 64})[0] == 403
    assert submit(client, form, **{FIELD: "é"})[0] == 403
    for address in ("retry", "addresses", "documents"):
        assert client.post(f"/collections/harbour/{address}").status_code == 403
    assert client.post("/jobs/1/cancel").status_code == 403
    assert not page(client, "/jobs").select(".table")


async def test_a_web_address_becomes_a_job(client: TestClient, services: Services) -> None:
    form = one(page(client, "/collections/harbour"), "form.address")
    status, location = submit(client, form, url=" HTTPS://example.org/Ein Pfad ")
    assert status == 303
    job = await job_at(services, location)
    assert (job.kind, list(job.arguments)) == ("ingest", ["https://example.org/Ein Pfad"])
    for wrong in (
        "",
        "example.org",
        "file:///etc/passwd",
        "https://a\x07b",
        "http://" + "x" * 3000,
    ):
        assert submit(client, form, url=wrong)[0] == 400, wrong


# --- Documents --------------------------------------------------------------------------------


def test_documents_are_paged_sorted_and_counted(client: TestClient) -> None:
    first = page(client, "/collections/harbour/documents")
    assert texts(first, "#count") == ["1–50 of 75"]
    second = page(client, str(one(first, ".pager [rel=next]")["href"]))
    assert texts(second, "#count") == ["51–75 of 75"]
    places = texts(first, ".entry-place") + texts(second, ".entry-place")
    assert len(places) == 75
    assert len(set(places)) == 75
    assert texts(page(client, "/collections/harbour/documents?page=3"), ".notice h2") == [
        "There is nothing on this page"
    ]
    by_title = page(client, str(one(first, "#sort-title")["href"]))
    titles = [title.lower() for title in rows(by_title)]
    assert titles == sorted(titles)
    reverse = page(client, str(one(by_title, "#sort-title")["href"]))
    assert rows(reverse)[0] == "図書館"
    by_chunks = page(client, str(one(first, "#sort-chunks")["href"]))
    numbers = [int(cell) for cell in texts(by_chunks, "tbody .number")]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > 1
    assert one(by_chunks, "[aria-sort=descending]").get_text().strip() == "Passages"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("q=note+1", 10),
        ("q=NOTE+1", 10),
        ("q=100%25_d", 1),
        ("q=%25", 1),
        # A wildcard of SQL is a character like any other.
        ("q=n_te+1", 0),
        ("q=%5C", 0),
        ("q=rows.jsonl", 5),
        ("state=failed", 8),
        ("state=indexed", 67),
        ("state=pending", 0),
        ("state=removing", 0),
        ("language=ja", 1),
        ("type=markdown&language=en", 60),
        ("folder=library/ja", 1),
        ("folder=library", 67),
        ("folder=nowhere", 0),
        ("q=scan&state=failed", 7),
        ("q=scan&language=en", 0),
        ("q=%F0%9F%98%80", 0),
    ],
)
def test_documents_are_filtered(client: TestClient, query: str, number: int) -> None:
    soup = page(client, f"/collections/harbour/documents?{query}")
    assert len(rows(soup)) == min(number, 50)
    if number:
        assert texts(soup, "#count b") == [f"1–{min(number, 50)} of {number}"]
    else:
        assert texts(soup, ".notice h2") == ["Nothing here is like that"]
    counted = client.get(f"/api/v1/collections/harbour/documents?{query}").json()
    assert counted["total"] == number


@pytest.mark.parametrize(
    "query", ["state=lost", "sort=colour", "order=up", "q=a%00b", "q=" + "x" * 501, "language=%00"]
)
def test_what_no_list_can_mean_is_refused(client: TestClient, query: str) -> None:
    page(client, f"/collections/harbour/documents?{query}", status=400)


def test_a_failed_source_says_why_and_can_be_retried(client: TestClient) -> None:
    soup = page(client, "/collections/harbour/documents?q=scan+3")
    assert rows(soup) == ["scan 3.pdf"]
    assert "not a readable PDF" in texts(soup, ".entry-reason")[0]
    assert texts(soup, "td[data-label=State]") == ["Failed"]
    button = one(soup, "button[name=retry]")
    status, location = submit(client, one(soup, "form[data-select]"), retry=str(button["value"]))
    assert status == 303
    assert texts(page(client, location), ".places-list")[0].endswith("scan 3.pdf")


async def test_chosen_documents_are_read_again_or_removed_after_a_question(
    client: TestClient, services: Services, folder: Path
) -> None:
    soup = page(client, "/collections/harbour/documents?q=rows&sort=title")
    sources = [str(box["value"]) for box in soup.select("input[name=source]")]
    assert len(sources) == 5
    assert len(set(sources)) == 1
    form = one(soup, "form[data-select]")
    status, location = submit(client, form, source=sources, action="again")
    assert status == 303
    job = await job_at(services, location)
    assert job.force
    assert list(job.arguments) == [str(folder / "rows.jsonl")]

    status, asked = submit(client, form, source=sources, action="remove")
    assert status == 200
    question = BeautifulSoup(asked, "html.parser")
    assert texts(question, "h1") == ["Remove 1 source?"]
    assert "5 documents would go" in question.get_text()
    status, location = submit(client, one(question, "form[action$='/documents']"), action="remove")
    assert status == 303
    job = await job_at(services, location)
    assert (job.kind, list(job.arguments)) == ("remove", [str(folder / "rows.jsonl")])


def test_choices_that_cannot_be_meant_are_refused(client: TestClient) -> None:
    form = one(page(client, "/collections/harbour/documents"), "form[data-select]")
    assert submit(client, form, action="remove")[0] == 400
    assert submit(client, form, action="remove", source="x")[0] == 400
    assert submit(client, form, action="remove", source=str(uuid4()))[0] == 404
    known = str(
        one(page(client, "/collections/harbour/documents?q=torn"), "[name=source]")["value"]
    )
    assert submit(client, form, action="fold", source=known)[0] == 400
    elsewhere = one(page(client, page_of(client, ODD) + "/documents"), "form[data-select]")
    assert submit(client, elsewhere, action="again", source=known)[0] == 404


def page_of(client: TestClient, name: str) -> str:
    return client.get("/collections?" + urlencode({"name": name})).headers["location"]


async def test_removing_a_page_names_those_below_it(services: Services, client: TestClient) -> None:
    addresses = ["https://x.example/docs", "https://x.example/docs/a", "https://x.example/docsx"]
    async with transaction(services.engine) as connection:
        collection = await get_or_create(connection, "web pages")
        await put_sources(connection, collection, addresses)
    soup = page(client, "/collections/web pages/documents?sort=title")
    docs = one(soup, "tr:has(.path[title='https://x.example/docs']) input[name=source]")
    form = one(soup, "form[data-select]")
    _, asked = submit(client, form, action="remove", source=str(docs["value"]))
    question = BeautifulSoup(asked, "html.parser")
    assert texts(question, "h1") == ["Remove 2 sources?"]
    assert "1 source that was not chosen" in question.get_text()


async def put_sources(connection: Any, collection: Collection, uris: list[str]) -> None:
    for uri in uris:
        await connection.execute(
            insert(t.sources).values(
                id=uuid4(),
                collection_id=collection.id,
                uri=uri,
                reader="none",
                options={},
                root=uri,
                state="failed",
                reason=f"cannot be read: {uri}",
            )
        )


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("descending", [False, True])
async def test_every_order_pages_through_everything_once(
    services: Services, sort: Sort, *, descending: bool
) -> None:
    async with transaction(services.engine) as connection:
        collection = await at(connection, "harbour")
        wanted = Wanted(sort=sort, descending=descending)
        pages = [
            await listing.entries(
                connection, collection, wanted, chunking="", limit=10, offset=offset
            )
            for offset in range(0, 90, 10)
        ]
    found = [entry.uri for each in pages for entry in each]
    assert len(found) == len(set(found)) == 75


async def test_a_failed_rereading_keeps_the_document_and_says_so(
    services: Services, client: TestClient, tmp_path: Path
) -> None:
    path = tmp_path / "turns.md"
    path.write_text("# Turns\n\nIt was readable once.\n")
    request = IngestRequest(arguments=[str(path)], collection="turning")
    await ingest(services, request)
    path.write_text("")
    await ingest(services, request)
    soup = page(client, "/collections/turning/documents")
    assert texts(soup, "td[data-label=State]") == ["Failed"]
    assert "empty" in texts(soup, ".entry-reason")[0]
    assert texts(page(client, str(one(soup, ".entry-title a")["href"])), "h1") == ["Turns"]
    async with transaction(services.engine) as connection:
        (entry,) = await listing.entries(
            connection,
            await at(connection, "turning"),
            Wanted(state=EntryState.FAILED),
            chunking="",
            limit=5,
        )
    assert entry.document_id is not None


# --- Failures, models, jobs -------------------------------------------------------------------


def test_failures_are_grouped_by_their_reason(client: TestClient) -> None:
    soup = page(client, "/failures?collection=harbour")
    groups = soup.select(".failed-group")
    assert texts(groups[0], ".failed") == ["7 sources"]
    assert len(groups[0].select("li")) == 5
    everything = page(client, str(one(groups[0], "p > a[href*=reason]")["href"]))
    assert len(everything.select(".failed-sources li")) == 7
    assert texts(everything, "#count") == ["7 sources"]
    status, location = submit(client, soup.select(".retry-all form")[0])
    assert (status, texts(page(client, location), "h1")) == (303, ["Retry of failures"])
    status, location = submit(
        client,
        groups[1].select("form")[0],
        source=str(one(groups[1], "button[name=source]")["value"]),
    )
    assert texts(page(client, location), ".places-list")[0].endswith("torn.docx")
    assert texts(page(client, f"/failures?{urlencode({'collection': ODD})}"), ".notice") == [
        "Nothing is failed now."
    ]
    assert page(client, "/failures?collection=nope", status=404)


def test_models_show_what_was_observed(client: TestClient) -> None:
    soup = page(client, "/models")
    link = soup.select("tbody th a")[0]
    shown = page(client, str(link["href"]))
    assert texts(shown, "h1") == ["hashing/hashing:64"]
    assert facts(shown)["Dimensions"] == "64"
    assert facts(shown)["Noise floor"] == "equal to the bit"
    assert {"harbour", ODD} <= set(texts(shown, "tbody th a"))
    assert "The same model" in texts(shown, "#proofs ~ .table-frame tbody tr")[0]
    assert page(client, f"/models/{uuid4()}", status=404)
    assert page(client, "/models/hashing", status=404)


def test_waiting_work_is_shown_and_can_be_cancelled(client: TestClient) -> None:
    assert texts(page(client, "/jobs"), ".notice")[-1] == "Nothing was asked for yet."
    form = one(page(client, "/collections/harbour"), "form[action$='/retry']")
    _, location = submit(client, form)
    soup = page(client, location)
    assert texts(soup, "#job .status") == ["Waiting"]
    assert "ingest worker" in texts(soup, "#job .notice")[0]
    assert one(soup, "#job")["hx-trigger"] == "every 1s"
    jobs_page = page(client, "/jobs")
    assert one(jobs_page, "#jobs")["hx-trigger"] == "every 2s"
    assert texts(jobs_page, "tbody .status") == ["Waiting"]
    assert "Waiting" in page(client, "/collections/harbour").get_text()
    assert submit(client, form)[1] == location
    status, back = submit(client, one(soup, "form[action$='/cancel']"))
    assert (status, back) == (303, location)
    ended = page(client, location)
    assert texts(ended, "#job .status") == ["Cancelled"]
    assert not one(ended, "#job").has_attr("hx-trigger")
    assert not ended.select("form[action$='/cancel']")
    assert submit(client, one(soup, "form[action$='/cancel']"))[0] == 400
    assert page(client, "/jobs?collection=nope").select(".notice")
    for unknown in ("999999", "x", "9" * 30, "-1", "٣"):
        page(client, f"/jobs/{unknown}", status=404)


# --- Uploads ----------------------------------------------------------------------------------


def upload(
    client: TestClient, files: list[tuple[str, bytes]], into: str = "inbox", **headers: str
) -> Any:
    form = one(page(client, "/collections"), "form[data-upload]")
    token = str(one(form, f"input[name={FIELD}]")["value"])
    return client.post(
        str(form["action"]),
        data={FIELD: token, "collection": into},
        files=[("files", (name, content)) for name, content in files],
        headers=headers,
    )


async def test_uploaded_files_are_kept_and_become_a_job(
    client: TestClient, services: Services, settings: Settings
) -> None:
    response = upload(
        client, [("../../notes.md", b"# Notes\n\nhello"), ("図書.txt", "本".encode())], "新着 #1/2"
    )
    assert response.status_code == 303, response.text
    job = await job_at(services, response.headers["location"])
    assert job.collection == "新着 #1/2"
    kept = [Path(argument) for argument in job.arguments]
    assert [path.name for path in kept] == ["notes.md", "図書.txt"]
    assert kept[0].read_bytes() == b"# Notes\n\nhello"
    assert all(path.is_relative_to(settings.data_dir / "uploads") for path in kept)
    await ingest(services, IngestRequest(arguments=job.arguments, collection=job.collection))
    soup = page(client, page_of(client, "新着 #1/2") + "/documents")
    assert texts(soup, ".entry-place") == ["uploaded notes.md", "uploaded 図書.txt"]


async def test_scripts_are_told_where_the_job_is(client: TestClient, services: Services) -> None:
    response = upload(client, [("a.md", b"# A\n\ntext")], accept="application/json")
    assert response.status_code == 202
    assert (await job_at(services, response.json()["url"])).id == response.json()["id"]


def test_uploads_that_cannot_be_kept_leave_nothing(client: TestClient, settings: Settings) -> None:
    before = sorted((settings.data_dir / "uploads").rglob("*"))
    for files in (
        [],
        [("", b"")],
        [("a.md", b"1"), ("x/a.md", b"2")],
        [("fine.md", b"1"), ("large.md", b"x" * 1_000_001)],
        [("..", b"1")],
    ):
        response = upload(client, files, accept="application/json")
        assert 400 <= response.status_code < 500, (files[:1], response.text)
        assert response.headers["content-type"] == "application/problem+json"
    assert upload(client, [("a.md", b"1")], into=" ").status_code == 400
    assert upload(client, [("a.md", b"1")], into="x" * 201).status_code == 400
    assert [
        path for path in sorted((settings.data_dir / "uploads").rglob("*")) if path.is_file()
    ] == [path for path in before if path.is_file()]
    assert not page(client, "/jobs").select(".table")
    assert client.post("/upload", data={"collection": "x"}).status_code in {403, 415}


# --- The API ----------------------------------------------------------------------------------


def test_the_api_says_the_same_as_the_pages(client: TestClient) -> None:
    api = "/api/v1/collections/harbour"
    found = client.get(api).json()
    shown = facts(page(client, "/collections/harbour"))
    assert [str(found[name]) for name in ("documents", "chunks", "sources", "failed_sources")] == [
        shown[name].replace(",", "")
        for name in ("Documents", "Passages", "Sources", "Failed sources")
    ]
    assert found["languages"]["en"] == 66
    assert found["indexes"][0]["state"] == "active"
    assert client.get(f"/api/v1/collections/{found['id']}").json() == found
    entries = client.get(f"{api}/documents?sort=title&descending=true&limit=3").json()
    listed = page(client, "/collections/harbour/documents?sort=title&order=descending")
    assert [entry["title"] for entry in entries["entries"]] == rows(listed)[:3]
    assert (entries["total"], entries["more"]) == (75, True)
    failed = client.get("/api/v1/failures?collection=harbour&limit=5").json()
    assert (failed["total"], len(failed["failures"]), failed["more"]) == (8, 5, True)
    assert failed["reasons"][0]["sources"] == 7
    model = client.get(f"/api/v1/models/{found['indexes'][0]['model_version_id']}").json()
    assert model["name"] == "hashing/hashing:64"
    assert model["outcomes"]["same"] == len(model["proofs"])
    assert found["indexes"][0] in model["indexes"]


def test_the_api_tells_what_is_not_there(client: TestClient) -> None:
    for address in ("collections/nope", "collections/nope/documents", "failures?collection=nope"):
        response = client.get(f"/api/v1/{address}")
        assert (response.status_code, response.json()["type"]) == (404, "/docs#not-found")
    assert client.get(f"/api/v1/models/{uuid4()}").status_code == 404
    for query in ("state=lost", "sort=colour", "limit=0", "limit=9999", "offset=-1"):
        assert client.get(f"/api/v1/collections/harbour/documents?{query}").status_code == 422
    assert client.get("/api/v1/collections/harbour/documents?q=%00").status_code == 400


# --- Hostile names ----------------------------------------------------------------------------


def naughty() -> list[str]:
    if not NAUGHTY.exists():
        pytest.skip(f"{NAUGHTY} is not there")
    lines = NAUGHTY.read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["text"] for line in lines))


def can_be_named(name: str) -> bool:
    try:
        check_name(name)
    except InvalidInputError:
        return False
    return True


HOSTILE = [
    ".",
    "..",
    "a/b",
    "a\\b",
    "%2e%2e",
    "%2F",
    "?",
    "#",
    "a b",
    " a ",
    "a?b=c&d#e",
    ";",
    "documents",
    "remove",
    "{address}",
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "𓀀" * LONGEST_NAME,
    "<b>&amp;\"'",
]


@pytest.mark.slow
async def test_hostile_names_survive_every_page(client: TestClient, services: Services) -> None:
    names = [name for name in dict.fromkeys([*naughty(), *HOSTILE]) if can_be_named(name)]
    assert len(names) > 400
    async with transaction(services.engine) as connection:
        for name in names:
            collection = await get_or_create(connection, name)
            await put_sources(connection, collection, [f"/files/{name}"])
    shelf = page(client, "/collections")
    links = {str(link.string): str(link["href"]) for link in shelf.select(".shelf-item h2 a")}
    assert set(names) <= links.keys()
    for name in names:
        address = links[name]
        soup = page(client, address)
        assert one(soup, "h1").string == name
        assert not soup.select("main img, main script, main iframe, main b:not(.path b)")
        documents = page(client, f"{address}/documents")
        assert str(one(documents, ".back a span + span").string) == name
        assert one(documents, ".path")["title"] == f"/files/{name}"
        assert client.get("/api/v1" + address).json()["name"] == name
    for name in [*names[::9], *HOSTILE]:
        address = links[name]
        assert page(client, f"{address}/remove").select("form")
        failed = page(client, "/failures?" + urlencode({"collection": name}))
        assert len(failed.select(".failed-sources li")) == 1
        led = client.get("/collections?" + urlencode({"name": name}))
        assert led.headers["location"] == address


async def test_a_name_that_looks_like_an_id_never_hides_another(services: Services) -> None:
    async with transaction(services.engine) as connection:
        first = await get_or_create(connection, "shadowed")
        second = await get_or_create(connection, str(first.id))
        assert await at(connection, str(first.id)) == first
        assert await at(connection, address_of(second)) == second
        assert collection_url(second).endswith(str(second.id))
        with pytest.raises(NotFoundError):
            await at(connection, str(uuid4()))


@pytest.mark.slow
async def test_hostile_titles_and_paths_survive_the_list(
    client: TestClient, services: Services
) -> None:
    strings = [text for text in naughty() if text.strip() and "\x00" not in text]
    async with transaction(services.engine) as connection:
        collection = await get_or_create(connection, "hostile titles")
        await put_sources(connection, collection, [f"/tmp/{n}/{s}" for n, s in enumerate(strings)])
        for number, string in enumerate(strings):
            await connection.execute(
                text(
                    "INSERT INTO documents (id, collection_id, source_id, uri, title, language, "
                    "media_type, fields, state) SELECT :id, :collection, id, uri, :title, 'en', "
                    "'text', '{}', 'indexed' FROM sources WHERE uri = :uri"
                ),
                {
                    "id": uuid4(),
                    "collection": collection.id,
                    "uri": f"/tmp/{number}/{string}",
                    "title": string,
                },
            )
    seen = set()
    for number in range(1, -(-len(strings) // 50) + 1):
        soup = page(client, f"/collections/hostile titles/documents?sort=title&page={number}")
        assert not soup.select("tbody img, tbody script, tbody iframe")
        seen |= {str(link.string).strip() for link in soup.select(".entry-title a")}
    wanted = {" ".join(string.split()) for string in strings}
    assert wanted <= {" ".join(title.split()) for title in seen}
    for string in strings[::10]:
        address = "/collections/hostile titles/documents?" + urlencode({"q": string.strip()[:500]})
        assert rows(page(client, address)), string
