"""One page lists what there is besides searching, of it only what one may look at."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from search_app.access.principal import Principal, acting_as
from search_app.access.scopes import Scope
from search_app.config import load_settings
from search_app.web.app import create_app
from search_app.web.explore_page import PLACES
from search_app.web.needs import NEEDS, may


@pytest.fixture
def client(database_url: str, tmp_path: object) -> Iterator[TestClient]:
    settings = load_settings(DATABASE_URL=database_url, data_dir=tmp_path, embedder="hashing:64")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as opened:
        yield opened


def test_what_is_listed_is_there(client: TestClient) -> None:
    page = client.get("/explore").text
    for address in PLACES:
        assert f"GET {address}" in NEEDS
        assert f'href="{address}"' in page
        assert client.get(address).status_code == 200
    assert 'href="/explore" aria-current="page"' in page
    assert 'href="/explore" aria-current="page"' in client.get("/clusters").text


def test_who_may_not_look_is_shown_no_way() -> None:
    reader = Principal(name="reader", scopes=frozenset({Scope.READ}), collections=frozenset())
    with acting_as(reader):
        seen = {address for address in PLACES if may("GET", address)}
    assert "/clusters" in seen
    assert "/access" not in seen
