"""A segment is proved and written while the next one is embedded, and nothing paid for is lost."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

import ingest.writing as writing_module
from ingest import targets
from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport
from search_app.bootstrap import Services
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    EmbedderRefusedError,
    EmbedderUnavailableError,
    ModelMismatchError,
    StoreUnavailableError,
)
from search_app.types import Kind, Matrix, Point
from tests.catalog_dump import connect

SEGMENT = 16
DOCUMENTS = 160


class Model(HashingEmbedder):
    """Remembers which documents it was sent, and fails as a test says."""

    def __init__(self) -> None:
        super().__init__(64)
        self.batch_size = 4
        self.concurrency = 2
        self.documents: list[str] = []
        self.arrived = asyncio.Event()
        self.wakes_at = ""
        self.fails_at = ""
        self.refuses = ""
        self.is_another = False

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if any(self.fails_at and self.fails_at in text for text in texts):
            raise EmbedderUnavailableError("no answer")
        if any(self.refuses and self.refuses in text for text in texts):
            raise EmbedderRefusedError("content filter")
        if any(self.wakes_at and self.wakes_at in text for text in texts):
            self.arrived.set()
        self.documents += [text for text in texts if text.startswith("Document")]
        # So that others come in between, as with a network.
        await asyncio.sleep(0)
        vectors = await super().embed(texts, kind)
        return vectors[:, ::-1].copy() if self.is_another else vectors


@pytest.fixture
def model(services: Services) -> Model:
    made = Model()
    services._embedders["hashing:64"] = made
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(writing_module, "SEGMENT", SEGMENT)
    made = tmp_path / "texts"
    made.mkdir()
    for number in range(DOCUMENTS):
        (made / f"{number:03}.txt").write_text(f"Document {number:03} speaks of kites.")
    return made


async def add(services: Services, folder: Path, collection: str = "default") -> IngestReport:
    return await ingest(services, IngestRequest(arguments=[str(folder)], collection=collection))


def named(number: int) -> str:
    return f"Document {number:03} "


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


def count(services: Services, table: str) -> int:
    with connect(address(services)) as connection:
        row = connection.execute(f"SELECT count(*) AS number FROM {table}").fetchone()
    assert row is not None
    number = row["number"]
    assert isinstance(number, int)
    return number


async def test_the_next_segment_is_embedded_while_one_is_written_and_no_further(
    services: Services, folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = services.store("pgvector")
    upsert = store.upsert
    model.wakes_at = named(2 * SEGMENT - 1)
    ahead: list[int] = []

    async def waiting(index_id: UUID, points: Sequence[Point]) -> None:
        if not ahead:
            # Before it would have waited for ever: nothing was sent while this goes on.
            await model.arrived.wait()
            for _ in range(200):
                await asyncio.sleep(0.001)
            ahead.append(len(model.documents))
        await upsert(index_id, points)

    monkeypatch.setattr(store, "upsert", waiting)
    report = await add(services, folder)
    assert report.chunks.embedded == DOCUMENTS
    assert ahead == [2 * SEGMENT]
    assert sorted(model.documents) == [
        f"Document {number:03} speaks of kites." for number in range(DOCUMENTS)
    ]


async def test_equal_texts_travel_once_though_they_are_in_segments_under_way(
    services: Services, folder: Path, model: Model
) -> None:
    for number in range(DOCUMENTS):
        (folder / f"{number:03}.txt").write_text(f"Document {number % 10} speaks of kites.")
    report = await add(services, folder)
    assert (report.chunks.embedded, report.chunks.reused) == (10, DOCUMENTS - 10)
    assert len(model.documents) == 10
    with connect(address(services)) as connection:
        found = connection.execute(
            "SELECT count(DISTINCT stored_hash) AS vectors, "
            "count(*) FILTER (WHERE copied_by_run_id IS NULL) AS made FROM vector_records"
        ).fetchone()
    assert found == {"vectors": 10, "made": 10}


async def test_what_a_store_did_not_take_and_what_came_meanwhile_is_not_paid_twice(
    services: Services, folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = services.store("pgvector")
    upsert = store.upsert
    model.wakes_at = named(2 * SEGMENT - 1)

    async def failing(index_id: UUID, points: Sequence[Point]) -> None:
        await model.arrived.wait()
        raise StoreUnavailableError(f"pgvector: no room for {len(points)} of {index_id}")

    monkeypatch.setattr(store, "upsert", failing)
    with pytest.raises(StoreUnavailableError):
        await add(services, folder)
    assert count(services, "embedding_cache") == len(model.documents) >= 2 * SEGMENT - 4
    assert count(services, "vector_records") == 0
    monkeypatch.setattr(store, "upsert", upsert)
    report = await add(services, folder)
    assert report.documents.added == DOCUMENTS
    assert len(model.documents) == len(set(model.documents)) == DOCUMENTS


async def test_what_came_before_a_failure_is_in_or_kept(
    services: Services, folder: Path, model: Model
) -> None:
    model.fails_at = named(3 * SEGMENT + SEGMENT // 2)
    with pytest.raises(EmbedderUnavailableError):
        await add(services, folder)
    # Three whole segments are in; of the fourth, what came back is kept.
    assert count(services, "vector_records") == 3 * SEGMENT
    assert count(services, "embedding_cache") == len(model.documents) > 3 * SEGMENT
    model.fails_at = ""
    await add(services, folder)
    assert len(model.documents) == len(set(model.documents)) == DOCUMENTS
    assert count(services, "vector_records") == DOCUMENTS


async def test_nothing_is_kept_once_another_model_answered(
    services: Services, folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = targets.prove
    proofs = 0

    async def changing(*arguments: object) -> str | None:
        nonlocal proofs
        proofs += 1
        model.is_another = proofs == 2
        try:
            return await prove(*arguments)  # type: ignore[arg-type] # as they came
        finally:
            # Back again: whoever asked once more would be told that all is well.
            model.is_another = False

    monkeypatch.setattr(writing_module, "prove", changing)
    with pytest.raises(ModelMismatchError):
        await add(services, folder)
    assert (proofs, count(services, "embedding_cache")) == (2, 0)
    assert count(services, "vector_records") == 0
    await add(services, folder)
    assert count(services, "vector_records") == DOCUMENTS


async def test_for_one_refused_text_no_other_is_sent_again(
    services: Services, folder: Path, model: Model
) -> None:
    model.refuses = named(21)
    report = await add(services, folder)
    assert (report.documents.added, report.documents.failed) == (DOCUMENTS - 1, 1)
    assert Path(report.errors[0].source).name == "021.txt"
    assert len(model.documents) == len(set(model.documents)) == DOCUMENTS - 1


async def test_an_ingest_that_is_cancelled_leaves_nothing_running_and_is_finished_by_the_next(
    services: Services, folder: Path, model: Model
) -> None:
    model.wakes_at = named(5 * SEGMENT)
    running = asyncio.create_task(add(services, folder))
    await model.arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task for task in others if "Seeker" in repr(task) or "Writer" in repr(task)] == []
    await add(services, folder)
    await add(services, folder, "other")
    assert count(services, "vector_records") == 2 * DOCUMENTS
    # Of what was on its way at most two segments were sent again.
    assert len(model.documents) - len(set(model.documents)) <= 2 * SEGMENT


async def test_two_ingests_at_once_of_two_collections(
    services: Services, folder: Path, model: Model
) -> None:
    both = await asyncio.gather(add(services, folder, "one"), add(services, folder, "two"))
    assert [report.documents.added for report in both] == [DOCUMENTS, DOCUMENTS]
    assert count(services, "vector_records") == 2 * DOCUMENTS
    assert set(model.documents) == {
        f"Document {number:03} speaks of kites." for number in range(DOCUMENTS)
    }
