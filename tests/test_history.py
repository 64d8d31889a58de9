"""What became of documents is written down once, with the change itself."""

from pathlib import Path
from typing import Any

import pytest

from ingest.deletion import delete_collection
from ingest.pipeline import IngestRequest, ingest, remove
from ingest.report import IngestReport
from search_app.bootstrap import Services
from search_app.catalog import collections, documents, history
from search_app.catalog.engine import reading
from search_app.errors import StoreUnavailableError
from search_app.stores.pgvector import PgvectorStore
from tests.catalog_dump import connect

LONG = "\n\n".join(f"Paragraph {n} of the tide tables, with enough words." for n in range(80))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    (made / "tea.txt").write_text("Tea wants water just off the boil.")
    (made / "tides.txt").write_text(LONG)
    return made


async def add(services: Services, path: Path, *, prune: bool = False) -> IngestReport:
    return await ingest(services, IngestRequest(arguments=[str(path)], prune=prune))


def events(services: Services, **wanted: Any) -> list[tuple[str, str, int, str]]:
    with connect(services.settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # the fixture sets it
        rows = connection.execute(
            "SELECT event, uri, chunks, run_id FROM document_events ORDER BY id"
        ).fetchall()
    found = [
        (row["event"], Path(row["uri"]).name, row["chunks"], str(row["run_id"])) for row in rows
    ]
    return [each for each in found if each[1] == wanted.get("name", each[1])]


async def test_additions_edits_and_removals_are_told_with_their_runs(
    services: Services, folder: Path
) -> None:
    first = await add(services, folder)
    added = events(services)
    assert [each[:2] for each in added] == [("added", "tea.txt"), ("added", "tides.txt")]
    assert added[0][2] == 1
    assert added[1][2] > 1
    assert {each[3] for each in added} == {str(first.run_id)}
    await add(services, folder)
    assert events(services) == added, "nothing changed"
    (folder / "tea.txt").write_text("Tea is grown on hills.")
    second = await add(services, folder)
    assert events(services)[2:] == [("updated", "tea.txt", 1, str(second.run_id))]
    (folder / "tides.txt").unlink()
    third = await add(services, folder, prune=True)
    assert events(services)[3:] == [("removed", "tides.txt", added[1][2], str(third.run_id))]
    fourth = await remove(services, sources=[str(folder / "tea.txt")], collection="default")
    assert events(services)[4:] == [("removed", "tea.txt", 1, str(fourth.run_id))]
    (folder / "tea.txt").write_text("Tea is back.")
    await add(services, folder)
    assert [each[0] for each in events(services, name="tea.txt")] == [
        "added",
        "updated",
        "removed",
        "added",
    ]


async def test_a_removal_cut_short_is_told_once(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services, folder)

    async def refuse(*_: object) -> None:
        raise StoreUnavailableError("the vector store cannot be reached")

    with monkeypatch.context() as cut:
        cut.setattr(PgvectorStore, "delete", refuse)
        with pytest.raises(StoreUnavailableError):
            await remove(services, sources=[str(folder / "tea.txt")], collection="default")
    begun = events(services, name="tea.txt")
    assert [each[0] for each in begun] == ["added", "removed"]
    await add(services, folder / "tides.txt")
    assert events(services, name="tea.txt") == begun


async def test_a_change_cut_short_is_not_told(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise StoreUnavailableError("the vector store cannot be reached")

    with monkeypatch.context() as cut:
        cut.setattr(PgvectorStore, "upsert", refuse)
        with pytest.raises(StoreUnavailableError):
            await add(services, folder)
    assert events(services) == []


async def test_the_history_of_a_document_is_read_from_a_day_on(
    services: Services, folder: Path
) -> None:
    await add(services, folder / "tea.txt")
    async with reading(services.engine) as connection:
        collection = await collections.get(connection, "default")
        known = await documents.known(connection, collection, [str(folder / "tea.txt")])
        identity = known[str(folder / "tea.txt")].id
    await remove(services, sources=[str(folder / "tea.txt")], collection="default")
    async with reading(services.engine) as connection:
        told = await history.of_document(connection, identity)
        assert [each.event for each in told] == ["removed", "added"]
        later = await history.since(connection, [identity], told[1].at)
        assert [each.event for each in later] == ["removed"]
        assert await history.of_document(connection, identity, since=told[0].at) == told[:1]


async def test_events_go_with_their_collection(services: Services, folder: Path) -> None:
    await add(services, folder)
    await delete_collection(services, "default", waiting=lambda: None)
    assert events(services) == []
