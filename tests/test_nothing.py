"""Where there is nothing to read, no model is asked who it is, and nothing is left behind."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.catalog import collections, models, runs
from search_app.catalog.engine import transaction
from search_app.embedders.hashing import HashingEmbedder
from search_app.types import Kind, Matrix, RunStatus


class Untouched(HashingEmbedder):
    """Counts what it is asked."""

    asked = 0

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.asked += 1
        return await super().embed(texts, kind)


@pytest.fixture
def model(services: Services) -> Untouched:
    made = Untouched(64)
    services._embedders["hashing:64"] = made
    return made


@pytest.mark.parametrize("made", ["", "picture.png", None], ids=["empty", "skipped", "gone"])
async def test_no_model_is_registered_for_nothing(
    services: Services, model: Untouched, tmp_path: Path, made: str | None
) -> None:
    folder = tmp_path / "folder"
    if made is not None:
        folder.mkdir()
    if made:
        (folder / made).write_bytes(b"\x89PNG")
    report = await ingest(services, IngestRequest(arguments=[str(folder)]))
    # That there is nothing is told.
    assert (report.documents.failed, report.documents.added) == (1, 0)
    assert report.skipped == ({".png": 1} if made else {})
    assert report.as_json()["index_id"] is None
    assert model.asked == 0
    async with transaction(services.engine) as connection:
        assert await models.listing(connection) == []
        assert await collections.check_open(connection, "default") is None
        (run,) = await runs.listing(connection)
    assert run.status is RunStatus.FAILED


async def test_a_collection_that_has_something_is_as_before(
    services: Services, model: Untouched, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("A note.")
    first = await ingest(services, IngestRequest(arguments=[str(tmp_path / "note.txt")]))
    asked = model.asked
    empty = tmp_path / "empty"
    empty.mkdir()
    report = await ingest(services, IngestRequest(arguments=[str(empty)]))
    assert (report.index_id, report.model_version_id) == (first.index_id, first.model_version_id)
    assert model.asked == asked
