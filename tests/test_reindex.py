"""Building a second index beside the one that answers, from the catalog."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from ingest import copying as copying_module
from ingest import filling as filling_module
from ingest import writing as writing_module
from ingest.filling import Filler
from ingest.pipeline import IngestRequest, ingest, remove
from ingest.reindex import ReindexRequest, reindex
from ingest.report import IngestReport
from ingest.retiring import retire
from search_app.bootstrap import Services
from search_app.catalog import collections, filling, indexes, runs
from search_app.catalog.engine import transaction
from search_app.catalog.filling import Gaps
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    EmbedderUnavailableError,
    InvalidInputError,
    ModelMismatchError,
    NotFoundError,
    StoreRefusedError,
)
from search_app.retrieval import SearchRequest
from search_app.types import (
    Index,
    IndexState,
    Kind,
    Matrix,
    ModelIdentity,
    Point,
    RunStatus,
)
from tests.catalog_dump import connect
from tests.index_dump import dump_index

DOCUMENTS = 16
CHUNKS = 6 * DOCUMENTS


def address(services: Services) -> str:
    assert services.settings.database_url is not None
    return services.settings.database_url.get_secret_value()


def write(folder: Path, number: int, edition: int = 0) -> Path:
    """Write a document of several chunks."""
    sections = "\n\n".join(
        f"## Section {part}\n\nPassage {part} of document {number}, edition {edition}: "
        + f"the keeper of light {number * 7 + part} counted {edition} ships. " * 25
        for part in range(3)
    )
    path = folder / f"{number:03}.md"
    path.write_text(f"# Log {number}\n\n{sections}", encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with documents, of six chunks each."""
    root = tmp_path / "docs"
    root.mkdir()
    for number in range(DOCUMENTS):
        write(root, number)
    return root


async def add(services: Services, folder: Path) -> IngestReport:
    return await ingest(services, IngestRequest(arguments=[str(folder)], prune=True))


async def all_indexes(services: Services) -> list[Index]:
    async with transaction(services.engine) as connection:
        collection = await collections.get(connection, "default")
        return await indexes.every(connection, collection)


async def gaps(services: Services, index_id: UUID) -> filling.Gaps:
    async with transaction(services.engine) as connection:
        return await filling.gaps(connection, await indexes.get(connection, index_id))


async def fresh(services: Services, folder: Path, embedder: str) -> UUID:
    """Ingest the folder into a collection of its own; its index is what a new one should hold."""
    report = await ingest(
        services,
        IngestRequest(arguments=[str(folder)], collection="fresh", embedder=embedder),
    )
    return report.index_id


def without_ids(found: dict[str, list[dict[str, object]]]) -> dict[str, list[tuple[object, ...]]]:
    """Leave out ids that differ from collection to collection; order by what is left."""
    gone = {"chunk_id", "document_id", "id"}
    return {
        name: sorted(
            tuple(repr(value) for key, value in row.items() if key not in gone) for row in rows
        )
        for name, rows in found.items()
    }


async def test_another_model_gets_an_index_beside_the_active_one(
    services: Services, folder: Path
) -> None:
    first = await add(services, folder)
    report = await reindex(services, ReindexRequest(embedder="hashing:32"))
    assert report.complete
    assert report.state is IndexState.READY
    assert report.embedded == report.passages == first.chunks.embedded
    assert [index.state for index in await all_indexes(services)] == [
        IndexState.ACTIVE,
        IndexState.READY,
    ]
    expected = await fresh(services, folder, "hashing:32")
    assert without_ids(dump_index(address(services), report.index_id)) == without_ids(
        dump_index(address(services), expected)
    )
    async with transaction(services.engine) as connection:
        run = await runs.get(connection, report.run_id)
    assert (run.kind, run.status) == ("reindex", RunStatus.SUCCEEDED)
    assert run.index_id == report.index_id
    assert run.progress["chunks_written"] == report.passages


async def test_the_same_model_is_not_asked_again(services: Services, folder: Path) -> None:
    first = await add(services, folder)
    report = await reindex(services, ReindexRequest(force=True))
    assert (report.embedded, report.copied) == (0, first.chunks.embedded)
    assert report.state is IndexState.READY
    url = address(services)
    assert dump_index(url, report.index_id) == dump_index(url, first.index_id)
    with connect(url) as connection:
        copied = connection.execute(
            "SELECT DISTINCT run_id, copied_by_run_id FROM vector_records WHERE index_id = %s",
            [report.index_id],
        ).fetchall()
    assert copied == [{"run_id": first.run_id, "copied_by_run_id": report.run_id}]


async def test_what_there_is_already_is_refused(services: Services, folder: Path) -> None:
    with pytest.raises(NotFoundError):
        await reindex(services, ReindexRequest(embedder="hashing:32"))
    await add(services, folder)
    for request in (
        ReindexRequest(),
        ReindexRequest(embedder="hashing:64"),
        ReindexRequest(store="pgvector", chunk_tokens=256),
    ):
        with pytest.raises(InvalidInputError, match="has all of that already"):
            await reindex(services, request)
    with pytest.raises(InvalidInputError, match="write 32 to 400"):
        await reindex(services, ReindexRequest(chunk_tokens=4))
    assert len(await all_indexes(services)) == 1


async def test_what_was_built_is_not_built_again(services: Services, folder: Path) -> None:
    await add(services, folder)
    built = await reindex(services, ReindexRequest(embedder="hashing:32"))
    again = await reindex(services, ReindexRequest(embedder="hashing:32"))
    assert again.index_id == built.index_id
    assert again.embedded == again.copied == 0
    assert again.state is IndexState.READY


async def dumps_alike(services: Services, folder: Path, index_id: UUID, **wishes: Any) -> None:
    """See that an index holds what one holds that was filled by an ingest alone."""
    settings = services.settings.model_copy(update=wishes)
    own = Services(settings, services.engine)
    report = await ingest(own, IngestRequest(arguments=[str(folder)], collection="fresh"))
    url = address(services)
    expected = without_ids(dump_index(url, report.index_id))
    assert without_ids(dump_index(url, index_id)) == expected


async def test_passages_of_another_length_are_cut_from_the_catalog(
    services: Services, folder: Path, tmp_path: Path
) -> None:
    (folder / "long.txt").write_text("One sentence after another. " * 400, encoding="cp1252")
    (folder / "code.py").write_text("def f():\n    return 1\n" * 60, encoding="utf-8")
    first = await add(services, folder)
    # The files are not needed.
    hidden = folder.rename(tmp_path / "away")
    report = await reindex(services, ReindexRequest(chunk_tokens=64))
    assert (report.complete, report.chunk_tokens, report.errors) == (True, 64, [])
    hidden.rename(folder)
    await dumps_alike(services, folder, report.index_id, chunk_tokens=64)
    # Read again by force, nothing is found to have changed.
    again = await ingest(services, IngestRequest(arguments=[str(folder)], force=True))
    assert (again.documents.unchanged, again.chunks.embedded) == (DOCUMENTS + 2, 0)
    async with transaction(services.engine) as connection:
        listed = {each.name: each.chunks for each in await collections.summaries(connection)}
    cut = first.chunks.embedded + first.chunks.reused
    assert listed == {"default": cut, "fresh": report.passages}
    # A change is cut for both.
    write(folder, 3, edition=2)
    await add(services, folder)
    assert (await gaps(services, report.index_id)).none


async def test_documents_of_before_are_read_again_or_named(
    services: Services, folder: Path
) -> None:
    await add(services, folder)
    with connect(address(services)) as connection:
        connection.execute("UPDATE documents SET layout = NULL WHERE uri LIKE '%/00_.md'")
    (folder / "004.md").unlink()
    report = await reindex(services, ReindexRequest(chunk_tokens=64))
    assert (report.complete, report.uncut, report.state) == (False, 1, IndexState.BUILDING)
    assert [Path(failure.source).name for failure in report.errors] == ["004.md"]
    assert "cannot be read again" in report.errors[0].reason
    await remove(services, sources=[str(folder / "004.md")], collection="default")
    again = await reindex(services, ReindexRequest(chunk_tokens=64))
    assert (again.index_id, again.state) == (report.index_id, IndexState.READY)
    await dumps_alike(services, folder, report.index_id, chunk_tokens=64)


async def test_a_model_that_takes_less_has_shorter_passages(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services, folder)
    describe = HashingEmbedder.describe

    async def narrow(self: HashingEmbedder) -> ModelIdentity:
        return replace(await describe(self), max_tokens=128)

    monkeypatch.setattr(HashingEmbedder, "describe", narrow)
    report = await reindex(services, ReindexRequest(embedder="hashing:32"))
    assert (report.chunk_tokens, report.state) == (96, IndexState.READY)
    with connect(address(services)) as connection:
        longest = connection.execute(
            "SELECT max(tokens) AS n FROM chunks WHERE chunking LIKE '%/96/%'"
        ).fetchall()
    assert 48 < longest[0]["n"] <= 96


async def test_what_changes_in_mid_reindex_is_in_both(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_module, "SEGMENT", 8)
    monkeypatch.setattr(filling_module, "DOCUMENTS", 3)
    await add(services, folder)
    write_passages = Filler._write
    rounds = 0

    async def between(self: Filler, chunk_ids: Sequence[UUID]) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            # Before the place where the filling is, and behind it; new, other and gone.
            for number in (0, 12):
                write(folder, number, edition=1)
                (folder / f"{number + 2:03}.md").unlink()
            write(folder, DOCUMENTS + 1)
            await add(services, folder)
        await write_passages(self, chunk_ids)

    monkeypatch.setattr(Filler, "_write", between)
    report = await reindex(services, ReindexRequest(embedder="hashing:32"))
    assert rounds > 3
    assert report.complete
    expected = await fresh(services, folder, "hashing:32")
    url = address(services)
    assert without_ids(dump_index(url, report.index_id)) == without_ids(dump_index(url, expected))
    active = await all_indexes(services)
    assert dump_index(url, active[0].id)["shown"] == dump_index(url, report.index_id)["shown"]


async def test_an_ingest_does_not_wait_for_the_end_of_a_reindex(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reindex that writes without a pause lets those in who wait, and fills all the same."""
    monkeypatch.setattr(copying_module, "COPIED", 2)
    await add(services, folder)
    building = asyncio.create_task(reindex(services, ReindexRequest(force=True)))
    for _ in range(1000):
        await asyncio.sleep(0.01)
        if len(await all_indexes(services)) > 1:
            break
    write(folder, DOCUMENTS)
    await add(services, folder)
    assert not building.done()
    report = await building
    assert report.complete
    url = address(services)
    first, second = await all_indexes(services)
    assert dump_index(url, first.id) == dump_index(url, second.id)
    assert len(dump_index(url, second.id)["vectors"]) == CHUNKS + 6


async def test_a_vector_that_is_not_what_was_recorded_is_made_anew(
    services: Services, folder: Path
) -> None:
    first = await add(services, folder)
    url = address(services)
    sound = dump_index(url, first.index_id)
    with connect(url) as connection:
        table = f"vectors.index_{first.index_id.hex}"
        connection.execute(
            f"WITH one AS (SELECT embedding FROM {table} ORDER BY chunk_id LIMIT 1) UPDATE {table} "
            "SET embedding = one.embedding FROM one "
            f"WHERE chunk_id IN (SELECT chunk_id FROM {table} ORDER BY chunk_id DESC LIMIT 4)"
        )
        connection.execute("DELETE FROM embedding_cache")
    report = await reindex(services, ReindexRequest(force=True))
    assert (report.embedded, report.copied) == (4, CHUNKS - 4)
    assert dump_index(url, report.index_id) == sound


async def test_another_store_gets_the_same_vectors(
    services: Services, folder: Path, tmp_path: Path
) -> None:
    settings = services.settings.model_copy(update={"qdrant_url": f"local:{tmp_path / 'qdrant'}"})
    own = Services(settings, services.engine)
    first = await add(own, folder)
    report = await reindex(own, ReindexRequest(store="qdrant"))
    assert (report.embedded, report.copied) == (0, first.chunks.embedded)
    theirs = await own.store("qdrant").scan(report.index_id, limit=1000, vectors=True)
    ours = await own.store("pgvector").scan(first.index_id, limit=1000, vectors=True)
    assert [(point.chunk_id, point.run_id, point.fields) for point in theirs] == [
        (point.chunk_id, point.run_id, point.fields) for point in ours
    ]
    assert all(
        mine.vector is not None
        and yours.vector is not None
        and mine.vector.tobytes() == yours.vector.tobytes()
        for mine, yours in zip(ours, theirs, strict=True)
    )
    await own.aclose()


async def test_a_store_that_refuses_stops_it_and_the_next_goes_on(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_module, "SEGMENT", 10)
    first = await add(services, folder)
    store = services.store("pgvector")
    upsert = store.upsert
    calls = 0

    async def failing(index_id: UUID, points: Sequence[Point]) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise StoreRefusedError("pgvector: the server is out of room")
        await upsert(index_id, points)

    monkeypatch.setattr(store, "upsert", failing)
    with pytest.raises(StoreRefusedError):
        await reindex(services, ReindexRequest(embedder="hashing:32"))
    (_, begun) = await all_indexes(services)
    assert begun.state is IndexState.BUILDING
    found = await services.searcher.search(SearchRequest(query="keeper of light"))
    assert found.index_id == first.index_id
    report = await reindex(services, ReindexRequest(embedder="hashing:32"))
    assert (report.index_id, report.state) == (begun.id, IndexState.READY)
    # What was in stayed, and what was embedded for the store that refused it was kept.
    assert report.embedded == CHUNKS - 40
    async with transaction(services.engine) as connection:
        listed = await runs.listing(connection, collection="default")
    assert [run.status for run in listed if run.kind == "reindex"] == ["succeeded", "failed"]


async def test_another_model_in_mid_reindex_is_refused_and_nothing_is_mixed(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_module, "SEGMENT", 10)
    await add(services, folder)
    embed = HashingEmbedder.embed
    swapped = False

    async def swapping(self: HashingEmbedder, texts: Sequence[str], kind: Kind) -> Matrix:
        nonlocal swapped
        if any("document 9," in text for text in texts):
            swapped = True
        vectors = await embed(self, texts, kind)
        return np.ascontiguousarray(vectors[:, ::-1]) if swapped else vectors

    monkeypatch.setattr(HashingEmbedder, "embed", swapping)
    with pytest.raises(ModelMismatchError, match="another model answers"):
        await reindex(services, ReindexRequest(embedder="hashing:32"))
    monkeypatch.setattr(HashingEmbedder, "embed", embed)
    report = await reindex(services, ReindexRequest(embedder="hashing:32"))
    assert 0 < report.embedded < report.passages
    expected = await fresh(services, folder, "hashing:32")
    url = address(services)
    assert without_ids(dump_index(url, report.index_id)) == without_ids(dump_index(url, expected))


async def test_an_index_retired_in_mid_reindex_gets_nothing_more(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_module, "SEGMENT", 10)
    await add(services, folder)
    write_passages = Filler._write

    async def retiring(self: Filler, chunk_ids: Sequence[UUID]) -> None:
        (_, begun) = await all_indexes(services)
        await retire(services, begun, waiting=lambda: None)
        await write_passages(self, chunk_ids)

    monkeypatch.setattr(Filler, "_write", retiring)
    with pytest.raises(InvalidInputError, match="was retired or its collection deleted"):
        await reindex(services, ReindexRequest(embedder="hashing:32"))
    (_, begun) = await all_indexes(services)
    with connect(address(services)) as connection:
        left = connection.execute(
            "SELECT 1 AS one FROM vector_records WHERE index_id = %s", [begun.id]
        ).fetchall()
    assert left == []


async def test_two_at_once_build_one_index(services: Services, folder: Path) -> None:
    await add(services, folder)
    request = ReindexRequest(embedder="hashing:32")
    one, other = await asyncio.gather(reindex(services, request), reindex(services, request))
    assert one.index_id == other.index_id
    assert sorted((one.embedded, other.embedded)) == [0, CHUNKS]
    assert [index.state for index in await all_indexes(services)] == [
        IndexState.ACTIVE,
        IndexState.READY,
    ]


async def test_an_index_kept_beside_is_named_where_it_stops_an_ingest(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services, folder)
    report = await reindex(services, ReindexRequest(embedder="hashing:32"))
    embed = HashingEmbedder.embed

    async def gone(self: HashingEmbedder, texts: Sequence[str], kind: Kind) -> Matrix:
        if self.dimensions == 32:
            raise EmbedderUnavailableError("no answer")
        return await embed(self, texts, kind)

    monkeypatch.setattr(HashingEmbedder, "embed", gone)
    write(folder, 0, edition=1)
    name = str(report.index_id)[:8]
    with pytest.raises(EmbedderUnavailableError, match=f"index {name}.* ingest retire {name}"):
        await add(services, folder)
    await retire(services, (await all_indexes(services))[1], waiting=lambda: None)
    assert (await add(services, folder)).documents.failed == 0


async def test_everything_is_embedded_again_when_nothing_may_be_taken_over(
    services: Services, folder: Path
) -> None:
    first = await add(services, folder)
    copied = await reindex(services, ReindexRequest(force=True))
    report = await reindex(services, ReindexRequest(fresh=True))
    assert report.index_id not in (first.run_id, copied.index_id)
    assert (report.state, report.embedded + report.copied) == (IndexState.READY, report.passages)
    with connect(address(services)) as connection:
        runs_of = connection.execute(
            "SELECT DISTINCT run_id FROM vector_records WHERE index_id = %s", [report.index_id]
        ).fetchall()
    # Not even those that are kept beyond their indexes.
    assert runs_of == [{"run_id": report.run_id}]


async def test_an_ingest_beside_takes_nothing_over_into_a_fresh_index(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services, folder)
    fill = Filler.fill

    async def beside(self: Filler) -> None:
        (folder / "copy.md").write_bytes((folder / "000.md").read_bytes())
        await add(services, folder)
        await fill(self)

    monkeypatch.setattr(Filler, "fill", beside)
    report = await reindex(services, ReindexRequest(fresh=True))
    assert report.complete
    assert report.warnings == []
    with connect(address(services)) as connection:
        older = connection.execute(
            "SELECT count(*) AS number FROM vector_records JOIN runs ON runs.id = run_id "
            "JOIN indexes ON indexes.id = vector_records.index_id "
            "WHERE vector_records.index_id = %s AND runs.started_at < indexes.created_at",
            [report.index_id],
        ).fetchone()
    assert older == {"number": 0}


async def test_after_a_fresh_index_nothing_from_before_comes_back(
    services: Services, folder: Path
) -> None:
    gone = folder / "000.md"
    text = gone.read_text()
    await add(services, folder)
    # Another index still has it, and it is kept beyond all of them.
    await ingest(services, IngestRequest(arguments=[str(gone)], collection="other"))
    await remove(services, sources=[str(gone)], collection="default")
    report = await reindex(services, ReindexRequest(fresh=True))
    with connect(address(services)) as connection:
        kept = connection.execute(
            "SELECT count(*) AS number FROM embedding_cache JOIN runs ON runs.id = run_id "
            "WHERE started_at < (SELECT created_at FROM indexes WHERE id = %s)",
            [report.index_id],
        ).fetchone()
    assert kept == {"number": 0}
    gone.write_text(text)
    again = await add(services, folder)
    assert again.documents.added == 1
    with connect(address(services)) as connection:
        found = connection.execute(
            "SELECT DISTINCT records.run_id FROM vector_records AS records "
            "JOIN chunks ON chunks.id = records.chunk_id "
            "JOIN documents ON documents.id = chunks.document_id "
            "WHERE records.index_id = %s AND documents.uri = %s",
            [report.index_id, str(gone)],
        ).fetchall()
    assert found == [{"run_id": again.run_id}]


async def test_an_index_begun_with_copies_is_not_gone_on_with_afresh(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services, folder)

    async def broken_off(_self: Filler) -> Gaps:
        raise EmbedderUnavailableError("gone")

    monkeypatch.setattr(Filler, "finish", broken_off)
    with pytest.raises(EmbedderUnavailableError):
        await reindex(services, ReindexRequest(force=True))
    with pytest.raises(EmbedderUnavailableError):
        await reindex(services, ReindexRequest(fresh=True))
    monkeypatch.undo()
    report = await reindex(services, ReindexRequest(fresh=True))
    with connect(address(services)) as connection:
        building = connection.execute(
            "SELECT count(*) AS number FROM indexes WHERE state = 'building'"
        ).fetchone()
    # The one of copies is left; the fresh one was gone on with.
    assert building == {"number": 1}
    assert (report.state, report.embedded) == (IndexState.READY, 0)
