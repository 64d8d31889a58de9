"""Web pages through the whole of ingest, from a real server to what can be found."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import IngestRequest, ingest, remove, retry
from ingest.report import IngestReport
from search_app.bootstrap import Services
from search_app.catalog import collections, sources
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.retrieval import SearchRequest
from search_app.types import Failure, SearchResult
from tests.page_server import Answer, PageServer, closed_port, page_server

TEXT = "The ferry to the island leaves the harbour at seven every morning, and on Sundays at nine. "
JAPANESE = "図書館は毎週月曜日に休館します。返却は入口の箱をご利用ください。" * 4


def article(text: str = TEXT, title: str = "Timetable", language: str = "en") -> str:
    return (
        f'<html lang="{language}"><head><title>{title}</title>'
        '<meta name="author" content="Ann Lee"><meta property="og:site_name" content="Harbour">'
        '<meta property="article:published_time" content="2026-03-01T10:00:00Z"></head><body>'
        '<nav><a href="/">Home</a> <a href="/imprint">Imprint</a></nav>'
        f"<main><article><h1>{title}</h1><h2>Ferries</h2><p>{text * 3}</p>"
        "<table><tr><th>Age</th><th>Price</th></tr><tr><td>Child</td><td>3</td></tr></table>"
        "<ul><li>Bring a coat</li></ul></article></main>"
        "<footer>Copyright 2019</footer></body></html>"
    )


@pytest.fixture
def pages() -> Iterator[PageServer]:
    with page_server() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return settings.model_copy(update={"fetch_private": True, "fetch_seconds": 10})


async def add(services: Services, *arguments: str, prune: bool = False) -> IngestReport:
    return await ingest(services, IngestRequest(arguments=arguments, prune=prune))


async def find(services: Services, query: str, filters: Sequence[str] = ()) -> SearchResult:
    return await services.searcher.search(SearchRequest(query=query, filters=filters))


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    done = report.documents
    return done.added, done.updated, done.unchanged, done.removed, done.failed


async def test_a_page_is_found_by_its_main_text(services: Services, pages: PageServer) -> None:
    uri = pages.page("/ferries/times.html?day=1", article())
    report = await add(services, f"{uri}#prices")
    assert counts(report) == (1, 0, 0, 0, 0)
    result = await find(services, "ferry to the island")
    hit = result.hits[0]
    assert (hit.document.uri, hit.document.title) == (uri, "Timetable")
    assert list(hit.heading_path) == ["Timetable", "Ferries"]
    everything = "\n".join(hit.text for hit in result.hits)
    assert "| Child | 3 |" in everything
    assert "- Bring a coat" in everything
    assert "Imprint" not in everything
    assert "Copyright" not in everything
    fields = (await all_fields(services))[uri]
    host = uri.split("/")[2]
    assert fields["folder"] == [host, f"{host}/ferries"]
    assert fields["meta"] == {"author": "Ann Lee", "date": "2026-03-01", "site": "Harbour"}
    assert (await find(services, "ferry", [f"folder={host}"])).hits
    assert left_over(services) == []


async def test_only_fetched_files_are_ever_deleted(
    services: Services, pages: PageServer, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    names = ("a.md", "b.html", "c.csv", "d.txt")
    for name in names:
        (notes / name).write_text("id,text\n1,Words of the user's own.\n")
    uri = pages.page("/", article())
    for _ in range(2):
        assert not (await add(services, uri, str(notes))).documents.failed
        assert sorted(path.name for path in notes.iterdir()) == list(names)
    await remove(services, sources=[str(notes)], collection="default")
    assert sorted(path.name for path in notes.iterdir()) == list(names)
    assert left_over(services) == []


async def test_an_unchanged_page_is_not_read_again(
    services: Services, pages: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_etag = pages.page("/etag", article(), ETag='"one"')
    without = pages.page("/plain", article(title="Other"))
    await add(services, with_etag, without)
    pages.pages["/etag"] = Answer(status=304)
    monkeypatch.setattr("ingest.parsing.ParserPool.submit", None)
    assert counts(await add(services, with_etag, without)) == (0, 0, 2, 0, 0)
    asked = {request.path: request.headers for request in pages.received}
    assert asked["/etag"]["if-none-match"] == '"one"'
    assert "if-none-match" not in asked["/plain"]


async def test_a_new_etag_is_kept_for_the_next_time(services: Services, pages: PageServer) -> None:
    uri = pages.page("/", article(), ETag='"one"')
    await add(services, uri)
    pages.page("/", article(), ETag='"two"')
    assert counts(await add(services, uri)) == (0, 0, 1, 0, 0)
    await add(services, uri)
    assert [r.headers.get("if-none-match") for r in pages.received if r.path == "/"] == [
        None,
        '"one"',
        '"two"',
    ]


async def test_a_changed_page_is_replaced_and_a_removed_one_goes(
    services: Services, pages: PageServer
) -> None:
    uri = pages.page("/", article(), ETag='"one"')
    await add(services, uri)
    pages.page("/", article(text="Buses replace the ferry while it is repaired. "), ETag='"two"')
    assert counts(await add(services, uri)) == (0, 1, 0, 0, 0)
    assert "Buses" in (await find(services, "buses")).hits[0].text
    assert not any("seven" in hit.text for hit in (await find(services, "seven")).hits)
    report = await remove(services, sources=[uri], collection="default")
    assert report.documents.removed == 1
    assert not (await find(services, "buses")).hits


async def test_a_whole_site_can_be_removed(services: Services, pages: PageServer) -> None:
    await add(services, *(pages.page(path, article(title=path)) for path in ("/a/1", "/a/2", "/b")))
    report = await remove(services, sources=[f"{pages.url}/a"], collection="default")
    assert report.documents.removed == 2
    report = await remove(services, sources=[pages.url.upper()], collection="default")
    assert report.documents.removed == 1


async def test_only_pages_that_are_gone_are_pruned(services: Services, pages: PageServer) -> None:
    paths = ("/gone", "/missing", "/broken", "/there")
    uris = [pages.page(path, article(title=path)) for path in paths]
    await add(services, *uris)
    for path, status in (("/gone", 410), ("/missing", 404), ("/broken", 503)):
        pages.pages[path] = Answer(status=status)
    report = await add(services, *uris)
    assert counts(report) == (0, 0, 1, 0, 3)
    assert {(Path(e.source).name, e.reason) for e in report.errors} == {
        ("gone", "gone (410)"),
        ("missing", "gone (404)"),
        ("broken", "its server answers 503 (service unavailable)"),
    }
    assert await document_uris(services) == set(uris)
    report = await add(services, *uris, prune=True)
    assert counts(report) == (0, 0, 1, 2, 3)
    assert await document_uris(services) == {uris[2], uris[3]}


async def test_a_page_that_could_not_be_fetched_can_be_tried_again(
    services: Services, pages: PageServer
) -> None:
    there = pages.page("/", article())
    pages.pages["/late"] = Answer(status=500)
    nowhere = f"http://127.0.0.1:{closed_port()}/"
    report = await add(services, there, f"{pages.url}/late", nowhere)
    assert counts(report) == (1, 0, 0, 0, 2)
    pages.page("/late", article(title="Late"))
    report = await retry(services, collection="default")
    assert counts(report) == (1, 0, 0, 0, 1)
    assert [error.source for error in report.errors] == [nowhere]


async def test_an_interrupted_page_is_finished_by_the_next_ingest(
    services: Services, pages: PageServer, tmp_path: Path
) -> None:
    uri = pages.page("/", article(), ETag='"one"')
    await add(services, uri)
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
        known = (await sources.known(connection, collection, [uri]))[uri]
        row = {"id": known.id, "uri": uri, "reader": known.reader, "options": known.options}
        begun = {**row, "root": known.root, "validators": known.validators}
        run_id = (await add(services, uri)).run_id
        await sources.begin(connection, collection, run_id, [begun])
    other = tmp_path / "note.md"
    other.write_text("# Note\n\nNothing of importance.")
    assert counts(await add(services, str(other))) == (1, 0, 1, 0, 0)
    assert "if-none-match" not in pages.received[-1].headers
    async with transaction(services.engine) as connection:
        assert not await sources.unfinished(connection, collection, run_id)


@pytest.mark.parametrize(
    ("encoding", "header", "meta"),
    [
        ("cp932", "Shift_JIS", ""),
        ("cp932", "", "Shift_JIS"),
        ("euc-jp", "EUC-JP", ""),
        ("euc-jp", "", "EUC-JP"),
        # Both are wrong, as many are.
        ("euc-jp", "utf-8", "utf-8"),
        ("utf-8", "Shift_JIS", "Shift_JIS"),
    ],
)
async def test_japanese_pages_in_old_encodings(
    services: Services, pages: PageServer, encoding: str, header: str, meta: str
) -> None:
    declared = f'<meta charset="{meta}">' if meta else ""
    html = article(text=JAPANESE, title="図書館案内", language="ja")
    body = html.replace("<head>", f"<head>{declared}").encode(encoding)
    content_type = f"text/html; charset={header}" if header else "text/html"
    pages.pages["/"] = Answer(body=body, headers={"Content-Type": content_type})
    assert counts(await add(services, f"{pages.url}/")) == (1, 0, 0, 0, 0)
    hit = (await find(services, "休館")).hits[0]
    assert "返却は入口の箱をご利用ください。" in hit.text
    assert (hit.document.title, hit.document.language) == ("図書館案内", "ja")


async def test_what_is_no_html_goes_to_its_own_loader(
    services: Services, pages: PageServer
) -> None:
    kinds = {
        "/notes": ("text/markdown", "# Ferry notes\n\nA note about the ferry."),
        "/plain": ("text/plain", "Plain words about the ferry."),
        "/api?format=json": ("application/json", '{"ferry": "leaves at seven"}'),
        "/list": ("text/csv", "id,text\n1,ferry one\n2,ferry two\n"),
    }
    for path, (content_type, body) in kinds.items():
        pages.pages[path] = Answer(body=body.encode(), headers={"Content-Type": content_type})
    report = await add(services, *(f"{pages.url}{path}" for path in kinds))
    assert counts(report) == (5, 0, 0, 0, 0), report.errors
    fields = await all_fields(services)
    assert {known["type"] for known in fields.values()} == {"markdown", "text", "json", "csv"}
    assert fields[f"{pages.url}/list#2"]["source"] == f"{pages.url}/list"
    titles = {hit.document.uri: hit.document.title for hit in (await find(services, "ferry")).hits}
    assert titles[f"{pages.url}/plain"] == "plain.txt"


async def test_an_error_page_that_claims_to_be_well_is_read_as_what_it_is(
    services: Services, pages: PageServer
) -> None:
    uri = pages.page("/report.pdf", "<html><body><h1>Not found</h1><p>Sorry.</p></body></html>")
    assert counts(await add(services, uri)) == (1, 0, 0, 0, 0)
    assert "Sorry" in (await find(services, "sorry")).hits[0].text


async def test_a_page_without_text_is_one_failure(services: Services, pages: PageServer) -> None:
    scripted = pages.page("/", "<html><body><div id=app></div><script>x()</script></body></html>")
    empty = pages.page("/empty", "")
    report = await add(services, scripted, empty, pages.page("/good", article()))
    assert counts(report) == (1, 0, 0, 0, 2)
    assert {e.source for e in report.errors} == {scripted, empty}
    assert all("no text" in e.reason or "empty" in e.reason for e in report.errors)


async def test_lines_that_are_no_address_are_failures_of_their_own(
    services: Services, pages: PageServer
) -> None:
    uri = pages.page("/", article())
    request = IngestRequest(
        arguments=["ftp://example.com/", "https://me:hunter2@example.com/", uri, f"{uri}#again"],
        refused=[Failure(source="list.txt:3", reason="no address")],
    )
    report = await ingest(services, request)
    assert counts(report) == (1, 0, 0, 0, 3)
    assert "list.txt:3" in {error.source for error in report.errors}
    assert "hunter2" not in str(report)
    async with transaction(services.engine) as connection:
        kept = await connection.exec_driver_sql("SELECT configuration::text FROM runs")
        assert "hunter2" not in str(kept.all())


async def test_private_pages_are_refused_by_default(services: Services, pages: PageServer) -> None:
    services.settings = services.settings.model_copy(update={"fetch_private": False})
    report = await add(services, pages.page("/", article()))
    assert counts(report) == (0, 0, 0, 0, 1)
    assert "UNMOVED_FETCH_PRIVATE=true" in report.errors[0].reason
    assert pages.received == []


async def test_stopping_an_ingest_stops_its_fetches(services: Services, pages: PageServer) -> None:
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(handler: object) -> None:
        del handler
        loop.call_soon_threadsafe(reached.set)
        pages.stopping.wait()

    pages.pages["/"] = wait
    services.settings = services.settings.model_copy(update={"fetch_seconds": 3600})
    task = asyncio.create_task(add(services, f"{pages.url}/"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_over(services) == []


async def all_fields(services: Services) -> dict[str, dict[str, Any]]:
    async with transaction(services.engine) as connection:
        rows = await connection.exec_driver_sql("SELECT uri, fields FROM documents")
        return {row.uri: row.fields for row in rows}


async def document_uris(services: Services) -> set[str]:
    return set(await all_fields(services))


def left_over(services: Services) -> list[Path]:
    folder = services.settings.data_dir.parent / "temporary"
    return [path for path in folder.rglob("*") if "unmoved-pages" in str(path)]
