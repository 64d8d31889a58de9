"""Conditional requests: what the API gives for GET has a tag, and is not sent twice."""

from hashlib import blake2b

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BEGINNING = "/api/"
_OF_BODIES = ("content-length", "content-type", "content-language", "content-disposition")


class Etags:
    """ASGI middleware: tags whole answers of the API by their bytes, and compares."""

    def __init__(self, app: ASGIApp) -> None:
        """Take what answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; hold its answer back until its tag is known."""
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or not scope["path"].startswith(_BEGINNING)
        ):
            await self._app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("if-none-match", "")
        start: Message | None = None
        body: list[bytes] = []

        async def send_tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is None or start["status"] != 200:  # noqa: PLR2004 - only what was asked for is tagged
                await _begin(send, start)
                start = None
                await send(message)
                return
            body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await _send_whole(send, start, b"".join(body), wanted)

        await self._app(scope, receive, send_tagged)


async def _begin(send: Send, start: Message | None) -> None:
    if start is not None:
        await send(start)


async def _send_whole(send: Send, start: Message, body: bytes, wanted: str) -> None:
    tag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    headers = MutableHeaders(scope=start)
    headers["ETag"] = tag
    if _is_named(tag, wanted):
        for name in _OF_BODIES:
            del headers[name]
        await send({**start, "status": 304})
        await send({"type": "http.response.body", "body": b""})
        return
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _is_named(tag: str, wanted: str) -> bool:
    """Say whether a tag is among those of If-None-Match; weak ones count, as RFC 9110 has it."""
    named = {each.strip().removeprefix("W/") for each in wanted.split(",")}
    return tag in named or "*" in named
