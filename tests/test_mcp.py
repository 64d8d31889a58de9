"""The MCP server with a real client: over standard input and over HTTP, with keys and without."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx2
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from search_app.access.scopes import Scope
from search_app.bootstrap import open_services
from search_app.catalog import keys
from search_app.catalog.engine import transaction
from search_app.config import Settings
from search_app.errors import ConfigurationError
from search_app.mcp import remote
from search_app.mcp.remote import serve_http
from search_app.web.tracing import Tracing
from tests.web_site import Site, built_site, run_apart

NOBODY = "00000000-0000-4000-8000-000000000000"
"""A document that there is not."""

TOOLS = {"search", "ask", "get_document", "list_collections", "consistency_status"}


@dataclass(frozen=True, kw_only=True)
class Keyed:
    site: Site
    read: str
    japanese: str
    ingest: str
    revoked: str


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@pytest.fixture(scope="module")
def keyed(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keyed]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("keyed")) as built:
        yield run_apart(_with_keys(built))


async def _with_keys(site: Site) -> Keyed:
    made = {}
    async with (
        open_services(site.settings) as services,
        transaction(services.engine) as connection,
    ):
        for name, scope, names in (
            ("read", Scope.READ, None),
            ("japanese", Scope.READ, ["日本語"]),
            ("ingest", Scope.INGEST, None),
            ("revoked", Scope.READ, None),
        ):
            record, key = await keys.create(
                connection, name=name, scopes=frozenset({scope}), collection_names=names
            )
            made[name] = key.text
        await keys.revoke(connection, record.label)
    return Keyed(site=site, **made)


def command(settings: Settings, **more: str) -> StdioServerParameters:
    assert settings.database_url is not None
    return StdioServerParameters(
        command=sys.executable,
        args=["-c", "from search_app.entry import main; main()", "mcp"],
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "UNMOVED_DATA_DIR": str(settings.data_dir),
            "UNMOVED_LOG_LEVEL": "debug",
            **more,
        },
    )


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[str]:
    """Serve over HTTP on any free port, and give the address."""
    addresses: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(
        serve_http(settings.model_copy(update={"port": 0}), addresses.put_nowait)
    )
    address = asyncio.create_task(addresses.get())
    await asyncio.wait([serving, address], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        address.cancel()
        await serving
    try:
        yield f"{await address}/mcp"
    finally:
        serving.cancel()
        await serving


@asynccontextmanager
async def connected(address: str, key: str = "", mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(address, http_client=http), mode=mode) as client,
    ):
        yield client


async def call(client: Client, tool: str, /, **arguments: Any) -> Any:
    """Call a tool that must answer, in both forms alike."""
    result = await client.call_tool(tool, arguments)
    text = _text(result)
    assert not result.is_error, text
    assert json.loads(text) == result.structured_content
    return result.structured_content


async def refused(client: Client, tool: str, /, **arguments: Any) -> str:
    """Call a tool that must say in a line why it does not answer."""
    result = await client.call_tool(tool, arguments)
    text = _text(result)
    assert result.is_error, text
    assert "Traceback" not in text
    assert len(text) < 500
    return text


def _text(result: Any) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def test_over_standard_input_everything_is_there(site: Site) -> None:
    async with Client(command(site.settings)) as client:
        listed = (await client.list_tools()).tools
        assert {tool.name for tool in listed} == TOOLS
        for tool in listed:
            assert tool.description
            assert tool.output_schema
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            for name, schema in tool.input_schema["properties"].items():
                assert schema.get("description"), f"{tool.name} {name}"
        found = await call(client, "search", query="lighthouse keeper weather", k=2)
        assert "blue book" in found["passages"][0]["text"]
        assert [each["rank"] for each in found["passages"]] == [1, 2]
        japanese = await call(client, "search", query="図書館の休館日はいつ", k=1)
        assert "図書館は毎週月曜日と祝日に休館します" in japanese["passages"][0]["text"]
        answered = await call(client, "ask", question="図書館の休館日はいつですか")
        assert answered["outcome"] == "answered"
        assert any("休館します" in each["text"] for each in answered["sentences"])
        cited = {number for each in answered["sentences"] for number in each["citations"]}
        assert cited <= {each["number"] for each in answered["passages"]}
        identity = found["passages"][0]["document_id"]
        document = await call(client, "get_document", document_id=identity)
        assert document["title"] == "Harbour handbook"
        assert document["passages_total"] == len(document["passages"])
        collections = (await call(client, "list_collections"))["collections"]
        assert [each["name"] for each in collections if each["is_default"]] == ["default"]
        status = await call(client, "consistency_status")
        # Nothing was checked, and what is not known is not told as healthy.
        assert {each["state"] for each in status["collections"]} == {status["state"]} == {"unknown"}


async def test_clients_of_the_older_protocol_are_served(site: Site) -> None:
    async with Client(command(site.settings), mode="legacy") as client:
        assert (await call(client, "search", query="harbour", k=1))["passages"]
    async with served(site.settings) as address, connected(address, mode="legacy") as client:
        assert (await call(client, "search", query="harbour", k=1))["passages"]


async def test_http_on_loopback_without_keys_lets_in(site: Site) -> None:
    async with served(site.settings) as address, connected(address) as client:
        found = await call(client, "search", query="返却", collection="日本語")
        assert found["collection"] == "日本語"
        pages = [
            await call(
                client,
                "get_document",
                document_id=found["passages"][0]["document_id"],
                first_ordinal=first,
                limit=1,
            )
            for first in (0, 1)
        ]
        ordinals = [each["ordinal"] for page in pages for each in page["passages"]]
        assert ordinals == sorted(set(ordinals))


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("search", {}, "query"),
        ("search", {"query": 7}, "query"),
        ("search", {"query": " "}, "empty"),
        ("search", {"query": "x" * 100_000}, "2,000"),
        ("search", {"query": "a\x00b"}, "NUL"),
        ("search", {"query": "x", "k": 0}, "k:"),
        ("search", {"query": "x", "k": 10**30}, "k:"),
        ("search", {"query": "x", "k": True}, "k:"),
        ("search", {"query": "x", "mode": "magic"}, "mode"),
        ("search", {"query": "x", "filters": "language=ja"}, "filters"),
        ("search", {"query": "x", "filters": ["nonsense"]}, "nonsense"),
        ("search", {"query": "x", "filters": ["a=b"] * 1000}, "filters"),
        ("search", {"query": "x", "collection": "'; DROP TABLE documents; --"}, "not-found"),
        ("search", {"query": "x", "principal": "admin"}, "principal"),
        ("ask", {"question": ""}, "empty"),
        ("ask", {"question": "x" * 100_000}, "2,000"),
        ("ask", {"question": "x", "passages": -1}, "passages"),
        ("get_document", {"document_id": "../../etc/passwd"}, "not-found"),
        ("get_document", {"document_id": NOBODY}, "not-found"),
        ("get_document", {"document_id": NOBODY, "limit": 10**9}, "limit"),
        ("list_collections", {"x" * 5000: 1}, "xxx"),
        ("consistency_status", {"collection": "nowhere"}, "nowhere"),
    ],
    # Some are as long as they are hostile.
    ids=lambda given: str(given)[:40],
)
async def test_hostile_arguments_are_told_in_a_line(
    server: str, tool: str, arguments: dict[str, Any], says: str
) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }
    # By hand, since a client of good manners would not send all of these.
    async with httpx2.AsyncClient(timeout=60) as http:
        response = await http.post(
            server,
            content=json.dumps(body),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2025-06-18",
            },
        )
    assert response.status_code == 200, response.text
    result = response.json()["result"]
    text = result["content"][0]["text"]
    assert result["isError"]
    assert says in text
    assert len(text) < 500
    assert "Traceback" not in text


@pytest.fixture(scope="module")
async def server(site: Site) -> AsyncIterator[str]:
    async with served(site.settings) as address:
        yield address


async def test_an_unknown_tool_is_an_error_of_the_protocol(server: str) -> None:
    async with connected(server) as client:
        with pytest.raises(MCPError, match="no tool 'drop_everything'"):
            await client.call_tool("drop_everything", {})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_other_hosts_and_sites_are_refused(
    server: str, headers: dict[str, str], status: int
) -> None:
    async with httpx2.AsyncClient(timeout=60) as http:
        response = await http.post(server, json={}, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_huge_body_is_refused(server: str) -> None:
    async with httpx2.AsyncClient(timeout=60) as http:
        response = await http.post(server, content=b"x" * 2_000_000)
    assert response.status_code == 413


async def test_calls_are_traced_with_their_stages(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(remote, "make_tracing", lambda _: Tracing(exporter))
    async with served(site.settings) as address, connected(address) as client:
        await call(client, "search", query="harbour")
    names = {span.name for span in exporter.get_finished_spans()}
    assert {"POST /mcp", "embed", "load"} <= names


async def test_beyond_loopback_needs_a_key(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="search-app keys create"):
        async with served(site.settings.model_copy(update={"host": "0.0.0.0"})):
            pass


async def test_over_http_a_key_is_needed_and_limits(keyed: Keyed) -> None:
    settings = keyed.site.settings
    async with served(settings) as address:
        async with httpx2.AsyncClient(timeout=60) as http:
            for key, status in (
                ("", 401),
                ("unm_wrong", 401),
                (keyed.revoked, 401),
                (keyed.ingest, 403),
            ):
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                response = await http.post(address, json={}, headers=headers)
                assert response.status_code == status, response.text
        async with connected(address, keyed.read) as client:
            found = await call(client, "search", query="lighthouse")
            document_id = found["passages"][0]["document_id"]
        async with connected(address, keyed.japanese) as client:
            await _sees_only_japanese(client, document_id)


async def _sees_only_japanese(client: Client, foreign_document: str) -> None:
    listed = (await call(client, "list_collections"))["collections"]
    assert [each["name"] for each in listed] == ["日本語"]
    assert (await call(client, "search", query="返却", collection="日本語"))["passages"]
    standings = (await call(client, "consistency_status"))["collections"]
    assert {each["collection"] for each in standings} == {"日本語"}
    for tool, arguments in (
        ("search", {"query": "lighthouse"}),
        ("search", {"query": "lighthouse", "collection": "default"}),
        ("ask", {"question": "lighthouse?", "collection": "default"}),
        ("get_document", {"document_id": foreign_document}),
        ("consistency_status", {"collection": "default"}),
    ):
        said = await refused(client, tool, **arguments)
        assert said.startswith("not-found")
        assert "Harbour" not in said


async def test_over_standard_input_the_key_is_in_the_settings(keyed: Keyed) -> None:
    settings = keyed.site.settings
    async with Client(command(settings, UNMOVED_API_KEY=keyed.read)) as client:
        found = await call(client, "search", query="lighthouse")
        document_id = found["passages"][0]["document_id"]
    async with Client(command(settings, UNMOVED_API_KEY=keyed.japanese)) as client:
        await _sees_only_japanese(client, document_id)


@pytest.mark.parametrize("role", ["", "revoked", "ingest", "wrong"])
async def test_without_a_key_that_works_it_does_not_start(keyed: Keyed, role: str) -> None:
    known = {"revoked": keyed.revoked, "ingest": keyed.ingest, "": ""}
    key = known.get(role, "unm_wrong")
    started = await _started(keyed.site.settings, UNMOVED_API_KEY=key)
    out, err = await asyncio.wait_for(started.communicate(b""), 60)
    assert started.returncode == 2
    assert out == b""
    assert b"UNMOVED_API_KEY" in err
    assert not key or key.encode() not in err


async def test_it_ends_with_its_input_and_when_told_to(site: Site) -> None:
    ended = await _started(site.settings)
    out, _ = await asyncio.wait_for(ended.communicate(b"this is no message\n"), 60)
    assert ended.returncode == 0
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in out.splitlines())
    told = await _started(site.settings)
    assert told.stdin is not None
    assert told.stdout is not None
    told.stdin.write(_message(1, "initialize", _INITIALIZE))
    assert json.loads(await asyncio.wait_for(told.stdout.readline(), 60))["id"] == 1
    told.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(told.wait(), 30) == 130


@pytest.mark.parametrize("way", ["input ends", "told to stop", "interrupted", "nobody reads"])
async def test_calls_under_way_are_answered_and_nothing_else_is_written(
    site: Site, way: str
) -> None:
    # Without its own log lines, whatever is on standard error is somebody else's.
    process = await _started(site.settings, UNMOVED_LOG_LEVEL="error")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(_message(1, "initialize", _INITIALIZE))
    lines = [await asyncio.wait_for(process.stdout.readline(), 60)]
    search = {"name": "search", "arguments": {"query": "lighthouse weather"}}
    ids = range(2, 12)
    for number in ids:
        process.stdin.write(_message(number, "tools/call", search))
    await process.stdin.drain()
    if way == "nobody reads":
        transport = cast("asyncio.SubprocessTransport", process._transport)  # type: ignore[attr-defined] # the only way to hang up
        output = transport.get_pipe_transport(1)
        assert output is not None
        output.close()
    elif way != "input ends":
        # Told before it read them all, it could not know of them.
        lines.append(await asyncio.wait_for(process.stdout.readline(), 60))
        process.send_signal(signal.SIGTERM if way == "told to stop" else signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(b""), 60)
    stopped = way in ("told to stop", "interrupted")
    assert process.returncode == (130 if stopped else 0)
    assert err == (b"stopped\n" if stopped else b"")
    lines += out.splitlines()
    answers = [json.loads(line) for line in lines]
    assert all(each["jsonrpc"] == "2.0" for each in answers)
    if way != "nobody reads":
        assert {each["id"] for each in answers} == {1, *ids}
        assert not any("error" in each or each["result"].get("isError") for each in answers)


_INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}


def _message(number: int, method: str, params: dict[str, Any]) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


async def _started(settings: Settings, **more: str) -> asyncio.subprocess.Process:
    parameters = command(settings, **more)
    return await asyncio.create_subprocess_exec(
        parameters.command,
        *parameters.args,
        env=parameters.env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
