"""OpenAI's own models and addresses: limits, tokens counted offline, Azure; and wrong addresses."""

import asyncio
import json
import socket
import ssl
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_app.embedders import openai_tokens
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.openai import OpenAIEmbedder
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
    Item,
    Received,
    ScriptedEndpoint,
    answer,
    body,
    json_body,
    scripted_endpoint,
    vector_of,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
RECORDINGS = SHARED / "api_recordings"
RANKS = SHARED / "tokenizers" / "cl100k_base.tiktoken"
KEY = "sk-very-secret-0123456789"
SMALL = "text-embedding-3-small"
AZURE = "https://name.openai.azure.com"

needs_ranks = pytest.mark.skipif(not RANKS.exists(), reason=f"the ranks are not at {RANKS}")


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.script(answer())
        yield running


def made(**arguments: Any) -> OpenAIEmbedder:
    return OpenAIEmbedder(**with_plan({"model": "m", "api_key": KEY, **arguments}))


async def failure(
    kind: type[EmbedderError], embedder: OpenAIEmbedder, texts: list[str] | None = None
) -> str:
    """Embed, and give the message of the error that must come of it."""
    async with asyncio.timeout(60):
        with pytest.raises(kind) as caught:
            await embedder.embed(texts or ["one", "two"], "document")
    await embedder.aclose()
    message = str(caught.value)
    assert "\n" not in message
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return message


class TestLimits:
    @pytest.mark.parametrize("url", [None, "https://api.openai.com/v1", f"{AZURE}/openai/v1"])
    def test_of_its_own_models(self, url: str | None) -> None:
        embedder = made(model=SMALL, base_url=url)
        assert (embedder.limits.text_tokens, embedder.limits.request_tokens) == (8192, 300_000)
        assert embedder.unit is True
        assert "no equal vectors" in embedder.not_guaranteed

    def test_of_a_model_of_that_name_elsewhere_nothing_is_known(self) -> None:
        embedder = made(model=SMALL, base_url="http://127.0.0.1:1/v1", ranks=RANKS)
        assert embedder.limits.text_tokens is None
        assert embedder.unit is None
        assert embedder.count_tokens("a", "document") is None

    def test_dimensions_that_a_model_has_not(self) -> None:
        with pytest.raises(ConfigurationError, match="1 to 1536"):
            made(model=SMALL, dimensions=2000)
        with pytest.raises(ConfigurationError, match="no choice of them"):
            made(model="text-embedding-ada-002", dimensions=256)


@needs_ranks
class TestTokens:
    @pytest.fixture(autouse=True)
    def _without_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> None:
            raise AssertionError("counting tokens asks nobody")

        openai_tokens._encoding.cache_clear()
        monkeypatch.setattr(socket.socket, "connect", refused)
        monkeypatch.setattr(socket, "getaddrinfo", refused)

    @pytest.mark.parametrize("name", ["test_documents", "test_query", "test_instrumentation"])
    def test_as_many_as_openai_counted(self, name: str) -> None:
        path = RECORDINGS / f"TestOpenAI.{name}.yaml"
        exchange = yaml.safe_load(path.read_text())["interactions"][0]
        texts = exchange["request"]["parsed_body"]["input"]
        embedder = made(model=SMALL, ranks=RANKS)
        counted = [embedder.count_tokens(text, "document") or 0 for text in texts]
        assert sum(counted) == exchange["response"]["parsed_body"]["usage"]["prompt_tokens"]

    def test_what_is_sent_is_counted(self) -> None:
        plain = made(model=SMALL, ranks=RANKS)
        prefixed = made(model=SMALL, ranks=RANKS, query_prefix="query: ")
        assert plain.count_tokens("low tide", "query") == 2
        assert prefixed.count_tokens("low tide", "document") == 2
        assert prefixed.count_tokens("low tide", "query") == 4

    def test_special_names_are_text(self) -> None:
        assert (made(model=SMALL, ranks=RANKS).count_tokens("<|endoftext|>", "query") or 0) > 1

    def test_without_a_file_nothing_is_counted_or_fetched(self) -> None:
        assert made(model=SMALL).count_tokens("tide", "query") is None

    @pytest.mark.parametrize(
        ("content", "problem"),
        [(None, "cannot be read: No such file"), ("IQ== 0\n", "is not the file cl100k_base")],
    )
    def test_another_file(self, content: str | None, problem: str, tmp_path: Path) -> None:
        path = tmp_path / "ranks"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigurationError, match=f"UNMOVED_TIKTOKEN_FILE.*{problem}"):
            made(model=SMALL, ranks=path).count_tokens("tide", "query")

    def test_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tiktoken", None)
        with pytest.raises(ConfigurationError, match=r"install unmoved\[openai\]"):
            made(model=SMALL, ranks=RANKS).count_tokens("tide", "query")


class TestAzure:
    """Told apart by the address and the version; the name of the host is the test's own."""

    async def test_older_api(self, endpoint: ScriptedEndpoint) -> None:
        url = endpoint.url.removesuffix("/v1")
        embedder = made(model="my model", base_url=url, api_version="2024-10-21")
        await embedder.embed(["tide"], "query")
        await embedder.aclose()
        (received,) = endpoint.received
        assert received.target == (
            "/openai/deployments/my%20model/embeddings?api-version=2024-10-21"
        )
        assert received.headers["api-key"] == KEY
        assert "authorization" not in received.headers

    @pytest.mark.parametrize(
        ("given", "url"),
        [
            (AZURE, f"{AZURE}/openai/deployments/d"),
            (f"{AZURE}/", f"{AZURE}/openai/deployments/d"),
            (f"{AZURE}/openai", f"{AZURE}/openai/deployments/d"),
            (f"{AZURE}/openai/deployments/other", f"{AZURE}/openai/deployments/other"),
        ],
    )
    def test_addresses_of_the_older_api(self, given: str, url: str) -> None:
        embedder = made(model="d", base_url=given, api_version="2024-10-21")
        assert repr(embedder) == f"OpenAIEmbedder(model='d', base_url={url!r})"

    def test_the_version_needs_an_address(self) -> None:
        with pytest.raises(ConfigurationError, match="UNMOVED_OPENAI_BASE_URL"):
            made(api_version="2024-10-21")

    async def test_api_of_one_address(
        self, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("search_app.embedders.openai.AZURE", ("127.0.0.1",))
        embedder = made(model="d", base_url=endpoint.url)
        await embedder.embed(["tide"], "query")
        await embedder.aclose()
        (received,) = endpoint.received
        assert received.target == "/v1/embeddings"
        assert received.json["model"] == "d"
        assert received.headers["api-key"] == KEY
        assert "authorization" not in received.headers


CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}}],
}
PAGE = b"<!DOCTYPE html><html><title>Welcome</title></html>"


class TestWrongAddress:
    async def test_a_chat_api(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body(CHAT))
        message = await failure(EmbedderResponseError, made(base_url=endpoint.url))
        assert "has no list 'data', it is a chat.completion" in message
        assert "check that UNMOVED_OPENAI_BASE_URL is the address of the API" in message

    @pytest.mark.parametrize("status", [200, 404])
    async def test_a_page(self, status: int, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(body(PAGE, status=status, headers={"content-type": "text/html"}))
        message = await failure(EmbedderError, made(base_url=endpoint.url))
        assert "HTML page" in message
        assert "UNMOVED_OPENAI_BASE_URL" in message

    async def test_certificate_of_nobody_known(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate = tmp_path / "server.pem"
        certificate.write_text(CERTIFICATE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        async with scripted_endpoint(context) as endpoint:
            endpoint.script(answer())
            embedder = made(base_url=endpoint.url, max_retries=3)
            message = await failure(EmbedderRefusedError, embedder)
            assert "its certificate is not trusted (self-signed certificate)" in message
            assert "set SSL_CERT_FILE" in message
            assert "tried" not in message

    async def test_no_tls_where_it_was_meant(self) -> None:
        async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        message = await failure(EmbedderRefusedError, made(base_url=url, max_retries=3))
        server.close()
        assert "it speaks no TLS: write http:// instead" in message

    @pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
    async def test_proxy_that_is_not_there(
        self, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv(variable, f"http://user:{KEY}@127.0.0.1:{port}")
        embedder = made(base_url="http://embeddings.example/v1")
        message = await failure(EmbedderUnavailableError, embedder)
        assert f"by the proxy that {variable} names" in message
        assert f":{port}" not in message

    async def test_proxy_that_refuses(
        self, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        endpoint.script(body(b"", status=407))
        for name in ("NO_PROXY", "no_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", endpoint.url.removesuffix("/v1"))
        embedder = made(base_url="http://embeddings.example/v1")
        message = await failure(EmbedderRefusedError, embedder)
        assert "HTTP 407" in message
        assert "HTTP_PROXY" in message


LONG = "tide " * 200_000
WORDINGS = {
    "OpenAI": (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens, however you "
                "requested 200001 tokens (200001 in your prompt; 0 for the completion).",
                "type": "invalid_request_error",
            }
        },
    ),
    "llama.cpp": (
        500,
        {
            "error": {
                "code": 500,
                "message": "input (200001 tokens) is too large to process. increase the physical "
                "batch size (current batch size: 512)",
                "type": "server_error",
            }
        },
    ),
    "llama.cpp, newer": (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
            }
        },
    ),
    "Ollama": (
        400,
        {"error": {"message": "the input length exceeds the context length", "type": "api_error"}},
    ),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 512 tokens. However, your request "
            "has 200001 input tokens. Please reduce the length of the input messages.",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "text-embeddings-inference": (
        413,
        {
            "error": "Input validation error: `inputs` must have less than 512 tokens. "
            "Given: 200001",
            "error_type": "Validation",
        },
    ),
    "LM Studio": (
        400,
        {"error": "Trying to embed a text that is too long for the context window of the model"},
    ),
}


class TestTexts:
    async def test_only_blanks_are_sent_as_they_are(self, endpoint: ScriptedEndpoint) -> None:
        embedder = made(base_url=endpoint.url)
        vectors = await embedder.embed([" ", "\n\t\n"], "document")
        await embedder.aclose()
        assert endpoint.received[0].texts == [" ", "\n\t\n"]
        assert (vectors[0] == vector_of(" ")).all()

    async def test_a_megabyte_that_is_taken(self, endpoint: ScriptedEndpoint) -> None:
        embedder = made(base_url=endpoint.url)
        vectors = await embedder.embed([LONG], "document")
        await embedder.aclose()
        assert (vectors[0] == vector_of(LONG)).all()

    @pytest.mark.parametrize("server", WORDINGS)
    async def test_a_megabyte_that_is_too_long(
        self, server: str, endpoint: ScriptedEndpoint
    ) -> None:
        status, payload = WORDINGS[server]
        endpoint.script(json_body(payload, status=status))
        embedder = made(base_url=endpoint.url, max_retries=3)
        message = await failure(EmbedderRefusedError, embedder, ["short", LONG])
        assert "the longest is text 2 of 2 ('tide tide" in message
        assert "with 1000000 characters" in message
        assert "UNMOVED_CHUNK_TOKENS" in message
        assert len(message) < 700
        assert len(endpoint.received) == 1


class TestLeftOut:
    """Answers that lack some of the vectors."""

    @staticmethod
    def without(*places: int) -> Callable[[list[Item]], list[Item]]:
        return lambda items: [item for item in items if item["index"] not in places]

    async def test_only_what_is_missing_is_sent_again(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(answer(change=self.without(1, 3)), answer(change=self.without(0)), answer())
        embedder = made(base_url=endpoint.url)
        texts = [f"text {number}" for number in range(5)]
        vectors = await embedder.embed(texts, "document")
        await embedder.aclose()
        assert [received.texts for received in endpoint.received] == [
            texts,
            ["text 1", "text 3"],
            ["text 1"],
        ]
        assert all((vectors[i] == vector_of(texts[i])).all() for i in range(5))
        assert (embedder.traffic.texts, embedder.traffic.requests) == (5, 3)

    async def test_not_for_ever(self, endpoint: ScriptedEndpoint) -> None:
        async def all_but_two(request: Received, writer: asyncio.StreamWriter) -> None:
            left_out = [i for i, text in enumerate(request.texts) if text == "two"]
            await answer(change=self.without(*left_out))(request, writer)

        endpoint.script(all_but_two)
        message = await failure(EmbedderResponseError, made(base_url=endpoint.url))
        assert "1 vectors for 2 texts, none for text 2 of 2 ('two')" in message
        assert len(endpoint.received) == 3

    async def test_another_length_on_the_second_try(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(answer(change=self.without(1)), answer(dimensions=8))
        message = await failure(EmbedderResponseError, made(base_url=endpoint.url))
        assert "text 2 of 2 ('two') got 8 dimensions, the first text 4" in message


async def test_what_the_provider_counts_is_counted(endpoint: ScriptedEndpoint) -> None:
    endpoint.script(
        json_body({}, status=429, headers={"retry-after": "0"}),
        answer(usage={"prompt_tokens": 17, "total_tokens": 17}),
        answer(usage={"prompt_tokens": "many"}),
    )
    embedder = made(base_url=endpoint.url, max_retries=1)
    await embedder.embed(["tide", "ebb"], "document")
    await embedder.embed(["flood"], "document")
    await embedder.aclose()
    traffic = embedder.traffic
    assert (traffic.requests, traffic.responses, traffic.texts) == (3, 3, 3)
    assert (traffic.retries, traffic.throttles, traffic.tokens) == (1, 1, 17)


def test_settings_reach_the_plan() -> None:
    from search_app.bootstrap import plan_of
    from search_app.config import load_settings

    settings = load_settings(
        embedding_concurrency=7,
        embedding_requests_per_minute=60,
        embedding_tokens_per_minute=1000,
        embedding_timeout=9,
        embedding_retries=2,
    )
    assert plan_of(settings) == Plan(
        concurrency=7,
        requests_per_minute=60,
        tokens_per_minute=1000,
        timeout_s=9,
        max_retries=2,
    )
    assert plan_of(load_settings(), concurrency=16) == Plan(concurrency=16)
    assert json.dumps(plan_of(load_settings()).requests_per_minute) == "null"
