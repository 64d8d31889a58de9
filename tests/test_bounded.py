"""Answers without an end: read up to what they can be, and refused with a line that says so."""

import asyncio
import gzip
import io

import httpx2
import pytest

from search_app.embedders import bedrock_runtime
from search_app.embedders.google import GoogleEmbedder
from search_app.embedders.hosted.bounded import bounded, largest_answer
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.http import LARGEST_ANSWER, LARGEST_ERROR
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.openai import OpenAIEmbedder
from search_app.errors import EmbedderRefusedError
from tests.scripted_endpoint import Received, answer, body, scripted_endpoint

MOST = largest_answer(1)


async def endless(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Never stop answering."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[")
    while True:
        writer.write(b"0," * 2**15)
        await writer.drain()


BOMB = body(gzip.compress(b" " * (MOST + 1)), headers={"content-encoding": "gzip"})


@pytest.mark.parametrize("reply", [endless, BOMB], ids=["endless", "unpacked"])
async def test_what_is_too_large_is_not_read_to_its_end(reply: object) -> None:
    async with scripted_endpoint() as endpoint:
        endpoint.script(reply, answer())  # type: ignore[arg-type] # both are replies
        embedder = OpenAIEmbedder(model="m", base_url=endpoint.url, batch_size=1, plan=Plan())
        with pytest.raises(EmbedderRefusedError, match=f"larger than {MOST:,} bytes") as caught:
            await embedder.embed(["a text"], "document")
        assert "is the address that of the API?" in str(caught.value)
        # Asked once, and the next one is taken.
        assert len(endpoint.received) == 1
        assert (await embedder.embed(["a text"], "document")).shape == (1, 4)
        await embedder.aclose()


async def test_google_is_not_believed_either() -> None:
    async with scripted_endpoint() as endpoint:
        endpoint.script(endless)
        embedder = GoogleEmbedder(
            model="gemini-embedding-001",
            api_key="a-key",
            base_url=endpoint.url.removesuffix("/v1"),
            batch_size=1,
            plan=Plan(),
        )
        with pytest.raises(EmbedderRefusedError, match=f"larger than {MOST:,} bytes"):
            await embedder.embed(["a text"], "document")
        await embedder.aclose()


async def test_of_a_long_error_the_beginning_is_read() -> None:
    async with scripted_endpoint() as endpoint:
        endpoint.script(body(b"no " * LARGEST_ERROR, status=400), body(b"yes", status=200))
        async with bounded(httpx2.AsyncClient, MOST)() as client:
            refused = await client.get(endpoint.url)
            assert LARGEST_ERROR < len(refused.content) < 3 * LARGEST_ERROR
            assert (await client.get(endpoint.url)).text == "yes"


def test_a_body_from_amazon_is_read_to_its_end_and_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert bedrock_runtime._whole(io.BytesIO(b"x" * 3_000_000)) == b"x" * 3_000_000
    monkeypatch.setattr(bedrock_runtime, "LARGEST_ANSWER", 2_000_000)
    with pytest.raises(CallFailedError, match="larger than 2,000,000 bytes"):
        bedrock_runtime._whole(io.BytesIO(b"x" * 3_000_000))


def test_the_bound_is_beyond_what_any_model_answers() -> None:
    # 64 vectors of 12,288 dimensions, each number written with 25 characters.
    assert largest_answer(64) > 64 * 12_288 * 25
    assert largest_answer(10_000) == LARGEST_ANSWER
