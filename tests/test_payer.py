"""What is counted as sent, and paid: every attempt, but none that was answered with an error."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import open_services
from search_app.config import Settings
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.hosted.breaker import AFTER
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.metering import Counted, Meter
from search_app.embedders.openai import OpenAIEmbedder
from search_app.errors import (
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
    SpentUpError,
)
from tests.catalog_dump import connect
from tests.scripted_endpoint import (
    Received,
    Reply,
    ScriptedEndpoint,
    answer,
    body,
    json_body,
    scripted_endpoint,
    stall,
)

TEXT = "a text of a few words"
TOKENS = TokenCounter().count_tokens(TEXT)
BUSY = json_body({"error": {"message": "slow down"}}, status=429)
BROKEN = json_body({}, status=500)


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as made:
        yield made


def model(url: str, *, timeout_s: float = 5.0, retries: int = 4) -> OpenAIEmbedder:
    plan = Plan(timeout_s=timeout_s, max_retries=retries, retry_wait_s=0.001, concurrency=2)
    return OpenAIEmbedder(model="m", base_url=url, batch_size=8, plan=plan)


def counted(embedder: OpenAIEmbedder, money: float | None = None) -> Counted:
    # A token costs one.
    return Counted(embedder, Meter(money=money), TokenCounter(), price=1e6)


def figures(embedder: Counted) -> tuple[int, int, float]:
    sent = embedder.meter.sent
    return sent.requests, sent.tokens, sent.cost


@pytest.mark.parametrize(
    ("replies", "requests", "paid"),
    [
        ([answer()], 1, 1),
        ([BUSY, BUSY, answer()], 3, 1),
        ([BROKEN, answer()], 2, 1),
        # Whether it was worked on, nobody knows; whoever did so charges for it.
        ([stall, answer()], 2, 2),
    ],
    ids=["at once", "too many at first", "an error at first", "too late at first"],
)
async def test_attempts_count_and_errors_are_free(
    endpoint: ScriptedEndpoint, replies: list[Reply], requests: int, paid: int
) -> None:
    endpoint.script(*replies)
    inner = model(endpoint.url, timeout_s=1.0)
    # Made before the clock runs: it takes its time.
    assert inner.client is not None
    embedder = counted(inner)
    await embedder.embed([TEXT], "document")
    await inner.aclose()
    assert figures(embedder) == (requests, paid * TOKENS, paid * TOKENS)
    assert len(endpoint.received) == requests


async def test_texts_that_an_answer_left_out_are_paid_again_and_no_others(
    endpoint: ScriptedEndpoint,
) -> None:
    endpoint.script(answer(change=lambda items: items[:-1]), answer())
    inner = model(endpoint.url)
    embedder = counted(inner)
    await embedder.embed([TEXT, "another", "the last one"], "document")
    await inner.aclose()
    tokens = [TokenCounter().count_tokens(text) for text in (TEXT, "another", "the last one")]
    assert figures(embedder)[1] == sum(tokens) + tokens[-1]


async def test_what_the_breaker_does_not_let_through_costs_nothing(
    endpoint: ScriptedEndpoint,
) -> None:
    endpoint.script(BROKEN)
    inner = model(endpoint.url, retries=0)
    embedder = counted(inner)
    for _ in range(AFTER + 3):
        with pytest.raises(EmbedderUnavailableError):
            await embedder.embed([TEXT], "document")
    await inner.aclose()
    assert figures(embedder) == (AFTER, 0, 0.0)
    assert embedder.meter.sent.texts == 0


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    inner = model(f"http://127.0.0.1:{port}/v1", retries=2)
    embedder = counted(inner)
    with pytest.raises(EmbedderUnavailableError):
        await embedder.embed([TEXT], "document")
    await inner.aclose()
    assert figures(embedder) == (0, 0, 0.0)


async def test_nonsense_is_paid_and_a_refusal_is_not(endpoint: ScriptedEndpoint) -> None:
    inner = model(endpoint.url)
    embedder = counted(inner)
    endpoint.script(body(b"<html>"))
    with pytest.raises(EmbedderResponseError):
        await embedder.embed([TEXT], "document")
    assert figures(embedder) == (1, TOKENS, TOKENS)
    endpoint.script(json_body({"error": {"message": "no"}}, status=400))
    with pytest.raises(EmbedderRefusedError):
        await embedder.embed([TEXT], "document")
    await inner.aclose()
    assert figures(embedder) == (2, TOKENS, TOKENS)


async def test_an_attempt_that_cannot_be_paid_is_not_made(endpoint: ScriptedEndpoint) -> None:
    endpoint.script(stall)
    inner = model(endpoint.url, timeout_s=1.0)
    assert inner.client is not None
    embedder = counted(inner, money=2.5 * TOKENS)
    with pytest.raises(SpentUpError):
        await embedder.embed([TEXT], "document")
    await inner.aclose()
    assert len(endpoint.received) == 2
    assert figures(embedder) == (2, 2 * TOKENS, 2 * TOKENS)


async def test_what_waits_for_its_turn_and_is_cancelled_costs_nothing(
    endpoint: ScriptedEndpoint,
) -> None:
    both = asyncio.Event()

    async def noting(request: Received, writer: asyncio.StreamWriter) -> None:
        if len(endpoint.received) == 2:
            both.set()
        await stall(request, writer)

    endpoint.script(noting)
    inner = model(endpoint.url)
    embedder = counted(inner)
    calls = [asyncio.create_task(embedder.embed([TEXT], "document")) for _ in range(5)]
    await asyncio.wait_for(both.wait(), 30)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await inner.aclose()
    assert figures(embedder) == (2, 2 * TOKENS, 2 * TOKENS)


# --- A whole ingest ------------------------------------------------------------------------------

DOCUMENTS = 40
FORBIDDEN = "forbidden"


def write(folder: Path, *, forbidden: Sequence[int] = ()) -> Path:
    folder.mkdir()
    for number in range(DOCUMENTS):
        word = f" {FORBIDDEN}" if number in forbidden else ""
        (folder / f"{number:02}.txt").write_text(f"Document {number} speaks of kites{word}.")
    return folder


def settings_for(settings: Settings, url: str, **more: object) -> Settings:
    return settings.model_copy(
        update={
            "embedder": "openai:m",
            "openai_base_url": url,
            "openai_batch_size": 8,
            "embedding_retries": 2,
            **more,
        }
    )


def texts_sent(endpoint: ScriptedEndpoint) -> list[str]:
    return [text for each in endpoint.received for text in each.texts if "kites" in text]


async def test_a_content_filter_costs_one_document_and_says_which_text(
    settings: Settings, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    refused: list[list[str]] = []

    async def filtering(request: Received, writer: asyncio.StreamWriter) -> None:
        if any(FORBIDDEN in text for text in request.texts):
            refused.append(request.texts)
            message = "The response was filtered due to the content management policy"
            error = {"message": message, "code": "content_filter"}
            await json_body({"error": error}, status=400)(request, writer)
        else:
            await answer()(request, writer)

    endpoint.script(filtering)
    folder = write(tmp_path / "texts", forbidden=[13])
    async with open_services(settings_for(settings, endpoint.url)) as services:
        report = await ingest(services, IngestRequest(arguments=[str(folder)]))
    assert (report.documents.added, report.documents.failed) == (DOCUMENTS - 1, 1)
    (failure,) = report.errors
    assert Path(failure.source).name == "13.txt"
    for said in ("openai:m", "content management policy", "text 1 of 1", "Document 13", "UNMOVED_"):
        assert said in failure.reason
    assert "\n" not in failure.reason
    # All that came with it in its request was sent again at most as often as it was halved.
    sent = [text for text in texts_sent(endpoint) if FORBIDDEN not in text]
    assert len(set(sent)) == DOCUMENTS - 1
    assert len(sent) - len(set(sent)) == sum(len(texts) - 1 for texts in refused)
    assert [len(texts) for texts in refused] == [8, 4, 2, 1]


async def test_a_storm_of_429_and_a_budget(
    settings: Settings, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    requests = 0

    async def storm(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        busy = requests % 3 and any("kites" in text for text in request.texts)
        busy_now = json_body({}, status=429, headers={"retry-after-ms": "1"})
        await (busy_now if busy else answer())(request, writer)

    endpoint.script(storm)
    folder = write(tmp_path / "texts")
    priced = settings_for(settings, endpoint.url, embedding_price=1e6)
    async with open_services(priced) as services:
        report = await ingest(services, IngestRequest(arguments=[str(folder)], budget=1e6))
    assert (report.documents.added, report.stopped) == (DOCUMENTS, None)
    assert report.sent.requests > DOCUMENTS // 8 * 2
    # What was answered with an error cost nothing: all texts once, and the proofs.
    tokens = sum(TokenCounter().count_tokens(text) for text in set(texts_sent(endpoint)))
    async with open_services(priced) as services:
        proofs = await ingest(services, IngestRequest(arguments=[str(folder)], budget=1e6))
    assert proofs.sent.tokens == 0
    assert report.sent.cost == report.sent.tokens > tokens


async def test_what_was_paid_is_in_when_time_outs_have_used_up_the_money(
    settings: Settings, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    lost: list[str] = []

    async def late(request: Received, writer: asyncio.StreamWriter) -> None:
        kites = any("kites" in text for text in request.texts)
        slow = kites and len(lost) < 3
        if slow:
            lost.append(request.texts[0])
        await (stall if slow else answer())(request, writer)

    endpoint.script(answer())
    folder = write(tmp_path / "texts")
    first = tmp_path / "first"
    first.mkdir()
    (first / "one.txt").write_text("The first one.")
    priced = settings_for(
        settings, endpoint.url, embedding_price=1e6, embedding_timeout=0.3, embedding_retries=5
    )
    async with open_services(priced) as services:
        await ingest(services, IngestRequest(arguments=[str(first)]))
        texts = [path.read_text() for path in folder.iterdir()]
        tokens = sum(TokenCounter().count_tokens(text) for text in texts)
        (first / "one.txt").write_text("The second one.")
        proofs = await ingest(services, IngestRequest(arguments=[str(first)]))
        # Enough for all texts once, and the proofs with what is held back for repeating them.
        budget = tokens + 5.0 * proofs.sent.cost
        endpoint.script(late)
        used = []
        for _ in range(3):
            report = await ingest(services, IngestRequest(arguments=[str(folder)], budget=budget))
            assert report.sent.cost <= budget
            used.append(report)
            if report.stopped is None:
                break
    assert len(lost) == 3
    with connect(priced.database_url.get_secret_value()) as connection:  # type: ignore[union-attr] # it is set
        found = connection.execute(
            "SELECT count(*) AS number FROM documents WHERE state = 'indexed'"
        ).fetchone()
    assert found == {"number": DOCUMENTS + 1}
    sent = texts_sent(endpoint)
    # Only requests that nobody answered were sent again.
    assert len(sent) - len(set(sent)) <= 3 * 8
