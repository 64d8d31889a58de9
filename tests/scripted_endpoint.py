"""A real HTTP server on loopback that answers embedding requests as a test tells it to."""

import asyncio
import base64
import json
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search_app.types import Vector

JSON_TYPE = {"content-type": "application/json"}

Item = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it arrived; header names in lower case."""

    target: str
    headers: Mapping[str, str]
    json: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        texts: list[str] = self.json["input"]
        return texts


Reply = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


@dataclass(kw_only=True)
class ScriptedEndpoint:
    """Answers the nth request with the nth reply, and every later one with the last."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def script(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.received.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that hangs up is part of several tests.
        hung_up = (ConnectionError, asyncio.IncompleteReadError)
        try:
            with suppress(*hung_up):
                while not writer.is_closing():
                    request = await _read(reader)
                    self.received.append(request)
                    reply = self.replies[min(len(self.received), len(self.replies)) - 1]
                    await reply(request, writer)
                    await writer.drain()
        finally:
            writer.close()
            with suppress(*hung_up):
                await writer.wait_closed()


@asynccontextmanager
async def scripted_endpoint(
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ScriptedEndpoint]:
    """Run an endpoint on a free port for as long as the context lasts."""
    endpoint = ScriptedEndpoint(url="")
    conversations: list[asyncio.Task[None]] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.append(asyncio.create_task(endpoint.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    endpoint.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        server.close()
        # Those that stall on purpose would never end.
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


def vector_of(text: str, dimensions: int = 4) -> Vector:
    """Give a text its vector: the same every time, and another for another text."""
    generator = np.random.default_rng(zlib.crc32(text.encode()))
    return generator.standard_normal(dimensions).astype(np.float32)


def answer(
    *,
    dimensions: int = 4,
    encoding: str | None = None,
    change: Callable[[list[Item]], list[Item]] = lambda items: items,
    **more: Any,
) -> Reply:
    """Answer well, save for what ``change`` does to the items; ``more`` goes into the envelope."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        way = encoding or request.json["encoding_format"]
        items = [
            {
                "object": "embedding",
                "index": index,
                "embedding": encoded(vector_of(text, dimensions), way),
            }
            for index, text in enumerate(request.texts)
        ]
        payload = {"object": "list", "model": request.json["model"], "data": change(items), **more}
        await json_body(payload)(request, writer)

    return reply


def encoded(vector: Vector, way: str) -> str | list[float]:
    """Write a vector as base64 or as numbers."""
    if way == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]


def json_body(
    payload: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """Answer with a JSON body."""
    return body(
        json.dumps(payload).encode(), status=status, headers={**JSON_TYPE, **(headers or {})}
    )


def body(octets: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with these bytes; their true length is declared unless the headers say otherwise."""

    async def reply(_request: Received, writer: asyncio.StreamWriter) -> None:
        lines = {"content-length": str(len(octets)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} As Scripted\r\n{head}\r\n".encode() + octets)
        if int(lines["content-length"]) > len(octets):
            writer.close()

    return reply


async def reset(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Break the connection with RST, as a crashed proxy does."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def stall(_request: Received, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def trickle(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, so that a time-out between bytes never strikes."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    octets = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(target=head[0].split()[1], headers=headers, json=json.loads(octets or "{}"))
