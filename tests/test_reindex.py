"""Building a second index beside the one that answers, from the catalog."""

from pathlib import Path
from uuid import UUID

import pytest

from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexRequest, reindex
from ingest.report import IngestReport
from search_app.bootstrap import Services
from search_app.catalog import collections, filling, indexes, runs
from search_app.catalog.engine import transaction
from search_app.errors import InvalidInputError, NotFoundError
from search_app.types import Index, IndexState, RunStatus
from tests.catalog_dump import connect
from tests.index_dump import dump_index

DOCUMENTS = 30


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
    """Give a folder with documents, of three chunks each."""
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
