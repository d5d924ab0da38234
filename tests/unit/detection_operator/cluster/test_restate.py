"""One write for a report and what follows from it, and only where the cache knows enough."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS
from detection_operator.cluster.decider import Decider
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.cluster.observe.parse import parse_training
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.cluster.restate import Restated, Restater
from detection_operator.core.plan import plan
from detection_operator.core.reports import apply_report
from detection_operator.core.state import PolicySettings, Training
from detection_trainer.contract.report import Report
from tests.support.operator.cluster_objects import (
    attempt_status,
    container_status,
    job,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster

NOW = datetime(2026, 11, 24, 10, 0, 30, tzinfo=UTC)
SETTINGS = PolicySettings(default_image="trainer:1", report_url="http://operator:8080")
FIRST = Report.model_validate(
    {
        "attempt": 1,
        "sequence": 1,
        "time": "2026-11-24T10:00:30Z",
        "step": 5,
        "targetSteps": 100,
        "resumedFromStep": 0,
        "progress": {},
    }
)
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


class Scene:
    """A cache, and a report that is merged and not yet written."""

    def __init__(self, *, leads: bool = True, suspend: bool = False) -> None:
        self.api, self.cache = FakeCluster(), Cache()
        status = attempt_status() | {"phase": "Queued"}
        body = self.api.put(TRAININGS, stored_training(status=status, suspend=suspend))
        self.cache.apply(TRAININGS, body)
        training = parse_training(body)
        merged = apply_report(training.status, FIRST, NOW)
        self.training: Training = replace(training, status=merged)
        self.restater = Restater(
            Gatherer(self.api, self.cache, WarningEvents(self.api, KeyQueue())),
            Decider(plan, SETTINGS, lambda: NOW),
            lambda: leads,
        )

    def restate(self) -> Restated:
        restated = self.restater.restate(self.training)
        assert self.api.calls == [], "the API is not read"
        return restated


def test_a_first_report_makes_it_running_since_its_pod_began() -> None:
    scene = Scene()
    scene.cache.apply(JOBS, job())
    running = container_status(running={"startedAt": "2026-11-24T10:00:10Z"})
    scene.cache.apply(PODS, pod(status=running))
    restated = scene.restate()
    assert restated.decision is not None
    assert (restated.status.phase, restated.status.step) == ("Running", 5)
    attempt = restated.status.current_attempt
    assert attempt is not None
    assert attempt.started_at == datetime(2026, 11, 24, 10, 0, 10, tzinfo=UTC)


def test_a_trainer_that_reports_a_step_runs_although_its_pod_seems_to_wait() -> None:
    scene = Scene()
    scene.cache.apply(JOBS, job())
    scene.cache.apply(PODS, pod())
    assert scene.restate().status.phase == "Running"


def test_a_standby_decides_nothing() -> None:
    scene = Scene(leads=False)
    scene.cache.apply(JOBS, job())
    scene.cache.apply(PODS, pod())
    assert scene.restate() == Restated(scene.training.status)


def test_actions_are_left_to_the_workers() -> None:
    scene = Scene(suspend=True)
    scene.cache.apply(JOBS, job())
    scene.cache.apply(PODS, pod())
    assert scene.restate() == Restated(scene.training.status)


@pytest.mark.parametrize("knows_job", [False, True], ids=["a Job", "the pod of an ended Job"])
def test_where_absence_would_decide_the_api_is_asked_first(*, knows_job: bool) -> None:
    scene = Scene()
    if knows_job:
        scene.cache.apply(JOBS, job(status=COMPLETE))
    assert scene.restate() == Restated(scene.training.status)
