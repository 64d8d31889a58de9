"""The web: what the API adds to the call of the library, and searches beside open streams.

    python -m benchmarks web

The application, whoever asks it and the library run in one process, so what is added includes the
time of the HTTP client; the chat model whose answers stay open is a process of its own.
"""

import asyncio
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np

from benchmarks.passages import GOLDEN
from benchmarks.search import RECORDS, SPEC, Precomputed, queries_of, write_records
from benchmarks.workplace import figure, heading, scratch_services
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.retrieval import SearchRequest
from search_app.web.app import create_app
from search_app.web.server import listening, serve_on

CHUNKS = 20_000
STREAMS = 100
WORDS_A_SECOND = 20
"""What each stream is given while it is open; a sentence with its citation has 16 of them."""

_SEARCH, _ASK = "/api/v1/search", "/api/v1/ask"


def main() -> None:
    """Print the figures."""
    if not GOLDEN.is_dir():
        print(f"no golden sets in {GOLDEN}: nothing to measure whole searches with")
        return
    asyncio.run(measure())


async def measure() -> None:
    """Ingest, then search by the library, by the API, and by the API beside open streams."""
    heading(f"the API over {CHUNKS:,} chunks, query vectors cached")
    with _chat_model() as model:
        async with scratch_services(
            SPEC, generator="chat:slow", chat_base_url=model, rate_per_address=0, port=0
        ) as services:
            services._embedders[SPEC] = Precomputed()
            with tempfile.TemporaryDirectory() as folder:
                write_records(Path(folder) / "records.jsonl", CHUNKS)
                await ingest(services, IngestRequest(arguments=[folder]))
            queries = queries_of(RECORDS)
            async with _served(services) as client:
                await _layer(services, client, queries)
                await _streams(client, queries)


async def _layer(services: Services, client: httpx.AsyncClient, queries: Sequence[str]) -> None:
    """Ask each query once to warm, then by the library and by the API in turn."""
    for query in queries:
        await services.searcher.search(SearchRequest(query=query))
    library, added = [], []
    for query in queries:
        began = time.perf_counter()
        await services.searcher.search(SearchRequest(query=query))
        library.append((time.perf_counter() - began) * 1000)
        added.append(await _asked(client, query) - library[-1])
    empty = [await _asked_how_it_is(client) for _ in queries]
    figure("the library, p50, p95", _told(library))
    figure("a request that does nothing, p50, p95", _told(empty))
    middle = statistics.median(added)
    figure("what the API adds, p50", f"{middle:.1f} ms", target="<= 5 ms", reached=middle <= 5)


async def _streams(client: httpx.AsyncClient, queries: Sequence[str]) -> None:
    """Search alone, then with so many answers being written."""
    alone = [await _asked(client, query) for query in queries]
    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        streams = await asyncio.gather(
            *(_opened(stack, client, query) for query in queries[:STREAMS])
        )
        figure(f"{STREAMS} streams open after", f"{time.perf_counter() - began:.1f} s")
        beside = [await _asked(client, query) for query in queries]
        still = sum(not stream.done() for stream in streams)
        events = sum(stream.events for stream in streams)
        for stream in streams:
            stream.cancel()
    figure("a search alone, p50, p95", _told(alone))
    figure(f"a search beside {still} open streams, p50, p95", _told(beside))
    figure("sentences that came meanwhile", f"{events}")
    ratio = statistics.median(beside) / statistics.median(alone)
    reached = ratio <= 1.5 and still == STREAMS
    figure("beside / alone", f"{ratio:.2f}", target="<= 1.5", reached=reached)


class _Stream:
    """Reads an answer that is being written, and counts its events."""

    def __init__(self, response: httpx.Response) -> None:
        self.events = 0
        self._response = response
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._response.aiter_lines():
            self.events += line.startswith("event: sentence")

    def done(self) -> bool:
        return self._task.done()

    def cancel(self) -> None:
        self._task.cancel()


async def _opened(stack: AsyncExitStack, client: httpx.AsyncClient, query: str) -> _Stream:
    asked = client.stream(
        "POST", _ASK, json={"question": query}, headers={"accept": "text/event-stream"}
    )
    response = await stack.enter_async_context(asked)
    response.raise_for_status()
    return _Stream(response)


async def _asked(client: httpx.AsyncClient, query: str) -> float:
    began = time.perf_counter()
    response = await client.post(_SEARCH, json={"query": query})
    response.raise_for_status()
    return (time.perf_counter() - began) * 1000


async def _asked_how_it_is(client: httpx.AsyncClient) -> float:
    began = time.perf_counter()
    (await client.get("/healthz")).raise_for_status()
    return (time.perf_counter() - began) * 1000


def _told(times: Sequence[float]) -> str:
    p50, p95 = np.percentile(times, [50, 95])
    return f"{p50:.1f}, {p95:.1f} ms"


@asynccontextmanager
async def _served(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application on a free port, and give a client of it."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with listening(services.settings) as listener:
        app = create_app(services.settings, services)
        serving = asyncio.create_task(serve_on(listener, app, address.set_result))
        try:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(
                base_url=await address, timeout=120, limits=limits, trust_env=False
            ) as client:
                yield client
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving


# --- The chat model ------------------------------------------------------------------------------


@contextmanager
def _chat_model() -> Iterator[str]:
    """Run a chat model that goes on writing, in a process of its own; give its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=STREAMS) as listener:
        process = multiprocessing.get_context("spawn").Process(
            target=_write_forever, args=(listener,), daemon=True
        )
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            process.terminate()
            process.join()


def _write_forever(listener: socket.socket) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(_converse, sock=listener)
        await server.serve_forever()

    asyncio.run(serve())


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        word = 0
        while True:
            word += 1
            content = "word " if word % 16 else "written [1].\n\n"
            chunk = {"choices": [{"index": 0, "delta": {"content": content}}]}
            writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(1 / WORDS_A_SECOND)


if __name__ == "__main__":
    main()
