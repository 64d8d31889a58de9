"""Metrics: what Prometheus reads, and that what is unknown is absent."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest
from search_app import jobs
from search_app.bootstrap import Services, open_services
from search_app.catalog.engine import create_engine
from search_app.config import Settings, load_settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.embedders.hosted.traffic import Traffic
from search_app.web.app import create_app
from tests.catalog_dump import connect

HOST = "http://localhost"
NAME = 'notes "and" back\\slash'

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url=HOST) as opened:
        yield opened


def scraped(client: TestClient) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def named(samples: Samples, beginning: str) -> set[str]:
    return {name for name, _ in samples if name.startswith(beginning)}


def do(settings: Settings, work: Any) -> None:
    async def done() -> None:
        async with open_services(settings) as services:
            await work(services)

    asyncio.run(done())


def filled(folder: Path) -> Any:
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.md").write_text(f"# Note {number}\n\nTides of day {number}.\n")

    async def work(services: Services) -> None:
        await ingest(services, IngestRequest(arguments=[str(folder)], collection=NAME))

    return work


async def checked(services: Services) -> None:
    await check(services, CheckRequest(collection=NAME))


def test_what_was_never_checked_has_no_verdict(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    samples = scraped(client)
    assert named(samples, "unmoved_check_") == set()
    assert of(samples, "unmoved_worker_alive") == 0
    do(settings, filled(tmp_path / "notes"))
    samples = scraped(client)
    assert named(samples, "unmoved_check_") == {"unmoved_check_overdue"}
    assert of(samples, "unmoved_check_overdue", collection=NAME) == 0
    assert of(samples, "unmoved_documents", collection=NAME) == 40
    assert of(samples, "unmoved_passages", collection=NAME) == 40


def test_checks_are_told_in_numbers(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    do(settings, filled(tmp_path / "notes"))
    do(settings, checked)
    samples = scraped(client)
    # The first night compares nothing: no share, no bound, and never a conclusion.
    assert of(samples, "unmoved_check_verdict", collection=NAME, verdict="inconclusive") == 1
    assert of(samples, "unmoved_check_verdict", collection=NAME, verdict="stable") == 0
    assert not named(samples, "unmoved_check_drift_ratio")
    assert not named(samples, "unmoved_check_unsteady_ratio")
    assert not named(samples, "unmoved_check_conclusive_age_seconds")
    do(settings, checked)
    samples = scraped(client)
    assert of(samples, "unmoved_check_verdict", collection=NAME, verdict="stable") == 1
    assert of(samples, "unmoved_check_drift_ratio", collection=NAME) == 0
    upper = of(samples, "unmoved_check_drift_ratio_upper", collection=NAME)
    assert upper is not None
    assert 0 < upper < 0.1
    assert (of(samples, "unmoved_check_texts_sent", collection=NAME) or 0) > 40
    assert of(samples, "unmoved_check_vectors_scanned", collection=NAME) == 40
    for name in ("age_seconds", "conclusive_age_seconds", "duration_seconds"):
        assert (of(samples, f"unmoved_check_{name}", collection=NAME) or -1) >= 0


def test_a_clock_that_went_back_gives_no_negative_age(
    client: TestClient, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    do(settings, filled(tmp_path / "notes"))
    do(settings, checked)
    with connect(database_url) as connection:
        connection.execute("UPDATE checks SET created_at = now() + interval '3 hours'")
    assert of(scraped(client), "unmoved_check_age_seconds", collection=NAME) == 0


def test_the_queue_and_the_requests_are_counted(client: TestClient, settings: Settings) -> None:
    async def asked(services: Services) -> None:
        await jobs.enqueue_ingest(services.engine, collection="a", arguments=["/tmp/none"])

    do(settings, asked)
    client.post("/api/v1/search", json={"query": "tides"})
    client.get("/no/such/place")
    client.request("BREW", "/")
    samples = scraped(client)
    assert of(samples, "unmoved_jobs", state="waiting") == 1
    assert of(samples, "unmoved_jobs", state="failed") == 0
    counted = {
        labels: value
        for (name, labels), value in samples.items()
        if name == "unmoved_request_duration_seconds_count"
    }
    labels = {"method": "POST", "route": "/api/v1/search", "status": "404"}
    assert counted[frozenset(labels.items())] == 1
    assert not any("no/such" in str(each) or "BREW" in str(each) for each in counted)


def test_without_the_catalog_there_are_no_samples(settings: Settings) -> None:
    down = Services(settings, create_engine("postgresql://nobody@127.0.0.1:9/none"))
    with TestClient(create_app(settings, down), base_url=HOST) as opened:
        response = opened.get("/metrics")
    assert response.status_code == 503
    assert "unmoved_" not in response.text


def test_other_hosts_are_refused_as_everywhere(client: TestClient) -> None:
    response = client.get("/metrics", headers={"host": "evil.example"})
    assert response.status_code >= 400
    assert "unmoved_worker_alive" not in response.text


def test_what_was_sent_to_hosted_models_is_counted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named(scraped(client), "unmoved_embedder_") == set()
    sent = Traffic(requests=7, responses=6, retries=2, throttles=1, texts=300, tokens=4000)
    monkeypatch.setattr(Services, "traffic", {"openai:m": sent})
    samples = scraped(client)
    for name, number in vars(sent).items():
        assert of(samples, f"unmoved_embedder_{name}_total", embedder="openai:m") == number


async def test_only_hosted_models_have_traffic(database_url: str, tmp_path: Path) -> None:
    settings = load_settings(
        DATABASE_URL=database_url, data_dir=tmp_path, openai_base_url="http://127.0.0.1:1/v1"
    )
    async with open_services(settings) as services:
        services.embedder("hashing:64")
        services.embedder("openai:m")
        assert services.traffic == {"openai:m": Traffic()}
