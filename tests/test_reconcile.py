"""Catalog against store: what is planted is found, and put right where that can be proved."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ingest.cli import app
from ingest.pipeline import IngestRequest, ingest
from ingest.reconcile import ReconcileReport, reconcile
from search_app.bootstrap import Services, open_services
from search_app.catalog import collections, indexes, locks
from search_app.catalog.auditing import Recorded
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.consistency.disagreements import FAULTS, Kind, disagreeing
from search_app.consistency.walk import walk
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    EmbedderUnavailableError,
    InvalidInputError,
    NotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)
from search_app.retrieval import SearchRequest
from search_app.stores.base import Survey, VectorStore
from search_app.stores.memory import MemoryStore
from search_app.types import Index, IndexState, Point, Precision
from tests.catalog_dump import connect, dump
from tests.points import make_points, units

NUMBER = 12


@pytest.fixture(params=["pgvector", "qdrant"])
def settings(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    """Run everything on both stores."""
    place = f"local:{tmp_path / 'qdrant'}"
    return settings.model_copy(update={"store": request.param, "qdrant_url": place})


@pytest.fixture
async def index(services: Services, tmp_path: Path) -> Index:
    """Ingest a dozen short documents."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(NUMBER):
        text = f"Note {number} tells how the ferry number {number * 7} was repaired in port."
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    async with transaction(services.engine) as connection:
        return await indexes.active(connection, await collections.get(connection, "default"))


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


def execute(services: Services, statement: str, **given: Any) -> list[dict[str, Any]]:
    with connect(address(services)) as connection:
        cursor = connection.execute(statement, given)
        return cursor.fetchall() if cursor.description else []


async def stored(services: Services, index: Index) -> list[Point]:
    return await services.store(index.store).scan(index.id, limit=1000, vectors=True)


def found(report: ReconcileReport) -> Counter[Kind]:
    return Counter({kind: n for kind, n in report.indexes[0].found.items() if n})


async def state(services: Services, index: Index) -> list[tuple[object, ...]]:
    """Give everything a repair must bring back, by id."""
    return [
        (point.chunk_id, point.document_id, point.run_id, point.fields, point.vector.tobytes())
        for point in await stored(services, index)
        if point.vector is not None
    ]


@pytest.mark.usefixtures("index")
async def test_what_was_just_ingested_is_clean(services: Services) -> None:
    report = await reconcile(services)
    (one,) = report.indexes
    assert report.faults == 0
    assert found(report) == {}
    assert (one.records, one.points) == (NUMBER, NUMBER)
    assert one.lexicon is None


async def test_every_fault_is_found_and_put_right(services: Services, index: Index) -> None:
    store = services.store(index.store)
    before = await state(services, index)
    points = await stored(services, index)
    lost, turned, stale, foreign, forgotten = points[:5]
    await store.delete(index.id, [lost.chunk_id])
    assert turned.vector is not None
    flipped = turned.vector.copy()
    flipped.view(np.uint32)[3] ^= 1
    await store.upsert(index.id, [replace(turned, vector=flipped)])
    await store.update_fields(index.id, {stale.chunk_id: {"language": "xx"}})
    await store.upsert(index.id, [replace(foreign, run_id=uuid4())])
    stray = replace(lost, chunk_id=uuid4())
    await store.upsert(index.id, [stray])
    execute(services, "DELETE FROM vector_records WHERE chunk_id = %(id)s", id=forgotten.chunk_id)
    expected = {
        Kind.MISSING: 1,
        Kind.ALTERED: 1,
        Kind.STALE: 2,
        Kind.ORPHANED: 1,
        Kind.INCOMPLETE: 1,
    }
    report = await reconcile(services, collection="default")
    assert found(report) == expected
    kinds = {told.finding.chunk_id: told.finding.kind for told in report.indexes[0].told}
    assert kinds[lost.chunk_id] is Kind.MISSING
    assert kinds[turned.chunk_id] is Kind.ALTERED
    assert kinds[stray.chunk_id] is Kind.ORPHANED
    assert kinds[forgotten.chunk_id] is Kind.INCOMPLETE
    assert report.indexes[0].lexicon is not None  # a record went past the counts
    mended = await reconcile(services, collection="default", repair=True)
    assert mended.faults == 0
    assert Counter(mended.indexes[0].repaired) == expected
    again = await reconcile(services)
    assert (again.faults, found(again)) == (0, {})
    after = await state(services, index)
    # The one whose record was lost was embedded in the repair, by the same model: other run only.
    run_id = mended.runs["default"]
    assert [row for row in after if row[0] != forgotten.chunk_id] == [
        row for row in before if row[0] != forgotten.chunk_id
    ]
    (renewed,) = (row for row in after if row[0] == forgotten.chunk_id)
    (earlier,) = (row for row in before if row[0] == forgotten.chunk_id)
    assert renewed[2] in (run_id, earlier[2])
    assert renewed[4] == earlier[4]
    result = await services.searcher.search(SearchRequest(query="ferry 7", mode="keyword", k=20))
    assert len(result.hits) == NUMBER  # words came back with the vectors


async def test_without_its_model_nothing_is_made_up(
    services: Services, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = await stored(services, index)
    await services.store(index.store).delete(index.id, [points[0].chunk_id])

    async def down(*_: object) -> None:
        raise EmbedderUnavailableError("the embedder is down")

    monkeypatch.setattr(HashingEmbedder, "embed", down)
    report = await reconcile(services, repair=True)
    assert report.faults == 1
    (told,) = report.indexes[0].told
    assert told.left is not None
    assert "the embedder is down" in told.left
    assert len(await stored(services, index)) == NUMBER - 1
    rows = execute(services, "SELECT status FROM runs WHERE kind = 'reconcile'")
    assert [row["status"] for row in rows] == ["partial"]


async def test_another_model_repairs_nothing(services: Services, index: Index) -> None:
    points = await stored(services, index)
    await services.store(index.store).delete(index.id, [points[0].chunk_id])
    execute(services, "UPDATE model_versions SET spec = 'hashing:128'")
    report = await reconcile(services, repair=True)
    assert report.faults == 1
    assert "another model answers" in (report.indexes[0].told[0].left or "")
    assert len(await stored(services, index)) == NUMBER - 1


async def test_equal_bytes_elsewhere_are_taken_before_the_model_is_asked(
    services: Services, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ingest(services, IngestRequest(arguments=[str(tmp_path / "docs")], collection="mirror"))
    before = await state(services, index)
    points = await stored(services, index)
    await services.store(index.store).delete(index.id, [point.chunk_id for point in points])
    assert found(await reconcile(services, collection="default")) == {Kind.MISSING: NUMBER}

    async def down(*_: object) -> None:
        raise EmbedderUnavailableError("the embedder is down")

    monkeypatch.setattr(HashingEmbedder, "embed", down)
    report = await reconcile(services, collection="default", repair=True)
    assert report.faults == 0
    assert await state(services, index) == before


async def test_a_chunk_that_the_catalog_knows_is_not_deleted_as_an_orphan(
    services: Services, index: Index, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("A passage of another collection.", encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(other)], collection="other"))
    async with transaction(services.engine) as connection:
        theirs = await indexes.active(connection, await collections.get(connection, "other"))
    (point,) = await stored(services, theirs)
    await services.store(index.store).upsert(index.id, [replace(point, index_id=index.id)])
    report = await reconcile(services, collection="default", repair=True)
    assert found(report) == {Kind.ORPHANED: 1}
    assert report.faults == 1
    assert report.indexes[0].told[0].left is not None
    assert len(await stored(services, index)) == NUMBER + 1


async def test_what_a_run_left_half_done_is_no_fault(services: Services, index: Index) -> None:
    points = await stored(services, index)
    execute(
        services,
        "UPDATE chunks SET state = 'pending' WHERE id = %(id)s",
        id=points[0].chunk_id,
    )
    execute(
        services,
        "DELETE FROM vector_records WHERE chunk_id = %(id)s",
        id=points[0].chunk_id,
    )
    execute(services, "UPDATE lexicons SET passages = passages - 1")
    report = await reconcile(services)
    assert found(report) == {Kind.UNFINISHED: 1}
    assert report.faults == 0


async def test_a_removal_cut_short_is_finished(services: Services, index: Index) -> None:
    points = await stored(services, index)
    execute(
        services,
        "UPDATE documents SET state = 'deleting' WHERE id = %(id)s",
        id=points[0].document_id,
    )
    assert found(await reconcile(services)) == {Kind.STALE: 1}
    assert (await reconcile(services, repair=True)).faults == 0
    assert len(await stored(services, index)) == NUMBER - 1
    assert (await reconcile(services)).faults == 0


@pytest.mark.usefixtures("index")
async def test_words_are_counted_anew(services: Services) -> None:
    counts = "SELECT term_id, passages FROM term_frequencies ORDER BY term_id"
    before = execute(services, counts)
    weights = execute(services, "SELECT k1, b, average_length, passages FROM lexicons")
    execute(services, "UPDATE term_frequencies SET passages = passages + 3")
    execute(services, "UPDATE lexicons SET passages = passages + 3")
    report = await reconcile(services)
    assert report.faults == 1
    assert "of 12" in (report.indexes[0].lexicon or "")
    assert (await reconcile(services, repair=True)).faults == 0
    assert execute(services, counts) == before
    assert execute(services, "SELECT k1, b, average_length, passages FROM lexicons") == weights


async def test_an_index_in_the_making_is_not_called_incomplete(
    services: Services, index: Index
) -> None:
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
        building = await indexes.create(
            connection,
            collection=collection,
            model_version_id=index.model_version_id,
            chunking=index.chunking,
            store=index.store,
            precision=Precision.FLOAT16,
            state=IndexState.BUILDING,
        )
    await services.store(index.store).create(building.id, 64)
    report = await reconcile(services, index=str(building.id)[:12])
    assert found(report) == {Kind.UNFINISHED: NUMBER}
    assert report.faults == 0


async def test_an_unreachable_store_is_an_error(
    services: Services, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailableError("nobody is there")

    store = services.store(index.store)
    monkeypatch.setattr(store, "survey", gone)
    with pytest.raises(StoreUnavailableError):
        await reconcile(services)
    monkeypatch.undo()
    await store.drop(index.id)
    with pytest.raises(StoreRefusedError):
        await reconcile(services)
    # A repair makes room again and fills it: every vector can be proved by its record.
    report = await reconcile(services, repair=True)
    assert (report.faults, report.indexes[0].repaired[Kind.MISSING]) == (0, NUMBER)


@pytest.mark.usefixtures("index")
async def test_a_run_at_work_is_mentioned(services: Services) -> None:
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
    async with locks.writing(services.engine, collection, lambda: None):
        report = await reconcile(services)
    assert list(report.writing) == ["default"]
    assert list((await reconcile(services)).writing) == []


async def test_names_that_lead_nowhere_are_refused(services: Services, index: Index) -> None:
    with pytest.raises(NotFoundError):
        await reconcile(services, collection="nothing")
    with pytest.raises(NotFoundError):
        await reconcile(services, index="ffffffff-ffff")
    execute(services, "UPDATE indexes SET state = 'retired'")
    with pytest.raises(InvalidInputError, match="retired"):
        await reconcile(services, index=str(index.id))


async def test_a_repair_changes_nothing_that_ingest_made(services: Services, index: Index) -> None:
    if index.store != "pgvector":
        pytest.skip("the dump reads pgvector's tables")
    before = dump(address(services))
    await reconcile(services, repair=True)
    assert dump(address(services)) == before


def test_the_command_says_it_in_words_and_in_json(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("UNMOVED_EMBEDDER", settings.embedder)
    monkeypatch.setenv("UNMOVED_STORE", settings.store)
    monkeypatch.setenv("UNMOVED_QDRANT_URL", settings.qdrant_url or "")
    note = tmp_path / "note.txt"
    note.write_text("A note about tides.", encoding="utf-8")
    runner = CliRunner()
    assert runner.invoke(app, ["add", str(note), "--quiet"]).exit_code == 0
    assert runner.invoke(app, ["reconcile"]).exit_code == 0
    with connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("UPDATE vector_records SET stored_hash = sha256('other')")
    told = runner.invoke(app, ["reconcile"])
    assert told.exit_code == 1
    assert "altered" in told.stdout
    assert "--repair" in told.stdout
    as_json = runner.invoke(app, ["reconcile", "--json"])
    assert as_json.exit_code == 1
    said = json.loads(as_json.stdout)
    assert said["faults"] == 1
    assert set(said["indexes"][0]["repaired"]) == {kind.value for kind in FAULTS}
    assert said["indexes"][0]["findings"][0]["kind"] == "altered"
    # Embedded again it is what it was: the record was wrong, and gets the hash of a proved vector.
    assert runner.invoke(app, ["reconcile", "--repair"]).exit_code == 0
    assert runner.invoke(app, ["reconcile"]).exit_code == 0


# What is compared, without a database.

ids = st.integers(min_value=1, max_value=40).map(lambda number: UUID(int=number).bytes)
row = st.tuples(
    st.sampled_from([b"o" * 64, b"p" * 64]),
    st.sampled_from(['{"a": 1}', '{"a":1}', '{"a": 2}']),
    st.sampled_from([b"d" * 32, b"e" * 32]),
)


def naive(
    records: dict[bytes, tuple[bytes, str, bytes]], points: dict[bytes, tuple[bytes, str, bytes]]
) -> list[bytes]:
    def plain(held: tuple[bytes, str, bytes] | None) -> object:
        return held and (held[0], json.loads(held[1]), held[2])

    everything = records.keys() | points.keys()
    return sorted(
        each for each in everything if plain(records.get(each)) != plain(points.get(each))
    )


def survey_of(points: dict[bytes, tuple[bytes, str, bytes]]) -> Survey:
    keys = sorted(points)
    owners, fields, digests = (
        zip(*(points[key] for key in keys), strict=True) if keys else ((),) * 3
    )
    return Survey(chunk_ids=tuple(keys), owners=owners, fields=fields, digests=digests)


def recorded_of(records: dict[bytes, tuple[bytes, str, bytes]]) -> Recorded:
    held = survey_of(records)
    return Recorded(
        chunk_ids=held.chunk_ids,
        owners=held.owners,
        fields=held.fields,
        digests=held.digests,
        shown=(True,) * len(records),
    )


@given(
    shared=st.dictionaries(ids, row),
    mine=st.dictionaries(ids, row),
    theirs=st.dictionaries(ids, row),
)
def test_disagreements_are_those_of_a_plain_comparison(
    shared: dict[bytes, Any], mine: dict[bytes, Any], theirs: dict[bytes, Any]
) -> None:
    records, points = {**shared, **mine}, {**shared, **theirs}
    assert disagreeing(recorded_of(records), survey_of(points)) == naive(records, points)
    assert disagreeing(recorded_of(records), survey_of(records)) == []


class Doubling(MemoryStore):
    """A store that gives points twice, or in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.order: Callable[[list[Point]], list[Point]] = list

    async def scan(self, *args: Any, **kwargs: Any) -> list[Point]:
        return self.order(await super().scan(*args, **kwargs))


async def surveyed(services: Services, store: VectorStore, index: Index, page: int) -> list[Any]:
    return [stretch async for stretch in walk(services.engine, index, store, page=page)]


async def test_pages_of_any_size_tell_the_same(services: Services, index: Index) -> None:
    store = services.store(index.store)
    points = await stored(services, index)
    await store.delete(index.id, [points[2].chunk_id, points[-1].chunk_id])
    stray = replace(points[2], chunk_id=UUID(int=2**128 - 1))
    await store.upsert(index.id, [stray])
    expected = sorted([points[2].chunk_id, points[-1].chunk_id, stray.chunk_id])
    for page in (1, 2, 3, 5, NUMBER, 1000):
        stretches = await surveyed(services, store, index, page)
        assert sorted(each for stretch in stretches for each in stretch.suspects) == expected
        assert sum(stretch.points for stretch in stretches) == NUMBER - 1
        assert sum(stretch.records for stretch in stretches) == NUMBER


async def test_points_that_come_twice_or_out_of_order_are_noticed(
    services: Services, index: Index
) -> None:
    store = Doubling()
    await store.create(index.id, 64)
    points = make_points(index.id, units(3, 64))
    await store.upsert(index.id, points)
    store.order = lambda given: [*given[:1], *given]
    first = min(points, key=lambda point: point.chunk_id.bytes).chunk_id
    stretches = await surveyed(services, store, index, 100)
    assert [each for stretch in stretches for each in stretch.duplicates] == [first]
    store.order = lambda given: given[::-1]
    with pytest.raises(StoreRefusedError, match="order of their ids"):
        await surveyed(services, store, index, 100)


async def test_a_walk_that_is_left_lets_go_of_what_is_on_its_way(
    settings: Settings, tmp_path: Path
) -> None:
    async with open_services(settings) as services:
        note = tmp_path / "note.txt"
        note.write_text("A note about tides. " * 2000, encoding="utf-8")
        await ingest(services, IngestRequest(arguments=[str(note)]))
        async with transaction(services.engine) as connection:
            collection = await collections.get(connection, "default")
            index = await indexes.active(connection, collection)
        stretches = walk(services.engine, index, services.store(index.store), page=1)
        assert (await anext(stretches)).records == 1
        await stretches.aclose()
