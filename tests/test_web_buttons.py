"""What pages offer goes by what the key in use may do: nothing on them leads to a refusal."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit
from uuid import UUID

import pytest
from starlette.routing import compile_path
from starlette.testclient import TestClient

from ingest.analysing.asking import analyse
from search_app import jobs
from search_app.bootstrap import open_services
from search_app.catalog import exclusions
from search_app.catalog.engine import transaction
from search_app.config import load_settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.web.app import create_app
from search_app.web.needs import NEEDS
from tests.access_site import OTHER, OWN, ROLES, SECRET, KeyedSite, answered, build
from tests.web_site import cloned, run_apart

HOST = "http://localhost"
PAGE = {"Accept": "text/html"}
EXAMPLES = 5
"""Pages of one route that are looked at; of one that is asked for with a query, one each."""

NOT_THERE = frozenset({"/login", "/collections/{address}/rollback"})
"""What the crawl does not meet: who is let in need not log in, and no index was ever left."""


@dataclass
class Seen:
    """What a crawl met: addresses that forms and buttons send to, and links, each with a page."""

    posts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class _Page(HTMLParser):
    """Reads where a page leads: by links, by forms, and by buttons that send a form elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.posts: set[str] = set()
        self.gets: set[str] = set()
        self.named: set[str] = set()
        self.used: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.add(given.get("href", ""))
        if "hx-get" in given:
            self.links.add(given["hx-get"])
        if tag == "form":
            by = self.posts if given.get("method", "").lower() == "post" else self.gets
            by.add(given["action"])
            self.named.add(given.get("id", ""))
        if tag == "button":
            if "formaction" in given:
                self.posts.add(given["formaction"])
            if "form" in given:
                self.used.add(given["form"])


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeyedSite]:
    folder: Path = tmp_path_factory.mktemp("buttons")
    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=folder / "data",
            embedder="hashing:64",
            rate_per_key=0,
            rate_per_address=0,
        )
        built = run_apart(build(settings, folder))
        run_apart(_more(built))
        with TestClient(create_app(settings), base_url=HOST) as client:
            built = answered(built, client)
        yield built


async def _more(site: KeyedSite) -> None:
    """Have something for every kind of page: what stands out, what is excluded, and jobs."""
    async with open_services(site.settings) as services:
        await analyse(services, OWN, "outliers", {})
        async with transaction(services.engine) as connection:
            chunk = UUID(site.own.ids["chunk_id"])
            await exclusions.add(connection, documents=[], passages=[chunk])
        cancelled = await jobs.enqueue_remove(services.engine, collection=OWN, sources=["/none"])
        await jobs.cancel(services.engine, cancelled.id)
        await jobs.enqueue_check(services.engine, collection=SECRET)
        # The first check of an index has nothing that could be accepted.
        await check(services, CheckRequest(collection=OWN))


@pytest.fixture(scope="module")
def client(site: KeyedSite) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST, follow_redirects=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def crawled(client: TestClient, site: KeyedSite) -> Mapping[str, Seen]:
    return {role: crawl(client, site.keys[role]) for role in (*ROLES, OTHER)}


def crawl(client: TestClient, key: str) -> Seen:
    """Follow all links of pages from where a key may begin, each kind of page a few times."""
    seen = Seen()
    headers = {**PAGE, "Authorization": f"Bearer {key}"}
    waiting = ["/", "/explore", "/jobs"]
    met = set(waiting)
    looked: Counter[str] = Counter()
    while waiting:
        url = waiting.pop(0)
        kind = kind_of(url)
        if looked[kind] >= (1 if "?" in url else EXAMPLES):
            continue
        looked[kind] += 1
        response = client.get(url, headers=headers)
        if response.status_code in (401, 403):
            seen.refused[url] = seen.links.get(url, "")
            continue
        targets = [response.headers["location"]] if response.is_redirect else []
        if "text/html" in response.headers.get("content-type", ""):
            page = _Page()
            page.feed(response.text)
            assert page.used <= page.named, f"{url}: a button of a form that is not there"
            targets += sorted(page.links | page.gets)
            for action in page.posts:
                seen.posts.setdefault(urlsplit(urljoin(url, action)).path, url)
        for target in targets:
            there = urlsplit(urljoin(HOST + url, target))
            if f"{there.scheme}://{there.netloc}" != HOST:
                continue
            found = there.path + (f"?{there.query}" if there.query else "")
            if found not in met:
                met.add(found)
                seen.links[found] = url
                waiting.append(found)
    return seen


def kind_of(url: str) -> str:
    """Name the kind of page that an address leads to: its route, and the names in its query."""
    parts = urlsplit(url)
    names = sorted({name for name, _ in parse_qsl(parts.query)})
    return f"{route_of('GET', parts.path)}?{','.join(names)}"


def route_of(method: str, path: str) -> str:
    """Find the route of an address; itself where there is none."""
    for named in NEEDS:
        of, _, pattern = named.partition(" ")
        if of == method and compile_path(pattern)[0].fullmatch(path):
            return pattern
    return path


PAGES = {
    named.partition(" ")[2]
    for named in NEEDS
    if named.startswith("POST /") and not named.startswith("POST /api/")
}


@pytest.mark.parametrize("role", [*ROLES, OTHER])
def test_nothing_on_a_page_leads_to_a_refusal(
    client: TestClient, site: KeyedSite, crawled: Mapping[str, Seen], role: str
) -> None:
    seen = crawled[role]
    # A role begins at pages that may not be its own.
    assert {url: page for url, page in seen.refused.items() if page} == {}
    client.cookies.clear()
    for path, page in seen.posts.items():
        # The key is looked at before the form's token, without which nothing is done.
        response = client.post(
            path,
            headers={"Accept": "application/json", "Authorization": f"Bearer {site.keys[role]}"},
        )
        kind = response.json()["type"]
        assert kind != "/docs#missing-scope", f"{page} sends to {path}"
        assert response.status_code != 401


def test_an_admin_sees_every_button_and_others_what_is_left_of_them(
    crawled: Mapping[str, Seen],
) -> None:
    routes = {role: {route_of("POST", path) for path in crawled[role].posts} for role in crawled}
    assert routes["admin"] == PAGES - NOT_THERE
    for role, scopes in ROLES.items():
        if role != "admin":
            allowed = {
                route
                for route in PAGES
                if NEEDS[f"POST {route}"].open or scopes & NEEDS[f"POST {route}"].scopes
            }
            assert routes[role] <= allowed
    open_or_read = {
        route
        for route in routes["admin"]
        if NEEDS[f"POST {route}"].open or ROLES["read"] & NEEDS[f"POST {route}"].scopes
    }
    assert routes["read"] == open_or_read
    everywhere = {route for route in PAGES if NEEDS[f"POST {route}"].everywhere}
    assert routes[OTHER] == routes["admin"] - everywhere
    assert everywhere


def test_a_job_is_changed_by_those_who_could_have_asked_for_it(
    client: TestClient, site: KeyedSite
) -> None:
    async def asked() -> tuple[int, int]:
        async with open_services(site.settings) as services:
            wanted = await jobs.enqueue_check(services.engine, collection=OWN)
            retry = await jobs.enqueue_retry(services.engine, collection=OWN)
            return wanted.id, retry.id

    wanted, retry = run_apart(asked())
    for role, own, status in (("ingest", retry, 403), ("admin", wanted, 303)):
        headers = {**PAGE, "Authorization": f"Bearer {site.keys[role]}"}
        client.cookies.clear()
        page = client.get(f"/jobs/{own}", headers=headers).text
        token = re.search(r'name="token" value="([0-9a-f]+)"', page)
        assert token is not None
        assert f'action="/jobs/{own}/cancel"' in page
        page = client.get(f"/jobs/{wanted}", headers=headers).text
        assert (f'action="/jobs/{wanted}/cancel"' in page) == (status == 303)
        sent = client.post(f"/jobs/{wanted}/cancel", data={"token": token[1]}, headers=headers)
        assert sent.status_code == status
        assert status == 303 or "which needs a key with scope admin" in sent.text


def test_who_may_not_is_told_what_it_takes(client: TestClient, site: KeyedSite) -> None:
    headers = {**PAGE, "Authorization": f"Bearer {site.keys['read']}"}
    for path, scope in (
        ("/collections", "ingest"),
        ("/clusters", "admin"),
        ("/map", "admin"),
        ("/outliers", "admin"),
        ("/diversity", "admin"),
        ("/labels", "admin"),
    ):
        page = client.get(path, headers=headers).text
        assert f"This needs a key with the scope {scope}." in page, path
    refused = client.get("/access", headers=headers)
    assert refused.status_code == 403
    # The page that refuses leads on to what may be seen.
    assert 'href="/collections"' in refused.text
    only = client.get("/", headers={**PAGE, "Authorization": f"Bearer {site.keys['ingest']}"})
    assert only.status_code == 403
    assert 'href="/jobs"' in only.text
    assert 'href="/"' not in only.text


def test_who_sees_some_collections_chooses_among_them(client: TestClient, site: KeyedSite) -> None:
    headers = {**PAGE, "Authorization": f"Bearer {site.keys[OTHER]}"}
    page = client.get("/collections", headers=headers).text
    chosen = re.search(r'<select id="upload-collection".*?</select>', page, re.DOTALL)
    assert chosen is not None
    assert re.findall(r"<option[^>]*>([^<]*)", chosen[0]) == [OWN]
