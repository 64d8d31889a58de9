"""Rerankers: endpoints against a real server that answers as told, and a real cross-encoder."""

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.bootstrap import Services, make_reranker
from search_app.config import Settings, load_settings
from search_app.errors import (
    ConfigurationError,
    RerankerRefusedError,
    RerankerResponseError,
    RerankerUnavailableError,
)
from search_app.rerankers import sentence_transformers as cross_encoders
from search_app.rerankers.endpoint import MOST_TEXTS, EndpointReranker
from search_app.rerankers.endpoint_answer import Asked, read_scores
from tests.scripted_endpoint import (
    Item,
    Received,
    Reply,
    ScriptedEndpoint,
    body,
    json_body,
    reset,
    scripted_endpoint,
    stall,
    trickle,
)

KEY = "rerank-secret-0123456789"
QUERY = "火災保険の解約"
TEXTS = ["a", "longer than a", "猫", "the longest of all"]
SCORES = [1.0, 13.0, 1.5, 18.0]

MISSING = [
    name
    for name in ("torch", "sentence_transformers", "transformers")
    if importlib.util.find_spec(name) is None
]
needs_torch = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {', '.join(MISSING)}: make setup-torch"
)


def score_of(text: str) -> float:
    return len(text) + (0.5 if not text.isascii() else 0)


def documents_form(change: Callable[[list[Item]], Any] = lambda items: {"results": items}) -> Reply:
    """Answer as Cohere and Jina do: best first; a request of the other form is refused."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        texts = request.json["documents"]
        items: list[Item] = [
            {"index": index, "relevance_score": score_of(text)} for index, text in enumerate(texts)
        ]
        items.sort(key=lambda item: -item["relevance_score"])
        await json_body(change(items))(request, writer)

    return reply


async def texts_form(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer as text-embeddings-inference does, 32 texts at most."""
    if "texts" not in request.json:
        words = "Failed to deserialize the JSON body into the target type: missing field `texts`"
        await body(words.encode(), status=422)(request, writer)
        return
    texts = request.json["texts"]
    if len(texts) > 32:
        refusal = {
            "error": "batch size > maximum allowed batch size 32",
            "error_type": "Validation",
        }
        await json_body(refusal, status=422)(request, writer)
        return
    items: list[Item] = [
        {"index": index, "score": score_of(text)} for index, text in enumerate(texts)
    ]
    await json_body(items[::-1])(request, writer)


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as opened:
        yield opened


def asking(endpoint: ScriptedEndpoint, **arguments: Any) -> EndpointReranker:
    given: dict[str, Any] = {
        "model": "judge",
        "url": f"{endpoint.url}/rerank",
        "api_key": KEY,
        "retry_wait_s": 0.01,
    }
    return EndpointReranker(**(given | arguments))


class TestEndpoint:
    async def test_scores_belong_to_their_texts_whatever_order_they_come_in(
        self, endpoint: ScriptedEndpoint
    ) -> None:
        endpoint.script(documents_form())
        scores = await asking(endpoint).rerank(QUERY, TEXTS)
        assert scores.dtype == np.float32
        assert scores.tolist() == SCORES
        request = endpoint.received[0]
        assert request.target == "/v1/rerank"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.json == {
            "model": "judge",
            "query": QUERY,
            "documents": TEXTS,
            "top_n": len(TEXTS),
        }

    async def test_the_other_form_is_found_out_once(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(texts_form)
        reranker = asking(endpoint)
        assert (await reranker.rerank(QUERY, TEXTS)).tolist() == SCORES
        assert (await reranker.rerank(QUERY, TEXTS)).tolist() == SCORES
        assert [sorted(request.json) for request in endpoint.received] == [
            ["documents", "model", "query", "top_n"],
            ["query", "raw_scores", "texts", "truncate"],
            ["query", "raw_scores", "texts", "truncate"],
        ]
        assert endpoint.received[1].json["raw_scores"] is True

    async def test_many_texts_go_in_parts(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(texts_form)
        texts = ["x" * (number + 1) for number in range(70)]
        scores = await asking(endpoint).rerank(QUERY, texts)
        assert scores.tolist() == [float(number + 1) for number in range(70)]
        parts = [len(request.json["texts"]) for request in endpoint.received[1:]]
        assert parts == [MOST_TEXTS["texts"], MOST_TEXTS["texts"], 6]

    async def test_no_texts_are_no_request(self, endpoint: ScriptedEndpoint) -> None:
        assert (await asking(endpoint).rerank(QUERY, [])).shape == (0,)
        assert not endpoint.received

    async def test_user_name_and_password(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(documents_form())
        url = endpoint.url.replace("http://", "http://me:p%40ss@") + "/rerank"
        await asking(endpoint, url=url, api_key=None).rerank(QUERY, TEXTS)
        assert endpoint.received[0].headers["authorization"] == "Basic bWU6cEBzcw=="
        assert "@" not in endpoint.received[0].headers["host"]

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
    async def test_failure_that_passes(self, status: int, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({"error": "busy"}, status=status), documents_form())
        assert (await asking(endpoint).rerank(QUERY, TEXTS)).tolist() == SCORES
        assert len(endpoint.received) == 2

    async def test_broken_connection_that_passes(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(reset, documents_form())
        assert (await asking(endpoint).rerank(QUERY, TEXTS)).tolist() == SCORES

    @pytest.mark.parametrize("status", [429, 500, 503, 529])
    async def test_failure_that_stays(self, status: int, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({"message": "try later"}, status=status))
        with pytest.raises(RerankerUnavailableError, match=f"HTTP {status}: try later"):
            await asking(endpoint).rerank(QUERY, TEXTS)

    async def test_a_long_wait_is_reported_instead(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({}, status=429, headers={"retry-after": "3600"}))
        with pytest.raises(RerankerUnavailableError, match="HTTP 429"):
            await asking(endpoint).rerank(QUERY, TEXTS)
        assert len(endpoint.received) == 1

    @pytest.mark.parametrize(
        ("status", "advice"),
        [
            (400, ""),
            (401, "UNMOVED_RERANK_API_KEY"),
            (403, "UNMOVED_RERANK_API_KEY"),
            (404, "UNMOVED_RERANK_URL"),
            (307, "UNMOVED_RERANK_URL"),
        ],
    )
    async def test_no_is_no(self, status: int, advice: str, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(
            json_body({"detail": f"not with {KEY}"}, status=status, headers={"location": "/x"})
        )
        with pytest.raises(RerankerRefusedError) as refused:
            await asking(endpoint).rerank(QUERY, TEXTS)
        assert len(endpoint.received) == 1
        line = str(refused.value)
        assert f"HTTP {status}" in line
        assert advice in line
        assert KEY not in line
        assert "\n" not in line

    async def test_nothing_listens(self, unused_tcp_port_url: str) -> None:
        reranker = EndpointReranker(
            model="judge", url=unused_tcp_port_url, api_key=KEY, max_retries=0
        )
        with pytest.raises(RerankerUnavailableError, match="refuses connections") as failed:
            await reranker.rerank(QUERY, TEXTS)
        assert KEY not in str(failed.value)

    @pytest.mark.parametrize("reply", [stall, trickle])
    async def test_slow(self, reply: Reply, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(reply)
        with pytest.raises(RerankerUnavailableError, match=r"no answer within 0\.3 s"):
            await asking(endpoint, timeout_s=0.3).rerank(QUERY, TEXTS)

    async def test_server_that_is_not_http(self, endpoint: ScriptedEndpoint) -> None:
        async def greet(_request: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        endpoint.script(greet)
        with pytest.raises(RerankerUnavailableError, match="no answer"):
            await asking(endpoint).rerank(QUERY, TEXTS)

    @pytest.mark.parametrize(
        ("octets", "problem"),
        [
            (b"", "empty"),
            (b"<!doctype html><p>Welcome", "HTML page"),
            (b'{"results": [', "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"7", "no list of results"),
            (b'{"object": "list"}', "no list of results"),
            (b'{"error": {"message": "no such model"}}', "no such model"),
        ],
    )
    async def test_bodies(self, octets: bytes, problem: str, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(body(octets))
        with pytest.raises(RerankerResponseError, match=problem):
            await asking(endpoint).rerank(QUERY, TEXTS)

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda items: items[:-1], "3 scores for 4 texts, none for text 1"),
            (lambda items: [*items, items[0]], "two scores for text 4"),
            (lambda items: [*items[:-1], {**items[-1], "index": 4}], "index 4 for 4 texts"),
            (lambda items: [*items[:-1], {**items[-1], "index": -1}], "index -1 for 4 texts"),
            (lambda items: [*items[:-1], {**items[-1], "index": True}], "index True"),
            (lambda items: [*items[:-1], {"relevance_score": 1}], "index None"),
            (lambda items: [*items[:-1], {"index": 0}], "text 1 of 4 is no number"),
            (lambda items: [*items[:-1], {"index": 0, "score": "0.5"}], "is no number"),
            (lambda items: [*items[:-1], {"index": 0, "score": None}], "is no number"),
            (lambda items: [*items[:-1], {"index": 0, "score": float("nan")}], "NaN or infinite"),
            (lambda items: [*items[:-1], {"index": 0, "score": 1e39}], "NaN or infinite"),
            (lambda items: [*items[:-1], {"index": 0, "score": 10**400}], "NaN or infinite"),
            (lambda items: [*items[:-1], 0.5], "index None"),
        ],
    )
    async def test_items(
        self,
        change: Callable[[list[Item]], Any],
        problem: str,
        endpoint: ScriptedEndpoint,
    ) -> None:
        endpoint.script(documents_form(change))
        with pytest.raises(RerankerResponseError, match=problem):
            await asking(endpoint).rerank(QUERY, TEXTS)

    async def test_repeated_key_is_masked_before_words_are_cut(
        self, endpoint: ScriptedEndpoint
    ) -> None:
        endpoint.script(json_body({"message": "x" * 290 + KEY}, status=400))
        with pytest.raises(RerankerRefusedError) as refused:
            await asking(endpoint).rerank(QUERY, TEXTS)
        assert KEY[:8] not in str(refused.value)

    async def test_terminal_is_left_alone(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({"message": "\x1b]0;gotcha\x07"}, status=400))
        with pytest.raises(RerankerRefusedError) as refused:
            await asking(endpoint).rerank(QUERY, TEXTS)
        assert str(refused.value).isprintable()

    def test_key_in_no_representation(self) -> None:
        reranker = EndpointReranker(model="judge", url="https://u:pw@x.example/r", api_key=None)
        assert "pw" not in repr(reranker)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1).flatmap(
        lambda scores: st.tuples(st.just(scores), st.permutations(range(len(scores))))
    ),
    st.sampled_from(["relevance_score", "score"]),
    st.sampled_from(["results", "data", None]),
)
def test_any_order_of_items_gives_the_scores_back(
    drawn: tuple[list[float], list[int]], name: str, wrapped: str | None
) -> None:
    scores, order = drawn
    items = [{"index": index, name: scores[index]} for index in order]
    payload = json.dumps(items if wrapped is None else {wrapped: items}).encode()
    read = read_scores(payload, Asked(spec="endpoint:x", host="x", query="q"), len(scores))
    assert read.tolist() == scores


@given(st.binary(max_size=200), st.integers(1, 5))
def test_any_answer_is_scores_or_one_line(octets: bytes, count: int) -> None:
    problem = ""
    try:
        read = read_scores(octets, Asked(spec="endpoint:x", host="x", query="q"), count)
    except RerankerResponseError as exc:
        problem = str(exc)
    assert problem.isprintable() if problem else read.shape == (count,)


class TestNames:
    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ("cohere:x", "not known"),
            ("", "not known"),
            ("endpoint:", "names no model"),
            ("endpoint: ", "names no model"),
            ("endpoint:x", "UNMOVED_RERANK_URL"),
        ],
    )
    def test_what_cannot_be_meant(self, spec: str, problem: str) -> None:
        with pytest.raises(ConfigurationError, match=problem):
            make_reranker(spec, load_settings(rerank_url=None))

    @pytest.mark.parametrize(
        "url",
        [
            "localhost:8080",
            "ftp://x.example/rerank",
            "http://",
            "http://a..b/rerank",
            "http://x:99999/rerank",
            "http://x:0/rerank",
            "http://me:pw@x/a b",
            "http://x/rerank#part",
        ],
    )
    def test_address_is_checked_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="UNMOVED_RERANK_URL") as refused:
            make_reranker("endpoint:x", load_settings(rerank_url=url))
        assert "pw" not in str(refused.value)

    def test_key_and_password_contradict(self) -> None:
        with pytest.raises(ConfigurationError, match="only one of them"):
            EndpointReranker(model="x", url="http://me:pw@x/r", api_key=KEY)

    def test_key_that_no_header_carries(self) -> None:
        with pytest.raises(ConfigurationError) as refused:
            EndpointReranker(model="x", url="http://x/r", api_key=f"{KEY}\nX: y")
        assert KEY not in str(refused.value)

    def test_off_unless_named(self) -> None:
        assert Settings.model_fields["reranker"].default is None

    async def test_services_make_each_once_and_close_it(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(documents_form())
        settings = load_settings(rerank_url=f"{endpoint.url}/rerank", rerank_api_key=KEY)
        reranker = make_reranker("endpoint:judge", settings)
        assert reranker.spec == "endpoint:judge"
        assert (await reranker.rerank(QUERY, TEXTS)).tolist() == SCORES
        assert endpoint.received[0].headers["authorization"] == f"Bearer {KEY}"
        await reranker.aclose()

    async def test_one_for_each_spec(self, services: Services) -> None:
        object.__setattr__(
            services, "settings", services.settings.model_copy(update={"rerank_url": "http://x/r"})
        )
        first = services.reranker("endpoint:a")
        assert services.reranker("endpoint:a") is first
        assert services.reranker("endpoint:b") is not first

    def test_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(ConfigurationError, match=r"unmoved\[sentence-transformers\]"):
            make_reranker("sentence-transformers:x", load_settings())


@needs_torch
class TestCrossEncoder:
    async def test_scores_are_those_of_the_model(self, cross_encoder: Path) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        reranker = make_reranker(f"sentence-transformers:{cross_encoder}", load_settings())
        got = await reranker.rerank("b", ["a", "a b c", "c c c c c c c c", "b"])
        await reranker.aclose()
        tokenizer = AutoTokenizer.from_pretrained(cross_encoder)
        model = AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
        pairs = [("b", text) for text in ("a", "a b c", "c c c c c c c c", "b")]
        with torch.inference_mode():
            wanted = [
                model(**tokenizer(*pair, return_tensors="pt")).logits.item() for pair in pairs
            ]
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
        # Random weights, yet not the same for all; and raw, not squeezed into 0 to 1.
        assert len(set(got.tolist())) == 4

    async def test_longer_than_the_model_takes(self, cross_encoder: Path) -> None:
        reranker = make_reranker(f"sentence-transformers:{cross_encoder}", load_settings())
        assert np.isfinite(await reranker.rerank("b", ["a b c " * 500])).all()
        assert (await reranker.rerank("b", [])).shape == (0,)
        await reranker.aclose()

    async def test_a_classifier_is_no_reranker(self, cross_encoder: Path) -> None:
        _save_model(cross_encoder, labels=3)
        reranker = make_reranker(f"sentence-transformers:{cross_encoder}", load_settings())
        with pytest.raises(ConfigurationError, match="3 labels"):
            await reranker.rerank("b", ["a"])
        await reranker.aclose()

    async def test_damaged_weights(self, cross_encoder: Path) -> None:
        (cross_encoder / "model.safetensors").write_bytes(b"damaged")
        reranker = make_reranker(f"sentence-transformers:{cross_encoder}", load_settings())
        with pytest.raises(ConfigurationError, match="cannot be loaded"):
            await reranker.rerank("b", ["a"])
        await reranker.aclose()

    async def test_folder_without_a_model(self, tmp_path: Path) -> None:
        reranker = make_reranker(f"sentence-transformers:{tmp_path}", load_settings())
        with pytest.raises(ConfigurationError, match="no model"):
            await reranker.rerank("b", ["a"])
        await reranker.aclose()

    @pytest.mark.parametrize("name", ["", "./nowhere", "~/nowhere/at/all"])
    def test_name_that_cannot_be_meant(self, name: str) -> None:
        with pytest.raises(ConfigurationError):
            make_reranker(f"sentence-transformers:{name}", load_settings())

    async def test_name_that_cannot_be_fetched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        reranker = cross_encoders.SentenceTransformersReranker("no-such-judge", cache_dir=tmp_path)
        assert reranker.spec == "sentence-transformers:no-such-judge"
        with pytest.raises(RerankerUnavailableError, match="cross-encoder/no-such-judge"):
            await reranker.rerank("b", ["a"])
        await reranker.aclose()


@pytest.fixture
def cross_encoder(tmp_path: Path) -> Path:
    """Save a tiny BERT with random weights and one label, and a tokenizer of single letters."""
    from transformers import BertTokenizerFast

    folder = tmp_path / "cross-encoder"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(folder)
    _save_model(folder, labels=1)
    return folder


def _save_model(folder: Path, *, labels: int) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=15,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=labels,
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)


@pytest.fixture
def unused_tcp_port_url() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/rerank"
