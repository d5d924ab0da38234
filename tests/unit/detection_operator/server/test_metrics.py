"""What a scrape finds."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detection_operator.cluster.api.resources import TRAININGS
from detection_operator.cluster.observe.cache import Cache
from detection_operator.server.metrics import Metrics
from detection_operator.server.training_gauges import GAUGES, PIECE
from tests.support.operator.cluster_objects import attempt_status, stored_training

SAVED_AT = "2026-11-24T10:00:00Z"
SCRAPED_AT = datetime(2026, 11, 24, 10, 1, tzinfo=UTC).timestamp()


async def scrape(metrics: Metrics, *asked: str) -> tuple[str, list[Metric]]:
    """Return the content type and the families that Prometheus' own parser finds."""
    app = web.Application()
    app.add_routes(metrics.routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/metrics", params=[("name[]", name) for name in asked])
        text = await answer.text()
    return answer.headers["Content-Type"], list(text_string_to_metric_families(text))


async def training_samples(metrics: Metrics) -> dict[tuple[str, str, str], float]:
    _, families = await scrape(metrics)
    return {
        (name, sample.labels["name"], sample.labels.get("phase", "")): sample.value
        for family in families
        if (name := family.name.removeprefix("detection_training_")) in GAUGES
        for sample in family.samples
    }


def lines(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


async def test_what_the_operator_does_is_counted() -> None:
    metrics = Metrics(list)
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


def measured_training(name: str) -> dict[str, Any]:
    status = attempt_status(2) | {
        "step": 40,
        "stepsLost": 3,
        "progress": {"loss": "0.5"},
        "latestCheckpoint": {"step": 40, "savedAt": SAVED_AT},
    }
    return stored_training(name, uid=f"uid-{name}", status=status)


async def test_a_training_is_measured_and_vanishes_from_the_metrics_with_itself() -> None:
    cache = Cache()
    cache.apply(TRAININGS, measured_training("trees"))
    cache.apply(TRAININGS, stored_training("new", uid="uid-new"))
    metrics = Metrics(cache.trainings, now=lambda: SCRAPED_AT)
    assert await training_samples(metrics) == {
        ("step", "trees", ""): 40.0,
        ("target_steps", "trees", ""): 100.0,
        ("loss", "trees", ""): 0.5,
        ("checkpoint_age_seconds", "trees", ""): 60.0,
        ("attempts", "trees", ""): 2.0,
        ("lost_steps", "trees", ""): 3.0,
        ("phase_info", "trees", "Running"): 1.0,
        ("step", "new", ""): 0.0,
        ("target_steps", "new", ""): 100.0,
        ("attempts", "new", ""): 0.0,
        ("lost_steps", "new", ""): 0.0,
        ("phase_info", "new", "Pending"): 1.0,
    }
    cache.forget(TRAININGS, "uid-trees")
    assert {name for _, name, _ in await training_samples(metrics)} == {"new"}


async def test_each_family_of_many_trainings_is_one_group_with_its_help() -> None:
    cache = Cache()
    for number in range(2 * PIECE + 1):
        cache.apply(TRAININGS, measured_training(f"t-{number}"))
    _, families = await scrape(Metrics(cache.trainings, now=lambda: SCRAPED_AT))
    counts = {
        family.name: len(family.samples)
        for family in families
        if family.name.startswith("detection_training_")
    }
    # The parser makes a second family of lines that are not together.
    assert counts == {f"detection_training_{name}": 2 * PIECE + 1 for name in GAUGES}
    assert all(family.type == "gauge" for family in families if family.name in counts)
    assert all(family.documentation for family in families)


async def test_a_scrape_may_select_metrics() -> None:
    cache = Cache()
    cache.apply(TRAININGS, measured_training("trees"))
    metrics = Metrics(cache.trainings)
    metrics.reconciled(0.1, "")
    asked = "detection_operator_reconcile_duration_seconds_count", "detection_training_step"
    content_type, families = await scrape(metrics, *asked)
    assert content_type.startswith("text/plain")
    found = {sample.name: sample.value for family in families for sample in family.samples}
    assert found == dict(zip(asked, (1.0, 40.0), strict=True))


async def test_others_are_served_while_many_trainings_are_written() -> None:
    cache = Cache()
    for number in range(5 * PIECE):
        cache.apply(TRAININGS, measured_training(f"t-{number}"))
    metrics = Metrics(cache.trainings)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await scrape(metrics)
    beside.cancel()
    assert turns > 5 * len(GAUGES)
