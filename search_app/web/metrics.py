"""``GET /metrics``: the state of the checks, the queue and the requests, for Prometheus.

What is not known has no sample: a collection that was never checked has no verdict, and a check
that compared nothing has no share of changed queries.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app import jobs
from search_app.alerts.telling import is_overdue
from search_app.answering.asking import Tally
from search_app.catalog import alerts, collections, measures
from search_app.catalog.alerts import Standing
from search_app.catalog.collections import CollectionSummary
from search_app.catalog.engine import reading
from search_app.catalog.measures import LatestCheck
from search_app.embedders.hosted.traffic import Traffic
from search_app.jobs.types import KINDS
from search_app.stages import About, watched_by
from search_app.web.deps import ServicesDep

VERDICTS = ("stable", "warn", "fail", "inconclusive")

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

router = APIRouter(include_in_schema=False)

_OF_CHECKS: Mapping[str, tuple[str, str]] = {
    "age_s": ("unmoved_check_age_seconds", "Seconds since the latest check began."),
    "seconds": ("unmoved_check_duration_seconds", "How long the latest check took."),
    "drift": ("unmoved_check_drift_ratio", "p: queries that find other documents than before."),
    "drift_high": ("unmoved_check_drift_ratio_upper", "95 % upper bound of p."),
    "reproducibility": (
        "unmoved_check_unsteady_ratio",
        "r: queries that find other documents when sent twice.",
    ),
    "reproducibility_high": ("unmoved_check_unsteady_ratio_upper", "95 % upper bound of r."),
    "drift_evidence": ("unmoved_check_drift_evidence", "Evidence for drift; alarm at 2000."),
    "reproducibility_evidence": (
        "unmoved_check_unsteady_evidence",
        "Evidence for unsteady lists; alarm at 2000.",
    ),
    "noise_median": (
        "unmoved_check_noise_median",
        "1 - cos between two sends of a text, median over texts.",
    ),
    "noise_max": (
        "unmoved_check_noise_max",
        "1 - cos between two sends of a text, largest over texts.",
    ),
    "texts_sent": ("unmoved_check_texts_sent", "Texts that the latest check sent to the model."),
    "scanned": ("unmoved_check_vectors_scanned", "Stored vectors that the latest check read."),
}

_OF_TRAFFIC: Mapping[str, str] = {
    "requests": "Requests that this process sent to a hosted model, retries included.",
    "responses": "Answers of any status that it got.",
    "retries": "Requests that were sent again.",
    "throttles": "Answers that asked for fewer requests.",
    "texts": "Texts that got a vector.",
    "tokens": "Tokens as the provider counted them, where it says.",
}


# Registries keep their collectors in a dict, so one is equal to itself alone.
@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen(Collector):
    """What the catalog says at one moment."""

    checks: Sequence[LatestCheck]
    standings: Sequence[Standing]
    overdue_after_days: int
    summaries: Sequence[CollectionSummary]
    jobs: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]
    worker_alive: bool
    traffic: Mapping[str, Traffic]
    tally: Tally
    query_vectors: Mapping[str, int]

    def collect(self) -> Iterator[Metric]:
        """Give every family of samples."""
        yield from self._of_checks()
        yield from self._of_standings()
        documents = _family("unmoved_documents", "Documents that can be found.", "collection")
        passages = _family("unmoved_passages", "Passages that can be found.", "collection")
        for summary in self.summaries:
            documents.add_metric([summary.name], summary.documents)
            passages.add_metric([summary.name], summary.chunks)
        queue = _family("unmoved_jobs", "Jobs by how they stand.", "state")
        for state in ("waiting", "running", "failed"):
            queue.add_metric([state], self.jobs.get(state, 0))
        told = _family("unmoved_alert_deliveries", "Alerts by way and how far.", "channel", "state")
        for (channel, status), number in sorted(self.deliveries.items()):
            told.add_metric([channel, status], number)
        alive = _family("unmoved_worker_alive", "Whether any worker gave a sign of life lately.")
        alive.add_metric([], self.worker_alive)
        yield from (documents, passages, queue, told, alive)
        for name, text in _OF_TRAFFIC.items():
            counter = CounterMetricFamily(f"unmoved_embedder_{name}", text, labels=["embedder"])
            for spec, traffic in self.traffic.items():
                counter.add_metric([spec], getattr(traffic, name))
            yield counter
        yield from self._of_answers()

    def _of_answers(self) -> Iterator[CounterMetricFamily]:
        answers = CounterMetricFamily(
            "unmoved_answers",
            "Answers of this process, by who wrote them and how they ended.",
            labels=["generator", "outcome"],
        )
        for labels, number in sorted(self.tally.answers.items()):
            answers.add_metric(labels, number)
        tokens = CounterMetricFamily(
            "unmoved_generator_tokens",
            "Tokens that models counted for answers.",
            labels=["generator", "kind"],
        )
        for labels, number in sorted(self.tally.tokens.items()):
            tokens.add_metric(labels, number)
        cache = CounterMetricFamily(
            "unmoved_query_vectors",
            "Vectors of queries of this process: kept ones that were used, and new ones.",
            labels=["source"],
        )
        for source, number in self.query_vectors.items():
            cache.add_metric([source], number)
        yield from (answers, tokens, cache)

    def _of_checks(self) -> Iterator[GaugeMetricFamily]:
        verdicts = _family(
            "unmoved_check_verdict", "1 for the latest verdict.", "collection", "verdict"
        )
        for check in self.checks:
            for verdict in VERDICTS:
                verdicts.add_metric([check.collection, verdict], check.verdict == verdict)
        yield verdicts
        for field, (name, text) in _OF_CHECKS.items():
            family = _family(name, text, "collection")
            for check in self.checks:
                value = getattr(check, field)
                if value is not None:
                    family.add_metric([check.collection], value)
            yield family

    def _of_standings(self) -> Iterator[GaugeMetricFamily]:
        age = _family(
            "unmoved_check_conclusive_age_seconds",
            "Seconds since the latest check that was not inconclusive.",
            "collection",
        )
        overdue = _family(
            "unmoved_check_overdue",
            "Whether that is longer ago than UNMOVED_ALERT_AFTER_DAYS.",
            "collection",
        )
        days = self.overdue_after_days
        for standing in self.standings:
            if standing.concluded:
                age.add_metric([standing.collection], standing.age.total_seconds())
            if days:
                overdue.add_metric([standing.collection], is_overdue(standing, days=days))
        yield from (age, overdue)


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


@router.get("/metrics")
async def metrics(request: Request, services: ServicesDep) -> Response:
    """Give all samples; without the catalog none, so that nothing stale looks like news."""
    async with reading(services.engine) as connection:
        seen = _Seen(
            checks=await measures.latest_checks(connection),
            standings=await alerts.standings(connection),
            overdue_after_days=services.settings.alert_after_days,
            summaries=await collections.summaries(connection),
            jobs=await measures.jobs_by_state(connection, KINDS),
            deliveries=await alerts.counts(connection),
            worker_alive=await jobs.worker_alive(services.engine),
            traffic=services.traffic,
            tally=services.answerer.tally,
            query_vectors={
                "kept": services.searcher.kept_vectors,
                "new": services.searcher.new_vectors,
            },
        )
    registry = CollectorRegistry()
    registry.register(seen)
    requests: RequestTimes = request.app.state.request_times
    content = generate_latest(registry) + generate_latest(requests.registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


class RequestTimes:
    """How many requests this process answered, and how long they took."""

    def __init__(self) -> None:
        """Begin at nothing, as a process does."""
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "unmoved_request_duration_seconds",
            "Requests by the pattern of their address, and how long they took.",
            ("method", "route", "status"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )

        self._stages = Histogram(
            "unmoved_stage_duration_seconds",
            "Stages of searches and answers, and how long they took.",
            ("stage",),
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    @contextmanager
    def during(self, name: str, about: About, cause: str | None) -> Iterator[None]:
        """Time a stage, also one that fails."""
        del about, cause  # a series each would be too many
        began = perf_counter()
        try:
            yield
        finally:
            self.took(name, perf_counter() - began)

    def took(self, name: str, seconds: float) -> None:
        """Count a stage that has ended."""
        self._stages.labels(name).observe(seconds)

    def trace_context(self) -> str | None:
        """Give nothing: times have no names."""
        return None

    def take(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        route = getattr(scope.get("route"), "path", "other")
        # Whatever anybody may send would make a series each.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._seconds.labels(method, route, str(status)).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class TimeRequests:
    """ASGI middleware that counts and times requests."""

    def __init__(self, app: ASGIApp, times: RequestTimes) -> None:
        """Take what keeps the times."""
        self._app = app
        self._times = times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        # What never begins to answer ends in an error page of the server.
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with watched_by(self._times):
                await self._app(scope, receive, send_noting)
        finally:
            self._times.take(scope, status, perf_counter() - began)
