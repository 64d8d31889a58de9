"""Runs that keep to a budget: what was paid for is in, and the next run goes on."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

import ingest.writing as writing_module
from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexRequest, reindex
from ingest.report import IngestReport
from search_app.bootstrap import Services, open_services
from search_app.catalog import indexes, runs
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.hashing import HashingEmbedder
from search_app.embedders.metering import Counted, Meter
from search_app.errors import EmbedderRefusedError, InvalidInputError, SpentUpError
from search_app.types import IndexState, Kind, Matrix, RunStatus
from tests.catalog_dump import connect

HOSTED = "openai:some"
DOCUMENTS = 40
PRICE = 1000.0


class Hosted(HashingEmbedder):
    """Answers as a hosted model would, and remembers what it was paid for."""

    batch_size = 4

    def __init__(self, dimensions: int = 64) -> None:
        super().__init__(dimensions)
        self.spec = HOSTED
        self.tokens = 0
        self.documents: list[str] = []
        self._counter = TokenCounter()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.tokens += sum(self._counter.count_tokens(text) for text in texts)
        self.documents += [text for text in texts if text.startswith("Document")]
        return await super().embed(texts, kind)


@pytest.fixture
def model() -> Hosted:
    return Hosted()


@pytest.fixture
async def hosted(settings: Settings, model: Hosted) -> AsyncIterator[Services]:
    priced = settings.model_copy(
        update={"embedder": HOSTED, "embedding_price": PRICE, "openai_api_key": None}
    )
    async with open_services(priced) as services:
        services._embedders[HOSTED] = model
        yield services


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(writing_module, "SEGMENT", 8)
    made = tmp_path / "texts"
    made.mkdir()
    for number in range(DOCUMENTS):
        text = f"Document {number} speaks of " + " and of ".join(["kites"] * 40)
        (made / f"{number:02}.txt").write_text(text)
    return made


async def add(services: Services, folder: Path, **options: object) -> IngestReport:
    return await ingest(services, IngestRequest(arguments=[str(folder)], **options))  # type: ignore[arg-type] # any field


def counted(services: Services) -> dict[str, int]:
    assert services.settings.database_url is not None
    with connect(services.settings.database_url.get_secret_value()) as connection:
        (table,) = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'vectors' "
            "AND table_name NOT LIKE '%_terms' ORDER BY 1 LIMIT 1"
        ).fetchall()
        found = connection.execute(
            "SELECT (SELECT count(*) FROM chunks) AS chunks, (SELECT count(*) FROM vector_records) "
            f'AS records, (SELECT count(*) FROM vectors."{table["table_name"]}") AS vectors, '
            "(SELECT count(*) FROM documents WHERE state = 'indexed') AS documents"
        ).fetchone()
    assert found is not None
    return found


async def status_of(services: Services, report_run: object) -> tuple[str, str | None]:
    async with transaction(services.engine) as connection:
        found = next(
            run for run in await runs.listing(connection) if str(run.id) == str(report_run)
        )
    return found.status, found.reason


async def test_a_budget_stops_a_run_and_the_next_completes_it(
    hosted: Services, folder: Path, model: Hosted
) -> None:
    stops = 0
    # The first has to pay for getting to know the model, too.
    for budget in (14.0, *[10.0] * 9):
        before = model.tokens
        report = await add(hosted, folder, budget=budget)
        spent = (model.tokens - before) * PRICE / 1e6
        assert spent <= budget
        assert report.sent.cost == pytest.approx(spent)
        now = counted(hosted)
        assert now["records"] == now["vectors"] == now["documents"]
        if report.stopped is None:
            break
        assert "the same again goes on" in report.stopped
        assert await status_of(hosted, report.run_id) == (RunStatus.INTERRUPTED, report.stopped)
        assert now["documents"] < DOCUMENTS
        stops += 1
    assert (report.stopped, stops > 1) == (None, True)
    assert counted(hosted) == dict.fromkeys(
        ("chunks", "records", "vectors", "documents"), DOCUMENTS
    )
    # Every text was paid for once.
    assert len(model.documents) == len(set(model.documents)) == DOCUMENTS


async def test_what_is_enough_is_not_noticed(hosted: Services, folder: Path) -> None:
    report = await add(hosted, folder, budget=1000.0)
    assert (report.stopped, report.documents.added) == (None, DOCUMENTS)
    assert report.sent.estimated_tokens == report.sent.tokens > 0


async def test_nothing_is_sent_for_nothing(hosted: Services, folder: Path, model: Hosted) -> None:
    with pytest.raises(SpentUpError):
        await add(hosted, folder, budget=0.0)
    assert model.tokens == 0
    report = await add(hosted, folder, budget=1000.0)
    # A run that has nothing to embed needs no money.
    again = await add(hosted, folder, budget=0.0)
    assert (again.stopped, again.documents.unchanged) == (None, DOCUMENTS)
    assert report.documents.added == DOCUMENTS


async def test_without_a_price_there_is_no_budget(
    settings: Settings, folder: Path, model: Hosted
) -> None:
    async with open_services(settings) as services:
        services._embedders[HOSTED] = model
        with pytest.raises(InvalidInputError, match="UNMOVED_EMBEDDING_PRICE"):
            await add(services, folder, embedder=HOSTED, budget=1.0)
        assert model.tokens == 0
        await add(services, folder)
        with pytest.raises(InvalidInputError, match="UNMOVED_PRICES"):
            await reindex(services, ReindexRequest(embedder=HOSTED, budget=1.0))
        assert model.tokens == 0
        report = await add(services, folder, embedder=HOSTED, collection="other")
        assert report.sent.unpriced_tokens == report.sent.tokens > 0


async def test_a_reindex_keeps_to_a_budget(settings: Settings, folder: Path) -> None:
    model = Hosted(32)
    priced = settings.model_copy(update={"embedding_price": PRICE})
    async with open_services(priced) as services:
        services._embedders[HOSTED] = model
        first = await add(services, folder)
        assert (first.sent.cost, first.sent.unpriced_tokens) == (0.0, 0)
        embedded = stops = 0
        for _ in range(10):
            before = model.tokens
            report = await reindex(services, ReindexRequest(embedder=HOSTED, budget=16.0))
            assert (model.tokens - before) * PRICE / 1e6 <= 16.0
            embedded += report.embedded
            if report.stopped is None:
                break
            assert (report.state, report.complete) == (IndexState.BUILDING, False)
            assert await status_of(services, report.run_id) == (
                RunStatus.INTERRUPTED,
                report.stopped,
            )
            stops += 1
        assert stops > 0
        assert (report.state, report.stopped) == (IndexState.READY, None)
        assert embedded == len(model.documents) == len(set(model.documents)) == DOCUMENTS
        async with transaction(services.engine) as connection:
            assert (await indexes.get(connection, report.index_id)).state is IndexState.READY


class Refusing(HashingEmbedder):
    """Takes nothing."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        raise EmbedderRefusedError(f"no {kind} of these {len(texts)}")


async def test_what_is_refused_is_not_paid() -> None:
    meter = Meter(money=1.0)
    refusing = Counted(Refusing(64), meter, TokenCounter(), price=1e5)
    with pytest.raises(EmbedderRefusedError):
        await refusing.embed(["a text"], "document")
    assert (meter.sent.tokens, meter.sent.requests, meter.left()) == (0, 0, 1.0)
    counting = Counted(HashingEmbedder(64), meter, TokenCounter(), price=1e5)
    await counting.embed(["a text"], "document")
    assert meter.sent.requests == 1
    assert meter.sent.estimated_tokens == meter.sent.tokens > 0
    with pytest.raises(SpentUpError, match="no more than 1 was to be spent"):
        await counting.embed(["a text " * 20], "document")
    assert meter.sent.requests == 1
