"""One thing of a collection that is not one's own among one's own: as if it were nowhere."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from search_app.config import load_settings
from search_app.web.app import create_app
from search_app.web.csrf import COOKIE as FORM_COOKIE
from search_app.web.csrf import FIELD, new_nonce
from search_app.web.needs import NEEDS
from tests.access_site import (
    OTHER,
    SECRET,
    WORD,
    Asked,
    KeyedSite,
    Things,
    answered,
    ask,
    build,
    contents,
    routes,
)
from tests.web_site import cloned, run_apart

HOST = "http://localhost"
APP = create_app(load_settings())
ROUTES = [
    (method, path)
    for method, path in routes(APP)
    if not NEEDS[f"{method} {path}"].open and not NEEDS[f"{method} {path}"].everywhere
]
NOWHERE_ID = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f"
NOWHERE_NAME = "crypt"
NOWHERE_NUMBER = "987654"

MORE = {
    "POST /api/v1/search": {"index": "other_index"},
    "GET /": {"index": "index"},
    "GET /ask": {"index": "index"},
    "GET /recommend": {"index": "index", "unlike": "chunk_id"},
    "GET /groups": {"index": "index"},
    "GET /api/v1/groups": {"index": "index"},
    "GET /map": {"analysis": "map_id", "by": "clusters:analysis"},
    "GET /api/v1/maps/{map_id}/points": {"by": "clusters:analysis"},
    "GET /outliers": {"analysis": "analysis"},
    "GET /diversity": {"analysis": "analysis"},
    "GET /documents/{document_id}": {"chunk": "chunk_id", "answer": "answer_id"},
    "POST /api/v1/recommendations": {"index": "index", "unlike": "chunk_id"},
    "GET /jobs": {"collection": "collection"},
    "GET /runs": {"collection": "collection"},
    "GET /checks": {"collection": "collection"},
    "GET /collections": {"name": "collection"},
    "GET /labels": {"collection": "collection"},
    "GET /clusters": {"collection": "collection"},
    "GET /api/v1/jobs": {"collection": "collection"},
    "GET /api/v1/runs": {"collection": "collection"},
    "GET /api/v1/checks": {"collection": "collection"},
    "GET /api/v1/answers": {"collection": "collection"},
    "GET /api/v1/analyses": {"collection": "collection"},
    "GET /api/v1/suggestions": {"collection": "collection", "document": "document_id"},
    "GET /api/v1/schedules": {"collection": "collection"},
    "GET /api/v1/collections/{collection}/export": {"index": "index", "clusters": "analysis"},
    "GET /api/v1/chunks/{chunk_id}/similar": {"index": "index", "collection": "collection"},
    "GET /api/v1/documents/{document_id}/similar": {"index": "index"},
    "GET /similar/chunks/{chunk_id}": {"collection": "collection"},
    "GET /api/v1/why": {"index": "index"},
}
"""What else may be named in a query, or a body, besides what the example of a route names."""


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeyedSite]:
    folder: Path = tmp_path_factory.mktemp("mixing")
    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=folder / "data",
            embedder="hashing:64",
            rate_per_key=0,
            rate_per_address=0,
        )
        built = run_apart(build(settings, folder))
        with TestClient(create_app(settings), base_url=HOST) as client:
            built = answered(built, client)
        yield built


@pytest.fixture(scope="module")
def client(site: KeyedSite) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST, follow_redirects=False) as opened:
        yield opened


def swapped(value: Any, of: str, by: str) -> Any:
    """Put something in the place of something else wherever it stands in what is sent."""
    if isinstance(value, dict):
        return {name: swapped(each, of, by) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(swapped(each, of, by) for each in value)
    return value.replace(of, by) if isinstance(value, str) else value


def added(asked: Asked, name: str, value: str) -> Asked:
    """Name one thing more in the query, or the body where there is one."""
    options = dict(asked.options)
    part = "json" if "json" in options else "params"
    given = dict(options.get(part, {}))
    given[name] = [value] if name in ("unlike", "like") and part == "json" else value
    return replace(asked, options={**options, part: given})


def attempts(path: str, method: str, own: Things, secret: Things) -> Iterator[tuple[Asked, str]]:
    """Make requests with one thing of the other collection each; the text is that thing."""
    asked = ask(APP, method, path, own)
    things = {**secret.ids, "collection": secret.collection, "search_id": secret.search_id}
    mine = {**own.ids, "collection": own.collection, "search_id": own.search_id}
    for name in sorted(things):
        # A number may be part of anything; those of jobs and schedules stand in paths alone.
        number = mine[name].isdecimal()
        sent = asked.options if number else swapped(asked.options, mine[name], things[name])
        url = path.format_map({**own.ids, name: things[name]})
        if url != asked.url:
            yield replace(asked, url=url), things[name]
        if sent != asked.options:
            yield replace(asked, options=sent), things[name]
    for field, named in MORE.get(f"{method} {path}", {}).items():
        before, _, name = named.rpartition(":")
        value = f"{before}:{things[name]}" if before else things[name]
        yield added(asked, field, value), things[name]


def nowhere(thing: str) -> str:
    if thing.isdecimal():
        return NOWHERE_NUMBER
    return NOWHERE_NAME if thing == SECRET else NOWHERE_ID


def elsewhere(asked: Asked, thing: str) -> Asked:
    """Make the same request about what is nowhere."""
    by = nowhere(thing)
    url = "/".join(by if part == thing else part for part in asked.url.split("/"))
    options = asked.options if thing.isdecimal() else swapped(asked.options, thing, by)
    return replace(asked, url=url, options=options)


def send(client: TestClient, asked: Asked, key: str) -> Any:
    options = dict(asked.options)
    headers = {
        "Accept": "application/json",
        "Authorization": f"Bearer {key}",
        **options.pop("headers", {}),
    }
    client.cookies.clear()
    if "data" in options:
        nonce = new_nonce()
        client.cookies.set(FORM_COOKIE, nonce)
        token = client.app.state.renderer.tokens.sign(nonce)  # type: ignore[attr-defined] # Starlette's type knows no state
        options["data"] = {FIELD: token, **options["data"]}
    return client.request(asked.method, asked.url, headers=headers, **options)


def plain(response: Any, thing: str) -> str:
    """Give what an answer says, without what was named and what differs between any two."""
    text: str = response.text
    for each in (thing, nowhere(thing)):
        for form in (each, each[:8]):
            text = re.sub(rf"(?<![0-9a-f]){re.escape(form)}(?![0-9a-f])", "THIS", text)
    text = re.sub(r'name="token" value="[0-9a-f]+"', "", text)
    text = re.sub(r'"request_id": ?"[^"]*"', "", text)
    text = re.sub(r'"(took_ms|seconds|times|took)": ?(\{[^}]*\}|[0-9.e-]+)', "", text)
    text = re.sub(r"<span>[\d.,]+ (ms|s)</span>", "", text)
    return re.sub(r"\b\d{4}-\d\d-\d\dT[\d:.+Z-]+", "", text)


def test_what_is_hidden_is_there(client: TestClient, site: KeyedSite) -> None:
    """That all is as if it were nowhere would be so of what is nowhere."""
    seen = set()
    for method, path in ROUTES:
        for asked, thing in attempts(path, method, site.own, site.secret):
            if method == "GET" and thing in asked.url:
                found = send(client, asked, site.keys["admin"])
                gone = send(client, elsewhere(asked, thing), site.keys["admin"])
                if found.status_code == 200 and gone.status_code == 404:
                    seen.add(path)
    there = {path for method, path in ROUTES if method == "GET" and "{" in path}
    # The site's analyses are of no kind that has a page of its own; no map has points of another.
    assert there - seen == {
        "/clusters/{analysis}",
        "/labels/{analysis}",
        "/api/v1/maps/{map_id}/points/{chunk_id}",
    }


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_it_is_as_if_it_were_nowhere(
    client: TestClient, site: KeyedSite, method: str, path: str
) -> None:
    key = site.keys[OTHER]
    before = contents(site.settings)
    for asked, thing in attempts(path, method, site.own, site.secret):
        found = send(client, asked, key)
        assert found.status_code != 500, found.text
        said = f"{asked.url} {asked.options}"
        # What was done to one's own, as the other thing does not matter, is not done twice.
        if method == "GET" or found.status_code >= 400:
            other = send(client, elsewhere(asked, thing), key)
            assert found.status_code == other.status_code, (said, found.text, other.text)
            assert plain(found, thing) == plain(other, thing), said
        assert WORD in said or WORD not in found.text, said
        assert SECRET in said or SECRET not in found.text, said
    assert contents(site.settings) == before
