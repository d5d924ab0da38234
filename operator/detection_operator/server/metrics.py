"""`/metrics`: what the operator does, and how each training stands.

Names end with their unit. The gauges of a training are read from the cache at each scrape, so that
they vanish with it.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from detection_operator.cluster.records import Measures, TrainingRecord

PREFIX = "detection_operator_"
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The operator's own registry; implements cluster.telemetry.Telemetry."""

    def __init__(self) -> None:
        """Register everything that is counted."""
        # A second series for each of ours, which nobody reads.
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

    def measure(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Serve a gauge whose value is asked for at each scrape."""
        gauge = Gauge(f"{PREFIX}{name}", text, registry=self.registry)
        gauge.set_function(value)

    def routes(self) -> list[web.RouteDef]:
        """Return what the server is to serve."""
        return [web.get("/metrics", self.handle)]

    async def handle(self, _request: web.Request) -> web.Response:
        """Answer a scrape in Prometheus' text format."""
        body = generate_latest(self.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}{name}", text, labels, registry=self.registry)


class TrainingCollector(Collector):
    """The gauges of every training, labelled by namespace and name."""

    def __init__(
        self,
        trainings: Callable[[], Iterable[TrainingRecord]],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Read `trainings` at each scrape."""
        self._trainings, self._now = trainings, now

    def collect(self) -> Iterator[Metric]:
        """Yield one family a measure, and the phase as a label of its own."""
        labels = ["namespace", "name"]
        families = {
            name: GaugeMetricFamily(f"detection_training_{name}", text, labels=labels)
            for name, text in TRAINING_GAUGES.items()
        }
        phases = GaugeMetricFamily(
            "detection_training_phase_info", "The phase of a training", labels=[*labels, "phase"]
        )
        for record in self._trainings():
            place = [record.key.namespace, record.key.name]
            phases.add_metric([*place, record.measures.phase], 1)
            for name, value in self._values(record.measures).items():
                if value is not None:
                    families[name].add_metric(place, value)
        yield from families.values()
        yield phases

    def _values(self, measures: Measures) -> dict[str, float | None]:
        saved = measures.checkpoint_at
        return {
            "step": measures.step,
            "target_steps": measures.target_steps,
            "loss": measures.loss,
            "checkpoint_age_seconds": None if saved is None else self._now() - saved.timestamp(),
            "attempts": measures.attempts,
            "lost_steps": measures.steps_lost,
        }


TRAINING_GAUGES = {
    "step": "Steps trained, as the status says",
    "target_steps": "Steps asked for",
    "loss": "Loss as last reported",
    "checkpoint_age_seconds": "Time since the newest checkpoint was saved",
    "attempts": "Trainer starts",
    "lost_steps": "Steps that were trained and had to be trained again",
}
