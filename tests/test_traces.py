"""What is traced besides requests: runs, jobs and what asked for them, models, checks."""

import subprocess
import sys
from collections.abc import Awaitable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from sqlalchemy import text
from starlette.testclient import TestClient

from ingest.pipeline import IngestRequest, ingest
from ingest.reindex import ReindexRequest, reindex
from ingest.tasks import make_app
from search_app import console, jobs, tracing
from search_app.bootstrap import Services, open_services
from search_app.catalog.engine import transaction
from search_app.config import Settings, load_settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.embedders.openai import OpenAIEmbedder
from search_app.errors import ConfigurationError, EmbedderRefusedError
from search_app.jobs import JobStatus
from search_app.jobs.types import QUEUE
from search_app.jobs.upkeep import forget_old
from search_app.stages import stage, trace_context, watched_by
from search_app.tracing import Tracing
from search_app.web import app as web_app
from search_app.web.app import create_app
from tests.hosted import with_plan
from tests.scripted_endpoint import answer, json_body, scripted_endpoint
from tests.web_site import run_apart

WORD = "zanzibar"
KEY = "sk-very-secret-0123456789"
ABOVE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / WORD
    folder.mkdir()
    (folder / f"{WORD}.md").write_text(f"# {WORD}\n\nOf {WORD} and more.\n", encoding="utf-8")
    return folder


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    for span in exporter.get_finished_spans():
        told = span.to_json()
        assert WORD not in told, "a trace holds what a document says, or where it lies"
        assert KEY not in told


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def within(span: ReadableSpan, above: ReadableSpan) -> bool:
    assert above.context is not None
    return span.parent is not None and span.parent.span_id == above.context.span_id


async def refused(work: Awaitable[object]) -> None:
    with pytest.raises(EmbedderRefusedError):
        await work


async def do_jobs(services: Services) -> None:
    app = make_app(services, lambda _: None)
    async with app.open_async():
        await app.run_worker_async(
            queues=[QUEUE], wait=False, listen_notify=False, install_signal_handlers=False
        )


async def test_a_run_has_its_numbers_and_the_models_requests_within(
    services: Services, folder: Path, exporter: InMemorySpanExporter
) -> None:
    with closing(Tracing(exporter)) as traces, watched_by(traces):
        report = await ingest(services, IngestRequest(arguments=[str(folder)]))
        built = await reindex(services, ReindexRequest(collection="default", force=True))
    spans = exporter.get_finished_spans()
    first, second = (span for span in spans if span.name == "run")
    assert first.attributes is not None
    assert dict(first.attributes) == {
        "unmoved.kind": "ingest",
        "unmoved.run_id": str(report.run_id),
        "unmoved.documents_added": 1,
        "unmoved.documents_updated": 0,
        "unmoved.documents_removed": 0,
        "unmoved.failures": 0,
        "unmoved.texts": report.sent.texts,
        "unmoved.tokens": report.sent.tokens,
    }
    assert second.attributes is not None
    assert second.attributes["unmoved.run_id"] == str(built.run_id)
    assert second.attributes["unmoved.kind"] == "reindex"
    sent = [span.attributes for span in spans if span.name == "embed" and within(span, first)]
    assert sent
    assert all(each and each["unmoved.embedder"] == "hashing:64" for each in sent)
    # Every request that the run counts is a span.
    assert sum(int(str(each["unmoved.texts"])) for each in sent if each) == report.sent.texts
    assert sum(int(str(each["unmoved.tokens"])) for each in sent if each) == report.sent.tokens


async def test_a_run_that_fails_says_so_without_the_message(
    settings: Settings, folder: Path, exporter: InMemorySpanExporter
) -> None:
    async with scripted_endpoint() as endpoint:
        endpoint.script(json_body({"error": {"message": f"{WORD} is bad"}}, status=401))
        url = endpoint.url
        away = settings.model_copy(update={"embedder": "openai:m", "openai_base_url": url})
        request = IngestRequest(arguments=[str(folder)])
        async with open_services(away) as services:
            with closing(Tracing(exporter)) as traces, watched_by(traces):
                await refused(ingest(services, request))
    spans = by_name(exporter)
    for name in ("run", "embedder request"):
        assert spans[name].status.status_code is StatusCode.ERROR
        assert spans[name].status.description is None
        assert spans[name].events == ()
        assert (spans[name].attributes or {})["error.type"] == "EmbedderRefusedError"


async def test_a_request_to_a_provider_says_which_and_how_much(
    exporter: InMemorySpanExporter,
) -> None:
    async with scripted_endpoint() as endpoint:
        endpoint.script(answer(usage={"prompt_tokens": 7, "total_tokens": 7}))
        embedder = OpenAIEmbedder(
            base_url=endpoint.url, **with_plan({"model": "some-model", "api_key": KEY})
        )
        try:
            with closing(Tracing(exporter)) as traces, watched_by(traces):
                await embedder.embed([WORD, f"{WORD} again"], "document")
        finally:
            await embedder.aclose()
    attributes = dict(by_name(exporter)["embedder request"].attributes or {})
    assert attributes == {"unmoved.provider": "openai", "unmoved.texts": 2, "unmoved.tokens": 7}


def test_a_job_links_to_the_request_that_asked_for_it(
    settings: Settings,
    folder: Path,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_app, "make_tracing", lambda _: Tracing(InMemorySpanExporter()))
    roots = settings.model_copy(update={"ingest_roots": str(folder)})
    with TestClient(create_app(roots), base_url="http://localhost") as client:
        asked = client.post(
            "/api/v1/collections/default/ingest",
            json={"arguments": [str(folder)]},
            headers={"traceparent": ABOVE},
        )
        assert asked.status_code == 202, asked.text

    async def work() -> JobStatus:
        async with open_services(roots) as services:
            with closing(Tracing(exporter)) as traces, watched_by(traces):
                await do_jobs(services)
            return (await jobs.get(services.engine, asked.json()["id"])).status

    assert run_apart(work()) is JobStatus.SUCCEEDED
    spans = by_name(exporter)
    job = spans["job ingest"]
    assert dict(job.attributes or {}) == {
        "unmoved.job_id": asked.json()["id"],
        "unmoved.attempt": 1,
    }
    (link,) = job.links
    assert f"{link.context.trace_id:032x}" == ABOVE.split("-")[1]
    assert f"{link.context.span_id:016x}" != ABOVE.split("-")[2]  # that of our own request
    assert job.parent is None
    assert within(spans["run"], job)


async def test_jobs_without_a_trace_have_no_cause_and_old_causes_go(services: Services) -> None:
    engine = services.engine
    traces = Tracing(InMemorySpanExporter())
    plain = await jobs.enqueue_ingest(engine, collection="a", arguments=["/x"])
    with closing(traces), watched_by(traces), stage("asking"):
        caused = await jobs.enqueue_ingest(engine, collection="b", arguments=["/x"])
        named = trace_context()
    async with transaction(engine) as connection:
        assert await jobs.cause_of(connection, plain.id) is None
        assert await jobs.cause_of(connection, caused.id) == named
        assert named is not None
        await connection.execute(text("DELETE FROM procrastinate_jobs"))
        await forget_old(connection)
        assert await connection.scalar(text("SELECT count(*) FROM job_causes")) == 0


async def test_a_nightly_check_is_traced_as_the_job_and_what_it_came_to(
    services: Services, folder: Path, exporter: InMemorySpanExporter
) -> None:
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    await jobs.enqueue_check(services.engine, collection="default")
    with closing(Tracing(exporter)) as traces, watched_by(traces):
        await do_jobs(services)
        report = await check(services, CheckRequest(collection="default"))
    first, second = (span for span in exporter.get_finished_spans() if span.name == "check")
    assert within(first, by_name(exporter)["job check"])
    assert first.links == ()
    told = dict(second.attributes or {})
    assert told["unmoved.check_id"] == str(report.check_id)
    assert told["unmoved.verdict"] == report.verdict.value
    assert told["unmoved.texts"] == report.spent.texts > 0


def test_commands_are_traced_where_a_collector_is_named(
    settings: Settings, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "make_tracing", lambda _: Tracing(exporter))

    async def work() -> None:
        with stage("run"):
            pass

    console.wait_for(work(), settings)
    assert exporter.get_finished_spans() == ()
    console.wait_for(work(), settings, spans=True)
    assert [span.name for span in exporter.get_finished_spans()] == ["run"]


def test_a_command_that_cannot_be_traced_says_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    async def work() -> None:
        pass

    # A coroutine that is left behind would be a warning, and so an error here.
    with pytest.raises(ConfigurationError, match=r"unmoved\[otel\]"):
        console.wait_for(work(), settings, spans=True)


@pytest.mark.parametrize(
    ("missing", "modules"),
    [
        ("opentelemetry", "ingest.tasks, ingest.worker, ingest.cli, search_app.tracing"),
        # The framework of the pages brings the interfaces along, and nothing that sends anything.
        ("opentelemetry.sdk", "search_app.web.app, search_app.mcp.remote"),
    ],
)
def test_without_a_collector_nothing_of_the_extra_is_imported(missing: str, modules: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        f"import {modules}\n"
        "from search_app.config import load_settings\n"
        "from search_app.stages import stage, trace_context\n"
        "from search_app.tracing import traced\n"
        "with traced(load_settings(OTEL_EXPORTER_OTLP_ENDPOINT='')), stage('run', kind='ingest'):\n"
        "    assert trace_context() is None\n"
        f"assert not any(name.startswith({missing + '.'!r}) for name in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
