"""What is excluded: found by no search, still there, and taken back; in every store alike."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from bs4 import BeautifulSoup
from starlette.testclient import TestClient
from typer.testing import CliRunner

from ingest.cli import app as commands
from ingest.pipeline import IngestRequest, ingest, remove
from ingest.reconcile import reconcile
from search_app.bootstrap import Services, open_services
from search_app.catalog import collections, exclusions
from search_app.catalog.engine import reading, transaction
from search_app.config import Settings, load_settings
from search_app.errors import InvalidInputError, NotFoundError
from search_app.retrieval import SearchRequest
from search_app.types import Mode
from search_app.web.app import create_app
from search_app.web.counting import Counter
from search_app.web.csrf import FIELD
from tests.web_site import cloned, run_apart

HOST = "http://localhost"
MODES: Sequence[Mode] = ("semantic", "keyword", "hybrid")


def write(folder: Path, *, changed: bool = False) -> None:
    """Write a file of notes; changed, the second one has another text."""
    rows = [{"id": f"note {n}", "title": f"Note {n}", "text": f"ferry {n}"} for n in range(6)]
    if changed:
        rows[1]["text"] = "ferry one, at noon"
        rows[2]["author"] = "Sato"
    lines = [json.dumps(row) for row in rows]
    (folder / "notes.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(params=["pgvector", "qdrant"])
async def services(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[Services]:
    """A collection of six notes."""
    if request.param == "qdrant":
        pytest.importorskip("qdrant_client", reason="needs qdrant-client")
    settings = load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path,
        embedder="hashing:64",
        store=request.param,
        qdrant_url=f"local:{tmp_path / 'vectors'}",
    )
    write(tmp_path)
    async with open_services(settings) as opened:
        await read(opened, tmp_path)
        yield opened


async def read(services: Services, folder: Path) -> None:
    await ingest(services, IngestRequest(arguments=[str(folder / "notes.jsonl")], force=True))


async def found(services: Services, mode: Mode = "semantic", **options: Any) -> dict[str, UUID]:
    """Give the titles that a search finds, with their passages."""
    request = SearchRequest(query="ferry", mode=mode, k=50, **options)
    hits = (await services.searcher.search(request)).hits
    return {hit.document.title: hit.chunk_id for hit in hits}


async def document_of(services: Services, title: str) -> UUID:
    request = SearchRequest(query="ferry", mode="semantic", k=50)
    hits = (await services.searcher.search(request)).hits
    return next(hit.document.id for hit in hits if hit.document.title == title)


async def change(
    services: Services, *, lift: bool = False, document: UUID | None = None, passage: UUID | None
) -> int:
    async with transaction(services.engine) as connection:
        return await (exclusions.lift if lift else exclusions.add)(
            connection,
            documents=[] if document is None else [document],
            passages=[] if passage is None else [passage],
        )


async def test_no_search_finds_what_is_excluded_until_it_is_included(services: Services) -> None:
    everything = await found(services)
    assert len(everything) == 6
    document = await document_of(services, "Note 0")
    assert await change(services, document=document, passage=everything["Note 1"]) == 2
    assert await change(services, document=document, passage=everything["Note 1"]) == 0
    for mode in MODES:
        for exact in (False, True):
            assert set(await found(services, mode, exact=exact)) == {
                f"Note {n}" for n in range(2, 6)
            }
    assert set(await found(services, filters=["type=jsonl"])) <= {f"Note {n}" for n in range(2, 6)}
    words = await services.searcher.documents_with_words("ferry", "default")
    assert words is not None
    assert len(words) == 4
    counter = Counter(services.engine)
    async with reading(services.engine) as connection:
        known = await collections.get(connection, "default")
    assert await counter.documents(known, []) == 4
    assert sum((await counter.facets(known, [], ["language"]))["language"].values()) == 4
    assert (await change(services, lift=True, document=document, passage=everything["Note 1"])) == 2
    assert await counter.documents(known, []) == 6
    assert set(await found(services)) == set(everything)


async def test_nothing_is_removed_and_no_check_finds_a_fault(services: Services) -> None:
    document = await document_of(services, "Note 3")
    await change(services, document=document, passage=None)
    report = await reconcile(services)
    assert report.faults == 0
    (index,) = report.indexes
    assert (index.records, index.points) == (6, 6)


async def test_a_passage_stays_out_until_its_text_changes_and_a_document_until_it_goes(
    services: Services, tmp_path: Path
) -> None:
    everything = await found(services)
    document = await document_of(services, "Note 4")
    await change(services, document=document, passage=everything["Note 1"])
    await change(services, passage=everything["Note 2"])
    write(tmp_path, changed=True)
    await read(services, tmp_path)
    # The text of note 1 is another one; note 2 has a new field only.
    assert set(await found(services)) == {"Note 0", "Note 1", "Note 3", "Note 5"}
    await remove(services, sources=[str(tmp_path / "notes.jsonl")], collection="default")
    await read(services, tmp_path)
    assert len(await found(services)) == 6


async def test_what_cannot_be_meant_is_said(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    passages = await found(services)
    with pytest.raises(NotFoundError, match="no passage"):
        await change(services, passage=uuid4())
    with pytest.raises(NotFoundError, match="no document"):
        await change(services, document=uuid4(), passage=None)
    with pytest.raises(InvalidInputError, match="nothing is named"):
        await change(services, passage=None)
    async with reading(services.engine) as connection:
        known = await collections.get(connection, "default")
        for written, error in (("zz", InvalidInputError), ("0" * 36, NotFoundError)):
            with pytest.raises(error):
                await exclusions.meant(connection, known, [written])
        named = await exclusions.meant(connection, known, [str(passages["Note 0"])])
    assert named == ([], [passages["Note 0"]])
    monkeypatch.setattr(exclusions, "MOST_HIDDEN", 1)
    with pytest.raises(InvalidInputError, match="at most 1 can be"):
        async with transaction(services.engine) as connection:
            await exclusions.add(connection, passages=list(passages.values())[:2])
    assert len(await found(services)) == 6


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """The same notes behind pages and the API."""
    folder = tmp_path_factory.mktemp("notes")
    write(folder)

    async def fill(settings: Settings) -> None:
        async with open_services(settings) as services:
            await read(services, folder)

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=tmp_path_factory.mktemp("data"),
            embedder="hashing:64",
        )
        run_apart(fill(settings))
        yield settings


@pytest.fixture
def client(site: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(site), base_url=HOST, follow_redirects=False) as opened:
        yield opened


def hits(client: TestClient) -> list[dict[str, str]]:
    answer = client.post("/api/v1/search", json={"query": "ferry", "mode": "keyword", "k": 50})
    return [{"passage": each["chunk_id"], **each["document"]} for each in answer.json()["hits"]]


def test_the_api_excludes_lists_and_includes(client: TestClient) -> None:
    first, second = hits(client)[:2]
    body = {"documents": [first["id"]], "passages": [second["passage"]], "reason": "notices"}
    assert client.post("/api/v1/exclusions", json=body).json() == {"changed": 2}
    assert len(hits(client)) == 4
    listed = client.get("/api/v1/exclusions", params={"collection": "default"}).json()
    by_passage = {each["chunk_id"]: each for each in listed["exclusions"]}
    assert set(by_passage) == {None, second["passage"]}
    assert by_passage[None]["document_id"] == first["id"]
    assert by_passage[None]["passages"] == 1
    assert by_passage[second["passage"]]["text"].startswith("ferry")
    shown = client.get(f"/api/v1/documents/{first['id']}").json()
    assert (shown["excluded"], shown["chunks"][0]["excluded"]) == (True, True)
    other = client.get(f"/api/v1/documents/{second['id']}").json()
    assert (other["excluded"], other["chunks"][0]["excluded"]) == (False, True)
    parameters = {"document_id": first["id"], "chunk_id": second["passage"]}
    assert client.delete("/api/v1/exclusions", params=parameters).json() == {"changed": 2}
    assert client.delete("/api/v1/exclusions", params=parameters).json() == {"changed": 0}
    assert len(hits(client)) == 6
    assert client.post("/api/v1/exclusions", json={}).status_code == 400
    assert client.post("/api/v1/exclusions", json={"passages": [str(uuid4())]}).status_code == 404


def test_pages_exclude_with_their_token_and_show_it(client: TestClient) -> None:
    first = hits(client)[0]
    address = f"/documents/{first['id']}"
    page = BeautifulSoup(client.get(address).text, "html.parser")
    field = page.find("input", {"name": FIELD})
    button = page.find("button", {"name": "exclude_passage"})
    assert field is not None
    assert button is not None
    form = {"exclude_passage": str(button["value"])}
    assert client.post("/exclusions", data=form).status_code == 403
    token = {FIELD: str(field["value"])}
    back = {"referer": f"{HOST}{address}"}
    answer = client.post("/exclusions", data={**form, **token}, headers=back)
    assert (answer.status_code, answer.headers["location"]) == (303, address)
    page = BeautifulSoup(client.get(address).text, "html.parser")
    assert page.find("button", {"name": "include_passage"}) is not None
    client.post("/exclusions", data={"exclude_document": first["id"], **token})
    assert "This document is excluded" in client.get(address).text
    listed = BeautifulSoup(client.get("/exclusions").text, "html.parser")
    ticks = {str(each["name"]): str(each["value"]) for each in listed.select("[type=checkbox]")}
    assert ticks == {"document": first["id"], "passage": first["passage"]}
    client.post("/exclusions", data={"action": "include", **ticks, **token})
    assert "Nothing is excluded" in client.get("/exclusions").text
    for form in ({"action": "include"}, {}):
        assert client.post("/exclusions", data={**form, **token}).status_code == 400


def test_commands_exclude_list_and_include(
    site: Settings, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.cli.exclusions.load_settings", lambda: site)
    monkeypatch.setattr("ingest.cli.exclusions.wait_for", lambda work, _: run_apart(work))
    runner = CliRunner()
    first = hits(client)[0]
    for arguments, words in (
        (["excluded"], "nothing is excluded"),
        (["exclude", first["passage"][:12], first["id"], "--reason", "old"], "2 exclusions added"),
        (["excluded"], "old"),
        (["excluded", "--json"], first["passage"]),
        (["include", first["passage"], first["id"], "--json"], '"changed": 2'),
    ):
        result = runner.invoke(commands, arguments)
        assert result.exit_code == 0, result.output
        assert words in result.output
