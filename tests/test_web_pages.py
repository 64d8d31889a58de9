"""The pages as a browser without scripts gets them."""

import re
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import UUID, uuid4

import pytest
from bs4 import BeautifulSoup, Tag
from starlette.testclient import TestClient
from structlog.testing import capture_logs

import search_app.web
from ingest.pipeline import IngestRequest, ingest, remove
from search_app.bootstrap import Services
from search_app.catalog.engine import create_engine
from search_app.config import Settings, load_settings
from search_app.errors import ModelMismatchError, UnmovedError
from search_app.web.app import create_app
from search_app.web.assets import DIRECTORY
from search_app.web.csrf import COOKIE, FIELD
from search_app.web.document_page import BEFORE, WINDOW
from tests.test_web_api import Failing
from tests.web_site import ATTACK, Site, built_site, cloned

HOST = "http://localhost"
NOBODY = UUID(int=7)
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


class Page:
    """A page that was fetched, with questions about it."""

    def __init__(self, client: TestClient, address: str, status: int = 200) -> None:
        self.response = client.get(address)
        assert self.response.status_code == status, self.response.text
        assert self.response.headers["content-type"] == "text/html; charset=utf-8"
        self.soup = BeautifulSoup(self.response.text, "html.parser")

    def one(self, selector: str) -> Tag:
        (found,) = self.soup.select(selector)
        return found

    def texts(self, selector: str) -> list[str]:
        return [" ".join(found.get_text(" ").split()) for found in self.soup.select(selector)]

    def link(self, selector: str) -> str:
        return str(self.one(selector)["href"])

    def choice(self, field: str, label: str) -> Tag:
        section = self.one(f"#facet-{field}").parent
        assert section is not None
        (found,) = [
            choice
            for choice in section.select(".choice")
            if choice.select_one(".choice-label").get_text() == label  # type: ignore[union-attr] # every choice has one
        ]
        return found


def parameters(address: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(address).query)


def test_the_first_page_explains_itself(client: TestClient) -> None:
    page = Page(client, "/")
    assert page.one("#q").has_attr("autofocus")
    assert page.texts(".card h2") == ["default", "日本語"]
    assert "6 documents" in page.texts(".card")[0]
    assert page.texts("select[name=collection] option") == ["default", "日本語"]
    assert Page(client, "/?q=").texts(".card h2") == ["default", "日本語"]
    assert Page(client, "/?q=%20%E3%80%80").texts(".card h2") == ["default", "日本語"]


def test_hits_show_what_they_are_and_where_they_come_from(client: TestClient, site: Site) -> None:
    page = Page(client, "/?q=lighthouse+keeper")
    assert re.fullmatch(r"Passages 1–10 \d+ ms 6 documents", page.texts("#count")[0])
    assert page.texts("title") == ["lighthouse keeper — Unmoved"]
    hit = page.soup.select(".hit")[0]
    assert {"lighthouse", "keeper"} <= {mark.get_text() for mark in hit.select(".snippet mark")}
    assert hit.select_one(".snippet")["lang"] == "en"  # type: ignore[index] # it is there
    about = hit.select_one(".about").get_text(" ")  # type: ignore[union-attr] # it is there
    assert "harbour.md" in about
    assert "English" in about
    assert f"run {str(site.report.run_id)[:8]}" in about
    assert page.texts(".hit .rank") == [str(rank) for rank in range(1, 11)]


def test_the_language_of_each_hit_is_told_to_the_browser(client: TestClient) -> None:
    page = Page(client, "/?q=" + quote("図書館の休館日"))
    first = page.soup.select(".hit")[0]
    assert first.select_one(".snippet")["lang"] == "ja"  # type: ignore[index] # it is there
    assert "図書館" in [mark.get_text() for mark in first.select("mark")]


def test_paging_keeps_the_search_and_meets_no_hit_twice(client: TestClient) -> None:
    address, seen = "/?q=night+star&filter=language%3Den&exact=1", []
    for number in range(1, 4):
        page = Page(client, address)
        ranks = page.texts(".hit .rank")
        assert ranks == [str(10 * (number - 1) + place) for place in range(1, 11)]
        seen += [str(link["href"]) for link in page.soup.select(".hit-title a")]
        address = page.link("#later")
        assert dict(parameters(address)) == {
            "q": "night star",
            "filter": "language=en",
            "page": str(number + 1),
            "exact": "1",
        }
    assert len({parameters(link)[0] for link in seen}) == 30
    assert page.link("#earlier") == "/?q=night+star&filter=language%3Den&page=2&exact=1"
    assert "#later" not in Page(client, "/?q=harbour&collection=" + quote("日本語")).response.text


def test_filters_toggle_and_count_what_the_others_leave(client: TestClient) -> None:
    page = Page(client, "/?q=harbour")
    japanese = page.choice("language", "Japanese")
    assert japanese.select_one(".choice-count").get_text() == "1"  # type: ignore[union-attr] # it is there
    page = Page(client, str(japanese["href"]))
    chosen = page.choice("language", "Japanese")
    assert chosen["aria-current"] == "true"
    assert page.texts("#count")[0].endswith("1 document")
    # The other language keeps its count, since its own field does not narrow it.
    english = page.choice("language", "English")
    assert english.select_one(".choice-count").get_text() == "5"  # type: ignore[union-attr] # it is there
    assert parameters(str(english["href"])) == [("q", "harbour"), ("filter", "language=ja,en")]
    assert parameters(str(chosen["href"])) == [("q", "harbour")]
    assert page.texts(".chip > span:first-child") == ["language=ja"]
    assert page.link(".chip") == "/?q=harbour"
    # A search from the form keeps the filters.
    assert page.one("input[name=filter][form=search]")["value"] == "language=ja"


def test_folders_stand_under_each_other_and_commas_are_no_trap(client: TestClient) -> None:
    page = Page(client, "/?q=harbour")
    assert page.choice("folder", "library").parent["class"] == ["depth-0"]  # type: ignore[index] # it is there
    english = page.choice("folder", "en")
    assert english.parent["class"] == ["depth-1"]  # type: ignore[index] # it is there
    assert ("filter", "folder=library/en") in parameters(str(english["href"]))
    notes = page.choice("folder", "notes, old")
    assert ("filter", 'folder="library/en/notes, old"') in parameters(str(notes["href"]))
    page = Page(client, str(notes["href"]))
    assert page.choice("folder", "notes, old")["aria-current"] == "true"
    assert page.texts("#count")[0].endswith("1 document")


def test_own_filters_are_added_to_those_in_force(client: TestClient) -> None:
    page = Page(client, "/?q=harbour&filter=language%3Den&filter=meta.year%3E%3D2020")
    assert page.texts(".chip > span:first-child") == ["language=en", "meta.year>=2020"]
    form = page.one("form.own")
    kept = [(field["name"], field["value"]) for field in form.select("input[type=hidden]")]
    assert kept == [("q", "harbour"), ("filter", "language=en"), ("filter", "meta.year>=2020")]
    assert page.texts("#results .notice h2") == ["No document passes these filters"]


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/?q=x&page=0", 400, "page '0'"),
        ("/?q=x&page=-1", 400, "page '-1'"),
        ("/?q=x&page=101", 400, "1 to 100"),
        ("/?q=x&page=99999999999999999999", 400, "1 to 100"),
        ("/?q=x&page=two", 400, "page 'two'"),
        ("/?q=x&page=²", 400, "page '²'"),
        ("/?q=x&filter=lang", 400, "language=ja"),
        ("/?q=x&filter=meta.%00%3D1", 400, "NUL"),
        ("/?q=a%00b", 400, "NUL"),
        ("/?q=" + "x" * 2001, 400, "2,000"),
        (
            "/?q=x" + "".join(f"&filter=type%3D{n}" for n in range(21)),
            400,
            "20",
        ),
        ("/?q=x&collection=nowhere", 404, "no collection 'nowhere'"),
        ("/?collection=a%00b", 400, "printable"),
    ],
)
def test_what_cannot_be_meant_is_explained_and_the_page_stays_usable(
    client: TestClient, address: str, status: int, says: str
) -> None:
    page = Page(client, address, status)
    assert says in page.texts("[role=alert]")[0]
    assert page.one("#q")["value"] == dict(parameters(address)).get("q", "")


def test_a_page_after_the_last_says_so(client: TestClient) -> None:
    page = Page(client, "/?q=harbour&collection=" + quote("日本語") + "&page=50")
    assert page.texts("#results .notice h2") == ["There is nothing on this page"]
    assert parameters(page.link("#results .notice a")) == [
        ("q", "harbour"),
        ("collection", "日本語"),
    ]


def test_by_words_only_documents_that_have_one_are_counted(client: TestClient) -> None:
    page = Page(client, "/?q=harbour+monday&mode=keyword&filter=language%3Den")
    # The handbook and the quarry; no document has the other word.
    assert "2 documents" in page.texts("#count")[0]
    assert page.choice("language", "English").get_text(" ", strip=True).endswith("2")
    counted = client.get("/api/v1/facets", params={"words": "harbour monday"}).json()
    assert counted["documents"] == 2
    [languages] = [facet for facet in counted["facets"] if facet["field"] == "language"]
    assert [(one["value"], one["documents"]) for one in languages["values"]] == [("en", 2)]
    assert client.get("/api/v1/facets", params={"words": "monday"}).json()["documents"] == 0
    assert client.get("/api/v1/facets", params={"words": " "}).status_code == 400


def test_markup_in_documents_is_shown_as_text_everywhere(client: TestClient) -> None:
    query = quote(f"sentinel paragraph {ATTACK}")
    page = Page(client, f"/?q={query}&filter=type%3Djsonl")
    assert page.one("#q")["value"] == f"sentinel paragraph {ATTACK}"
    hostile = Page(client, page.link(".hit-title a"))
    for shown in (page, hostile, Page(client, f"/?q=x&filter={query}", 400)):
        assert 2 <= len(shown.soup.select("script")) <= 3
        assert all(script.has_attr("src") for script in shown.soup.select("script"))
        assert not shown.soup.select("main img, main [onerror], main [style], [onclick]")
    for place in ("title", "h1", ".document-head .about", ".facts", ".passage-asked"):
        assert ATTACK in hostile.one(place).get_text(), place
    for place in (".hit-title", ".snippet", ".about"):
        assert ATTACK in page.one(place).get_text(), place


def test_a_document_shows_the_passage_asked_for_and_leads_back(
    client: TestClient, site: Site
) -> None:
    search = "/?q=lighthouse+keeper&filter=language%3Den&page=1"
    link = str(Page(client, search).soup.select(".hit-title a")[0]["href"])
    page = Page(client, link)
    assert page.texts("h1") == ["Harbour handbook"]
    assert str(site.folder / "en" / "harbour.md") in page.one(".document-head").get_text()
    asked = page.one(".passage-asked")
    assert asked["id"] == urlsplit(link).fragment
    assert "lighthouse" in [mark.get_text() for mark in asked.select("mark")]
    assert page.link(".back a") == "/?q=lighthouse+keeper&filter=language%3Den"
    assert "The harbour office opens at seven" in page.texts(".passages")[0]
    assert "Type Markdown" in page.texts(".facts div")


def observatory(client: TestClient, ordinal: int) -> tuple[str, str]:
    """Give the addresses of the long document and of one of its passages in it."""
    hits = client.post("/api/v1/search", json={"query": "observatory night star"}).json()["hits"]
    document = hits[0]["document"]["id"]
    chunks = client.get(
        f"/api/v1/documents/{document}", params={"first_ordinal": ordinal, "limit": 1}
    ).json()["chunks"]
    return f"/documents/{document}", f"/documents/{document}?chunk={chunks[0]['id']}"


def ordinals(page: Page) -> list[int]:
    return [int(text) for text in page.texts(".passage-foot a:first-child")]


def test_a_huge_document_is_shown_around_the_passage_and_paged(client: TestClient) -> None:
    whole, asked = observatory(client, 100)
    page = Page(client, asked)
    assert ordinals(page) == list(range(101 - BEFORE, 101 - BEFORE + len(ordinals(page))))
    assert page.texts(".passage-asked .passage-foot a:first-child") == ["101"]
    first = Page(client, whole)
    assert ordinals(first) == list(range(1, WINDOW + 1))
    second = Page(client, first.link("[rel=next]"))
    assert ordinals(second)[0] == WINDOW + 1
    assert not second.soup.select("[rel=next]")
    assert ordinals(Page(client, second.link("[rel=prev]"))) == ordinals(first)


@pytest.mark.parametrize("more", ["&from=x", "&from=-5", "&from=99999999999999", "&chunk=x"])
def test_a_wrong_place_in_a_document_is_harmless(client: TestClient, more: str) -> None:
    whole, _ = observatory(client, 0)
    page = Page(client, f"{whole}?a=1{more}")
    assert page.texts("h1") == ["Log of the observatory"]


def test_a_passage_that_is_gone_is_said_so(client: TestClient) -> None:
    whole, _ = observatory(client, 0)
    assert "no longer" in Page(client, f"{whole}?chunk={uuid4()}").texts(".notice")[0]


def test_code_is_shown_as_code(client: TestClient) -> None:
    link = str(Page(client, "/?q=tide+table+port&filter=type%3Dpython").one(".hit-title a")["href"])
    page = Page(client, link)
    assert page.one("pre.code").get_text().startswith("def tide_table(port: str)")


def test_provenance_is_a_page_of_its_own(client: TestClient, site: Site) -> None:
    hit = Page(client, "/?q=lighthouse").soup.select(".hit")[0]
    address = str(hit.select_one(".made-facts a")["href"])  # type: ignore[index] # it is there
    assert str(hit.select_one(".made-facts")["hx-get"]) == address  # type: ignore[index] # it is there
    page = Page(client, address)
    record = page.texts("#record")[0]
    assert str(site.report.model_version_id) in record
    assert re.search(r"\b[0-9a-f]{64}\b", record)
    assert page.link(f"#record a[href='/runs/{site.report.run_id}']")


def test_runs_tell_how_they_went(client: TestClient, site: Site) -> None:
    page = Page(client, "/runs")
    rows = page.texts("tbody tr")
    assert len(rows) == 2
    assert "Succeeded" in rows[0]
    assert "Partly failed" in rows[1]
    run = Page(client, f"/runs/{site.report.run_id}")
    assert "Partly failed" in run.texts("h1")[0]
    assert "broken.pdf" in run.texts(".failures li")[0]
    assert run.texts(".tally")[0].startswith("Added 6")
    assert str(site.folder) in " ".join(run.texts(".settings"))
    assert Page(client, "/runs?page=2").texts(".notice") == ["There are no more runs."]


@pytest.mark.parametrize(
    "address",
    [
        "/nowhere",
        "/documents/1",
        f"/documents/{NOBODY}",
        "/runs/%00",
        f"/runs/{NOBODY}",
        f"/chunks/{NOBODY}/provenance",
    ],
)
def test_what_is_not_there_is_a_page_for_people_and_a_problem_for_programs(
    client: TestClient, address: str
) -> None:
    assert Page(client, address, 404).texts("h1") == ["There is no such thing here"]
    response = client.get(address, headers={"accept": "application/json"})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def theme_form(client: TestClient, address: str = "/") -> dict[str, str]:
    token = str(Page(client, address).one(f"form.theme input[name={FIELD}]")["value"])
    return {FIELD: token, "theme": "dark"}


def test_the_theme_is_chosen_by_a_form_and_kept(client: TestClient) -> None:
    assert Page(client, "/").one("html").get("data-theme") is None
    response = client.post(
        "/theme",
        data=theme_form(client),
        headers={"referer": f"{HOST}/?q=a%20b&filter=language%3Dja"},
        follow_redirects=False,
    )
    assert response.status_code == 303
    assert response.headers["location"] == "/?q=a%20b&filter=language%3Dja"
    page = Page(client, "/runs")
    assert page.one("html")["data-theme"] == "dark"
    assert page.one(".theme [aria-pressed=true]")["value"] == "dark"


@pytest.mark.parametrize(
    "referrer", ["", "https://evil.example/x", "http://localhost:99/x", "http://[", "//evil/x"]
)
def test_the_form_leads_nowhere_else(client: TestClient, referrer: str) -> None:
    response = client.post(
        "/theme", data=theme_form(client), headers={"referer": referrer}, follow_redirects=False
    )
    assert response.headers["location"] == "/"
    response = client.post(
        "/theme",
        data=theme_form(client),
        headers={"referer": f"{HOST}//evil.example/x"},
        follow_redirects=False,
    )
    assert response.headers["location"] == "/evil.example/x"


def test_forms_without_their_token_are_refused(client: TestClient) -> None:
    form = theme_form(client)
    for wrong in ("", "0" * 64, form[FIELD][:-1], "é" * 64):
        response = client.post("/theme", data=form | {FIELD: wrong}, follow_redirects=False)
        assert response.status_code == 403
    cookie = client.cookies[COOKIE]
    client.cookies.clear()
    assert client.post("/theme", data=form, follow_redirects=False).status_code == 403
    client.cookies.set(COOKIE, "A" * 22)
    assert client.post("/theme", data=form, follow_redirects=False).status_code == 403
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie)
    assert client.post("/theme", data=form, follow_redirects=False).status_code == 303
    foreign = client.post(
        "/theme", data=form, headers={"origin": "https://evil.example"}, follow_redirects=False
    )
    assert foreign.status_code == 403
    assert client.post("/theme", data=form | {"theme": "neon"}).status_code == 400


def test_the_form_cookie_is_out_of_reach_of_scripts_and_other_sites(client: TestClient) -> None:
    sent = client.get("/").headers["set-cookie"]
    assert "HttpOnly" in sent
    assert "SameSite=lax" in sent
    assert "set-cookie" not in client.get("/").headers


def test_a_broken_cookie_is_replaced(client: TestClient) -> None:
    client.cookies.set(COOKIE, "<script>")
    client.cookies.set("unmoved_theme", "neon")
    page = Page(client, "/")
    assert page.one("html").get("data-theme") is None
    assert COOKIE in page.response.headers["set-cookie"]


def test_static_files_are_kept_for_ever_under_their_version_only(client: TestClient) -> None:
    page = Page(client, "/")
    names = ("app.css", "report.css", "icon.svg")
    addresses = [page.link(f"link[href*='{name}']") for name in names]
    addresses += [str(script["src"]) for script in page.soup.select("script")]
    assert len(addresses) == 6
    for address in addresses:
        path, _, version = address.partition("?v=")
        response = client.get(address)
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
        assert sha256(response.content).hexdigest().startswith(version)
        assert client.get(path).headers["cache-control"] == "no-cache"
        assert client.get(f"{path}?v=0").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/none.js"])
def test_nothing_else_is_served_as_a_file(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_htmx_is_the_version_that_is_written_down() -> None:
    note = (DIRECTORY / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert sha256((DIRECTORY / "htmx.min.js").read_bytes()).hexdigest() in note
    version = re.search(r"htmx\.org@([\d.]+)", note)
    assert version is not None
    assert f'"{version[1]}"' in (DIRECTORY / "htmx.min.js").read_text(encoding="utf-8")


def test_nothing_on_any_page_is_loaded_from_elsewhere() -> None:
    package = Path(search_app.web.__file__).parent
    own = [*package.glob("templates/*"), DIRECTORY / "app.css", DIRECTORY / "app.js"]
    assert len(own) > 10
    for path in own:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", text), path
        assert not re.search(r"<(?:script|style)(?![^>]*\bsrc=)|\sstyle=|\son\w+=", text), path
        assert "|safe" not in text, path


def test_the_api_page_names_every_call_and_problem(client: TestClient) -> None:
    page = Page(client, "/docs")
    assert "POST /api/v1/search" in page.texts(".endpoint h2")
    paths = client.get("/openapi.json").json()["paths"]
    assert len(page.texts(".endpoint")) == sum(len(methods) for methods in paths.values())
    for link in page.soup.select(".endpoint a[href^='/docs#']"):
        assert page.one(str(link["href"]).removeprefix("/docs"))


@pytest.mark.parametrize("address", ["/", "/?q=harbour", "/runs", "/docs", "/healthz", "/readyz"])
def test_heads_are_answered_like_gets(client: TestClient, address: str) -> None:
    response = client.head(address)
    assert response.status_code == 200
    assert response.content == b""


def test_results_for_scripts_say_the_short_address(client: TestClient) -> None:
    asked = "/?q=harbour&collection=default&page=1&filter="
    response = client.get(asked, headers={"hx-request": "true"})
    assert response.headers["hx-push-url"] == "/?q=harbour&collection=default"
    restored = {"hx-request": "true", "hx-history-restore-request": "true"}
    assert "hx-push-url" not in client.get(asked, headers=restored).headers


@pytest.fixture
async def broken(site: Site) -> AsyncIterator[Services]:
    engine = create_engine("postgresql://nobody@127.0.0.1:9/none")
    yield Services(site.settings, engine)
    await engine.dispose()


async def test_without_the_database_the_page_says_so(site: Site, broken: Services) -> None:
    with TestClient(create_app(site.settings, broken), base_url=HOST, headers=HTML) as opened:
        # Nobody knows then whether there are keys, so nothing is open that may need one.
        for address in ("/?q=harbour", "/runs", "/docs"):
            page = Page(opened, address, 503)
            assert page.texts("h1") == ["The database does not answer"]
            assert page.response.headers["retry-after"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ModelMismatchError("another model answers"), 503), (UnmovedError("a secret"), 500)],
)
async def test_a_search_that_fails_is_told_beside_the_filters(
    site: Site, error: Exception, status: int
) -> None:
    url = str(site.settings.database_url.get_secret_value())  # type: ignore[union-attr] # set above
    engine = create_engine(url)
    services: Any = Services(site.settings, engine)
    services.searcher = Failing(error)
    app = create_app(site.settings, services)
    with capture_logs() as logs, TestClient(app, base_url=HOST, headers=HTML) as opened:
        page = Page(opened, "/?q=harbour", status)
        assert page.soup.select("[role=alert]")
        assert ("a secret" in page.response.text) is False
        told = [entry["exc_info"] for entry in logs if "exc_info" in entry]
        assert (told == [error]) is (status == 500)
        services.searcher = Failing(RuntimeError("a secret"))
        page = Page(opened, "/?q=harbour", 500)
        assert page.texts("h1") == ["Something went wrong here"]
        assert "a secret" not in page.response.text
    await engine.dispose()


def test_before_anything_is_ingested_the_page_says_what_to_type(
    postgres_url: str, template: str, tmp_path: Path
) -> None:
    with cloned(postgres_url, template) as url:
        settings = load_settings(DATABASE_URL=url, data_dir=tmp_path)
        with TestClient(create_app(settings), base_url=HOST, headers=HTML) as opened:
            for address in ("/", "/?q=harbour"):
                assert "ingest add PATH" in Page(opened, address).texts(".notice")[0]
            assert "ingest add PATH" in Page(opened, "/runs").texts(".notice")[0]
            response = opened.post("/api/v1/search", json={"query": "x"})
            assert response.status_code == 404


async def test_counts_follow_what_is_ingested_and_removed(
    settings: Settings, services: Services, tmp_path: Path
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()

    async def counts(add: str) -> tuple[str, list[str]]:
        (folder / add).write_text(f"A note on granite for {add}.\n", encoding="utf-8")
        await ingest(services, IngestRequest(arguments=[str(folder)]))
        page = Page(opened, "/?q=granite")
        return page.texts("#count span")[-1], page.texts("#facet-folder + ul .choice-count")

    with TestClient(create_app(settings), base_url=HOST, headers=HTML) as opened:
        assert await counts("one.md") == ("1 document", ["1"])
        assert await counts("two.md") == ("2 documents", ["2"])
        await remove(services, sources=[str(folder / "two.md")], collection="default")
        assert Page(opened, "/?q=granite").texts("#count span")[-1] == "1 document"
