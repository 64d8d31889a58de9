"""CohereEmbedder: recorded answers replayed over HTTP, and what is sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, get_args

import numpy as np
import pytest

from search_app.bootstrap import make_embedder
from search_app.config import load_settings
from search_app.embedders.cohere import CohereEmbedder
from search_app.embedders.hosted.embedder import PROBE
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
    Received,
    ScriptedEndpoint,
    json_body,
    scripted_endpoint,
    vector_of,
)

KEY = "co-very-secret-0123456789"


def made(endpoint: ScriptedEndpoint, model: str = "embed-v4.0", **arguments: Any) -> CohereEmbedder:
    base_url = endpoint.url.removesuffix("/v1")
    return CohereEmbedder(model=model, base_url=base_url, **with_plan(arguments))


async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
    dimensions = request.json["output_dimension"] or 1536
    vectors = [[float(x) for x in vector_of(t, dimensions)] for t in request.json["texts"]]
    payload = {
        "id": "0",
        "embeddings": {"float": vectors},
        "texts": request.json["texts"],
        "response_type": "embeddings_by_type",
        "meta": {"billed_units": {"input_tokens": 7.0}},
    }
    await json_body(payload)(request, writer)


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.script(answer)
        yield running


class TestContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, endpoint: ScriptedEndpoint) -> AsyncIterator[CohereEmbedder]:
        found = made(endpoint, dimensions=256)
        yield found
        await found.aclose()


class TestRecordings:
    """Answers that Cohere gave, replayed over HTTP."""

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("test_documents", "document"),
            ("test_query", "query"),
            ("test_query_with_truncate", "query"),
            ("test_query_with_cohere_truncate", "query"),
        ],
    )
    async def test_answer(self, name: str, kind: Kind, endpoint: ScriptedEndpoint) -> None:
        request, response = recorded(f"TestCohere.{name}")
        endpoint.script(json_body(response["parsed_body"]))
        embedder = made(endpoint, request["model"])
        vectors = await embedder.embed(request["texts"], kind)
        # Two of the recordings ask for the end of long texts to be cut off; here that is refused.
        assert endpoint.received[0].json == {**request, "truncate": "NONE"}
        assert endpoint.received[0].target == "/v2/embed"
        assert vectors.tobytes() == recorded_vectors(f"TestCohere.{name}").tobytes()
        billed = response["parsed_body"]["meta"]["billed_units"]["input_tokens"]
        assert embedder.traffic.tokens == billed
        await embedder.aclose()

    async def test_unknown_model(self, endpoint: ScriptedEndpoint) -> None:
        request, response = recorded("TestCohere.test_embed_error")
        endpoint.script(json_body(response["parsed_body"], status=response["status"]["code"]))
        embedder = made(endpoint, request["model"])
        with pytest.raises(EmbedderRefusedError) as caught:
            await embedder.embed(request["texts"], "query")
        assert endpoint.received[0].json == request
        assert "model 'nonexistent' not found" in str(caught.value)
        assert "check the model's name" in str(caught.value)
        await embedder.aclose()


@pytest.mark.parametrize(
    ("kind", "input_type"),
    [
        ("query", "search_query"),
        ("document", "search_document"),
        ("clustering", "clustering"),
        ("classification", "classification"),
        ("similarity", "clustering"),
        ("code", "search_query"),
        ("bare", "search_document"),
    ],
)
async def test_each_kind_is_sent_as_its_input_type(
    kind: Kind, input_type: str, endpoint: ScriptedEndpoint
) -> None:
    embedder = made(endpoint, api_key=KEY, dimensions=512)
    (vector,) = await embedder.embed(["  tea\n"], kind)
    assert vector.tobytes() == vector_of("  tea\n", 512).tobytes()
    (received,) = endpoint.received
    assert received.json["input_type"] == input_type
    assert received.json["texts"] == ["  tea\n"] == [embedder.text_sent("  tea\n", kind)]
    assert received.json["output_dimension"] == 512
    assert received.headers["authorization"] == f"Bearer {KEY}"
    await embedder.aclose()


def test_every_kind_has_an_input_type() -> None:
    from search_app.embedders.cohere import INPUT_TYPES

    assert INPUT_TYPES.keys() == set(get_args(Kind))


async def test_what_it_says_of_itself(endpoint: ScriptedEndpoint) -> None:
    embedder = made(endpoint, dimensions=1024)
    assert embedder.spec == "cohere:embed-v4.0?dimensions=1024"
    assert (embedder.batch_size, embedder.limits.text_tokens) == (96, 128_000)
    identity = await embedder.describe()
    assert endpoint.received[0].json["texts"] == [PROBE]
    assert (identity.provider, identity.model) == ("cohere", "embed-v4.0")
    assert identity.dimensions == 1024
    assert identity.settings["dimensions"] == 1024
    assert identity.library_versions.keys() == {"httpx2"}
    assert made(endpoint, "embed-english-v3.0").limits.text_tokens == 512
    assert made(endpoint, "embed-v9").limits.text_tokens is None
    await embedder.aclose()


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("cohere:", "write cohere:MODEL"),
        ("cohere:embed-v4.0", "set UNMOVED_COHERE_API_KEY"),
        ("cohere:embed-v4.0?dimensions=300", "has no 300 dimensions; it has 256, 512, 1024, 1536"),
        ("cohere:embed-english-v3.0?dimensions=256", "has 1024 dimensions and no choice"),
    ],
)
def test_specs_that_cannot_be_meant(spec: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make_embedder(spec, load_settings(cohere_api_key=None))


async def test_settings_reach_the_adapter(endpoint: ScriptedEndpoint) -> None:
    settings = load_settings(
        cohere_api_key=KEY, cohere_base_url=endpoint.url.removesuffix("/v1"), cohere_batch_size=5
    )
    embedder = make_embedder("cohere:embed-v4.0?dimensions=256", settings)
    assert embedder.batch_size == 5
    assert (await embedder.embed(["x"], "query")).shape == (1, 256)
    await embedder.aclose()


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"embeddings": [[1.0, 0.0]]}, "not told apart by type"),
        ({"embeddings": {"int8": [[1, 0]]}}, "no list 'float'"),
        ({"message": "go away"}, "no list 'embeddings'"),
        ({"embeddings": {"float": [[1.0], [1.0]]}}, "2 vectors for 1 texts"),
        ({"embeddings": {"float": []}}, "0 vectors for 1 texts"),
        ({"embeddings": {"float": [[0.0, 0.0]]}}, "all zero"),
        ({"embeddings": {"float": [["1.0"]]}}, "holds str where a number belongs"),
        ({"embeddings": {"float": [None]}}, "is missing"),
    ],
)
async def test_answers_that_cannot_be_used(
    payload: object, problem: str, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script(json_body(payload))
    embedder = made(endpoint)
    with pytest.raises(EmbedderResponseError, match=problem) as caught:
        await embedder.embed(["some text"], "document")
    assert "cohere:embed-v4.0 at 127.0.0.1" in str(caught.value)
    await embedder.aclose()


async def test_other_lengths_in_one_answer(endpoint: ScriptedEndpoint) -> None:
    endpoint.script(json_body({"embeddings": {"float": [[1.0, 0.0], [1.0, 0.0, 0.0]]}}))
    embedder = made(endpoint)
    with pytest.raises(EmbedderResponseError, match=r"text 2 of 2 \('b'\) got 3 dimensions"):
        await embedder.embed(["a", "b"], "document")
    await embedder.aclose()


def test_recorded_answers_to_one_query_are_as_far_apart_as_is_said_of_them() -> None:
    once = recorded_vectors("TestCohere.test_query").astype(np.float64)[0]
    again = recorded_vectors("TestCohere.test_query_with_truncate").astype(np.float64)[0]
    distance = 1 - once @ again / np.linalg.norm(once) / np.linalg.norm(again)
    assert 3e-4 < distance < 4e-4
    assert "3e-4" in CohereEmbedder.not_guaranteed
