"""Providers asked over plain HTTP: wrong keys, pages, refusals, networks; nothing leaks."""

import gzip
import importlib.util
import json
import logging
import ssl
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from search_app.embedders.cohere import CohereEmbedder
from search_app.embedders.hosted import http
from search_app.embedders.hosted.embedder import HostedEmbedder
from search_app.embedders.voyage import VoyageEmbedder
from search_app.errors import (
    ConfigurationError,
    EmbedderError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from tests.hosted import with_plan
from tests.page_server import CERTIFICATE
from tests.scripted_endpoint import (
    ScriptedEndpoint,
    body,
    json_body,
    reset,
    scripted_endpoint,
    stall,
    trickle,
)

KEY = "very-secret-0123456789"
PAGE = b"<!DOCTYPE html><html><title>Welcome</title></html>"
GOOD: dict[str, Any] = {
    "cohere": {"embeddings": {"float": [[1.0, 2.0]]}},
    "voyage": {"data": [{"index": 0, "embedding": [1.0, 2.0]}]},
}

Make = Callable[..., HostedEmbedder[Any]]


@pytest.fixture(params=["cohere", "voyage"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make(provider: str) -> AsyncIterator[Make]:
    opened: list[HostedEmbedder[Any]] = []

    def made(url: str, **arguments: Any) -> HostedEmbedder[Any]:
        given = with_plan({"model": "some-model", "base_url": url, "api_key": KEY, **arguments})
        embedder: HostedEmbedder[Any] = (
            CohereEmbedder(**given) if provider == "cohere" else VoyageEmbedder(**given)
        )
        opened.append(embedder)
        return embedder

    yield made
    for each in opened:
        await each.aclose()


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        yield running


async def failure(
    kind: type[EmbedderError], embedder: HostedEmbedder[Any], text: str = "some text"
) -> str:
    with pytest.raises(kind) as caught:
        await embedder.embed([text], "document")
    assert KEY not in "".join(traceback.format_exception(caught.value))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{embedder.spec} at ")
    return message


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "check UNMOVED_{}_API_KEY"), (403, "what UNMOVED_{}_API_KEY"), (404, "_BASE_URL")],
)
async def test_a_no_says_which_setting(
    status: int, advice: str, provider: str, make: Make, endpoint: ScriptedEndpoint
) -> None:
    words = {"message": f"no such key: {KEY}", "detail": f"no such key: {KEY}"}
    endpoint.script(json_body(words, status=status))
    message = await failure(EmbedderRefusedError, make(endpoint.url, max_retries=3))
    assert f"HTTP {status}: no such key: ********" in message
    assert advice.format(provider.upper()) in message
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("status", [200, 404])
async def test_a_page(status: int, provider: str, make: Make, endpoint: ScriptedEndpoint) -> None:
    endpoint.script(body(PAGE, status=status, headers={"content-type": "text/html"}))
    message = await failure(EmbedderError, make(endpoint.url))
    assert "HTML page" in message
    assert f"UNMOVED_{provider.upper()}_BASE_URL" in message


@pytest.mark.parametrize(
    ("octets", "problem"),
    [(b"", "the answer is empty"), (b'{"data": [', "cut short"), (b"[1]", "a JSON list")],
)
async def test_no_object(
    octets: bytes, problem: str, make: Make, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script(body(octets))
    assert problem in await failure(EmbedderResponseError, make(endpoint.url))


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refused_text_is_named(status: int, make: Make, endpoint: ScriptedEndpoint) -> None:
    endpoint.script(json_body({"message": "the input is too long"}, status=status))
    message = await failure(EmbedderRefusedError, make(endpoint.url), "long " * 200_000)
    assert "the longest is text 1 of 1" in message
    assert "1000000 characters" in message
    assert "UNMOVED_CHUNK_TOKENS" in message
    assert len(message) < 1000


async def test_whitespace_and_a_megabyte_are_sent_as_they_are(
    provider: str, make: Make, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script(json_body(GOOD[provider]))
    embedder = make(endpoint.url)
    for text in (" \n\t", "水" * 350_000):
        assert (await embedder.embed([text], "document")).shape == (1, 2)
        sent = endpoint.received[-1].json
        assert sent["texts" if provider == "cohere" else "input"] == [text]
    with pytest.raises(ValueError, match="is empty"):
        await embedder.embed([""], "document")
    assert len(endpoint.received) == 2


async def test_what_may_pass_is_tried_again(
    provider: str, make: Make, endpoint: ScriptedEndpoint
) -> None:
    busy = json_body({"message": "slow down"}, status=429, headers={"retry-after": "0.01"})
    endpoint.script(busy, body(b"", status=503), reset, json_body(GOOD[provider]))
    embedder = make(endpoint.url, max_retries=4, retry_wait_s=0.01)
    assert (await embedder.embed(["x"], "query")).tolist() == [[1.0, 2.0]]
    assert len(endpoint.received) == 4


@pytest.mark.parametrize("reply", [stall, trickle])
async def test_an_answer_that_does_not_end(
    reply: Any, make: Make, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script(reply)
    message = await failure(EmbedderUnavailableError, make(endpoint.url, timeout_s=0.2))
    assert "no answer in time" in message


async def test_nobody_there(provider: str, make: Make) -> None:
    message = await failure(EmbedderUnavailableError, make("http://127.0.0.1:9/v1"))
    assert f"is UNMOVED_{provider.upper()}_BASE_URL right?" in message


async def test_a_redirect_is_not_followed(make: Make, endpoint: ScriptedEndpoint) -> None:
    target = f"{endpoint.url}/elsewhere"
    endpoint.script(body(b"", status=307, headers={"location": target}))
    message = await failure(EmbedderRefusedError, make(endpoint.url))
    assert f"it redirects to {target}" in message
    assert len(endpoint.received) == 1


async def test_an_answer_without_end_is_left(
    make: Make, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b" " * 2_000_000)
    endpoint.script(body(packed, headers={"content-encoding": "gzip"}))
    monkeypatch.setattr(http, "LARGEST_ANSWER", 1_000_000)
    message = await failure(EmbedderRefusedError, make(endpoint.url, max_retries=2))
    assert "larger than 1,000,000 bytes" in message
    assert len(endpoint.received) == 1


async def test_certificate_of_nobody_known(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_text(CERTIFICATE, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with scripted_endpoint(context) as endpoint:
        message = await failure(EmbedderRefusedError, make(endpoint.url, max_retries=3))
    assert "its certificate is not trusted" in message
    assert "SSL_CERT_FILE" in message


async def test_a_proxy_that_is_not_there_is_named(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{KEY}@127.0.0.1:9")
    message = await failure(EmbedderUnavailableError, make("http://embeddings.example/v1"))
    assert "by the proxy that HTTP_PROXY names" in message


async def test_key_in_no_log_and_no_repr(
    provider: str, make: Make, endpoint: ScriptedEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.script(body(b"", status=500), json_body(GOOD[provider]))
    embedder = make(endpoint.url, max_retries=1, retry_wait_s=0.01)
    with caplog.at_level(logging.DEBUG):
        identity = await embedder.describe()
    assert endpoint.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert "retry 1" in caplog.text
    for shown in (caplog.text, repr(embedder), repr(vars(embedder)), repr(identity)):
        assert KEY not in shown


async def test_connections_are_kept(provider: str, make: Make, endpoint: ScriptedEndpoint) -> None:
    endpoint.script(json_body(GOOD[provider]))
    embedder = make(endpoint.url)
    for _ in range(5):
        await embedder.embed(["x"], "query")
    pool = embedder.client._client._transport._pool
    assert len(pool.connections) == 1


def test_what_is_sent_is_plain_json(provider: str) -> None:
    """What a provider is asked can be written down, and read back as it was."""
    adapter = CohereEmbedder if provider == "cohere" else VoyageEmbedder
    payload = adapter(model="m", api_key=KEY)._payload(["水"], "query")
    assert json.loads(json.dumps(payload)) == payload


def test_missing_package(provider: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=rf"install unmoved\[{provider}\]"):
        make("http://127.0.0.1:9/v1")


def test_import_is_lazy() -> None:
    code = (
        "import sys, search_app.embedders.cohere, search_app.embedders.voyage; "
        "print('httpx2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout.strip() == b"False"
