"""What an ingest would send, take and cost: a dry run says what the ingest then does."""

from pathlib import Path

import pytest

from ingest.estimate import Estimate, estimate
from ingest.pipeline import IngestRequest, ingest
from ingest.report import IngestReport
from search_app.bootstrap import Services, open_services
from search_app.catalog import runs
from search_app.catalog.engine import transaction
from search_app.config import Settings, load_settings
from search_app.errors import ConfigurationError, InvalidInputError
from tests.catalog_dump import connect

TOPICS = ("ferries", "onions", "lighthouses", "bread", "harbours", "tides", "ropes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write documents of many passages, of which some are equal."""
    made = tmp_path / "texts"
    made.mkdir()
    for number, topic in enumerate(TOPICS):
        sentences = [f"Sentence {place} of {topic} says something." for place in range(200)]
        (made / f"{number}.txt").write_text(" ".join(sentences), encoding="utf-8")
    (made / "copy.txt").write_text((made / "0.txt").read_text(encoding="utf-8"), encoding="utf-8")
    return made


def request(folder: Path, **options: object) -> IngestRequest:
    return IngestRequest(arguments=[str(folder)], **options)  # type: ignore[arg-type] # any field


def sums(found: Estimate | IngestReport) -> tuple[int, int, int]:
    if isinstance(found, IngestReport):
        return found.documents.added, found.sent.tokens, found.sent.requests
    (model,) = found.models
    return found.documents, model.tokens, model.requests


async def test_a_dry_run_says_what_the_ingest_does(services: Services, folder: Path) -> None:
    foreseen = await estimate(services, request(folder))
    report = await ingest(services, request(folder))
    assert sums(foreseen) == sums(report)
    (model,) = foreseen.models
    assert model.texts == report.chunks.embedded
    assert (model.chunks, model.reused) == (
        report.chunks.embedded + report.chunks.reused,
        report.chunks.reused,
    )
    assert model.reused > 0
    assert (model.estimated, model.cost, model.seconds) == (True, 0.0, None)


async def test_what_is_in_is_not_counted_again(services: Services, folder: Path) -> None:
    await ingest(services, request(folder))
    nothing = await estimate(services, request(folder))
    assert (nothing.documents, nothing.unchanged) == (0, len(TOPICS) + 1)
    assert sums(nothing) == (0, 0, 0)
    (folder / "new.txt").write_text("Something about kites.", encoding="utf-8")
    foreseen = await estimate(services, request(folder))
    report = await ingest(services, request(folder))
    assert sums(foreseen) == sums(report)
    assert report.documents.added == 1


async def test_vectors_that_are_kept_cost_proofs_alone(services: Services, folder: Path) -> None:
    first = await ingest(services, request(folder))
    foreseen = await estimate(services, request(folder, collection="other"))
    (model,) = foreseen.models
    assert (model.texts, model.reused) == (0, first.chunks.embedded + first.chunks.reused)
    assert model.tokens == model.proofs > 0
    report = await ingest(services, request(folder, collection="other"))
    assert report.chunks.embedded == 0
    assert sums(foreseen) == sums(report)


async def test_it_writes_nothing_and_makes_no_database(
    settings: Settings, tmp_path: Path, folder: Path
) -> None:
    async with open_services(settings) as services:
        await estimate(services, request(folder))
        assert settings.database_url is not None
        with connect(settings.database_url.get_secret_value()) as connection:
            for table in ("collections", "runs", "model_versions", "sources", "indexes"):
                found = connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()
                assert found == {"n": 0}, table
    assert not (tmp_path / "data").exists()


async def test_a_price_gives_a_cost_and_its_lack_none(
    services: Services, settings: Settings, folder: Path, database_url: str, tmp_path: Path
) -> None:
    hosted = load_settings(
        DATABASE_URL=database_url,
        data_dir=tmp_path / "data",
        embedder="openai:text-embedding-3-small",
        openai_api_key="nobody",
    )
    async with open_services(hosted) as opened:
        (model,) = (await estimate(opened, request(folder))).models
        assert model.price is not None
        assert model.cost == pytest.approx(model.tokens * 0.02 / 1e6)
    elsewhere = hosted.model_copy(update={"openai_base_url": "http://127.0.0.1:1/v1"})
    async with open_services(elsewhere) as opened:
        (model,) = (await estimate(opened, request(folder))).models
        # A list price says nothing of somebody else's server that has the model's name.
        assert (model.price, model.cost) == (None, None)
    del services, settings


async def test_the_pace_of_runs_gives_a_time(services: Services, folder: Path) -> None:
    await ingest(services, request(folder))
    (folder / "new.txt").write_text("Something about kites.", encoding="utf-8")
    async with transaction(services.engine) as connection:
        pace = await runs.pace(connection, "hashing:64")
        assert await runs.pace(connection, "hashing:32") is None
    assert pace is not None
    assert pace.runs == 1
    (model,) = (await estimate(services, request(folder))).models
    assert model.seconds == pytest.approx(model.tokens / pace.tokens_a_second)


async def test_pages_are_counted_and_not_fetched(services: Services) -> None:
    found = await estimate(services, IngestRequest(arguments=["http://127.0.0.1:1/page.html"]))
    assert (found.pages, found.documents, found.failures) == (1, 0, [])


async def test_a_wrong_embedder_is_refused(services: Services, folder: Path) -> None:
    with pytest.raises(InvalidInputError):
        await estimate(services, request(folder, embedder="hashing:3"))


@pytest.mark.parametrize(
    "spec",
    ["google:gemini-embedding-001", "openai:text-embedding-3-small", "cohere:embed-v4.0"],
)
async def test_a_dry_run_needs_no_key(settings: Settings, folder: Path, spec: str) -> None:
    keyless = settings.model_copy(
        update={"google_api_key": None, "openai_api_key": None, "cohere_api_key": None}
    )
    async with open_services(keyless) as services:
        found = await estimate(services, request(folder, embedder=spec))
        assert found.models[0].tokens > 0
        # Only the ingest itself does.
        with pytest.raises(ConfigurationError, match="_API_KEY"):
            await ingest(services, request(folder, embedder=spec))
