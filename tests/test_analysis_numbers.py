"""Every number on a page of an analysis can be had from the API."""

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient

from ingest.analysing.asking import analyse
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import open_services
from search_app.config import Settings, load_settings
from search_app.web.app import create_app
from search_app.web.recommend_state import MOST_SHOWN
from search_app.web.translation import COOKIE as LANGUAGE
from tests.web_site import cloned, run_apart

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="needs scikit-learn: pip install 'unmoved[analysis]'",
)

HOST = "http://localhost"
TOPICS = {
    "harbour": ["ferry", "harbour", "barge", "quay", "anchor", "sailor", "tide", "port"],
    "sky": ["telescope", "star", "night", "comet", "planet", "orbit", "moon", "galaxy"],
}
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)(?:\s?%)?")
WORDS = "[translate=no], [lang], time, code, kbd, .entry-title, .entry-place, .trail"
CHOICES = ".list-filter, select, button, textarea, .rank"
SAID = {
    "clusters": {"0.75", "0.5", "2007", "1"},
    "map": {"1"},
    "map table": {"1"},
    "diversity": {"1", "2023"},
    "labels": {"1"},
    "label": {"95 %"},
    "groups": {"1"},
    "recommend": {"100"},
}
"""Numbers that are words of a page: of a formula, a book, a rule of thumb."""


def _notes() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for place in range(30):
        topic = list(TOPICS)[place % 2]
        words = TOPICS[topic]
        text = " ".join(words[(place + step * 3) % len(words)] for step in range(6))
        row: dict[str, Any] = {
            "id": f"n{place}",
            "title": "Note",
            "text": f"{text} word{'abcdefghij'[place % 10]}",
        }
        row |= {
            "weight": place / 3,
            "date": f"20{20 + place % 2}-01-02",
            "author": "ABC"[place % 3],
        }
        rows.append(row if place % 4 == 0 else {**row, "topic": topic})
    rows += [{"id": f"f{n}", "title": "Foot", "text": "All rights reserved."} for n in range(3)]
    return [*rows, {"id": "hi", "title": "Hi", "text": "Hi,"}]


@pytest.fixture(scope="module")
def client(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """Serve a collection with an analysis of each kind, and something that is excluded."""
    path = tmp_path_factory.mktemp("notes") / "notes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in _notes()), encoding="utf-8")

    async def fill(settings: Settings) -> None:
        async with open_services(settings) as services:
            await ingest(services, IngestRequest(arguments=[str(path)]))
            for kind, options in (
                ("clusters", {"field": "meta.topic", "repeats": 2}),
                ("outliers", {"k": 4}),
                ("diversity", {"by": "year"}),
                ("labels", {"name": "topic", "method": "knn"}),
                ("labels", {"name": "weight", "method": "ridge"}),
                ("map", {"method": "pca"}),
            ):
                await analyse(services, "default", kind, options)

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=tmp_path_factory.mktemp("data"),
            embedder="hashing:128",
        )
        run_apart(fill(settings))
        with TestClient(create_app(settings), base_url=HOST) as opened:
            far = _asked(opened, "/analyses", kind="outliers")["analyses"][0]["id"]
            listed = _asked(opened, f"/analyses/{far}")["numbers"]["boilerplate"]
            opened.post("/api/v1/exclusions", json={"passages": [listed[0]["chunk_id"]]})
            yield opened


def _asked(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(f"/api/v1{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _numbers(value: Any) -> Iterator[float]:
    """Give the numbers in an answer, and how many things are in each of its lists."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list):
        yield len(value)
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def _printed(client: TestClient, address: str) -> list[str]:
    """Read the numbers off a page: not those in names, texts, dates, addresses and choices."""
    answer = client.get(address)
    assert answer.status_code == 200, address
    main = BeautifulSoup(answer.text, "html.parser").find("main")
    assert main is not None
    for each in main.select(f"{WORDS}, {CHOICES}"):
        each.decompose()
    return NUMBER.findall(main.get_text(" "))


def _had(text: str, numbers: list[float]) -> bool:
    """Whether a number is one of those, as far as its digits tell, or one of them in per cent."""
    of_hundred = text.endswith("%")
    text = text.rstrip("% ")
    digits = len(text.partition(".")[2].partition("e")[0])
    value = float(text.replace(",", ""))
    if "e" in text:
        return any(abs(each - value) <= abs(value) * 0.06 for each in numbers)
    tolerance = 0.5001 * 10**-digits
    scale = 100 if of_hundred else 1
    return any(abs(each * scale - value) <= tolerance for each in numbers)


@pytest.fixture(scope="module")
def told(client: TestClient) -> Mapping[str, tuple[str, list[float]]]:
    """Give for each page its address and the numbers of the API that it may print."""
    listed = _asked(client, "/analyses", limit=200)["analyses"]
    whole = {each["id"]: _asked(client, f"/analyses/{each['id']}") for each in listed}
    ids = {each["kind"]: each["id"] for each in listed}
    of_kind = {
        kind: list(_numbers([each for each in whole.values() if each["kind"] == kind]))
        for kind in ids
    }
    labels = {
        each["parameters"]["method"]: each["id"] for each in listed if each["kind"] == "labels"
    }
    members = _asked(client, f"/analyses/{ids['clusters']}/members", cluster=0, limit=200)
    points = _asked(client, f"/maps/{ids['map']}/points", by="meta.topic", limit=200)
    colours = _asked(client, f"/maps/{ids['map']}/groups", by="meta.topic")
    query = _asked(client, f"/maps/{ids['map']}/query", q="star")
    groups = _asked(client, "/groups", field="meta.author")
    group = _asked(client, "/groups/recommendations", field="meta.author", value="A")
    for_and_against = [each["chunk_id"] for each in members["members"][:3]]
    like, unlike = for_and_against[:2], for_and_against[2:]
    recommended = client.post(
        "/api/v1/recommendations", json={"like": like, "unlike": unlike, "k": MOST_SHOWN}
    ).json()
    pairs = "&".join([*(f"like={each}" for each in like), *(f"unlike={each}" for each in unlike)])
    return {
        "clusters": ("/clusters", of_kind["clusters"]),
        "clusters one": (f"/clusters/{ids['clusters']}", of_kind["clusters"]),
        "clusters members": (
            f"/clusters/{ids['clusters']}?cluster=0",
            list(_numbers(members)),
        ),
        "outliers": ("/outliers", of_kind["outliers"]),
        "diversity": ("/diversity", of_kind["diversity"]),
        "labels": (
            "/labels",
            [*of_kind["labels"], *_numbers(_asked(client, "/suggestions", limit=200))],
        ),
        "label knn": (f"/labels/{labels['knn']}", of_kind["labels"]),
        "label ridge": (f"/labels/{labels['ridge']}", of_kind["labels"]),
        "map": ("/map?q=star", [*of_kind["map"], *_numbers(query), *_numbers(colours)]),
        "map table": (
            "/map/table?by=meta.topic",
            [*of_kind["map"], *_numbers(points), *_numbers(colours)],
        ),
        "groups": ("/groups?field=meta.author", list(_numbers(groups))),
        "groups one": ("/groups?field=meta.author&value=A", list(_numbers(group))),
        "recommend": (f"/recommend?{pairs}", list(_numbers(recommended))),
        "exclusions": ("/exclusions", list(_numbers(_asked(client, "/exclusions")))),
    }


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_number_on_a_page_can_be_had_from_the_api(
    client: TestClient, told: Mapping[str, tuple[str, list[float]]], language: str
) -> None:
    client.cookies.set(LANGUAGE, language)
    missing = {}
    for name, (address, numbers) in told.items():
        printed = _printed(client, address)
        assert printed, name
        said = SAID.get(name, set()) | SAID.get(name.split()[0], set())
        lacking = [each for each in printed if each not in said and not _had(each, numbers)]
        if lacking:
            missing[name] = lacking
    assert not missing


def test_a_number_that_the_api_lacks_is_noticed() -> None:
    assert _had("0.123", [0.12345])
    assert _had("41 %", [0.412])
    assert not _had("41", [0.412])
    assert _had("1,234", [1234.0])
    assert _had("1.2e-05", [1.23e-5])
    assert not _had("0.124", [0.12345])
    assert not _had("7", [6.0, 8.0])
    assert NUMBER.findall("bundled/e5 1,234 of 0.5–0.6, seed 0 x1 3f2a") == [
        "1,234",
        "0.5",
        "0.6",
        "0",
    ]
