"""A name for every request: in its answer, in every log line about it, and in problems."""

import re
from contextvars import ContextVar
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"

_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""What is taken from a client or a proxy; what could forge log lines or headers is not."""

_current: ContextVar[str | None] = ContextVar("request_id", default=None)

log = structlog.get_logger()


def request_id() -> str | None:
    """Give the name of the request that is being answered; None outside of one."""
    return _current.get()


class RequestIds:
    """ASGI middleware around all others: names a request, and logs that it was answered."""

    def __init__(self, app: ASGIApp) -> None:
        """Take what answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its name."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(HEADER, "")
        name = sent if _SANE.fullmatch(sent) else uuid4().hex
        began = perf_counter()
        status = 500

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        token = _current.set(name)
        try:
            with structlog.contextvars.bound_contextvars(request_id=name):
                try:
                    await self._app(scope, receive, send_named)
                finally:
                    log.info(
                        "request",
                        method=scope["method"],
                        path=scope["path"],
                        status=status,
                        took_ms=round((perf_counter() - began) * 1000, 1),
                    )
        finally:
            _current.reset(token)
