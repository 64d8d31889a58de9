"""Operations: names of requests, logs, tags, stages, traces, readiness, and stopping."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
import uvicorn
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from search_app.answering.types import Event, Failed
from search_app.catalog.engine import create_engine
from search_app.config import load_settings
from search_app.console import configure_logging
from search_app.errors import ConfigurationError
from search_app.web import app as web_app
from search_app.web import server as server_module
from search_app.web.app import create_app
from search_app.web.ask_events import MEDIA_TYPE, streamed
from search_app.web.tracing import Tracing, make_tracing
from tests.web_site import Site, built_site

HOST = "http://localhost"
DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST) as opened:
        yield opened


def test_a_sane_name_of_a_request_is_taken_and_others_are_replaced(client: TestClient) -> None:
    named = client.get("/healthz", headers={"X-Request-ID": "proxy-7/a:b"})
    assert named.headers["x-request-id"] == "proxy-7/a:b"
    made = {client.get("/healthz").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    for forged in ("a b", 'x" evil="1', "é", "x" * 129, ""):
        headers = {b"X-Request-ID": forged.encode()}
        answered = client.get("/healthz", headers=headers).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", answered)


def test_problems_and_log_lines_have_the_name_of_their_request(client: TestClient) -> None:
    with capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        response = client.get("/api/v1/runs/nothing", headers={"X-Request-ID": "complaint-1"})
        # Refused by the guard, before anything else looks at it.
        foreign = client.get("/healthz", headers={"Host": "evil", "X-Request-ID": "complaint-2"})
    assert response.json()["request_id"] == "complaint-1"
    assert foreign.json()["request_id"] == foreign.headers["x-request-id"] == "complaint-2"
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["request_id"], line["status"], line["path"]) for line in lines] == [
        ("complaint-1", 422, "/api/v1/runs/nothing"),
        ("complaint-2", 400, "/healthz"),
    ]
    assert structlog.contextvars.get_contextvars() == {}


def test_logs_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    kept = structlog.get_config()
    try:
        configure_logging("info", "json")
        log = structlog.get_logger()
        log.info("読んだ", path=Path("/x"), line="a\nb")
        log.error("failed", exc_info=ValueError("broken\nin two"))
    finally:
        structlog.configure(**kept)
    captured = capsys.readouterr()
    first, second = (json.loads(line) for line in captured.err.splitlines())
    assert (first["event"], first["level"], first["path"]) == ("読んだ", "info", "/x")
    assert "broken" in second["exception"]
    assert captured.out == ""


def of_api(client: TestClient) -> list[str]:
    """Name what can be got: documents, collections, checks, lists."""
    hits = client.post("/api/v1/search", json={"query": "harbour"}).json()["hits"]
    return [
        f"/api/v1/documents/{hits[0]['document']['id']}",
        "/api/v1/collections",
        "/api/v1/collections/default",
        "/api/v1/collections/default/documents",
        "/api/v1/checks",
        "/api/v1/models",
        "/api/v1/runs",
    ]


def test_what_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    for path in of_api(client):
        first = client.get(path)
        tag = first.headers["etag"]
        assert re.fullmatch('"[0-9a-f]{32}"', tag)
        for wanted in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = client.get(path, headers={"If-None-Match": wanted})
            assert again.status_code == 304, path
            assert again.content == b""
            assert again.headers["etag"] == tag
            assert again.headers["vary"] == first.headers["vary"]
            assert "content-length" not in again.headers
        other = client.get(path, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)
    assert "etag" not in client.get("/api/v1/runs/nothing").headers
    assert "etag" not in client.post("/api/v1/search", json={"query": "harbour"}).headers


def test_tags_tell_answers_apart(client: TestClient) -> None:
    paths = ["/api/v1/runs?limit=1", "/api/v1/runs?limit=1&offset=1", "/api/v1/models"]
    assert len({client.get(path).headers["etag"] for path in paths}) == len(paths)


def test_every_list_pages_in_the_same_way(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    paged = 0
    for path, methods in described["paths"].items():
        parameters = {each["name"] for each in methods.get("get", {}).get("parameters", [])}
        if "offset" not in parameters:
            continue
        assert "limit" in parameters, path
        content = methods["get"]["responses"]["200"]["content"]["application/json"]
        name = content["schema"]["$ref"].rpartition("/")[2]
        assert "more" in described["components"]["schemas"][name]["properties"], path
        paged += 1
    assert paged > 5


def test_pages_of_a_list_join(client: TestClient) -> None:
    path = "/api/v1/collections/default/documents"
    whole = client.get(path, params={"limit": 200}).json()
    assert not whole["more"]
    parts: list[Any] = []
    while True:
        page = client.get(path, params={"limit": 2, "offset": len(parts)}).json()
        parts += page["entries"]
        if not page["more"]:
            break
    assert parts == whole["entries"]


def test_not_modified_is_described_for_whatever_is_got(client: TestClient) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            assert ("304" in operation["responses"]) == (method == "get"), path


def samples(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_stages_answers_and_kept_vectors_are_counted(client: TestClient) -> None:
    def of(name: str, **labels: str) -> float:
        return found.get((name, frozenset(labels.items())), 0.0)

    for _ in range(2):
        client.post("/api/v1/search", json={"query": "a query that nobody sent before"})
    client.post("/api/v1/ask", json={"question": "When does the harbour office open?"})
    found = samples(client)
    for stage in ("index", "words", "embed", "store.dense", "store.bm25", "load", "log"):
        assert of("unmoved_stage_duration_seconds_count", stage=stage) >= 3, stage
    for stage in ("retrieve", "write"):
        assert of("unmoved_stage_duration_seconds_count", stage=stage) == 1, stage
    assert of("unmoved_query_vectors_total", source="kept") >= 1
    assert of("unmoved_query_vectors_total", source="new") >= 2
    answers = [number for (name, _), number in found.items() if name == "unmoved_answers_total"]
    assert sum(answers) == 1


def test_spans_of_stages_are_within_those_of_requests(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(web_app, "make_tracing", lambda _: Tracing(exporter))
    above = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with TestClient(create_app(site.settings), base_url=HOST) as client:
        sent = client.post(
            "/api/v1/search",
            json={"query": "lighthouse"},
            headers={"traceparent": above, "X-Request-ID": "traced"},
        )
        assert sent.status_code == 200
    # What was left is sent when the server stops.
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request = spans["POST /api/v1/search"]
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["unmoved.request_id"] == "traced"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    for name in ("embed", "store.dense", "store.bm25", "load"):
        assert spans[name].parent is not None
        assert spans[name].parent.span_id == request.context.span_id  # type: ignore[union-attr] # just asserted
        assert spans[name].context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert not any("lighthouse" in str(span.to_json()) for span in spans.values())


def test_no_collector_no_traces_and_a_missing_package_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert make_tracing(load_settings()) is None
    settings = load_settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigurationError, match=r"unmoved\[otel\]"):
        make_tracing(settings)
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        load_settings(OTEL_EXPORTER_OTLP_ENDPOINT="localhost")


def test_paths_that_cannot_be_are_refused(client: TestClient) -> None:
    for path, body in (
        ("ingest", {"arguments": ["/a\x00b"]}),
        ("ingest", {"arguments": ["http://example.org/\ud800"]}),
        ("schedules", {"arguments": ["/a\x00b"], "every": "1h"}),
        ("remove", {"sources": ["/a\x00b"]}),
    ):
        response = client.post(
            f"/api/v1/collections/default/{path}",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert response.status_code in (400, 404, 422), (path, response.text)


async def test_a_stream_ends_with_a_last_event_when_the_server_stops() -> None:
    gone = asyncio.Event()

    async def endless() -> AsyncGenerator[Event]:
        try:
            yield Failed(reason="one", instead=None)
            await asyncio.Event().wait()
        finally:
            gone.set()

    events = endless()
    closing = asyncio.Event()
    stream = streamed(await anext(events), events, "/api/v1/ask", closing=closing)
    assert (await anext(stream)).startswith("event: failed")
    closing.set()
    rest = [text async for text in stream]
    assert len(rest) == 1
    assert rest[0].startswith("event: error\n")
    problem = json.loads(rest[0].partition("data: ")[2])
    assert (problem["status"], problem["type"]) == (503, "/docs#stopping")
    # And the model is let go of.
    await asyncio.wait_for(gone.wait(), 5)


def test_ready_means_that_the_database_answers(site: Site) -> None:
    with TestClient(create_app(site.settings), base_url=HOST) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        services = client.app.state.services  # type: ignore[attr-defined] # Starlette's type knows no state
        kept, services.engine = services.engine, create_engine("postgresql://nobody@127.0.0.1:9/x")
        try:
            assert client.get("/healthz").status_code == 200
            response = client.get("/readyz")
        finally:
            services.engine = kept
    assert response.status_code == 503
    assert response.json()["type"] == "/docs#catalog-unavailable"
    assert response.headers["x-request-id"] == response.json()["request_id"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_client_of_the_manual_works(site: Site, language: str) -> None:
    page = (DOCS / language / "api.md").read_text(encoding="utf-8")
    (code,) = re.findall("```python\n(.*?)```", page, flags=re.DOTALL)
    with served(site) as address:
        script = code.replace("http://127.0.0.1:8020", address)
        assert script != code
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1 ")
    assert any(re.fullmatch(r"\d+ documents", line) for line in lines)
    assert "as before" in lines
    assert lines[-1] == "done"


@contextmanager
def served(site: Site) -> Iterator[str]:
    """Serve a site to other processes, and give the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(site.settings), ws="none", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=asyncio.run, args=(server.serve(sockets=[listener]),), daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


async def test_a_server_that_is_told_to_stop_ends_its_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "FINISH_S", 0.3)

    async def endless() -> AsyncGenerator[Event]:
        yield Failed(reason="one", instead=None)
        await asyncio.Event().wait()

    async def stream(request: Request) -> StreamingResponse:
        events = endless()
        first = await anext(events)
        return StreamingResponse(
            streamed(first, events, "/", closing=request.app.state.closing), media_type=MEDIA_TYPE
        )

    app = Starlette(routes=[Route("/", stream)])
    app.state.closing = asyncio.Event()
    addresses: asyncio.Queue[str] = asyncio.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server_module.serve_on(listener, app, addresses.put_nowait))
        address = await addresses.get()
        async with (
            httpx2.AsyncClient(timeout=30) as client,
            client.stream("GET", address) as response,
        ):
            lines = response.aiter_lines()
            assert await anext(lines) == "event: failed"
            serving.cancel()
            rest = [line async for line in lines]
        await asyncio.wait_for(serving, 30)
    assert "event: error" in rest
    assert "/docs#stopping" in rest[rest.index("event: error") + 1]


def test_answers_do_not_wait_for_what_was_sent_to_be_confirmed() -> None:
    settings = load_settings(host="127.0.0.1", port=0)
    with (
        server_module.listening(settings) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
