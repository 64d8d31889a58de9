"""BedrockEmbedder against a server that speaks Bedrock's API, and recorded answers of it."""

import asyncio
import inspect
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from botocore import exceptions
from botocore.loaders import Loader

from search_app.bootstrap import make_embedder
from search_app.config import Settings
from search_app.embedders.batching import embed_all
from search_app.embedders.bedrock import BedrockEmbedder
from search_app.embedders.bedrock_models import COHERE_INPUTS, read_name
from search_app.embedders.bedrock_runtime import Runtime, failed
from search_app.errors import (
    ConfigurationError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import Kind, Matrix
from tests.embedder_contract import EmbedderContract
from tests.hosted import with_plan
from tests.recordings import exchanges, vectors_of
from tests.scripted_endpoint import (
    Received,
    Reply,
    ScriptedEndpoint,
    body,
    json_body,
    reset,
    scripted_endpoint,
    stall,
    trickle,
    vector_of,
)

LOADER = Loader()

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI-very-secret-EXAMPLEKEY"
SESSION = "IQoJb3JpZ2luX2VjEA-very-secret-session"

TITAN_V1 = "amazon.titan-embed-text-v1"
TITAN_V2 = "amazon.titan-embed-text-v2:0"
MULTIMODAL = "amazon.titan-embed-image-v1"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
COHERE_V3 = "cohere.embed-multilingual-v3"
COHERE_V4 = "cohere.embed-v4:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/otnfa2ysixqd"


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Each session would read the library's large files again.
    monkeypatch.setattr("botocore.loaders.create_loader", lambda _=None: LOADER)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / name))


@asynccontextmanager
async def opened(url: str | None, **arguments: Any) -> AsyncIterator[BedrockEmbedder]:
    given = with_plan({"model": TITAN_V2, "region": "us-east-1", **arguments})
    embedder = BedrockEmbedder(endpoint_url=url, **given)
    try:
        yield embedder
    finally:
        await embedder.aclose()


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.url = running.url.removesuffix("/v1")
        running.script(bedrock())
        yield running


def bedrock(changed: Mapping[str, Any] | None = None, *, counted: str = "3") -> Reply:
    """Answer as the model that is asked does, save for what is changed."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        asked = request.json
        single = asked.get("singleEmbeddingParams", {}).get("text", {}).get("value")
        texts = asked.get("texts") or [asked.get("inputText") or single]
        vectors = [[float(value) for value in vector_of(text)] for text in texts]
        if "texts" in asked:
            found: Any = {"float": vectors} if "v4" in request.target else vectors
            payload: dict[str, Any] = {"embeddings": found, "texts": texts}
        elif "inputText" in asked:
            payload = {"embedding": vectors[0], "inputTextTokenCount": 3}
        else:
            payload = {"embeddings": [{"embedding": vectors[0], "embeddingType": "TEXT"}]}
        headers = {"x-amzn-bedrock-input-token-count": counted}
        await json_body({**payload, **(changed or {})}, headers=headers)(request, writer)

    return reply


def refusal(status: int, code: str, message: str) -> Reply:
    return json_body({"message": message}, status=status, headers={"x-amzn-errortype": code})


class TestTitanContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[BedrockEmbedder]:
        async with opened(endpoint.url) as embedder:
            yield embedder


class TestCohereContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[BedrockEmbedder]:
        async with opened(endpoint.url, model=f"eu.{COHERE_V4}") as embedder:
            yield embedder


class TestNovaContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[BedrockEmbedder]:
        async with opened(endpoint.url, model=NOVA) as embedder:
            yield embedder


EXACT = [
    ("cohere_v3_minimal", "query"),
    ("cohere_v3_with_input_type", "classification"),
    ("cohere_v4_minimal", "query"),
    ("cohere_v4_batch_documents", "document"),
    ("cohere_v4_with_dimensions", "query"),
    ("cohere_v4_with_input_type", "clustering"),
    ("regional_prefix_embed", "query"),
    ("inference_profile_embed", "query"),
    ("instrumentation", "query"),
    ("nova_minimal", "query"),
    ("nova_multiple_texts", "document"),
    ("nova_with_dimensions", "query"),
    ("nova_with_embedding_purpose", "query"),
    ("titan_v1_minimal", "query"),
    ("titan_v2_minimal", "query"),
    ("titan_v2_multiple_texts", "document"),
    ("titan_v2_with_dimensions", "query"),
    ("titan_v2_with_normalize_false", "query"),
    ("titan_v2_with_normalize_true", "query"),
]

# Whoever recorded these let long texts be cut, or had them counted otherwise. That cannot be asked
# for here; all else in the requests is the same.
CUT = [
    ("cohere_v3_with_base_truncate", {"truncate": "END"}),
    ("cohere_v3_with_truncate", {"truncate": "END"}),
    ("cohere_v4_truncate_priority", {"truncate": "START"}),
    ("cohere_v4_with_truncate", {"truncate": "END"}),
    ("cohere_v4_with_truncate_start", {"truncate": "START"}),
    ("cohere_v4_with_max_tokens", {"max_tokens": 256}),
    ("nova_with_base_truncate", {"truncationMode": "END"}),
    ("nova_with_truncate", {"truncationMode": "END"}),
    ("nova_with_truncate_start", {"truncationMode": "START"}),
]


def texts_in(asked: dict[str, Any]) -> list[str]:
    if "texts" in asked:
        texts: list[str] = asked["texts"]
        return texts
    return [asked.get("inputText") or asked["singleEmbeddingParams"]["text"]["value"]]


def options_in(asked: dict[str, Any]) -> dict[str, Any]:
    """Find what an embedder must be told to send such a request."""
    nova = asked.get("singleEmbeddingParams", {})
    dimensions = (
        asked.get("dimensions") or asked.get("output_dimension") or nova.get("embeddingDimension")
    )
    purpose = nova.get("embeddingPurpose", "GENERIC_INDEX")
    return {
        "dimensions": dimensions,
        "normalize": asked.get("normalize", True),
        **({} if purpose == "GENERIC_INDEX" else {"query_purpose": purpose}),
    }


class TestRecordings:
    """Answers of Bedrock, replayed over HTTP."""

    async def replayed(
        self, name: str, kind: Kind, endpoint: ScriptedEndpoint
    ) -> tuple[list[dict[str, Any]], Matrix]:
        recorded = exchanges(f"TestBedrock.test_{name}")
        endpoint.script(*(json_body(each.answered, headers=_counts(each)) for each in recorded))
        model = unquote(recorded[0].uri.split("/")[-2])
        if model.startswith("arn:"):
            model = f"{TITAN_V2}@{model}"
        options = options_in(recorded[0].asked)
        async with opened(endpoint.url, model=model, **options) as embedder:
            vectors = [await embedder.embed(texts_in(each.asked), kind) for each in recorded]
            unit = embedder.unit
        for received, each in zip(endpoint.received, recorded, strict=True):
            assert each.uri.endswith(received.target)
            assert received.headers["content-type"] == "application/json"
        found = np.vstack(vectors)
        assert found.tobytes() == vectors_of(f"TestBedrock.test_{name}").tobytes()
        if unit:
            lengths = np.linalg.norm(found.astype(np.float64), axis=1)
            assert np.allclose(lengths, 1, atol=1e-6)
        return [received.json for received in endpoint.received], found

    @pytest.mark.parametrize(("name", "kind"), EXACT)
    async def test_as_recorded(self, name: str, kind: Kind, endpoint: ScriptedEndpoint) -> None:
        sent, _ = await self.replayed(name, kind, endpoint)
        assert sent == [each.asked for each in exchanges(f"TestBedrock.test_{name}")]

    @pytest.mark.parametrize(("name", "otherwise"), CUT)
    async def test_as_recorded_but_never_cut(
        self, name: str, otherwise: dict[str, Any], endpoint: ScriptedEndpoint
    ) -> None:
        (sent,), _ = await self.replayed(name, "query", endpoint)
        (recorded,) = exchanges(f"TestBedrock.test_{name}")
        expected = {**recorded.asked}
        if "truncationMode" in otherwise:
            nova = expected["singleEmbeddingParams"]
            assert nova["text"]["truncationMode"] == otherwise["truncationMode"]
            text = {**nova["text"], "truncationMode": "NONE"}
            expected["singleEmbeddingParams"] = {**nova, "text": text}
        else:
            assert otherwise.items() <= expected.items()
            expected.pop("max_tokens", None)
            expected["truncate"] = "NONE"
        assert sent == expected

    def test_every_recording_is_replayed(self) -> None:
        replayed = {name for name, _ in [*EXACT, *CUT]}
        recorded = {
            path.stem.removeprefix("TestBedrock.test_")
            for path in _recordings().glob("TestBedrock.*.yaml")
        }
        assert recorded == replayed

    async def test_lengths(self, endpoint: ScriptedEndpoint) -> None:
        _, titan = await self.replayed("titan_v1_minimal", "query", endpoint)
        assert 18 < np.linalg.norm(titan[0]) < 19
        _, cohere = await self.replayed("cohere_v4_batch_documents", "document", endpoint)
        assert 1.001 < np.linalg.norm(cohere[0]) < 1.005

    async def test_tokens_are_those_of_the_answer(self, endpoint: ScriptedEndpoint) -> None:
        (recorded,) = exchanges("TestBedrock.test_titan_v2_minimal")
        for headers in (_counts(recorded), {}):
            endpoint.script(json_body(recorded.answered, headers=headers))
            async with opened(endpoint.url) as embedder:
                reply = await embedder._call(embedder._request(["x"]), ["x"], "query")
            assert reply.tokens == recorded.answered["inputTextTokenCount"] == 5


def _counts(recorded: Any) -> dict[str, str]:
    name = "x-amzn-bedrock-input-token-count"
    return {name: recorded.headers[name]}


def _recordings() -> Path:
    from tests.recordings import RECORDINGS

    if not RECORDINGS.exists():
        pytest.skip(f"recorded exchanges are not at {RECORDINGS}")
    return RECORDINGS


class TestWhatIsSent:
    @pytest.mark.parametrize("kind", [*COHERE_INPUTS])
    async def test_kind(self, kind: Kind, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url, model=COHERE_V3) as embedder:
            await embedder.embed(["x"], kind)
            assert embedder.text_sent("x", kind) == "x"
        async with opened(endpoint.url, model=NOVA) as embedder:
            await embedder.embed(["x"], kind)
        cohere, nova = (each.json for each in endpoint.received)
        assert cohere["input_type"] == COHERE_INPUTS[kind]
        purposes = {
            "query": "TEXT_RETRIEVAL",
            "code": "TEXT_RETRIEVAL",
            "classification": "CLASSIFICATION",
            "clustering": "CLUSTERING",
        }
        purpose = nova["singleEmbeddingParams"]["embeddingPurpose"]
        assert purpose == purposes.get(kind, "GENERIC_INDEX")

    async def test_multimodal(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({"embedding": [1.0] * 256, "inputTextTokenCount": 3}))
        async with opened(endpoint.url, model=MULTIMODAL, dimensions=256) as embedder:
            await embedder.embed(["x"], "document")
            assert "does not say what becomes of a longer one" in embedder.not_guaranteed
        assert endpoint.received[0].json == {
            "inputText": "x",
            "embeddingConfig": {"outputEmbeddingLength": 256},
        }

    async def test_requests_are_signed(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url) as embedder:
            await embedder.embed(["日本語\n\t"], "document")
        (received,) = endpoint.received
        assert received.json["inputText"] == "日本語\n\t"
        assert f"Credential={KEY_ID}/" in received.headers["authorization"]
        assert "/us-east-1/bedrock/aws4_request" in received.headers["authorization"]
        assert received.headers["x-amz-security-token"] == SESSION

    async def test_all_secrets_are_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # One of Bedrock's own keys is sent over HTTPS alone, which the server here does not speak.
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "very-secret-bearer")
        async with opened("http://127.0.0.1:9") as embedder:
            with pytest.raises(EmbedderRefusedError, match="requires an HTTPS endpoint"):
                await embedder.embed(["x"], "query")
            assert embedder.client.secrets() == [SECRET, SESSION, "very-secret-bearer"]
            masked = embedder._request(["x"]).line(f"{SECRET} {SESSION} very-secret-bearer")
        assert "very-secret" not in masked

    async def test_other_settings_stay_out(
        self, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
            monkeypatch.setenv(name, "http://127.0.0.1:9/leaked")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
        monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        endpoint.script(refusal(503, "ServiceUnavailableException", "later"))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderUnavailableError, match="ServiceUnavailableException"):
                await embedder.embed(["x"], "query")
        assert len(endpoint.received) == 1
        async with opened(None) as embedder:
            runtime = embedder._connect()
            assert runtime._made().meta.endpoint_url == f"https://{embedder._hosted.host}"
            runtime.close()

    async def test_several_at_once(self, endpoint: ScriptedEndpoint) -> None:
        under_way = most = 0

        async def slow(request: Received, writer: asyncio.StreamWriter) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.05)
            under_way -= 1
            await bedrock()(request, writer)

        endpoint.script(slow)
        texts = [f"text {number}" for number in range(40)]
        async with opened(endpoint.url, concurrency=6) as embedder:
            embedded = await embed_all(embedder, texts, "document")
        assert np.array_equal(embedded.vectors, [vector_of(text) for text in texts])
        assert 3 <= most <= 6

    async def test_description(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url, normalize=False) as embedder:
            identity = await embedder.describe()
            assert embedder.unit is False
        assert identity.settings == {
            "region": "us-east-1",
            "endpoint_url": endpoint.url,
            "normalize": False,
        }
        assert identity.model == TITAN_V2
        assert identity.max_tokens == 8192
        assert identity.library_versions.keys() == {"boto3"}

    async def test_secrets_in_no_log(
        self, endpoint: ScriptedEndpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        endpoint.script(json_body({}, status=500), bedrock())
        with caplog.at_level(logging.DEBUG):
            async with opened(endpoint.url, max_retries=1, retry_wait_s=0.01) as embedder:
                await embedder.embed(["x"], "query")
                shown = repr(embedder) + repr(vars(embedder)) + caplog.text
        assert "retry 1" in caplog.text
        assert SECRET not in shown
        assert SESSION not in shown


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "message", "advice"),
        [
            (403, "AccessDeniedException", "not authorized", "allow bedrock:InvokeModel"),
            (403, "ExpiredTokenException", "The security token is expired", "sign in again"),
            (403, "UnrecognizedClientException", "invalid", "check the AWS credentials"),
            (403, "MissingAuthenticationTokenException", "Missing", "UNMOVED_BEDROCK_PROFILE"),
            (404, "ResourceNotFoundException", "no model", "UNMOVED_BEDROCK_REGION offers it"),
            (
                400,
                "ValidationException",
                "The provided model identifier is invalid.",
                "check the model's name",
            ),
            (
                400,
                "ValidationException",
                "Invocation of model ID with on-demand throughput isn\u2019t supported.",
                "regional prefix",
            ),
        ],
    )
    async def test_refused(
        self, status: int, code: str, message: str, advice: str, endpoint: ScriptedEndpoint
    ) -> None:
        endpoint.script(refusal(status, code, message))
        async with opened(endpoint.url, max_retries=3) as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["x"], "query")
        assert f"bedrock:{TITAN_V2} at 127.0.0.1" in str(caught.value)
        assert f"HTTP {status}: {code}: {message}" in str(caught.value)
        assert advice in str(caught.value)
        assert len(endpoint.received) == 1

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (429, "ThrottlingException"),
            (429, "ModelNotReadyException"),
            (408, "ModelTimeoutException"),
            (424, "ModelErrorException"),
            (500, "InternalServerException"),
            (503, "ServiceUnavailableException"),
        ],
    )
    async def test_what_may_pass(self, status: int, code: str, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(refusal(status, code, "later"), bedrock())
        async with opened(endpoint.url, max_retries=1, retry_wait_s=0.01) as embedder:
            assert len(await embedder.embed(["x"], "query")) == 1
        assert len(endpoint.received) == 2

    async def test_what_was_signed_is_not_repeated(self, endpoint: ScriptedEndpoint) -> None:
        words = (
            "The request signature we calculated does not match. The Canonical String for this "
            f"request should have been 'POST x-amz-security-token:{SESSION}'"
        )
        endpoint.script(refusal(403, "InvalidSignatureException", words))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError, match="does not match") as caught:
                await embedder.embed(["x"], "query")
        assert SESSION not in str(caught.value) + repr(caught.value.__cause__)
        assert "Canonical" not in str(caught.value)

    async def test_too_long(self, endpoint: ScriptedEndpoint) -> None:
        words = "400 Bad Request: Too many input tokens. Max input tokens: 8192, request: 333333"
        endpoint.script(refusal(400, "ValidationException", words))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["m" * 1_000_000], "document")
        assert "text 1 of 1 ('mmm" in str(caught.value)
        assert "1000000 characters" in str(caught.value)
        assert "UNMOVED_CHUNK_TOKENS" in str(caught.value)

    async def test_the_text_that_an_answer_names(self, endpoint: ScriptedEndpoint) -> None:
        words = "Malformed input request: #/texts/1: expected maxLength: 2048, actual: 2049"
        endpoint.script(refusal(400, "ValidationException", words))
        async with opened(endpoint.url, model=COHERE_V3) as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["short", "two", "a third one"], "document")
        assert "this is text 2 of 3 ('two')" in str(caught.value)

    @pytest.mark.parametrize(
        ("model", "payload", "problem"),
        [
            (TITAN_V2, {}, "no list 'embedding'"),
            (TITAN_V2, {"embedding": ["1"]}, "holds str"),
            (TITAN_V2, {"embedding": []}, "is empty"),
            (COHERE_V3, {"embeddings": {"int8": [[1]]}}, "no list 'float'"),
            (COHERE_V4, {"embeddings": [[1.0], [2.0]]}, "2 vectors for 1 texts"),
            (NOVA, {"embeddings": []}, "0 vectors for 1 texts"),
            (NOVA, {"embeddings": [None]}, "is missing"),
        ],
    )
    async def test_an_answer_that_is_none(
        self, model: str, payload: dict[str, Any], problem: str, endpoint: ScriptedEndpoint
    ) -> None:
        endpoint.script(json_body(payload))
        async with opened(endpoint.url, model=model) as embedder:
            with pytest.raises(EmbedderResponseError, match=problem):
                await embedder.embed(["x"], "query")

    async def test_errors_beside_a_vector(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(bedrock({"message": "the text was cut"}))
        async with opened(endpoint.url, model=MULTIMODAL) as embedder:
            with pytest.raises(EmbedderRefusedError, match="the model says: the text was cut"):
                await embedder.embed(["x"], "query")

    async def test_pages_for_people(self, endpoint: ScriptedEndpoint) -> None:
        page = b"<!DOCTYPE html><title>Sign in to this network</title>"
        async with opened(endpoint.url) as embedder:
            endpoint.script(body(page))
            with pytest.raises(
                EmbedderResponseError, match=r"HTML page.*UNMOVED_BEDROCK_ENDPOINT_URL"
            ):
                await embedder.embed(["x"], "query")
            endpoint.script(body(page, status=403))
            with pytest.raises(EmbedderRefusedError, match="HTTP 403: an HTML page"):
                await embedder.embed(["x"], "query")

    @pytest.mark.parametrize("silence", [stall, trickle])
    async def test_no_answer_in_time(self, silence: Reply, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(silence)
        async with opened(endpoint.url, timeout_s=0.3) as embedder:
            runtime = embedder.client
            # Loading the client takes longer than this test wants to wait.
            await asyncio.to_thread(runtime._made)
            with pytest.raises(EmbedderUnavailableError, match="no answer in time"):
                await embedder.embed(["x"], "query")
            await self.threads_are_free(runtime)

    async def threads_are_free(self, runtime: Runtime) -> None:
        """Wait until as many threads as there are meet; with one that hangs they never would."""
        meeting = threading.Barrier(runtime._threads)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for _ in range(runtime._threads):
                group.create_task(_in(loop, runtime, lambda: meeting.wait(60)))

    async def test_nobody_there(self, endpoint: ScriptedEndpoint) -> None:
        async with opened("http://127.0.0.1:9") as embedder:
            with pytest.raises(
                EmbedderUnavailableError,
                match=r"EndpointConnectionError.*UNMOVED_BEDROCK_ENDPOINT_URL right",
            ):
                await embedder.embed(["x"], "query")
        endpoint.script(reset)
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderUnavailableError, match="no answer"):
                await embedder.embed(["x"], "query")

    def test_a_certificate_that_is_not_trusted(self) -> None:
        untrusted = failed(exceptions.SSLError(endpoint_url="https://x", error="self-signed"))
        assert untrusted is not None
        assert not untrusted.may_pass
        assert "AWS_CA_BUNDLE" in untrusted.reason

    async def test_wrong_region(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unresolved(*_: object, **__: object) -> None:
            raise OSError(-2, "Name or service not known")

        monkeypatch.setattr("urllib3.util.connection.create_connection", unresolved)
        async with opened(None, region="eu-nowhere-9") as embedder:
            with pytest.raises(EmbedderUnavailableError) as caught:
                await embedder.embed(["x"], "query")
        assert "at bedrock-runtime.eu-nowhere-9.amazonaws.com" in str(caught.value)
        assert "is UNMOVED_BEDROCK_REGION right?" in str(caught.value)

    async def test_no_credentials(
        self, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError, match=r"NoCredentials.*BEDROCK_PROFILE"):
                await embedder.embed(["x"], "query")
        assert endpoint.received == []

    async def test_a_profile_that_is_not_there(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url, profile="nobody") as embedder:
            with pytest.raises(EmbedderRefusedError, match="check UNMOVED_BEDROCK_PROFILE"):
                await embedder.embed(["x"], "query")
        with pytest.raises(ConfigurationError, match="check UNMOVED_BEDROCK_PROFILE"):
            BedrockEmbedder(model=TITAN_V2, profile="nobody")

    async def test_closing_waits_for_nobody(self, endpoint: ScriptedEndpoint) -> None:
        arrived = asyncio.Event()

        async def announced(request: Received, writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await stall(request, writer)

        endpoint.script(announced)
        async with opened(endpoint.url, timeout_s=30.0) as embedder:
            task = asyncio.create_task(embedder.embed(["x"], "query"))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(RuntimeError, match="is closed"):
            await embedder.embed(["x"], "query")

    def test_every_error_of_the_library_is_something(self) -> None:
        found = [
            each
            for _, each in inspect.getmembers(exceptions, inspect.isclass)
            if issubclass(each, exceptions.BotoCoreError)
        ]
        assert len(found) > 50
        for each in found:
            error = each.__new__(each)
            assert isinstance(error, Exception)
            assert failed(error) is not None, each
        assert failed(ValueError("ours")) is None


async def _in(loop: asyncio.AbstractEventLoop, runtime: Runtime, do: Callable[[], object]) -> None:
    await loop.run_in_executor(runtime._executor, do)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "asked", "texts"),
        [
            (TITAN_V1, TITAN_V1, 1),
            ("amazon.titan-embed-text-v2:0:8k", "amazon.titan-embed-text-v2:0:8k", 1),
            (f" us.{COHERE_V4} ", f"us.{COHERE_V4}", 96),
            (f"apac.{NOVA}", f"apac.{NOVA}", 1),
            (f"us-gov.{COHERE_V3}", f"us-gov.{COHERE_V3}", 96),
            (
                f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{COHERE_V4}",
                f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{COHERE_V4}",
                96,
            ),
            (
                f"arn:aws-cn:bedrock:cn-north-1::foundation-model/{TITAN_V2}",
                f"arn:aws-cn:bedrock:cn-north-1::foundation-model/{TITAN_V2}",
                1,
            ),
            (f"{TITAN_V2}@{PROFILE}", PROFILE, 1),
        ],
    )
    def test_names(self, name: str, asked: str, texts: int) -> None:
        named = read_name(name)
        assert named.asked == asked
        assert named.family.texts == texts
        assert named.name == name.strip()

    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            ("", "write bedrock:MODEL"),
            ("meta.llama3-8b-instruct-v1:0", "no embedding model"),
            ("amazon.nova-lite-v1:0", "no embedding model"),
            ("amazon.titan-text-express-v1", "no embedding model"),
            (PROFILE, "does not say which model answers there: write bedrock:MODEL@arn"),
            (f"{TITAN_V2}@otnfa2ysixqd", "no ARN"),
            (f"{TITAN_V2}/../x", "no embedding model"),
        ],
    )
    def test_what_is_no_name(self, name: str, advice: str) -> None:
        with pytest.raises(ConfigurationError, match=advice):
            BedrockEmbedder(model=name, region="us-east-1")

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({}, "UNMOVED_BEDROCK_REGION"),
            ({"region": "Narnia"}, "UNMOVED_BEDROCK_REGION is no region of AWS"),
            ({"region": "us-east-1.evil.example/"}, "UNMOVED_BEDROCK_REGION"),
            ({"region": "us-east-1", "dimensions": 300}, "256, 512, 1024"),
            ({"region": "us-east-1", "model": TITAN_V1, "dimensions": 256}, "no choice"),
            ({"region": "us-east-1", "endpoint_url": "ftp://hidden"}, "BEDROCK_ENDPOINT_URL"),
            (
                {"region": "us-east-1", "endpoint_url": "http://me:hidden@host"},
                "BEDROCK_ENDPOINT_URL",
            ),
        ],
    )
    def test_what_cannot_be_meant(self, given: dict[str, Any], named: str) -> None:
        with pytest.raises(ConfigurationError, match=named) as caught:
            BedrockEmbedder(**{"model": TITAN_V2, **given})
        assert "hidden" not in str(caught.value)

    def test_region_of_aws_own_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "cn-north-1")
        embedder = BedrockEmbedder(model=TITAN_V2)
        assert embedder._hosted.host == "bedrock-runtime.cn-north-1.amazonaws.com.cn"

    def test_settings(self) -> None:
        settings = Settings.model_validate(
            {"bedrock_region": "eu-west-1", "bedrock_batch_size": 10, "bedrock_normalize": False}
        )
        spec = f"bedrock:{TITAN_V2}@{PROFILE}?dimensions=256"
        embedder = make_embedder(spec, settings)
        assert embedder.spec == spec
        assert embedder.unit is False
        assert embedder.batch_size == 1
        assert make_embedder(f"bedrock:eu.{COHERE_V4}", settings).batch_size == 10

    def test_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "boto3", None)
        with pytest.raises(ConfigurationError, match=r"install unmoved\[bedrock\]"):
            BedrockEmbedder(model=TITAN_V2, region="us-east-1")

    def test_import_is_lazy(self) -> None:
        code = (
            "import sys; from search_app.embedders.bedrock import BedrockEmbedder; "
            f"BedrockEmbedder(model='{TITAN_V2}', region='us-east-1'); "
            "print('boto3' in sys.modules, 'botocore' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        assert done.stdout.strip() == b"False False"
