"""Document vectors that are kept: taken over when a text comes again, and never unproved."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ingest.deletion import delete_collection
from ingest.pipeline import IngestRequest, ingest, remove
from ingest.reindex import ReindexRequest, reindex
from ingest.report import IngestReport
from search_app.bootstrap import Services, open_services
from search_app.catalog import embedding_cache, records
from search_app.catalog.embedding_cache import CachedVector
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import ModelMismatchError, NotFoundError, StoreUnavailableError
from search_app.types import Kind, Matrix, Point
from tests.catalog_dump import connect, differences, dump

TEXTS = {
    "ferry": "The ferry timetable: boats leave at nine and at noon.",
    "soup": "Onion soup wants butter and a heavy pan.",
    "bread": "Bread rises slowly in the cold.",
}


class Watched(HashingEmbedder):
    """Remembers documents; from text ``turns_at`` on another model answers."""

    def __init__(self) -> None:
        super().__init__(64)
        self.documents: list[str] = []
        self.turns_at: str | None = None
        self.turned = False
        self.wrong = False

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.documents += [text for text in texts if text in TEXTS.values()]
        self.turned = self.turned or self.turns_at in texts
        vectors = await super().embed(texts, kind)
        mixed_up = self.wrong and any(text in TEXTS.values() for text in texts)
        return np.ascontiguousarray(vectors[:, ::-1]) if self.turned or mixed_up else vectors


@pytest.fixture
def model(services: Services) -> Watched:
    made = Watched()
    services._embedders["hashing:64"] = made
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    for name, text in TEXTS.items():
        (made / f"{name}.txt").write_text(text)
    return made


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


def rows(services: Services) -> list[dict[str, object]]:
    with connect(address(services)) as connection:
        return connection.execute("SELECT * FROM embedding_cache ORDER BY sent_hash").fetchall()


async def add(services: Services, folder: Path, collection: str = "default") -> IngestReport:
    request = IngestRequest(arguments=[str(folder)], collection=collection)
    return await ingest(services, request)


async def test_what_was_removed_and_comes_again_is_not_embedded_again(
    services: Services, folder: Path, model: Watched
) -> None:
    first = await add(services, folder)
    before = dump(address(services))
    await remove(services, sources=[str(folder)], collection="default")
    again = await add(services, folder)
    assert sorted(model.documents) == sorted(TEXTS.values())
    assert (again.chunks.embedded, again.chunks.reused) == (0, 3)
    assert differences(dump(address(services)), before) == []
    with connect(address(services)) as connection:
        found = connection.execute(
            "SELECT DISTINCT run_id, copied_by_run_id, batch_size FROM vector_records"
        ).fetchall()
    assert found == [
        {"run_id": first.run_id, "copied_by_run_id": again.run_id, "batch_size": len(TEXTS)}
    ]
    # Only the proof at the beginning was sent.
    assert again.sent.requests < first.sent.requests


async def test_what_a_deleted_collection_had_is_kept_for_others(
    services: Services, folder: Path, model: Watched
) -> None:
    first = await add(services, folder)
    await delete_collection(services, "default", waiting=lambda: None)
    report = await add(services, folder, "other")
    assert report.chunks.embedded == 0
    async with transaction(services.engine) as connection:
        with connect(address(services)) as plain:
            chunk = plain.execute("SELECT id FROM chunks LIMIT 1").fetchone()
        assert chunk is not None
        record = await records.get(connection, report.index_id, chunk["id"])
    assert (record.run_id, record.copied_by_run_id) == (first.run_id, report.run_id)
    assert len(model.documents) == len(TEXTS)


async def test_nothing_is_kept_of_a_run_whose_model_was_another_at_its_end(
    services: Services, folder: Path, model: Watched
) -> None:
    (folder / "kites.txt").write_text("Kites.")
    await add(services, folder)
    kept = rows(services)
    await remove(services, sources=[str(folder)], collection="default")
    with connect(address(services)) as connection:
        connection.execute("DELETE FROM embedding_cache")
    # The first documents of the segment come from the right model, the rest from another one.
    model.turns_at = TEXTS["soup"]
    with pytest.raises(ModelMismatchError):
        await add(services, folder)
    assert rows(services) == []
    model.turned, model.turns_at = False, None
    again = await add(services, folder)
    assert again.chunks.embedded == len(kept)
    stored = [(row["sent_hash"], row["vector"], row["stored_hash"]) for row in rows(services)]
    assert stored == [(row["sent_hash"], row["vector"], row["stored_hash"]) for row in kept]


async def test_a_vector_that_was_changed_in_the_cache_is_embedded_anew(
    services: Services, folder: Path, model: Watched
) -> None:
    await add(services, folder)
    before = dump(address(services))
    await remove(services, sources=[str(folder)], collection="default")
    with connect(address(services)) as connection:
        connection.execute(
            "UPDATE embedding_cache SET vector = set_byte(vector, 3, 255 - get_byte(vector, 3))"
        )
    model.documents.clear()
    report = await add(services, folder)
    assert report.chunks.embedded == len(TEXTS)
    assert differences(dump(address(services)), before) == []
    # Once: what is kept is right again.
    await remove(services, sources=[str(folder)], collection="default")
    assert (await add(services, folder)).chunks.embedded == 0


async def test_what_was_embedded_afresh_is_what_is_taken_over_from_then_on(
    services: Services, folder: Path, model: Watched
) -> None:
    model.wrong = True
    await add(services, folder)
    model.wrong = False
    mended = await reindex(services, ReindexRequest(fresh=True))
    with connect(address(services)) as connection:
        right = {
            row["sent_hash"]: row["stored_hash"]
            for row in connection.execute(
                "SELECT sent_hash, stored_hash FROM vector_records WHERE index_id = %s",
                [mended.index_id],
            ).fetchall()
        }
    # The index with the wrong ones is still there, and older.
    for collection in ("other", "third"):
        report = await add(services, folder, collection)
        assert report.chunks.embedded == 0
        with connect(address(services)) as connection:
            found = connection.execute(
                "SELECT sent_hash, stored_hash FROM vector_records WHERE index_id = %s",
                [report.index_id],
            ).fetchall()
        assert {row["sent_hash"]: row["stored_hash"] for row in found} == right
        if collection == "other":
            # What is kept beyond them is all there is for the third.
            for name in ("default", "other"):
                await delete_collection(services, name, waiting=lambda: None)
    assert {row["sent_hash"]: row["stored_hash"] for row in rows(services)} == right


async def test_what_a_store_did_not_take_is_not_paid_twice(
    services: Services, folder: Path, model: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = services.store("pgvector")
    upsert = store.upsert

    async def failing(index_id: object, points: Sequence[Point]) -> None:
        raise StoreUnavailableError(f"pgvector: no room for {len(points)} points of {index_id}")

    monkeypatch.setattr(store, "upsert", failing)
    with pytest.raises(StoreUnavailableError):
        await add(services, folder)
    monkeypatch.setattr(store, "upsert", upsert)
    report = await add(services, folder)
    assert (report.chunks.embedded, len(model.documents)) == (0, len(TEXTS))


async def test_two_runs_at_once_that_embed_the_same(
    services: Services, settings: Settings, folder: Path
) -> None:
    async with open_services(settings) as other:
        both = await asyncio.gather(add(services, folder, "one"), add(other, folder, "two"))
    assert len(rows(services)) == len(TEXTS)
    assert {row["run_id"] for row in rows(services)} <= {report.run_id for report in both}
    with connect(address(services)) as connection:
        found = connection.execute(
            "SELECT count(*) AS records, count(DISTINCT stored_hash) AS vectors FROM vector_records"
        ).fetchone()
    assert found == {"records": 2 * len(TEXTS), "vectors": len(TEXTS)}


async def test_the_cache_can_be_off(settings: Settings, folder: Path) -> None:
    async with open_services(settings.model_copy(update={"vector_cache_mb": 0})) as services:
        await add(services, folder)
        assert rows(services) == []
        await remove(services, sources=[str(folder)], collection="default")
        assert (await add(services, folder)).chunks.embedded == len(TEXTS)


async def test_a_check_never_reads_it(services: Services, folder: Path, model: Watched) -> None:
    await add(services, folder)
    model.documents.clear()
    report = await check(services, CheckRequest(collection="default"))
    assert set(model.documents) == set(TEXTS.values())
    assert report.layers.documents is not None
    assert report.layers.documents.sampled == len(TEXTS)


async def test_the_oldest_go_first(services: Services, folder: Path) -> None:
    report = await add(services, folder)
    version = report.model_version_id
    with connect(address(services)) as connection:
        connection.execute(
            "UPDATE embedding_cache SET created_at = now() - interval '40 days' WHERE sent_hash = "
            "(SELECT min(sent_hash) FROM embedding_cache)"
        )
    oldest, *others = [row["sent_hash"] for row in rows(services)]
    assert isinstance(oldest, bytes)
    size = 64 * 4
    async with transaction(services.engine) as connection:
        assert await embedding_cache.trim(connection, most_bytes=3 * size) == 0
        assert await embedding_cache.trim(connection, most_bytes=3 * size - 1) == 1
    assert [row["sent_hash"] for row in rows(services)] == others
    async with transaction(services.engine) as connection:
        (kept,) = await embedding_cache.kept(connection)
        assert (kept.vectors, kept.bytes, kept.kind) == (2, 2 * size, "document")
        assert kept.model_version_id == version
        assert await embedding_cache.known(connection, version, "document", [oldest]) == set()
        assert await embedding_cache.trim(connection, most_bytes=10**9, days=30) == 0
    with connect(address(services)) as plain:
        plain.execute("UPDATE embedding_cache SET created_at = now() - interval '31 days'")
    async with transaction(services.engine) as connection:
        assert await embedding_cache.trim(connection, most_bytes=10**9, days=30) == 2


async def test_clearing(services: Services, folder: Path) -> None:
    report = await add(services, folder)
    engine = services.engine
    assert await embedding_cache.clear_named(engine, older_than_days=1) == 0
    with pytest.raises(NotFoundError):
        await embedding_cache.clear_named(engine, model_version="ffff")
    with pytest.raises(NotFoundError):
        await embedding_cache.clear_named(engine, run="ffff")
    version, run = str(report.model_version_id)[:13], str(report.run_id)[:13]
    assert await embedding_cache.clear_named(engine, model_version=version, run=run) == len(TEXTS)
    assert await embedding_cache.clear_named(engine) == 0


async def test_a_run_that_is_deleted_takes_its_vectors_along(
    services: Services, folder: Path
) -> None:
    await add(services, folder)
    await delete_collection(services, "default", waiting=lambda: None)
    with connect(address(services)) as connection:
        connection.execute("DELETE FROM runs")
    # Nobody could tell any more where they come from.
    assert rows(services) == []
    assert (await add(services, folder)).chunks.embedded == len(TEXTS)


async def test_kinds_do_not_share_vectors(services: Services, folder: Path) -> None:
    report = await add(services, folder)
    first = rows(services)[0]
    vector = CachedVector(
        sent_hash=bytes(32),
        vector=np.ones(64, np.float32),
        run_id=report.run_id,
        received_hash=b"",
        stored_hash=b"",
        norm=8.0,
        batch_size=1,
        batch_position=0,
        pieces=1,
    )
    await services.vectors.put(report.model_version_id, "clustering", [vector])
    version = report.model_version_id
    found = await services.vectors.find(version, "clustering", [bytes(32)])
    assert found[bytes(32)].vector.tobytes() == vector.vector.tobytes()
    assert await services.vectors.find(version, "document", [bytes(32)]) == {}
    key = first["sent_hash"]
    assert isinstance(key, bytes)
    assert await services.vectors.find(version, "clustering", [key]) == {}
