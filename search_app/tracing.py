"""Traces for OpenTelemetry, where a collector is named: the spans of stages, and what begins them.

Nothing of OpenTelemetry is imported before somebody names a collector.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from search_app.config import Settings
from search_app.errors import ConfigurationError
from search_app.stages import About, watched_by

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Link, Span, SpanKind

FLUSH_S = 5
"""Longest wait for the collector to take what is left at the end."""

_NS = 1_000_000_000


class Tracing:
    """Makes spans of stages; one for each process or application."""

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
    def during(self, name: str, about: About, cause: str | None) -> Iterator[None]:
        """Make a span of a stage; one that somebody asked for earlier links to what caused it."""
        with self._span(name, links=_links(cause)) as span:
            try:
                yield
            finally:
                span.set_attributes(
                    {f"unmoved.{key}": value for key, value in about.items() if value is not None}
                )

    def took(self, name: str, seconds: float) -> None:
        """Make a span of a stage that has ended."""
        end = time.time_ns()
        self._tracer.start_span(name, start_time=end - int(seconds * _NS)).end(end)

    def trace_context(self) -> str | None:
        """Name the span under way, where one of ours is."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent")

    @contextmanager
    def served(self, name: str, headers: Mapping[str, str]) -> Iterator["Span"]:
        """Make a span of an answer to somebody, within the one that their headers name, if any."""
        from opentelemetry.trace import SpanKind

        with self._span(name, kind=SpanKind.SERVER, headers=headers) as span:
            yield span

    def close(self) -> None:
        """Send what is left, which may wait for the network."""
        self._provider.force_flush(FLUSH_S * 1000)
        self._provider.shutdown()

    @contextmanager
    def _span(
        self,
        name: str,
        *,
        kind: "SpanKind | None" = None,
        headers: Mapping[str, str] | None = None,
        links: "list[Link] | None" = None,
    ) -> Iterator["Span"]:
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = None if headers is None else TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=kind or SpanKind.INTERNAL,
            links=links,
            # Messages of errors quote what they are about: texts, addresses, answers of servers.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as exc:
                span.set_attribute("error.type", type(exc).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise


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


@contextmanager
def traced(settings: Settings) -> Iterator[None]:
    """Make spans of what is done within, where the settings name a collector.

    Raises:
        ConfigurationError: packages are missing.
    """
    tracing = make_tracing(settings)
    if tracing is None:
        yield
        return
    try:
        with watched_by(tracing):
            yield
    finally:
        tracing.close()


def _links(cause: str | None) -> "list[Link] | None":
    if cause is None:
        return None
    from opentelemetry.trace import Link, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = TraceContextTextMapPropagator().extract({"traceparent": cause})
    context = get_current_span(above).get_span_context()
    return [Link(context)] if context.is_valid else None
