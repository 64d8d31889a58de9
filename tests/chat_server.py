"""Replies of a scripted chat endpoint: streamed answers, good, bad and endless."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.scripted_endpoint import Received, Reply, json_body

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def chunk(text: str | None, finish: str | None = None, **more: Any) -> bytes:
    """Write one event of a stream."""
    payload = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
        **more,
    }
    return f"data: {json.dumps(payload)}\n\n".encode()


def streamed(
    *pieces: str,
    finish: str | None = "stop",
    usage: Mapping[str, int] | None = None,
    pause_s: float = 0.0,
) -> Reply:
    """Stream the pieces, then end well; with ``finish`` None, break off without a word."""

    async def reply(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for piece in pieces:
            writer.write(chunk(piece))
            await writer.drain()
            await asyncio.sleep(pause_s)
        if finish is not None:
            writer.write(chunk(None, finish, **({"usage": usage} if usage else {})))
            writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()

    return reply


def written_from(make: Callable[[Sequence[Mapping[str, str]]], str]) -> Reply:
    """Stream what a function makes of the messages that came."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        text = make(request.json["messages"])
        pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
        await streamed(*pieces)(request, writer)

    return reply


async def endless(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Never stop."""
    writer.write(HEAD)
    while True:
        writer.write(chunk("And so it goes on and on [1]. "))
        await writer.drain()
        await asyncio.sleep(0)


async def silent(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Begin to answer, and then say nothing any more."""
    writer.write(HEAD + chunk("The office"))
    await writer.drain()
    await asyncio.Event().wait()


def refused(status: int, message: str, **headers: str) -> Reply:
    """Answer no, as OpenAI words it."""
    return json_body({"error": {"message": message}}, status=status, headers=headers)
