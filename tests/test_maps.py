"""Maps of a collection: by command, by job, over the API, on a page and as a table."""

import csv
import io
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient
from typer.testing import CliRunner

from ingest.analysing.asking import analyse
from ingest.cli import app as commands
from ingest.pipeline import IngestRequest, ingest
from search_app.analysis.mapped import MOST_SELECTED
from search_app.bootstrap import open_services
from search_app.catalog.engine import transaction
from search_app.config import Settings, load_settings
from search_app.errors import InvalidInputError
from search_app.web.app import create_app
from search_app.web.csrf import FIELD
from search_app.web.translation import COOKIE as LANGUAGE
from tests.catalog_dump import connect
from tests.test_analysing import HOST, write
from tests.web_site import ATTACK, cloned, run_apart

PCA = {"method": "pca"}


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A collection of notes with a map and clusters, one of a single note with a map."""
    folder = tmp_path_factory.mktemp("notes")
    write(folder)
    (folder / "one.md").write_text("A single note.", encoding="utf-8")
    same = "\n".join(json.dumps({"id": f"n{n}", "text": "All the same."}) for n in range(4))
    (folder / "same.jsonl").write_text(same, encoding="utf-8")

    async def fill(settings: Settings) -> None:
        async with open_services(settings) as services:
            for name, collection in (("notes.jsonl", "default"), ("one.md", "one")):
                request = IngestRequest(arguments=[str(folder / name)], collection=collection)
                await ingest(services, request)
            request = IngestRequest(arguments=[str(folder / "same.jsonl")], collection="same")
            await ingest(services, request)
            await analyse(services, "default", "clusters", {"number": 3, "repeats": 0})
            for collection in ("default", "one", "same"):
                await analyse(services, collection, "map", PCA)

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=tmp_path_factory.mktemp("data"),
            embedder="hashing:256",
        )
        run_apart(fill(settings))
        yield settings


@pytest.fixture
def client(site: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(site), base_url=HOST, follow_redirects=False) as opened:
        yield opened


def made(client: TestClient, collection: str = "default") -> dict[str, Any]:
    """Give the map that the site was built with, as the API has it."""
    parameters: dict[str, Any] = {"kind": "map", "collection": collection, "limit": 200}
    oldest = client.get("/api/v1/analyses", params=parameters).json()["analyses"][-1]
    found: dict[str, Any] = client.get(f"/api/v1/analyses/{oldest['id']}").json()
    return found


def unpacked(content: bytes) -> tuple[dict[str, Any], Any, Any, Any, list[UUID]]:
    magic, length = struct.unpack_from("<4sI", content)
    assert magic == b"UNM1"
    assert length % 4 == 0
    header = json.loads(content[8 : 8 + length])
    count, at = header["count"], 8 + length
    xs, ys = (np.frombuffer(content, "<f4", count, at + 4 * count * step) for step in (0, 1))
    at += 8 * count
    codes = np.frombuffer(content, np.uint8, count, at)
    at += count + -count % 4
    ids = [UUID(bytes=content[at + 16 * n : at + 16 * (n + 1)]) for n in range(count)]
    assert at + 16 * count == len(content)
    return header, xs, ys, codes, ids


def test_a_map_is_kept_with_its_seed_parameters_index_and_model(client: TestClient) -> None:
    found = made(client)
    assert found["kind"] == "map"
    assert found["parameters"]["method"] == "pca"
    assert found["seed"] == 0
    assert found["model"].startswith("hashing")
    numbers = found["numbers"]
    assert numbers["passages"] == 40
    assert numbers["distinct"] == 38
    assert numbers["neighbours_by_luck"] < numbers["neighbours_kept"] <= 1


def test_packed_points_and_listed_ones_are_the_same(client: TestClient) -> None:
    address = f"/api/v1/maps/{made(client)['id']}"
    answer = client.get(f"{address}/points.bin", params={"by": "meta.topic"})
    assert answer.headers["content-type"] == "application/octet-stream"
    header, xs, ys, codes, ids = unpacked(answer.content)
    assert {group["label"] for group in header["groups"]} == {"harbour", "sky", "kitchen", ""}
    assert sum(group["count"] for group in header["groups"]) == 40
    params: dict[str, Any] = {"by": "meta.topic", "limit": 200}
    listed = client.get(f"{address}/points", params=params).json()
    assert listed["total"] == 40
    assert not listed["more"]
    for row, point in enumerate(listed["points"]):
        assert point["chunk_id"] == str(ids[row])
        assert (point["x"], point["y"]) == pytest.approx((xs[row], ys[row]), abs=1e-5)
        assert point["group"] == codes[row]
    assert max(np.abs(xs).max(), np.abs(ys).max()) == pytest.approx(1, abs=1e-5)
    groups = client.get(f"{address}/groups", params={"by": "meta.topic"}).json()
    assert groups["groups"] == header["groups"]
    of_one = client.get(f"{address}/points", params={"by": "meta.topic", "group": 0}).json()
    assert {point["group"] for point in of_one["points"]} == {0}
    paged = client.get(f"{address}/points", params={"limit": 7, "offset": 35}).json()
    assert (len(paged["points"]), paged["more"]) == (5, False)


@pytest.mark.parametrize(
    ("by", "ordered", "labels"),
    [
        ("", False, {""}),
        ("language", False, {"en"}),
        ("meta.weight", True, {"0", "1", "2", ""}),
        ("type", False, None),
        ("source", False, None),
        ("date", True, None),
    ],
)
def test_any_field_colours_it(
    client: TestClient, by: str, *, ordered: bool, labels: set[str] | None
) -> None:
    address = f"/api/v1/maps/{made(client)['id']}/groups"
    found = client.get(address, params={"by": by}).json()
    assert found["ordered"] is ordered
    assert sum(group["count"] for group in found["groups"]) == 40
    if labels is not None:
        assert {group["label"] for group in found["groups"]} == labels


def test_clusters_colour_it_by_name(client: TestClient) -> None:
    address = f"/api/v1/maps/{made(client)['id']}/groups"
    found = client.get(address, params={"by": "clusters"}).json()
    clustering = client.get("/api/v1/analyses", params={"kind": "clusters"}).json()["analyses"][0]
    assert found["by"] == f"clusters:{clustering['id']}"
    named = client.get(f"/api/v1/analyses/{clustering['id']}").json()["numbers"]["clusters"]
    assert {group["label"] for group in found["groups"]} == {each["name"] for each in named}
    assert client.get(address, params={"by": found["by"]}).json() == found


REFUSED = [
    ("groups", {"by": "weather"}, 400, "nothing is coloured by 'weather'"),
    ("groups", {"by": "meta.none"}, 400, "no passage of this map has the field 'meta.none'"),
    ("groups", {"by": f"clusters:{UUID(int=7)}"}, 404, "no analysis"),
    ("points.bin", {"by": "meta.\x00"}, 400, "holds NUL"),
    ("points", {"limit": 0}, 422, ""),
    (f"points/{UUID(int=9)}", {}, 404, "no passage"),
    ("query", {"q": " "}, 400, "the query is empty"),
    ("query", {"q": "x", "k": 1000}, 422, ""),
]


@pytest.mark.parametrize(("what", "params", "status", "words"), REFUSED)
def test_what_cannot_be_meant_is_said(
    client: TestClient, what: str, params: dict[str, Any], status: int, words: str
) -> None:
    answer = client.get(f"/api/v1/maps/{made(client)['id']}/{what}", params=params)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


def test_a_clustering_is_no_map(client: TestClient) -> None:
    clustering = client.get("/api/v1/analyses", params={"kind": "clusters"}).json()["analyses"][0]
    assert client.get(f"/api/v1/maps/{clustering['id']}/points").status_code == 404
    other = made(client, "one")["id"]
    params = {"by": f"clusters:{clustering['id']}"}
    answer = client.get(f"/api/v1/maps/{other}/groups", params=params)
    assert "of another index than this map" in answer.json()["detail"]
    assert (
        "was clustered yet"
        in client.get(f"/api/v1/maps/{other}/groups", params={"by": "clusters"}).json()["detail"]
    )


def test_what_is_excluded_is_hidden_until_it_is_included(client: TestClient) -> None:
    found = made(client)
    address, pages = f"/api/v1/maps/{found['id']}", {"analysis": found["id"], "by": "meta.topic"}
    listed = client.get(f"{address}/points", params={"limit": 200}).json()["points"]
    one, other = listed[3], listed[7]
    excluded = {"passages": [one["chunk_id"]], "documents": [other["document_id"]]}
    hidden = {
        point["chunk_id"]
        for point in listed
        if point is one or point["document_id"] == other["document_id"]
    }
    left = 40 - len(hidden)
    assert client.post("/api/v1/exclusions", json=excluded).status_code == 200
    try:
        header, *_, ids = unpacked(client.get(f"{address}/points.bin").content)
        assert header["count"] == left
        assert {str(each) for each in ids} == {p["chunk_id"] for p in listed} - hidden
        assert client.get(f"{address}/points").json()["total"] == left
        assert client.get(f"{address}/points/{one['chunk_id']}").status_code == 404
        groups = client.get(f"{address}/groups", params={"by": "meta.topic"}).json()
        assert (groups["shown"], groups["excluded"], groups["gone"]) == (left, len(hidden), 0)
        assert sum(group["count"] for group in groups["groups"]) == left
        body = {"chunk_ids": [one["chunk_id"], listed[0]["chunk_id"]]}
        assert client.post(f"{address}/selection", json=body).json()["total"] == 1
        said = f"{left} of 40 passages are shown. {len(hidden)} are excluded from searches."
        for path in ("/map", "/map/table"):
            assert said in text_of(client.get(path, params=pages).text)
        assert f"Map of {left} passages" in client.get("/map", params=pages).text
        rows = csv.DictReader(
            io.StringIO(
                client.get("/api/v1/collections/default/export", params={"format": "csv"}).text
            )
        )
        # The passages are exported all the same, without a place.
        assert {row["chunk_id"] for row in rows if not row["map_x"]} == hidden
    finally:
        back = {"chunk_id": [one["chunk_id"]], "document_id": [other["document_id"]]}
        assert client.delete("/api/v1/exclusions", params=back).status_code == 200
    again = client.get(f"{address}/points", params={"limit": 200}).json()
    assert again["points"] == listed
    page = text_of(client.get("/map", params=pages).text)
    assert "are shown" not in page


def text_of(page: str) -> str:
    return " ".join(BeautifulSoup(page, "html.parser").get_text(" ").split())


def test_a_query_lies_among_its_hits(client: TestClient) -> None:
    address = f"/api/v1/maps/{made(client)['id']}"
    found = client.get(f"{address}/query", params={"q": "ferry harbour quay", "k": 5}).json()
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3, 4, 5]
    assert all(hit["on_map"] for hit in found["hits"])
    for axis in ("x", "y"):
        low, high = (pick(hit[axis] for hit in found["hits"]) for pick in (min, max))
        assert low <= found[axis] <= high
    one = client.get(f"{address}/points/{found['hits'][0]['chunk_id']}").json()
    assert (one["x"], one["title"]) == (found["hits"][0]["x"], found["hits"][0]["title"])


def test_a_part_is_listed_and_searched(client: TestClient) -> None:
    address = f"/api/v1/maps/{made(client)['id']}"
    params: dict[str, Any] = {"by": "meta.topic", "limit": 200}
    points = client.get(f"{address}/points", params=params).json()["points"]
    sky = [point["chunk_id"] for point in points if point["label"] == "sky"]
    listed = client.post(f"{address}/selection", json={"chunk_ids": sky, "limit": 4}).json()
    assert listed["total"] == len(sky)
    assert listed["more"]
    assert [each["score"] for each in listed["passages"]] == [None] * 4
    body = {"chunk_ids": [*sky, str(uuid4())], "query": "telescope planet", "limit": 200}
    found = client.post(f"{address}/selection", json=body).json()
    scores = [each["score"] for each in found["passages"]]
    assert found["total"] == len(sky)
    assert scores == sorted(scores, reverse=True)
    assert {each["chunk_id"] for each in found["passages"]} == set(sky)
    # The nearest of all by a search are the nearest of a part that has them.
    hits = client.get(f"{address}/query", params={"q": "telescope planet", "k": 3}).json()["hits"]
    assert scores[0] == pytest.approx(hits[0]["score"], abs=1e-5)


@pytest.mark.parametrize("ids", [[], ["x"], [str(UUID(int=n)) for n in range(MOST_SELECTED + 1)]])
def test_a_part_is_bounded(client: TestClient, ids: list[str]) -> None:
    address = f"/api/v1/maps/{made(client)['id']}/selection"
    assert client.post(address, json={"chunk_ids": ids}).status_code == 422


def test_tiny_collections_have_maps_too(client: TestClient) -> None:
    for collection, count in (("one", 1), ("same", 4)):
        found = made(client, collection)
        assert found["numbers"]["neighbours_kept"] is None
        assert found["numbers"]["distinct"] == 1
        content = client.get(f"/api/v1/maps/{found['id']}/points.bin").content
        header, xs, ys, _, ids = unpacked(content)
        assert header["count"] == count
        assert len({(float(x), float(y)) for x, y in zip(xs, ys, strict=True)}) == count
        assert len(set(ids)) == count
        page = client.get("/map", params={"collection": collection})
        assert page.status_code == 200
    assert "All passages have the same vector" in page.text


def test_the_same_seed_gives_the_same_map(site: Settings, client: TestClient) -> None:
    async def work() -> list[str]:
        async with open_services(site) as services:
            return [str((await analyse(services, "default", "map", PCA)).id) for _ in range(2)]

    first, second = (
        client.get(f"/api/v1/maps/{each}/points.bin").content for each in run_apart(work())
    )
    assert first == second


def test_what_is_removed_is_gone_from_maps(
    postgres_url: str, template: str, tmp_path: Path
) -> None:
    write(tmp_path)

    async def fill(settings: Settings) -> None:
        async with open_services(settings) as services:
            await ingest(services, IngestRequest(arguments=[str(tmp_path / "notes.jsonl")]))
            await analyse(services, "default", "map", PCA)
            # On its way out, and not to be found any more.
            async with transaction(services.engine) as connection:
                await connection.exec_driver_sql(
                    "UPDATE documents SET state = 'deleting' WHERE title = 'Hello'"
                )

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url, data_dir=tmp_path / "data", embedder="hashing:64"
        )
        run_apart(fill(settings))
        with TestClient(create_app(settings), base_url=HOST) as client:
            address = f"/api/v1/maps/{made(client)['id']}"
            header, *_, ids = unpacked(client.get(f"{address}/points.bin").content)
            assert header["count"] == 39
            with connect(database_url) as connection:
                connection.execute("DELETE FROM chunks WHERE id = %s", [ids[0]])
            header, *_, left = unpacked(client.get(f"{address}/points.bin").content)
            assert left == ids[1:]
            body = {"chunk_ids": [str(each) for each in ids[:3]]}
            assert client.post(f"{address}/selection", json=body).json()["total"] == 2
            assert client.get(f"{address}/points/{ids[0]}").status_code == 404
            assert client.get("/map/table").text.count('class="entry"') == 38


def test_the_page_names_what_it_paints_and_offers_a_table(client: TestClient) -> None:
    found = made(client)
    answer = client.get("/map", params={"analysis": found["id"], "by": "meta.topic"})
    assert answer.status_code == 200
    assert "<img src=x" not in answer.text
    page = BeautifulSoup(answer.text, "lxml")
    preload = page.find("link", rel="preload")
    assert preload is not None
    assert client.get(str(preload["href"])).status_code == 200
    frame = page.select_one("[data-map]")
    assert frame is not None
    assert frame["data-map"] == found["id"]
    assert "chosen" in json.loads(str(frame["data-words"]))
    assert page.select_one("[role=application][tabindex='0']") is not None
    assert "needs JavaScript" in str(page.select_one("[data-map-told]"))
    options = {option["value"] for option in page.select("#map-by option")}
    assert {"", "language", "source", "date", "meta.topic", "meta.weight"} <= options
    table = page.find("a", string=re.compile("as a table"))
    assert table is not None
    rows = BeautifulSoup(client.get(str(table["href"])).text, "lxml").select("tbody tr")
    assert len(rows) == 40
    first = client.get("/map", params={"collection": "default"})
    chosen = BeautifulSoup(first.text, "lxml").select_one("#map-by option[selected]")
    assert chosen is not None
    assert str(chosen["value"]).startswith("clusters:")


def test_a_query_is_answered_without_scripts(client: TestClient) -> None:
    found = made(client)["id"]
    answer = client.get("/map", params={"analysis": found, "q": "telescope galaxy"})
    page = BeautifulSoup(answer.text, "lxml")
    items = page.select("[data-map-hits] li[data-chunk]")
    assert len(items) == 20
    assert all(-1 <= float(str(item["data-x"])) <= 1 for item in items)
    assert ATTACK not in answer.text
    refused = client.get("/map", params={"analysis": found, "q": "x" * 3000})
    assert refused.status_code == 200
    assert "This cannot be looked for" in refused.text


def test_the_table_is_narrowed_and_refuses_nonsense(client: TestClient) -> None:
    params = {"analysis": made(client)["id"], "by": "meta.topic", "group": "0"}
    page = BeautifulSoup(client.get("/map/table", params=params).text, "lxml")
    label = page.select_one("#group option[selected]")
    assert label is not None
    cells = {cell.get_text() for cell in page.select("tbody td:nth-of-type(1)")}
    assert cells == {label.get_text().partition(" (")[0]}
    assert client.get("/map/table", params={"group": "x"}).status_code == 400
    assert client.get("/map/table", params={"by": "weather"}).status_code == 400
    assert client.get("/map", params={"analysis": str(uuid4())}).status_code == 404


def test_the_page_speaks_japanese(client: TestClient) -> None:
    client.cookies.set(LANGUAGE, "ja")
    answer = client.get("/map")
    assert "文書はどこにありますか" in answer.text
    assert "同じ点を表で見る" in answer.text


def test_a_page_asks_a_worker_and_so_does_the_api(client: TestClient) -> None:
    token = BeautifulSoup(client.get("/map").text, "lxml").find("input", attrs={"name": FIELD})
    assert token is not None
    form = {FIELD: str(token["value"]), "collection": "one", "method": "pca"}
    asked = client.post("/map", data=form)
    assert asked.status_code == 303
    assert asked.headers["location"] in client.get("/map", params={"collection": "one"}).text
    body = {"collection": "default", "kind": "map", "method": "pca", "seed": 3, "neighbours": 5}
    assert client.post("/api/v1/analyses", json=body).status_code == 202
    wrong = client.post("/api/v1/analyses", json={**body, "repeats": 3})
    assert "map have no option repeats" in wrong.json()["detail"]


REFUSED_MAPS: list[tuple[str, dict[str, Any], str]] = [
    ("default", {"filters": ["language=xx"]}, "a map needs 1 passages or more"),
    ("default", {"method": "magic"}, "method 'magic' is not known"),
    ("default", {"neighbours": 1}, "write a number from 2 to 100"),
    ("default", {"colour": "red"}, "no such option"),
]


def test_what_cannot_be_mapped_is_said_in_a_sentence(site: Settings) -> None:
    async def work() -> None:
        async with open_services(site) as services:
            for collection, options, words in REFUSED_MAPS:
                with pytest.raises(InvalidInputError, match=re.escape(words)):
                    await analyse(services, collection, "map", {**PCA, **options})

    run_apart(work())


def test_the_command_makes_one_or_leaves_it_to_a_worker(
    site: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.database_url is not None
    monkeypatch.setenv("DATABASE_URL", site.database_url.get_secret_value())
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(site.data_dir))
    monkeypatch.setenv("UNMOVED_EMBEDDER", "hashing:256")
    runner = CliRunner()
    shown = runner.invoke(commands, ["map", "--method", "pca"])
    assert shown.exit_code == 0, shown.output
    assert "40 passages of 40 documents" in shown.output
    assert re.search(r"\d+% are among the nearest on the map", shown.output)
    as_json = runner.invoke(commands, ["map", "--method", "pca", "--json", "--collection", "one"])
    assert json.loads(as_json.output)["numbers"]["passages"] == 1
    left = runner.invoke(commands, ["map", "--enqueue", "--method", "pca"])
    assert re.search(r"job \d+ · map · collection default", left.output)
