"""Traces of requests: a span for each, with the stages within it."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app.stages import watched_by
from search_app.tracing import Tracing, make_tracing
from search_app.web.request_ids import request_id

__all__ = ["TraceRequests", "Tracing", "make_tracing"]

_FAILURES = 500


class TraceRequests:
    """ASGI middleware that makes a span of each request and has stages make theirs in it."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        """Take what makes spans."""
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # What never begins to answer ends in an error page of the server.
        status = _FAILURES

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        headers = Headers(scope=scope)
        above = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        with self._tracing.served(scope["method"], above) as span:
            try:
                with watched_by(self._tracing):
                    await self._app(scope, receive, send_noting)
            finally:
                from opentelemetry.trace import Status, StatusCode

                route = getattr(scope.get("route"), "path", "")
                span.update_name(f"{scope['method']} {route}".strip())
                span.set_attributes(
                    {
                        "http.request.method": scope["method"],
                        "http.route": route,
                        "url.path": scope["path"],
                        "http.response.status_code": status,
                        "unmoved.request_id": request_id() or "",
                    }
                )
                if status >= _FAILURES:
                    span.set_status(Status(StatusCode.ERROR))
