"""Faults planted into whole runs: nothing is lost, doubled or mixed, and the error says why.

Every run, also one that helpers share, ends well or says what happened; once the fault is over, the
next run brings in what is missing, and all is as if there had been no fault.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ingest import writing
from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport
from search_app.bootstrap import Services, open_services
from search_app.config import load_settings
from search_app.embedders.base import Embedder
from search_app.embedders.hosted import breaker
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.openai import OpenAIEmbedder
from search_app.errors import (
    CatalogError,
    EmbedderError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
    ModelMismatchError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
    UnmovedError,
)
from search_app.retrieval import SearchRequest
from search_app.stores.base import VectorStore
from search_app.types import Point
from tests.catalog_dump import connect, differences, dump
from tests.conftest import Clone
from tests.scripted_endpoint import (
    Received,
    Reply,
    ScriptedEndpoint,
    answer,
    body,
    encoded,
    json_body,
    scripted_endpoint,
    vector_of,
)

Dump = dict[str, list[dict[str, Any]]]

FILES = 150
MARK = "keeper"

SHARED = pytest.mark.parametrize("queue", [None, "documents"], ids=["alone", "in parts"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write enough for several segments and parts."""
    folder = tmp_path / "papers"
    folder.mkdir()
    for number in range(FILES):
        text = f"# Light {number}\n\nThe {MARK} of light {number} saw {number * 7} ships."
        (folder / f"{number:04}.md").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SEGMENT", 40)


async def add(services: Services, folder: Path, queue: str | None = None) -> IngestReport:
    return await ingest(services, IngestRequest(arguments=[str(folder)]), queue=queue)


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


def check_consistent(url: str) -> int:
    """Check that what is shown has its vector and record, and count the documents shown."""
    found = dump(url)
    vectors = {row["chunk_id"] for row in found["vectors"]}
    recorded = {row["chunk_id"] for row in found["records"]}
    shown = {row["id"] for row in found["documents"] if row["state"] == "indexed"}
    for chunk in found["chunks"]:
        if chunk["state"] == "live":
            assert chunk["document_id"] in shown
            assert chunk["id"] in vectors
            assert chunk["id"] in recorded
    assert recorded <= vectors
    return len(shown)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A folder, the services that ingest it, and databases where nothing goes wrong."""

    services: Services
    folder: Path
    clone: Clone

    async def add(self, queue: str | None = None) -> IngestReport:
        return await add(self.services, self.folder, queue)

    def dump(self) -> Dump:
        return dump(address(self.services))

    async def check_equal(self, *first: Path, embedder: Embedder | None = None) -> None:
        """Check that all is as if the folder, after others, had been ingested without a fault."""
        url = self.clone()
        settings = load_settings(
            DATABASE_URL=url,
            data_dir=self.services.settings.data_dir,
            embedder=self.services.settings.embedder,
        )
        async with open_services(settings) as services:
            if embedder is not None:
                services.embedder = lambda _: embedder  # type: ignore[method-assign,assignment] # the one under test
            for folder in (*first, self.folder):
                await add(services, folder)
        assert differences(self.dump(), dump(url)) == []


@pytest.fixture
def site(services: Services, folder: Path, clone: Clone) -> Site:
    return Site(services=services, folder=folder, clone=clone)


# --- The embedding endpoint --------------------------------------------------------------------


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        yield running


@dataclass
class Mood:
    """Answers well, but for the next ``times`` requests with a document of the folder.

    ``documents`` counts those requests; ``after`` so many of them the fault begins.
    """

    fault: Reply | None = None
    times: int = 0
    after: int = 0
    canaries_too: bool = False
    documents: int = 0

    async def reply(self, request: Received, writer: asyncio.StreamWriter) -> None:
        ours = any(MARK in text for text in request.texts)
        self.documents += ours
        begun = self.documents > self.after
        if self.fault is not None and self.times and begun and (ours or self.canaries_too):
            self.times -= 1
            await self.fault(request, writer)
        else:
            await answer()(request, writer)


def reversed_order(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return items[::-1]


def one_fewer(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return items[:-1]


def one_nan(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    bad = vector_of("nan").copy()
    bad[2] = float("nan")
    return [*items[:-1], {**items[-1], "embedding": encoded(bad, "base64")}]


def same_place_twice(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**item, "index": 0} for item in items]


async def truncated(request: Received, writer: asyncio.StreamWriter) -> None:
    """Send half of a good answer, and say that it is all."""
    whole = json.dumps(
        {"object": "list", "model": "m", "data": [{"index": 0, "embedding": "AAAA"}]}
    )
    await body(whole[: len(whole) // 2].encode(), headers={"content-type": "application/json"})(
        request, writer
    )


async def another_model(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer as a model of the same name and size that thinks otherwise."""
    strange = Received(
        target=request.target,
        headers=request.headers,
        json={**request.json, "input": [f"another {text}" for text in request.texts]},
    )
    await answer()(strange, writer)


PASSING: Mapping[str, tuple[Reply, int]] = {
    "429 with Retry-After": (json_body({}, status=429, headers={"Retry-After": "0.05"}), 3),
    "500": (json_body({"error": {"message": "overloaded"}}, status=500), 2),
    "out of order": (answer(change=reversed_order), 1000),
}
LASTING: Mapping[str, tuple[Reply, type[EmbedderError], str]] = {
    "500": (
        json_body({"error": {"message": "overloaded"}}, status=500),
        EmbedderUnavailableError,
        "500",
    ),
    "429": (
        json_body({}, status=429, headers={"Retry-After": "9999"}),
        EmbedderUnavailableError,
        "429",
    ),
    "401": (json_body({"error": {"message": "bad key"}}, status=401), EmbedderRefusedError, "401"),
    "truncated JSON": (truncated, EmbedderResponseError, "JSON"),
    "fewer vectors": (answer(change=one_fewer), EmbedderResponseError, "vectors"),
    "NaN": (answer(change=one_nan), EmbedderResponseError, "NaN"),
    "one place twice": (answer(change=same_place_twice), EmbedderResponseError, "two vectors"),
    "another dimension": (answer(dimensions=5), EmbedderResponseError, "dimension"),
}


@dataclass(kw_only=True)
class Served(Mood):
    """An endpoint in a mood, and what embeds through it."""

    embedder: Embedder


@pytest.fixture
async def served(
    services: Services, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """Embed through the endpoint, whose mood one can change; it begins well."""
    # The next run would be another process, which knows nothing of what failed before.
    monkeypatch.setattr(breaker, "REST_S", 0.0)
    embedder = OpenAIEmbedder(
        model="m", base_url=endpoint.url, batch_size=16, plan=Plan(max_retries=4, retry_wait_s=0.01)
    )
    mood = Served(embedder=embedder)
    endpoint.script(mood.reply)
    monkeypatch.setattr(services, "embedder", lambda _: embedder)
    yield mood
    await embedder.aclose()


@SHARED
@pytest.mark.parametrize("name", PASSING)
async def test_what_passes_is_waited_for(
    site: Site,
    served: Served,
    name: str,
    queue: str | None,
) -> None:
    served.after = 3
    served.fault, served.times = PASSING[name]
    report = await site.add(queue)
    assert (report.documents.added, report.documents.failed) == (FILES, 0)
    served.fault = None
    await site.check_equal(embedder=served.embedder)


@SHARED
@pytest.mark.parametrize("name", LASTING)
async def test_what_lasts_stops_the_run_and_the_next_one_finishes_it(
    site: Site,
    served: Served,
    name: str,
    queue: str | None,
) -> None:
    fault, error, said = LASTING[name]
    served.after, served.fault, served.times = 6, fault, 10**9
    # A text that alone is refused costs its own document only; a wrong key refuses everything.
    served.canaries_too = error is EmbedderRefusedError
    with pytest.raises(error) as caught:
        await site.add(queue)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    in_so_far = check_consistent(address(site.services))
    # What was proved before the fault stays in, and can be found.
    assert 0 < in_so_far < FILES
    with connect(address(site.services)) as connection:
        rows = connection.execute(
            "SELECT status, reason FROM runs WHERE part_of IS NULL"
        ).fetchall()
    assert [(row["status"], row["reason"]) for row in rows] == [("failed", str(caught.value))]
    served.fault = None
    report = await site.add(queue)
    assert report.documents.added == FILES - in_so_far
    assert report.documents.unchanged == in_so_far
    await site.check_equal(embedder=served.embedder)


@SHARED
async def test_a_model_that_is_changed_in_mid_run_puts_nothing_in(
    site: Site,
    served: Served,
    queue: str | None,
) -> None:
    served.after, served.fault, served.times = 7, another_model, 10**9
    served.canaries_too = True
    with pytest.raises(ModelMismatchError, match="another model answers"):
        await site.add(queue)
    in_so_far = check_consistent(address(site.services))
    assert 0 < in_so_far < FILES
    before = site.dump()
    # Nor does it on the next try, while the other model answers.
    with pytest.raises(ModelMismatchError):
        await site.add(queue)
    after = site.dump()
    assert (after["vectors"], after["records"]) == (before["vectors"], before["records"])
    served.fault = None
    assert (await site.add(queue)).documents.added == FILES - in_so_far
    await site.check_equal(embedder=served.embedder)


# --- The store ---------------------------------------------------------------------------------


Wrap = Callable[..., Awaitable[None]]


@dataclass
class Moody:
    """Makes the methods of a store that write fail, be slow, or be cut off, from a call on."""

    store: VectorStore
    monkeypatch: pytest.MonkeyPatch
    writes: int = 0

    def spoil(
        self, fault: Callable[[Wrap, tuple[Any, ...]], Awaitable[None]], *, after: int
    ) -> None:
        self.writes = 0
        for name in ("upsert", "update_fields", "delete"):
            self.monkeypatch.setattr(self.store, name, self._spoilt(name, fault, after))

    def _spoilt(
        self, name: str, fault: Callable[[Wrap, tuple[Any, ...]], Awaitable[None]], after: int
    ) -> Wrap:
        well: Wrap = getattr(self.store, name)

        async def method(*arguments: Any) -> None:
            self.writes += 1
            if self.writes <= after:
                await well(*arguments)
            else:
                await fault(well, arguments)

        return method


async def refuses(_well: Wrap, _arguments: tuple[Any, ...]) -> None:
    raise StoreRefusedError("the store takes no more: quota reached")


async def is_away(_well: Wrap, _arguments: tuple[Any, ...]) -> None:
    raise StoreUnavailableError("the store cannot be reached")


async def takes_half(well: Wrap, arguments: tuple[Any, ...]) -> None:
    index_id, points = arguments
    if isinstance(points, list) and points and isinstance(points[0], Point):
        await well(index_id, points[: len(points) // 2])
    raise StoreUnavailableError("the store went away in the middle")


async def takes_all_and_says_no(well: Wrap, arguments: tuple[Any, ...]) -> None:
    await well(*arguments)
    raise StoreUnavailableError("the store did not answer in time")


STORE_FAULTS = {
    "refuses": refuses,
    "is away": is_away,
    "takes half": takes_half,
    "answers too late": takes_all_and_says_no,
}


@SHARED
@pytest.mark.parametrize("name", STORE_FAULTS)
async def test_a_store_that_fails_and_recovers_loses_nothing(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    queue: str | None,
) -> None:
    with monkeypatch.context() as spoiling:
        Moody(site.services.store("pgvector"), spoiling).spoil(STORE_FAULTS[name], after=2)
        with pytest.raises(StoreError, match="the store"):
            await site.add(queue)
    in_so_far = check_consistent(address(site.services))
    assert 0 < in_so_far < FILES
    found = await site.services.searcher.search(SearchRequest(query="ships of the keeper"))
    assert found.hits
    report = await site.add(queue)
    assert report.documents.added == FILES - in_so_far
    await site.check_equal()


@SHARED
async def test_a_store_that_fails_while_documents_change_keeps_what_was_shown(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    queue: str | None,
) -> None:
    await site.add(queue)
    for number in range(0, FILES, 2):
        path = site.folder / f"{number:04}.md"
        path.write_text(f"# Light {number}\n\nNobody is there.", encoding="utf-8")
    for after in (0, 1, 2, 3):
        with monkeypatch.context() as spoiling:
            Moody(site.services.store("pgvector"), spoiling).spoil(is_away, after=after)
            with pytest.raises(StoreUnavailableError):
                await site.add(queue)
        assert check_consistent(address(site.services)) == FILES
    await site.add(queue)
    await site.check_equal()


async def test_a_slow_store_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slowly(well: Wrap, arguments: tuple[Any, ...]) -> None:
        await asyncio.sleep(0.3)
        await well(*arguments)

    with monkeypatch.context() as spoiling:
        Moody(site.services.store("pgvector"), spoiling).spoil(slowly, after=0)
        report = await site.add("documents")
    assert (report.documents.added, report.documents.failed) == (FILES, 0)
    await site.check_equal()


# --- The catalog -------------------------------------------------------------------------------

FULL = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device'
            USING ERRCODE = '53100', HINT = 'Check free disk space.';
    END $$
"""


@SHARED
@pytest.mark.parametrize("table", ["chunks", "vector_records", "vectors", "term_frequencies"])
async def test_a_full_disk_is_named_and_nothing_is_half_in(
    site: Site, table: str, queue: str | None
) -> None:
    few = site.folder.parent / "few"
    few.mkdir()
    (few / "first.md").write_text("# First\n\nIt fits.", encoding="utf-8")
    await add(site.services, few)
    with connect(address(site.services)) as connection:
        connection.execute(FULL)
        name = table
        if table == "vectors":
            rows = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'vectors' "
                "AND table_name NOT LIKE '%%_terms'"
            ).fetchall()
            name = f'vectors."{rows[0]["table_name"]}"'
        connection.execute(
            f"CREATE TRIGGER full_disk BEFORE INSERT ON {name} EXECUTE FUNCTION refuse()"
        )
        with pytest.raises(UnmovedError, match=r"out of room.*No space left on device") as caught:
            await site.add(queue)
        assert isinstance(caught.value, CatalogError | StoreError)
        assert check_consistent(address(site.services)) == 1
        connection.execute(f"DROP TRIGGER full_disk ON {name}")
    assert (await site.add(queue)).documents.added == FILES
    await site.check_equal(few)


# --- Files -------------------------------------------------------------------------------------


@SHARED
async def test_a_file_that_is_edited_while_it_is_ingested_is_in_as_it_is_or_said_not_to_be(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    queue: str | None,
) -> None:
    """Every file is edited at some moment: before it is read, while it is, or after."""
    edited: set[int] = set()
    upsert = site.services.store("pgvector").upsert

    async def edit_and_upsert(index_id: UUID, points: Sequence[Point]) -> None:
        for number in range(len(edited), min(len(edited) + 40, FILES)):
            edited.add(number)
            path = site.folder / f"{number:04}.md"
            path.write_text(f"# Light {number}\n\nEdited: {number} ships.", encoding="utf-8")
        await upsert(index_id, points)

    with monkeypatch.context() as editing:
        editing.setattr(site.services.store("pgvector"), "upsert", edit_and_upsert)
        report = await site.add(queue)
    assert report.documents.added + report.documents.failed == FILES
    for failure in report.errors:
        assert "changed" in failure.reason
    check_consistent(address(site.services))
    after = await site.add(queue)
    assert after.documents.failed == 0
    await site.check_equal()
