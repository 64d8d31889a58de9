"""Every route, asked by everybody, with both stores: who is let in, and what they are shown."""

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
from search_app.web.needs import NEEDS, need_of
from tests.access_site import (
    OTHER,
    ROLES,
    SECRET,
    WORD,
    Asked,
    KeyedSite,
    answered,
    ask,
    build,
    contents,
    routes,
)
from tests.web_site import cloned, run_apart

HOST = "http://localhost"
APP = create_app(load_settings())
ROUTES = routes(APP)

SAY_SO_INSIDE = frozenset({"/", "/compare", "/why", "/failures", "/checks"})
"""Pages that show what cannot be answered beside the form that asked for it."""

OF_ANALYSES = frozenset({"/clusters/{analysis}", "/labels/{analysis}"})
"""Pages that show analyses of their own kind only; the site's have no numbers to show."""


@pytest.fixture(scope="module", params=["pgvector", "qdrant"])
def site(
    request: pytest.FixtureRequest,
    postgres_url: str,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[KeyedSite]:
    folder: Path = tmp_path_factory.mktemp("keyed")
    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=folder / "data",
            embedder="hashing:64",
            store=request.param,
            qdrant_url=f"local:{folder / 'qdrant'}",
            rate_per_key=0,
            rate_per_address=0,
        )
        built = run_apart(build(settings, folder))
        with TestClient(create_app(settings), base_url=HOST) as client:
            built = answered(built, client)
        yield built


@pytest.fixture(scope="module")
def client(site: KeyedSite) -> Iterator[TestClient]:
    with TestClient(
        create_app(site.settings),
        base_url=HOST,
        follow_redirects=False,
        raise_server_exceptions=True,
    ) as opened:
        yield opened


def send(client: TestClient, asked: Asked, key: str | None) -> Any:
    """Send a request as a program does, with the token of a form where it is one."""
    options = dict(asked.options)
    headers = {"Accept": "application/json", **options.pop("headers", {})}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    client.cookies.clear()
    if "data" in options:
        nonce = new_nonce()
        client.cookies.set(FORM_COOKIE, nonce)
        token = client.app.state.renderer.tokens.sign(nonce)  # type: ignore[attr-defined] # Starlette's type knows no state
        options["data"] = {FIELD: token, **options["data"]}
    return client.request(asked.method, asked.url, headers=headers, **options)


def test_every_route_says_what_it_needs() -> None:
    declared = {f"{method} {path}" for method, path in ROUTES}
    assert declared == set(NEEDS) - {"GET /static"}


def test_what_is_not_declared_is_shut() -> None:
    for method, path in (("GET", "/nothing"), ("PUT", "/api/v1/search"), ("GET", "/api/v1/search")):
        assert need_of(method, path).everywhere


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_is_let_in(client: TestClient, site: KeyedSite, method: str, path: str) -> None:
    need = NEEDS[f"{method} {path}"]
    asked = ask(APP, method, path, site.secret)
    response = send(client, asked, None)
    if need.open:
        assert response.status_code in (200, 303, 401), response.text
    else:
        assert response.status_code == 401, response.text
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert WORD not in response.text
    assert SECRET in asked.url or SECRET not in response.text
    for role, scopes in ROLES.items():
        if need.open or role == "admin" or not scopes.isdisjoint(need.scopes):
            tried = _harmless(ask(APP, method, path, site.own))
            if tried is not None:
                response = send(client, tried, site.keys[role])
                assert response.status_code not in (401, 403, 500), response.text
        else:
            response = send(client, asked, site.keys[role])
            assert response.status_code == 403, response.text
            assert response.json()["type"] == "/docs#missing-scope"


def _harmless(asked: Asked) -> Asked | None:
    """Have a change be made to what is not there: being let in is tried, not what is done then."""
    if asked.method == "GET":
        return asked
    nowhere = re.sub(r"\{(\w+)\}", _unknown, asked.path)
    return None if nowhere == asked.path else replace(asked, url=nowhere)


def _unknown(name: re.Match[str]) -> str:
    if name[1] in ("job", "job_id", "schedule"):
        return "999999"
    return "nothing" if name[1] in ("collection", "address", "key") else "0" * 8


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_collection_is_not_there(
    client: TestClient, site: KeyedSite, method: str, path: str
) -> None:
    need = NEEDS[f"{method} {path}"]
    before = None if method == "GET" else contents(site.settings)
    asked = ask(APP, method, path, site.secret)
    response = send(client, asked, site.keys[OTHER])
    if need.everywhere:
        assert response.status_code == 403, response.text
    elif asked.named and not need.open:
        # A page may say so in its middle, as the search does.
        shown = response.status_code == 200 and method == "GET" and path in SAY_SO_INSIDE
        assert response.status_code == 404 or shown, response.text
    else:
        assert response.status_code in (200, 303, 401), response.text
    sent = str((asked.url, asked.options))
    for word in (WORD, SECRET, site.secret.search_id, *site.secret.ids.values()):
        if len(word) > len(SECRET) - 1 and word not in sent:
            assert word not in response.text
    assert WORD in sent or WORD not in response.text
    if method != "GET":
        assert contents(site.settings) == before
    elif path not in OF_ANALYSES:
        # It is really there, and what is its own a limited key does see.
        assert send(client, asked, site.keys["admin"]).status_code == 200
        if not need.everywhere:
            own = send(client, ask(APP, method, path, site.own), site.keys[OTHER])
            assert own.status_code == 200, own.text
            assert SECRET not in own.text
