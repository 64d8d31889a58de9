"""Keys and logins at the door: what works, what does not, and what is written down of it."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from search_app.access.masking import masked
from search_app.access.scopes import Scope
from search_app.access.secret import new_key
from search_app.bootstrap import open_services
from search_app.catalog import collections, keys, trail
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.errors import ConfigurationError
from search_app.web.access import COOKIE, is_loopback
from search_app.web.app import create_app
from search_app.web.login_page import own_path
from search_app.web.server import serve_forever

HOST = "http://localhost"
PAGE = {"Accept": "text/html"}


def do(settings: Settings, work: Any) -> Any:
    async def done() -> Any:
        async with open_services(settings) as services, transaction(services.engine) as connection:
            return await work(connection)

    return asyncio.run(done())


def make_key(settings: Settings, *scopes: Scope, collection: str | None = None) -> str:
    async def made(connection: Any) -> str:
        if collection is not None:
            await collections.get_or_create(connection, collection)
        _, key = await keys.create(
            connection,
            name="robot",
            scopes=frozenset(scopes or [Scope.ADMIN]),
            collection_names=None if collection is None else [collection],
        )
        return key.text

    return str(do(settings, made))


def changes(settings: Settings) -> list[trail.RecordedChange]:
    async def found(connection: Any) -> list[trail.RecordedChange]:
        return list(await trail.listing(connection))

    return list(do(settings, found))


@pytest.fixture
def key(settings: Settings) -> str:
    return make_key(settings)


@pytest.fixture
def client(settings: Settings, key: str) -> Iterator[TestClient]:
    assert key
    app = create_app(settings)
    with TestClient(app, base_url=HOST, follow_redirects=False) as opened:
        yield opened


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def token_of(response: Any) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', response.text)
    assert found is not None
    return found[1]


def log_in(client: TestClient, key: str, there: str = "/") -> Any:
    page = client.get("/login", headers=PAGE)
    form = {"token": token_of(page), "key": key, "next": there}
    return client.post("/login", data=form, headers=PAGE)


def test_without_any_key_everything_is_as_before(settings: Settings) -> None:
    with TestClient(create_app(settings), base_url=HOST) as client:
        assert client.get("/api/v1/collections").status_code == 200
        # A proxy in front may send one of its own.
        for header in ("Basic abc", "Bearer nothing"):
            response = client.get("/api/v1/collections", headers={"Authorization": header})
            assert response.status_code == 200
        page = client.get("/access", headers=PAGE)
        assert page.status_code == 200
        form = {"token": token_of(page), "name": "first", "scope": "admin", "reach": "all"}
        made = client.post("/access", data=form, headers=PAGE)
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        found = re.search(r'id="new-key"[^>]*>(unm_[^<]+)<', made.text)
        assert found is not None
        assert client.get("/api/v1/collections").status_code == 401
        assert client.get("/api/v1/collections", headers=bearer(found[1])).status_code == 200
    (change,) = changes(settings)
    assert (change.who, change.via, change.action, change.outcome) == (
        "local",
        "page",
        "create key",
        "done",
    )
    assert found[1][17:] not in str(change)


def test_a_server_that_others_reach_and_has_no_keys_is_shut(settings: Settings) -> None:
    open_to_all = settings.model_copy(update={"host": "0.0.0.0"})
    with TestClient(create_app(open_to_all), base_url=HOST) as client:
        response = client.get("/api/v1/collections")
        assert response.status_code == 401
        assert "search-app keys create" in response.json()["detail"]
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code == 200


def test_it_does_not_even_start(settings: Settings) -> None:
    for host in ("0.0.0.0", "::"):
        wide = settings.model_copy(update={"host": host, "port": 0})
        with pytest.raises(ConfigurationError, match="search-app keys create"):
            asyncio.run(serve_forever(wide, worker=False))


@pytest.mark.parametrize(
    ("host", "own"),
    [("localhost", True), ("127.0.0.53", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_which_addresses_are_this_machines_own(host: str, own: bool) -> None:  # noqa: FBT001 - what is expected
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nothing",
        "Basic dXNlcjpwYXNz",
        "Bearer unm_aaaaaaaaaaaa_" + "x" * 43,
        "Bearer " + "x" * 1_000_000,
        b"Bearer \x01\x7f\xff\xfe",
        b"\xe3\x81\x82",
    ],
)
def test_what_is_no_key_is_refused_in_words(client: TestClient, header: str | bytes) -> None:
    sent = header.encode() if isinstance(header, str) else header
    response = client.get("/api/v1/collections", headers={b"Authorization": sent})
    assert response.status_code == 401
    assert response.json()["type"] == "/docs#no-key"
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert len(response.text) < 500


def test_two_keys_at_once_are_none(client: TestClient, key: str) -> None:
    headers = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
    assert client.get("/api/v1/collections", headers=headers).status_code == 401


def test_a_key_works_until_it_is_revoked(client: TestClient, settings: Settings, key: str) -> None:
    assert client.get("/api/v1/collections", headers=bearer(key)).status_code == 200
    other = client.post(
        "/api/v1/keys", json={"name": "other", "scopes": ["read"], "days": 1}, headers=bearer(key)
    )
    assert other.status_code == 201
    assert other.headers["cache-control"] == "no-store"
    text_of_other, record = other.json()["key"], other.json()["record"]
    assert client.get("/api/v1/collections", headers=bearer(text_of_other)).status_code == 200
    listed = client.get("/api/v1/keys", headers=bearer(key)).json()["keys"]
    assert [each["name"] for each in listed] == ["other", "robot"]
    assert listed[0]["last_used_at"] is not None
    revoked = client.delete(f"/api/v1/keys/{record['label']}", headers=bearer(key))
    assert revoked.json()["state"] == "revoked"
    refused = client.get("/api/v1/collections", headers=bearer(text_of_other))
    assert refused.status_code == 401
    assert "is revoked" in refused.json()["detail"]
    done = [(each.action, each.outcome) for each in changes(settings)]
    assert done == [("revoke key", "done"), ("create key", "done")]


def test_an_expired_key_says_so(client: TestClient, settings: Settings, key: str) -> None:
    async def expire(connection: Any) -> None:
        await connection.execute(text("UPDATE api_keys SET expires_at = now()"))

    do(settings, expire)
    refused = client.get("/api/v1/collections", headers=bearer(key))
    assert refused.status_code == 401
    assert "is expired" in refused.json()["detail"]


def test_a_rotated_key_works_beside_the_new_one(client: TestClient, key: str) -> None:
    made = client.post(
        f"/api/v1/keys/{key[:16]}/rotate", json={"overlap_hours": 1}, headers=bearer(key)
    )
    assert made.status_code == 201, made.text
    for each in (key, made.json()["key"]):
        assert client.get("/api/v1/collections", headers=bearer(each)).status_code == 200
    again = client.post(f"/api/v1/keys/{key[:16]}/rotate", json={}, headers=bearer(key))
    assert again.status_code == 400
    assert made.json()["record"]["label"] in again.json()["detail"]


def test_a_limited_key_makes_no_keys(client: TestClient, settings: Settings) -> None:
    limited = make_key(settings, Scope.ADMIN, collection="one")
    body = {"name": "more", "scopes": ["admin"]}
    response = client.post("/api/v1/keys", json=body, headers=bearer(limited))
    assert response.status_code == 403
    assert "all collections" in response.json()["detail"]
    assert changes(settings) == []


def test_browsers_are_led_to_the_login_and_back(client: TestClient, key: str) -> None:
    there = client.get("/collections?name=a b", headers=PAGE)
    assert there.status_code == 303
    assert there.headers["location"] == "/login?next=%2Fcollections%3Fname%3Da%2520b"
    page = client.get(there.headers["location"], headers=PAGE)
    assert 'value="/collections?name=a%20b"' in page.text
    entered = log_in(client, f" {key} ", "/collections")
    assert (entered.status_code, entered.headers["location"]) == (303, "/collections")
    cookie = next(c for c in entered.headers.get_list("set-cookie") if c.startswith(COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert key[17:] not in cookie
    page = client.get("/collections", headers=PAGE)
    assert page.status_code == 200
    assert "Logged in as robot" in page.text
    # Suggestions of the search box come from the API.
    assert client.get("/api/v1/collections").status_code == 200
    left = client.post("/logout", data={"token": token_of(page)}, headers=PAGE)
    assert left.headers["location"] == "/login"
    assert client.get("/collections", headers=PAGE).status_code == 303


def test_a_stolen_cookie_is_worth_nothing_after_the_logout(client: TestClient, key: str) -> None:
    log_in(client, key)
    stolen = client.cookies[COOKIE]
    page = client.get("/", headers=PAGE)
    client.post("/logout", data={"token": token_of(page)}, headers=PAGE)
    client.cookies.set(COOKIE, stolen)
    assert client.get("/", headers=PAGE).status_code == 303


def test_sessions_end_with_their_key(client: TestClient, settings: Settings, key: str) -> None:
    log_in(client, key)
    assert client.get("/", headers=PAGE).status_code == 200

    async def revoke(connection: Any) -> None:
        await keys.revoke(connection, key[:16])

    do(settings, revoke)
    assert client.get("/", headers=PAGE).status_code == 303


def test_over_https_the_cookie_is_for_https_alone(settings: Settings, key: str) -> None:
    app = create_app(settings)
    with TestClient(app, base_url="https://localhost", follow_redirects=False) as client:
        entered = log_in(client, key)
        cookie = next(c for c in entered.headers.get_list("set-cookie") if c.startswith(COOKIE))
        assert "Secure" in cookie
        assert "max-age" in entered.headers["strict-transport-security"]


def test_a_wrong_key_is_told_and_written_down_without_the_key(
    client: TestClient, settings: Settings
) -> None:
    wrong = new_key().text
    response = log_in(client, wrong)
    assert response.status_code == 401
    assert "does not work here" in response.text
    assert wrong not in response.text
    (change,) = changes(settings)
    assert (change.action, change.outcome) == ("log in", "refused: wrong key")
    assert wrong not in str(change)


def test_logging_in_needs_the_forms_token(client: TestClient, key: str) -> None:
    assert client.post("/login", data={"key": key}, headers=PAGE).status_code == 403
    other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", **PAGE}
    page = client.get("/login", headers=PAGE)
    form = {"token": token_of(page), "key": key}
    assert client.post("/login", data=form, headers=other).status_code == 403


@pytest.mark.parametrize(
    ("text_", "there"),
    [
        ("/collections?a=b", "/collections?a=b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/a\tb", "/"),
    ],
)
def test_after_the_login_nobody_is_sent_elsewhere(text_: str, there: str) -> None:
    assert own_path(text_) == there


def test_ten_thousand_wrong_keys_cost_nobody_else_anything(
    client: TestClient, settings: Settings, key: str
) -> None:
    assert client.get("/api/v1/collections", headers=bearer(key)).status_code == 200
    gate = client.app.state.gate  # type: ignore[attr-defined] # Starlette's type knows no state
    gate._by_address._per_minute = 0
    statuses = set()
    for _ in range(200):
        refused = client.get("/api/v1/collections", headers=bearer(new_key().text))
        statuses.add(refused.status_code)
    assert statuses == {401, 429}
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["type"] == "/docs#too-many-requests"
    # From the same address: it was right a moment ago.
    assert client.get("/api/v1/collections", headers=bearer(key)).status_code == 200
    for number in range(10_000):
        gate._wrong.take(f"10.0.{number // 250}.{number % 250}")
        gate._known[number.to_bytes(4, "big")] = 0.0
    assert len(gate._wrong) <= 10_000
    assert len(changes(settings)) <= 30


def test_each_key_and_each_address_has_its_rate(settings: Settings, key: str) -> None:
    slow = settings.model_copy(update={"rate_per_key": 3, "rate_per_address": 5})
    with TestClient(create_app(slow), base_url=HOST) as client:
        other = make_key(settings, Scope.READ)
        statuses = [
            client.get("/api/v1/collections", headers=bearer(each)).status_code
            for each in (key, key, key, key, other, other)
        ]
        assert statuses == [200, 200, 200, 429, 200, 429]
        assert client.get("/healthz").status_code == 200


def test_other_sites_use_the_api_only_where_the_settings_name_them(
    settings: Settings, key: str
) -> None:
    body = {"name": "x", "scopes": ["read"]}
    named = settings.model_copy(update={"cors_origins": "https://a.example, https://b.example/"})
    for chosen, status in ((settings, 403), (named, 201)):
        with TestClient(create_app(chosen), base_url=HOST) as client:
            headers = {"Origin": "https://b.example", "Sec-Fetch-Site": "cross-site"}
            answer = client.post("/api/v1/keys", json=body, headers={**headers, **bearer(key)})
            assert answer.status_code == status, answer.text
            if status == 201:
                assert answer.headers["access-control-allow-origin"] == "https://b.example"
                assert "access-control-allow-credentials" not in answer.headers
                # A browser's session counts for nothing there.
                log_in(client, key)
                assert client.post("/api/v1/keys", json=body, headers=headers).status_code == 401
                evil = {"Origin": "https://c.example", **bearer(key)}
                assert client.post("/api/v1/keys", json=body, headers=evil).status_code == 403
                page = client.post("/theme", data={"theme": "dark"}, headers=headers)
                assert page.status_code == 403


def test_the_log_of_changes_is_a_page_and_an_answer(client: TestClient, key: str) -> None:
    sent = {"arguments": ["https://user:secret@example.org/?token=abc"]}
    client.post("/api/v1/collections/one/ingest", json=sent, headers=bearer(key))
    answer = client.get("/api/v1/changes", headers=bearer(key)).json()
    (change,) = answer["changes"]
    assert change["action"] == "ingest"
    assert change["outcome"].startswith("refused (4")
    assert change["key_label"] == key[:16]
    assert "example.org" in change["target"]
    assert "secret" not in change["target"]
    assert "abc" not in change["target"]
    page = client.get("/access/changes", headers={**PAGE, **bearer(key)})
    assert "example.org" in page.text
    assert answer["more"] is False


def test_addresses_are_masked() -> None:
    key = new_key()
    shown = masked(f'["https://a:b@c.example/d?e=f#g", "{key.text}", "/home/x?y"]')
    assert shown == f'["https://…@c.example/d?…", "{key.label}_…", "/home/x?y"]'


def test_what_a_request_needs_goes_by_the_path_that_is_routed(client: TestClient) -> None:
    # An address as a whole is read without line breaks, and would make this the open /login.
    for path in ("/lo%0Agin", "/login%0A", "/%09login"):
        assert client.get(path).status_code == 401, path
    assert client.get("/login").status_code == 200
