"""VoyageEmbedder: recorded answers replayed over HTTP, and what is sent."""

from collections.abc import AsyncIterator
from typing import Any, get_args

import numpy as np
import pytest

from search_app.bootstrap import make_embedder
from search_app.config import load_settings
from search_app.embedders.voyage import INPUT_TYPES, VoyageEmbedder
from search_app.errors import (
    ConfigurationError,
    EmbedderRefusedError,
    EmbedderResponseError,
)
from search_app.types import Kind
from tests.embedder_contract import EmbedderContract
from tests.hosted import with_plan
from tests.recorded_exchanges import recorded, recorded_vectors
from tests.scripted_endpoint import (
    ScriptedEndpoint,
    answer,
    json_body,
    scripted_endpoint,
    vector_of,
)

KEY = "pa-very-secret-0123456789"


def made(endpoint: ScriptedEndpoint, model: str = "voyage-3.5", **arguments: Any) -> VoyageEmbedder:
    return VoyageEmbedder(model=model, base_url=endpoint.url, **with_plan(arguments))


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.script(answer(usage={"total_tokens": 7}))
        yield running


class TestContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[VoyageEmbedder]:
        endpoint.script(answer(dimensions=128))
        found = made(endpoint, batch_size=1000)
        yield found
        await found.aclose()


class TestRecordings:
    """Answers that Voyage gave, replayed over HTTP."""

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("test_documents", "document"),
            ("test_query", "query"),
            ("test_query_voyage_4", "query"),
            ("test_query_with_truncate", "query"),
            ("test_query_with_voyageai_input_type", "bare"),
        ],
    )
    async def test_answer(self, name: str, kind: Kind, endpoint: ScriptedEndpoint) -> None:
        request, response = recorded(f"TestVoyageAI.{name}")
        endpoint.script(json_body(response["parsed_body"]))
        embedder = made(endpoint, request["model"])
        vectors = await embedder.embed(request["input"], kind)
        # One recording asks for long texts to be cut off; here they are refused.
        assert endpoint.received[0].json == {**request, "truncation": False}
        assert endpoint.received[0].target == "/v1/embeddings"
        assert vectors.tobytes() == recorded_vectors(f"TestVoyageAI.{name}").tobytes()
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert embedder.unit
        await embedder.aclose()

    async def test_unknown_model(self, endpoint: ScriptedEndpoint) -> None:
        request, response = recorded("TestVoyageAI.test_embed_error")
        endpoint.script(json_body(response["parsed_body"], status=response["status"]["code"]))
        embedder = made(endpoint, request["model"])
        with pytest.raises(EmbedderRefusedError) as caught:
            await embedder.embed(request["input"], "query")
        assert endpoint.received[0].json == request
        assert "Model nonexistent is not supported" in str(caught.value)
        assert "check the model's name" in str(caught.value)
        await embedder.aclose()


@pytest.mark.parametrize(
    ("kind", "input_type"),
    [("query", "query"), ("document", "document"), ("code", "query"), ("similarity", None)],
)
async def test_each_kind_is_sent_as_its_input_type(
    kind: Kind, input_type: str | None, endpoint: ScriptedEndpoint
) -> None:
    embedder = made(endpoint, api_key=KEY)
    (vector,) = await embedder.embed(["tea"], kind)
    assert vector.tobytes() == vector_of("tea").tobytes()
    (received,) = endpoint.received
    assert received.json["input_type"] == input_type
    assert received.json["input"] == ["tea"] == [embedder.text_sent("tea", kind)]
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert embedder.traffic.tokens == 7
    await embedder.aclose()


def test_every_kind_has_an_input_type() -> None:
    assert INPUT_TYPES.keys() == set(get_args(Kind))


async def test_dimensions_are_asked_for_and_checked(endpoint: ScriptedEndpoint) -> None:
    endpoint.script(answer(dimensions=256))
    embedder = made(endpoint, dimensions=256)
    assert embedder.spec == "voyage:voyage-3.5?dimensions=256"
    assert (await embedder.describe()).dimensions == 256
    assert endpoint.received[0].json["output_dimension"] == 256
    endpoint.script(answer(dimensions=1024))
    with pytest.raises(EmbedderResponseError, match="asked for 256 dimensions, got 1024"):
        await embedder.embed(["x"], "query")
    await embedder.aclose()


@pytest.mark.parametrize(
    ("model", "request_tokens", "text_tokens"),
    [
        ("voyage-4-lite", 1_000_000, 32_000),
        ("voyage-3.5", 320_000, 32_000),
        ("voyage-code-3", 120_000, 32_000),
        ("voyage-law-2", 120_000, 16_000),
        ("voyage-9", 120_000, None),
    ],
)
async def test_limits_are_those_of_the_model(
    model: str, request_tokens: int, text_tokens: int | None, endpoint: ScriptedEndpoint
) -> None:
    limits = made(endpoint, model).limits
    assert (limits.request_tokens, limits.text_tokens) == (request_tokens, text_tokens)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("voyage:", "write voyage:MODEL"),
        ("voyage:voyage-3.5", "set UNMOVED_VOYAGE_API_KEY"),
        ("voyage:voyage-3.5?dimensions=300", "has no 300 dimensions; it has 256, 512, 1024, 2048"),
        ("voyage:voyage-law-2?dimensions=256", "has 1024 dimensions and no choice"),
    ],
)
def test_specs_that_cannot_be_meant(spec: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make_embedder(spec, load_settings(voyage_api_key=None))


async def test_settings_reach_the_adapter(endpoint: ScriptedEndpoint) -> None:
    settings = load_settings(voyage_api_key=KEY, voyage_base_url=endpoint.url, voyage_batch_size=5)
    embedder = make_embedder("voyage:voyage-3.5", settings)
    assert embedder.batch_size == 5
    assert (await embedder.embed(["x"], "query")).shape == (1, 4)
    await embedder.aclose()


async def test_texts_that_an_answer_leaves_out_are_asked_for_again(
    endpoint: ScriptedEndpoint,
) -> None:
    endpoint.script(answer(change=lambda items: items[::2][::-1]), answer())
    embedder = made(endpoint)
    vectors = await embedder.embed(["a", "b", "c", "d"], "document")
    assert [vector.tobytes() for vector in vectors] == [vector_of(t).tobytes() for t in "abcd"]
    assert [request.json["input"] for request in endpoint.received] == [list("abcd"), list("bd")]
    await embedder.aclose()


async def test_more_vectors_than_texts(endpoint: ScriptedEndpoint) -> None:
    endpoint.script(answer(change=lambda items: [*items, {**items[0], "index": len(items)}]))
    embedder = made(endpoint)
    with pytest.raises(EmbedderResponseError, match="index 2 for 2 texts"):
        await embedder.embed(["a", "b"], "document")
    await embedder.aclose()
