"""What a scrape finds."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from detection_operator.cluster.cache import Cache
from detection_operator.cluster.resources import TRAININGS
from detection_operator.cluster.telemetry import Silence, Telemetry
from detection_operator.server.metrics import Metrics, TrainingCollector
from tests.support.cluster_objects import UID, attempt_status, stored_training

SAVED_AT = "2026-11-24T10:00:00Z"


def lines(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


async def test_what_the_operator_does_is_counted() -> None:
    metrics = Metrics()
    metrics.request_ended("patch", 409, 0.01)
    metrics.reconciled(0.02, "")
    metrics.reconciled(0.02, "Conflict")
    metrics.resynced(2, 1)
    metrics.watch_answered("jobs", 200)
    metrics.report_handled("signature")
    metrics.measure("queue_depth", "Keys", lambda: 3.0)
    found = lines(metrics.registry)
    for line in (
        'detection_operator_api_requests_total{code="409",verb="patch"} 1.0',
        "detection_operator_reconcile_duration_seconds_count 2.0",
        'detection_operator_reconcile_errors_total{reason="Conflict"} 1.0',
        "detection_operator_resync_pruned_records_total 2.0",
        "detection_operator_resync_missed_objects_total 1.0",
        'detection_operator_watch_starts_total{code="200",kind="jobs"} 1.0',
        'detection_operator_reports_total{result="signature"} 1.0',
        "detection_operator_queue_depth 3.0",
    ):
        assert line in found
    assert not [line for line in found if "_created" in line]


def test_a_training_is_measured_and_vanishes_from_the_metrics_with_itself() -> None:
    cache, registry = Cache(), CollectorRegistry()
    scraped_at = datetime(2026, 11, 24, 10, 1, tzinfo=UTC).timestamp()
    registry.register(TrainingCollector(cache.trainings, now=lambda: scraped_at))
    status = attempt_status(2) | {
        "step": 40,
        "stepsLost": 3,
        "progress": {"loss": "0.5"},
        "latestCheckpoint": {"step": 40, "savedAt": SAVED_AT},
    }
    cache.apply(TRAININGS, stored_training(status=status))
    cache.apply(TRAININGS, stored_training("new", uid="uid-new"))
    place = '{name="trees",namespace="vision"}'
    found = lines(registry)
    for line in (
        f"detection_training_step{place} 40.0",
        f"detection_training_target_steps{place} 100.0",
        f"detection_training_loss{place} 0.5",
        f"detection_training_checkpoint_age_seconds{place} 60.0",
        f"detection_training_attempts{place} 2.0",
        f"detection_training_lost_steps{place} 3.0",
        'detection_training_phase_info{name="trees",namespace="vision",phase="Running"} 1.0',
        'detection_training_step{name="new",namespace="vision"} 0.0',
    ):
        assert line in found
    assert not [line for line in found if line.startswith('detection_training_loss{name="new"')]
    cache.forget(TRAININGS, UID)
    assert not [line for line in lines(registry) if "trees" in line]


async def test_a_scrape_is_answered_in_the_text_format() -> None:
    answer = await Metrics().handle(None)  # type: ignore[arg-type]
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_silence_is_a_telemetry_too() -> None:
    silence: Telemetry = Silence()
    silence.request_ended("get", 200, 0.1)
    silence.reconciled(0.1, "")
    silence.resynced(0, 0)
    silence.watch_answered("jobs", 200)
    silence.report_handled("written")
