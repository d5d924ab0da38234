"""`/metrics`: what the operator does, and the state of each training.

Names end with their unit.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from detection_operator.cluster.observe.records import TrainingRecord
from detection_operator.server.metrics_access import Handler
from detection_operator.server.training_gauges import training_gauges

PREFIX = "detection_operator_"
SCRAPE_S = 60.0
"""Longer than a scraper waits; then its connection is closed."""
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The operator's own registry; implements cluster.api.telemetry.Telemetry."""

    def __init__(
        self,
        trainings: Callable[[], Iterable[TrainingRecord]],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Register all counters; `trainings` are read at each scrape."""
        self._trainings, self._now = trainings, now
        # Without this the library adds a second series to each counter, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._reconciles = Histogram(
            f"{PREFIX}reconcile_duration_seconds",
            "Time to gather, plan and apply one training",
            buckets=DURATIONS,
            registry=self.registry,
        )
        self._errors = self._counter(
            "reconcile_errors", "Reconciliations that failed and are tried again", "reason"
        )
        self._requests = self._counter(
            "api_requests", "Requests to the Kubernetes API; code 0: no answer", "verb", "code"
        )
        self._request_time = Histogram(
            f"{PREFIX}api_request_duration_seconds",
            "Time to the answer of the Kubernetes API",
            ["verb"],
            buckets=DURATIONS,
            registry=self.registry,
        )
        self._watches = self._counter(
            "watch_starts", "Watch requests by kind and answer; code 0: none", "kind", "code"
        )
        self._reports = self._counter(
            "reports", "Reports of trainers by what became of them", "result"
        )
        self._quarantined = self._counter(
            "quarantines", "Versions of objects that could not be read, by kind", "kind"
        )
        self._pruned = self._counter("resync_pruned_records", "Records whose deletion was missed")
        self._missed = self._counter("resync_missed_objects", "Objects whose events were missed")

    def request_ended(self, verb: str, code: int, seconds: float) -> None:
        """Count one API request."""
        self._requests.labels(verb, str(code)).inc()
        self._request_time.labels(verb).observe(seconds)

    def reconciled(self, seconds: float, error: str) -> None:
        """Count one reconciliation."""
        self._reconciles.observe(seconds)
        if error:
            self._errors.labels(error).inc()

    def resynced(self, pruned: int, missed: int) -> None:
        """Count a resync."""
        self._pruned.inc(pruned)
        self._missed.inc(missed)

    def watch_answered(self, plural: str, code: int) -> None:
        """Count one opening of a watch stream."""
        self._watches.labels(plural, str(code)).inc()

    def report_handled(self, result: str) -> None:
        """Count one report."""
        self._reports.labels(result).inc()

    def quarantined(self, plural: str) -> None:
        """Count one version of an object that cannot be read."""
        self._quarantined.labels(plural).inc()

    def measure(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Serve a gauge whose value is read at each scrape."""
        gauge = Gauge(f"{PREFIX}{name}", text, registry=self.registry)
        gauge.set_function(value)

    def routes(self, guard: Callable[[Handler], Handler] | None = None) -> list[web.RouteDef]:
        """Return the server's routes; `guard` admits some readers and refuses others."""
        handler = guard(self._bounded) if guard else self._bounded
        # No HEAD: a streamed answer would send its body there too.
        return [web.get("/metrics", handler, allow_head=False)]

    async def _bounded(self, request: web.Request) -> web.StreamResponse:
        """Answer a scrape, unless its reader is too slow."""
        async with asyncio.timeout(SCRAPE_S):
            return await self.handle(request)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a scrape in Prometheus' text format.

        `?name[]=…` selects metrics, as in Prometheus' own clients.
        """
        families = set(request.query.getall("name[]", []))
        answer = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_LATEST})
        await answer.prepare(request)
        registry = self.registry.restricted_registry(families) if families else self.registry
        await answer.write(generate_latest(registry))
        for piece in training_gauges(self._trainings(), families, self._now()):
            await answer.write(piece.encode())
            # A write waits only if the connection is full; sleep so that other tasks run.
            await asyncio.sleep(0)
        await answer.write_eof()
        return answer

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}{name}", text, labels, registry=self.registry)
