"""GoogleEmbedder against a server that speaks Google's APIs, and recorded answers of theirs."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2.credentials import Credentials

from search_app.bootstrap import make_embedder
from search_app.config import Settings
from search_app.embedders.batching import embed_all
from search_app.embedders.google import GoogleEmbedder
from search_app.embedders.google_methods import INSTRUCTIONS, TASKS
from search_app.errors import (
    ConfigurationError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import Kind
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

KEY = "AIzaSyVerySecret0123456789"
TOKEN = "ya29.very-secret-0123456789"


def credentials() -> Credentials:
    return Credentials(TOKEN)


@asynccontextmanager
async def opened(url: str | None, **arguments: Any) -> AsyncIterator[GoogleEmbedder]:
    given = with_plan({"model": "gemini-embedding-2", **arguments})
    if "project" not in given:
        given.setdefault("api_key", KEY)
    embedder = GoogleEmbedder(base_url=url, **given)
    try:
        yield embedder
    finally:
        await embedder.aclose()


@asynccontextmanager
async def vertex(url: str | None, **arguments: Any) -> AsyncIterator[GoogleEmbedder]:
    arguments = {"project": "some-project", "credentials": credentials(), **arguments}
    async with opened(url, **arguments) as embedder:
        yield embedder


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.url = running.url.removesuffix("/v1")
        running.script(google())
        yield running


def texts_in(asked: dict[str, Any]) -> list[str]:
    """Find the texts of a request, and hold that each travels alone."""
    if "instances" in asked:
        return [each["content"] for each in asked["instances"]]
    contents = asked.get("contents") or [each["content"] for each in asked.get("requests", [asked])]
    assert all(len(content["parts"]) == 1 for content in contents)
    return [content["parts"][0]["text"] for content in contents]


def google(
    *,
    tokens: Callable[[str], int] = len,
    truncated: tuple[str, ...] = (),
    change: Callable[[dict[str, Any]], object] = lambda payload: payload,
) -> Reply:
    """Answer as Google does, in the way that was asked."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        texts, method = texts_in(request.json), request.target.rpartition(":")[2]
        vectors = [[float(value) for value in vector_of(text)] for text in texts]
        counted = sum(map(tokens, texts))
        cut = [text in truncated for text in texts]
        payload: dict[str, Any] = {}
        match method:
            case "countTokens":
                payload = {"totalTokens": counted}
            case "batchEmbedContents":
                payload = {"embeddings": [{"values": vector} for vector in vectors]}
            case "embedContent":
                payload = {
                    "embedding": {"values": vectors[0]},
                    "usageMetadata": {"promptTokenCount": counted},
                    "truncated": cut[0],
                }
            case "predict":
                payload = {
                    "predictions": [
                        {
                            "embeddings": {
                                "values": vector,
                                "statistics": {"truncated": was_cut, "token_count": 1},
                            }
                        }
                        for vector, was_cut in zip(vectors, cut, strict=True)
                    ]
                }
        change(payload)
        await json_body(payload)(request, writer)

    return reply


def refusal(status: int, message: str, **details: Any) -> Reply:
    error = {"code": status, "message": message, "status": "SOMETHING", **details}
    return json_body({"error": error}, status=status)


class TestGeminiContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[GoogleEmbedder]:
        endpoint.script(google(tokens=lambda text: len(text) // 4))
        async with opened(endpoint.url) as embedder:
            yield embedder


class TestVertexContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[GoogleEmbedder]:
        async with vertex(endpoint.url, model="text-multilingual-embedding-002") as embedder:
            yield embedder


class TestVertexOneByOneContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[GoogleEmbedder]:
        async with vertex(endpoint.url) as embedder:
            assert embedder.batch_size == 1
            yield embedder


PREFIXED: list[tuple[str, Kind]] = [
    ("asymmetric-document-no-title", "document"),
    ("asymmetric-document-empty-title", "document"),
    ("default-query", "query"),
    ("symmetric-document-ignores-title", "clustering"),
    ("symmetric-query", "classification"),
    ("symmetric-sentence-similarity-ignores-title", "similarity"),
    # What stands before these is of the user's own, so that they go bare.
    ("asymmetric-document-with-title", "bare"),
    ("asymmetric-query", "bare"),
    ("raw-passthrough", "bare"),
    ("task-type-ignored-on-embedding-2", "bare"),
    ("task-ignored-on-other-model", "query"),
]


class TestRecordings:
    """Answers of Google, replayed over HTTP."""

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("TestGoogle.test_documents", "document"),
            ("TestGoogle.test_query", "query"),
            ("TestGoogle.test_query_with_task_type", "query"),
            ("TestGoogle.test_query_with_dimensions", "query"),
            ("TestGoogle.test_instrumentation", "query"),
            *((f"test_google_task_prefix[{name}]", kind) for name, kind in PREFIXED),
        ],
    )
    async def test_gemini(self, name: str, kind: Kind, endpoint: ScriptedEndpoint) -> None:
        (recorded,) = exchanges(name)
        endpoint.script(json_body(recorded.answered))
        first = recorded.asked["requests"][0]
        model = first["model"].removeprefix("models/")
        dimensions = first.get("outputDimensionality")
        async with opened(endpoint.url, model=model, dimensions=dimensions) as embedder:
            prefix = embedder.text_sent("", kind)
            sent = texts_in(recorded.asked)
            assert all(text.startswith(prefix) for text in sent)
            vectors = await embedder.embed([text.removeprefix(prefix) for text in sent], kind)
            assert embedder.unit is True
        assert endpoint.received[0].json == recorded.asked
        assert recorded.uri.endswith(endpoint.received[0].target)
        values = [each["values"] for each in recorded.answered["embeddings"]]
        assert vectors.tobytes() == np.asarray(values, "<f4").tobytes()
        assert vectors.tobytes() == vectors_of(name).tobytes()
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)

    def test_the_preview_takes_no_notice_of_task_types(self) -> None:
        # Which is why its page advises against it.
        document, query = (
            exchanges(name)[0]
            for name in (
                "TestGoogle.test_documents",
                "test_google_task_prefix[task-ignored-on-other-model]",
            )
        )
        asked = [each.asked["requests"][0] for each in (document, query)]
        assert [each["taskType"] for each in asked] == ["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]
        assert asked[0]["content"] == asked[1]["content"]
        assert document.answered["embeddings"][0] == query.answered["embeddings"][0]

    async def test_vertex_predict(self, endpoint: ScriptedEndpoint) -> None:
        name = "TestGoogle.test_vertex_query"
        (recorded,) = exchanges(name)
        endpoint.script(json_body(recorded.answered))
        async with vertex(
            endpoint.url, model="gemini-embedding-001", project="pydantic-ai"
        ) as embedder:
            vectors = await embedder.embed(["Hello, world!"], "query")
        (received,) = endpoint.received
        # What was recorded would have let a long text be cut without a word.
        assert received.json == {**recorded.asked, "parameters": {"autoTruncate": False}}
        assert recorded.uri.endswith(received.target)
        assert received.headers["authorization"] == f"Bearer {TOKEN}"
        assert vectors.tobytes() == vectors_of(name).tobytes()

    async def test_vertex_content(self, endpoint: ScriptedEndpoint) -> None:
        name = "test_google_task_prefix_vertex"
        (recorded,) = exchanges(name)
        endpoint.script(json_body(recorded.answered))
        async with vertex(endpoint.url, project="pydantic-ai") as embedder:
            vectors = await embedder.embed(
                ["task: question answering | query: Hello, world!"], "bare"
            )
        (received,) = endpoint.received
        assert received.json == {**recorded.asked, "embedContentConfig": {"autoTruncate": False}}
        assert recorded.uri.endswith(received.target)
        assert vectors.tobytes() == vectors_of(name).tobytes()

    async def test_unknown_model(self, endpoint: ScriptedEndpoint) -> None:
        (recorded,) = exchanges("TestGoogle.test_embed_error")
        endpoint.script(json_body(recorded.answered, status=recorded.status))
        async with opened(endpoint.url, model="nonexistent-model") as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["Hello, world!"], "query")
        assert endpoint.received[0].json == recorded.asked
        assert "google:nonexistent-model at 127.0.0.1" in str(caught.value)
        assert "is not found for API version v1beta" in str(caught.value)
        assert "check the model's name" in str(caught.value)

    async def test_counting(self, endpoint: ScriptedEndpoint) -> None:
        (recorded,) = exchanges("TestGoogle.test_count_tokens")
        endpoint.script(json_body(recorded.answered), google())
        async with opened(endpoint.url, model="gemini-embedding-2-preview") as embedder:
            await embedder.embed(["Hello, world!" * 1000], "bare")
        counting = endpoint.received[0]
        asked = counting.json
        asked["contents"][0]["parts"][0]["text"] = "Hello, world!"
        assert asked == recorded.asked
        assert recorded.uri.endswith(counting.target)


class TestWhatIsSent:
    async def test_each_text_is_a_content_of_its_own(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url) as embedder:
            vectors = await embedder.embed(["one", "two"], "document")
        (received,) = endpoint.received
        texts = ["title: none | text: one", "title: none | text: two"]
        assert received.json["requests"] == [
            {"model": "models/gemini-embedding-2", "content": {"parts": [{"text": text}]}}
            for text in texts
        ]
        assert received.headers["x-goog-api-key"] == KEY
        assert np.array_equal(vectors, [vector_of(text) for text in texts])

    @pytest.mark.parametrize("kind", [*TASKS, "bare"])
    async def test_task(self, kind: Kind, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url, model="gemini-embedding-001") as embedder:
            await embedder.embed(["one"], kind)
            assert embedder.text_sent("one", kind) == "one"
        async with opened(endpoint.url) as embedder:
            await embedder.embed(["one"], kind)
        beside, within = (each.json["requests"][0] for each in endpoint.received)
        assert beside.get("taskType") == TASKS.get(kind)
        assert "taskType" not in within
        assert texts_in(endpoint.received[1].json) == [INSTRUCTIONS.get(kind, "") + "one"]

    @pytest.mark.parametrize(
        ("model", "dimensions", "promised"),
        [
            ("gemini-embedding-001", None, "yes"),
            ("gemini-embedding-001", 3072, "yes"),
            ("gemini-embedding-001", 768, "no"),
            ("gemini-embedding-2", 768, "yes"),
            ("text-embedding-005", None, "unsaid"),
        ],
    )
    def test_unit(self, model: str, dimensions: int | None, promised: str) -> None:
        embedder = GoogleEmbedder(model=model, dimensions=dimensions, api_key=KEY)
        assert embedder.unit is {"yes": True, "no": False, "unsaid": None}[promised]

    @pytest.mark.parametrize(
        ("model", "where", "texts", "tokens"),
        [
            ("gemini-embedding-2", {"api_key": KEY}, 100, None),
            ("gemini-embedding-001", {"api_key": KEY}, 100, None),
            ("gemini-embedding-2", {"project": "p"}, 1, None),
            ("gemini-embedding-001", {"project": "p"}, 1, None),
            ("text-embedding-005", {"project": "p"}, 250, 20_000),
        ],
    )
    def test_limits(
        self, model: str, where: dict[str, str], texts: int, tokens: int | None
    ) -> None:
        embedder = GoogleEmbedder(model=model, batch_size=250, **where)  # type: ignore[arg-type] # a key or a project
        assert embedder.batch_size == texts
        assert embedder.limits.request_tokens == tokens
        assert embedder.limits.text_tokens == (8192 if "-2" in model else 2048)

    async def test_requests_keep_within_the_tokens_of_one(self, endpoint: ScriptedEndpoint) -> None:
        texts = [f"{number} " + "word " * 1000 for number in range(30)]
        async with vertex(endpoint.url, model="text-embedding-005", batch_size=250) as embedder:
            embedded = await embed_all(embedder, texts, "document")
        assert len(embedded.vectors) == 30
        assert len(endpoint.received) > 1

    async def test_environment_stays_out(
        self, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT"):
            monkeypatch.setenv(name, "leaked")
        for name in ("GEMINI", "VERTEX"):
            monkeypatch.setenv(f"GOOGLE_{name}_BASE_URL", "http://127.0.0.1:9/leaked")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "leaked")
        monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
        monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "leaked")
        async with opened(endpoint.url) as embedder:
            await embedder.embed(["x"], "query")
        async with opened(endpoint.url, api_key=None) as embedder:
            await embedder.embed(["x"], "query")
        async with vertex(endpoint.url) as embedder:
            await embedder.embed(["x"], "query")
        assert "leaked" not in repr(endpoint.received)
        project = "/v1beta1/projects/some-project/locations/global"
        assert [each.target for each in endpoint.received] == [
            "/v1beta/models/gemini-embedding-2:batchEmbedContents",
            "/v1beta/models/gemini-embedding-2:batchEmbedContents",
            f"{project}/publishers/google/models/gemini-embedding-2:embedContent",
        ]
        assert "x-goog-api-key" not in endpoint.received[2].headers

    async def test_description(self, endpoint: ScriptedEndpoint) -> None:
        async with vertex(
            endpoint.url, model="gemini-embedding-001", location="europe-west1", dimensions=768
        ) as embedder:
            endpoint.script(
                json_body(
                    {"predictions": [{"embeddings": {"values": [1.0] * 768, "statistics": {}}}]}
                )
            )
            identity = await embedder.describe()
            assert embedder.spec == "google:gemini-embedding-001?dimensions=768"
        assert endpoint.received[0].json["parameters"] == {
            "autoTruncate": False,
            "outputDimensionality": 768,
        }
        assert identity.dimensions == 768
        assert identity.max_tokens == 2048
        assert identity.settings == {
            "base_url": endpoint.url,
            "location": "europe-west1",
            "document_task": "RETRIEVAL_DOCUMENT",
            "query_task": "RETRIEVAL_QUERY",
            "dimensions": 768,
        }
        assert identity.library_versions.keys() == {"google-genai"}

    async def test_secrets_in_no_log(
        self, endpoint: ScriptedEndpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        endpoint.script(json_body({}, status=500), google())
        patient = {"max_retries": 1, "retry_wait_s": 0.01}
        with caplog.at_level(logging.DEBUG):
            async with opened(endpoint.url, **patient) as embedder:
                await embedder.embed(["x"], "query")
                assert KEY not in repr(embedder) + repr(vars(embedder))
            async with vertex(endpoint.url, **patient) as embedder:
                await embedder.embed(["x"], "query")
                assert TOKEN not in repr(embedder) + repr(vars(embedder))
        assert caplog.text
        assert KEY not in caplog.text
        assert TOKEN not in caplog.text

    async def test_no_redirect_is_followed(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(
            json_body({}, status=307, headers={"location": f"{endpoint.url}/elsewhere?key=x"})
        )
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError, match="set UNMOVED_GOOGLE_BASE_URL"):
                await embedder.embed(["x"], "query")
        assert len(endpoint.received) == 1


class TestTooLong:
    async def test_short_texts_are_not_counted(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url, model="gemini-embedding-001") as embedder:
            await embedder.embed(["a" * 2047], "query")
        assert len(endpoint.received) == 1

    async def test_a_text_that_would_be_cut_is_not_sent(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url, model="gemini-embedding-001") as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["short", "長い" * 2000], "document")
        assert "text 2 of 2 ('長い" in str(caught.value)
        assert "has 4,000 tokens, the model reads 2,048" in str(caught.value)
        assert "UNMOVED_CHUNK_TOKENS" in str(caught.value)
        assert [each.target.rpartition(":")[2] for each in endpoint.received] == ["countTokens"]

    async def test_a_megabyte(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError, match="has 1,000,000 tokens"):
                await embedder.embed(["m" * 1_000_000], "bare")

    async def test_a_count_that_is_none(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({"totalTokens": "many"}))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError, match="countTokens has no count"):
                await embedder.embed(["m" * 10_000], "bare")

    async def test_what_was_cut_in_spite_of_all(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(google(truncated=("two",)))
        async with vertex(endpoint.url, model="text-embedding-005") as embedder:
            assert len(await embedder.embed(["one", "three"], "query")) == 2
            with pytest.raises(EmbedderRefusedError, match=r"text 2 of 2 \('two'\) was cut off"):
                await embedder.embed(["one", "two"], "query")
        async with vertex(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError, match=r"text 1 of 1 \('two'\) was cut off"):
                await embedder.embed(["two"], "bare")

    async def test_a_refusal_says_what_to_do(self, endpoint: ScriptedEndpoint) -> None:
        words = "Unable to submit request because the input token count is 2500 but ..."
        endpoint.script(refusal(400, words))
        async with vertex(endpoint.url, model="text-embedding-005") as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["short", "longer"], "query")
        assert "the longest is text 2 of 2 ('longer') with 6 characters" in str(caught.value)
        assert "UNMOVED_CHUNK_TOKENS" in str(caught.value)
        assert "UNMOVED_GOOGLE_BATCH_SIZE" in str(caught.value)


class TestErrors:
    async def test_several_texts_as_one_vector(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(google(change=lambda payload: payload["embeddings"].pop()))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderResponseError, match="1 vectors for 2 texts"):
                await embedder.embed(["one", "two"], "query")

    @pytest.mark.parametrize(
        ("payload", "problem"),
        [
            ({}, "no list 'embeddings'"),
            ({"embeddings": {}}, "no list 'embeddings'"),
            ({"embeddings": [{}]}, "is missing"),
            ({"embeddings": [{"values": ["1"]}]}, "holds str"),
            ({"embeddings": [{"values": [0.0, 0.0]}]}, "all zero"),
            ({"embeddings": [None]}, "is missing"),
            ({"error": {"message": "so sorry"}}, "so sorry"),
        ],
    )
    async def test_an_answer_that_is_none(
        self, payload: dict[str, Any], problem: str, endpoint: ScriptedEndpoint
    ) -> None:
        endpoint.script(json_body(payload))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderResponseError, match=problem):
                await embedder.embed(["x"], "query")

    @pytest.mark.parametrize("payload", [{}, {"embedding": 3}, {"predictions": [3]}])
    async def test_an_answer_of_vertex_that_is_none(
        self, payload: dict[str, Any], endpoint: ScriptedEndpoint
    ) -> None:
        endpoint.script(json_body(payload))
        for model in ("gemini-embedding-2", "gemini-embedding-001"):
            async with vertex(endpoint.url, model=model) as embedder:
                with pytest.raises(EmbedderResponseError):
                    await embedder.embed(["x"], "query")

    async def test_wrong_key(self, endpoint: ScriptedEndpoint) -> None:
        details = [{"@type": "…ErrorInfo", "reason": "API_KEY_INVALID"}]
        words = f"API key not valid. Please pass a valid API key, not {KEY}."
        endpoint.script(refusal(400, words, details=details))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["x"], "query")
        assert "HTTP 400: API key not valid" in str(caught.value)
        assert "check UNMOVED_GOOGLE_API_KEY" in str(caught.value)
        assert KEY not in str(caught.value) + repr(caught.value.__cause__)
        assert len(endpoint.received) == 1

    async def test_a_server_that_repeats_the_passing_key(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(refusal(403, f"Permission denied for {TOKEN}"))
        async with vertex(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["x"], "query")
        assert TOKEN not in str(caught.value) + repr(caught.value.__cause__)
        assert "UNMOVED_GOOGLE_PROJECT" in str(caught.value)

    async def test_wrong_location(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(body(b"<!DOCTYPE html><title>404</title>", status=404))
        async with vertex(endpoint.url, location="europe-nowhere9") as embedder:
            with pytest.raises(EmbedderRefusedError, match=r"an HTML page.*LOCATION offers it"):
                await embedder.embed(["x"], "query")
        async with vertex(None, location="europe-nowhere9") as embedder:
            assert embedder._hosted.host == "europe-nowhere9-aiplatform.googleapis.com"

    async def test_a_page_for_people(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(body(b"<html>Sign in to this network</html>"))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderResponseError, match=r"HTML page.*UNMOVED_GOOGLE_BASE_URL"):
                await embedder.embed(["x"], "query")

    @pytest.mark.parametrize("silence", [stall, trickle])
    async def test_no_answer_in_time(self, silence: Reply, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url) as embedder:
            # Loading the client takes longer than this test wants to wait.
            await embedder.embed(["x"], "query")
        endpoint.script(silence)
        async with opened(endpoint.url, timeout_s=0.3) as embedder:
            with pytest.raises(EmbedderUnavailableError, match="no answer in time"):
                await embedder.embed(["x"], "query")

    async def test_nobody_there(self, endpoint: ScriptedEndpoint) -> None:
        async with opened("http://127.0.0.1:9") as embedder:
            with pytest.raises(
                EmbedderUnavailableError, match=r"is it running.*UNMOVED_GOOGLE_BASE_URL"
            ):
                await embedder.embed(["x"], "query")
        endpoint.script(reset)
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderUnavailableError, match="no answer"):
                await embedder.embed(["x"], "query")

    async def test_throttling_is_waited_for_as_long_as_the_body_says(
        self, endpoint: ScriptedEndpoint
    ) -> None:
        wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.02s"}
        endpoint.script(refusal(429, "Resource has been exhausted", details=[wait]), google())
        async with opened(endpoint.url, max_retries=1, retry_wait_s=60.0) as embedder:
            await embedder.embed(["x"], "query")
        assert len(endpoint.received) == 2

    async def test_its_own_retries_are_off(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({}, status=503))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderUnavailableError, match="HTTP 503"):
                await embedder.embed(["x"], "query")
        assert len(endpoint.received) == 1

    async def test_one_refused_text_is_named(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(refusal(400, "Request contains an invalid argument."))
        async with opened(endpoint.url) as embedder:
            with pytest.raises(EmbedderRefusedError, match=r"text 1 of 1 \(' '\)"):
                await embedder.embed([" "], "query")

    async def test_no_credentials(
        self, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def none_found(**_: object) -> None:
            raise DefaultCredentialsError("Your default credentials were not found.")

        monkeypatch.setattr("google.auth.default", none_found)
        async with vertex(endpoint.url, credentials=None) as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.embed(["x"], "query")
        assert "gcloud auth application-default login" in str(caught.value)
        assert endpoint.received == []


class TestArguments:
    @pytest.mark.parametrize("model", ["", "  ", "models/", "a/b", "a b", "../x", "m?x=1"])
    def test_model_is_needed(self, model: str) -> None:
        with pytest.raises(ConfigurationError, match="write google:MODEL"):
            GoogleEmbedder(model=model, api_key=KEY)

    def test_key_is_needed(self) -> None:
        with pytest.raises(ConfigurationError, match="UNMOVED_GOOGLE_API_KEY"):
            GoogleEmbedder(model="gemini-embedding-001")

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"project": "p", "api_key": KEY}, "unset one of them"),
            ({"project": "a/b"}, "UNMOVED_GOOGLE_PROJECT"),
            ({"project": "p", "location": "eu/../x"}, "UNMOVED_GOOGLE_LOCATION"),
            ({"api_key": "AIza\nhidden"}, "UNMOVED_GOOGLE_API_KEY"),
            ({"base_url": "ftp://hidden", "api_key": KEY}, "UNMOVED_GOOGLE_BASE_URL"),
            ({"project": "p", "base_url": "ftp://hidden"}, "UNMOVED_GOOGLE_BASE_URL"),
            ({"api_key": KEY, "dimensions": 4000}, "128 to 3072"),
        ],
    )
    def test_what_cannot_be_meant(self, given: dict[str, Any], named: str) -> None:
        with pytest.raises(ConfigurationError, match=named) as caught:
            GoogleEmbedder(model="gemini-embedding-001", **given)
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize(
        ("location", "host"),
        [
            ("global", "aiplatform.googleapis.com"),
            ("eu", "aiplatform.eu.rep.googleapis.com"),
            ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ],
    )
    def test_address_of_a_location(self, location: str, host: str) -> None:
        embedder = GoogleEmbedder(model="m", project="p", location=location)
        assert embedder._hosted.settings["base_url"] == f"https://{host}"

    def test_settings(self) -> None:
        settings = Settings.model_validate(
            {"google_project": "p", "google_location": "europe-west1", "google_batch_size": 200}
        )
        embedder = make_embedder("google:text-embedding-005?dimensions=256", settings)
        assert embedder.spec == "google:text-embedding-005?dimensions=256"
        assert embedder.batch_size == 200
        keyed = Settings.model_validate({"google_api_key": KEY})
        assert make_embedder("google:gemini-embedding-001", keyed).batch_size == 64

    def test_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "google.genai", None)
        with pytest.raises(ConfigurationError, match=r"install unmoved\[google\]"):
            GoogleEmbedder(model="m", api_key=KEY)

    def test_import_is_lazy(self) -> None:
        code = (
            "import sys; from search_app.embedders.google import GoogleEmbedder; "
            "GoogleEmbedder(model='m', api_key='k'); print('google.genai' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        assert done.stdout.strip() == b"False"
