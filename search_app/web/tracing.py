"""Traces for OpenTelemetry, where a collector is named: requests, and the stages within them."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app.config import Settings
from search_app.errors import ConfigurationError
from search_app.stages import watched_by
from search_app.web.request_ids import request_id

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

FLUSH_S = 5
"""Longest wait for the collector to take what is left when the server stops."""

_FAILURES = 500
_NS = 1_000_000_000


class Tracing:
    """Makes spans of requests and stages; one for each application."""

    def __init__(self, exporter: "SpanExporter") -> None:
        """Take where spans are sent; they are sent in the background."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # Not the global one: only what is done here is traced, and by this application alone.
        self._provider: TracerProvider = TracerProvider(
            resource=Resource.create({"service.name": "unmoved"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("unmoved")

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Make a span of a stage."""
        with self._tracer.start_as_current_span(name):
            yield

    def took(self, name: str, seconds: float) -> None:
        """Make a span of a stage that has ended."""
        end = time.time_ns()
        self._tracer.start_span(name, start_time=end - int(seconds * _NS)).end(end)

    @asynccontextmanager
    async def request(self, scope: Scope) -> AsyncIterator["_Answered"]:
        """Make a span of a request, within the one that its headers name, if they do."""
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = Headers(scope=scope)
        above = TraceContextTextMapPropagator().extract(
            {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        )
        with self._tracer.start_as_current_span(
            scope["method"], context=above, kind=SpanKind.SERVER
        ) as span:
            answered = _Answered()
            try:
                yield answered
            finally:
                route = getattr(scope.get("route"), "path", "")
                span.update_name(f"{scope['method']} {route}".strip())
                span.set_attributes(
                    {
                        "http.request.method": scope["method"],
                        "http.route": route,
                        "url.path": scope["path"],
                        "http.response.status_code": answered.status,
                        "unmoved.request_id": request_id() or "",
                    }
                )
                if answered.status >= _FAILURES:
                    span.set_status(Status(StatusCode.ERROR))

    def close(self) -> None:
        """Send what is left, which may wait for the network."""
        self._provider.force_flush(FLUSH_S * 1000)
        self._provider.shutdown()


class _Answered:
    status: int = 500


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
        async with self._tracing.request(scope) as answered:

            async def send_noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered.status = message["status"]
                await send(message)

            with watched_by(self._tracing):
                await self._app(scope, receive, send_noting)


def make_tracing(settings: Settings) -> Tracing | None:
    """Make what the settings ask for; None where they name no collector.

    Raises:
        ConfigurationError: packages are missing.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        return Tracing(exporter)
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and traces need the package {exc.name}; "
            "run: pip install 'unmoved[otel]', or unset it"
        ) from exc
