"""The Prometheus port serves the newest report, in a text that Prometheus' own parser reads."""

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from detection_trainer.contract.report import CheckpointRecord, Progress, Report
from detection_trainer.reporting.metrics_port import CONTENT_TYPE, HELP, MetricsPort, render
from tests.support.trainer.runs import NOW

FULL = Report(
    attempt=1,
    sequence=1,
    time=NOW,
    step=30,
    target_steps=100,
    checkpoints=[
        CheckpointRecord(
            step=20, uri="s3://runs/trees/step-00000020", digest=f"sha256:{'1' * 64}", saved_at=NOW
        )
    ],
    metrics={"mAP": 0.5, 'mAP/a "quoted" \\ tree\n': 0.25},
    progress=Progress(
        loss=1e-7,
        learning_rate=0.1,
        steps_per_second=2.5,
        data_wait_fraction=0.0,
        checkpoint_seconds=1.5,
        memory_bytes=2**40,
    ),
)
EMPTY = Report(attempt=1, sequence=0, time=NOW, step=0, target_steps=0)


def read(text: str) -> dict[str, float]:
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return {s.name + s.labels.get("name", ""): s.value for s in samples}


def test_every_figure_of_a_report_is_there() -> None:
    found = read(render(FULL))
    prefix = "detection_trainer_"
    assert found.keys() >= {prefix + name for name in HELP}
    assert found[prefix + "step"] == 30
    assert found[prefix + "checkpoint_step"] == 20
    assert found[prefix + "loss"] == 1e-7
    assert found[prefix + "memory_bytes"] == 2**40
    assert found[prefix + "metricmAP"] == 0.5
    assert found[prefix + 'metricmAP/a "quoted" \\ tree\n'] == 0.25


def test_what_is_not_known_is_left_out() -> None:
    assert read(render(EMPTY)).keys() == {
        "detection_trainer_step",
        "detection_trainer_target_steps",
    }


def test_every_figure_of_the_progress_has_a_metric() -> None:
    assert HELP.keys() >= Progress.model_fields.keys()


@pytest.fixture
def reports() -> list[Report]:
    return [EMPTY]


@pytest.fixture
def served(reports: list[Report]) -> Iterator[MetricsPort]:
    port = MetricsPort(0, lambda: reports[-1])
    yield port
    port.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_newest_report_is_served(served: MetricsPort, reports: list[Report], host: str) -> None:
    if host != "127.0.0.1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    for report in (EMPTY, FULL):
        reports.append(report)
        url = f"http://{host}:{served.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as response:
            assert response.headers["Content-Type"] == CONTENT_TYPE
            assert response.read().decode() == render(report)


def test_a_port_in_use_is_an_error(served: MetricsPort) -> None:
    with pytest.raises(OSError, match="in use"):
        MetricsPort(served.port, lambda: EMPTY)
