"""From the API's bytes to a decision: no object's content affects the others."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.api.decode import decode
from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key, Resource
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.core.actions import Plan
from detection_operator.core.plan import plan
from detection_operator.core.state import PolicySettings
from detection_operator.errors import UnreadableError
from detection_operator.server.training_gauges import training_gauges
from detection_trainer.contract.base import dump
from tests.support.operator.cluster_objects import NAMESPACE, UID, stored_training
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.hostile import (
    ODD_TIMES,
    api_bytes,
    damaged,
    nested,
    whole_job,
    whole_pod,
    whole_training,
)

Object = dict[str, Any]
TREES, NEIGHBOUR = Key(NAMESPACE, "trees"), Key(NAMESPACE, "neighbour")
SETTINGS = PolicySettings(default_image="trainer:1", report_url="http://operator:8080")
NOW = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)


class Cluster:
    """An operator's view of a training with Job and pod, of its source, and of a neighbour."""

    def __init__(self) -> None:
        self.cache, self.api = Cache(), FakeCluster()
        self.gatherer = Gatherer(self.api, self.cache, WarningEvents(self.api, KeyQueue()))

    def list(self, resource: Resource, *bodies: Object) -> None:
        """Take in a list as the API answers it."""
        for body in decode(api_bytes({"items": bodies}))["items"]:
            self.cache.apply(resource, body)

    def decide(self, key: Key) -> Plan:
        gathered = asyncio.run(self.gatherer.gather(key))
        assert gathered is not None
        return plan(gathered.observed, SETTINGS, NOW)

    def decide_or_hold(self, key: Key) -> Plan | None:
        """Decide, where all that must be known can be read."""
        if self.cache.training(key) is None:
            assert len(self.cache.quarantine) == 1
            return None
        try:
            return self.decide(key)
        except UnreadableError:
            return None

    def require_neighbour(self) -> None:
        """The neighbour is served as if it were alone."""
        decided = self.decide(NEIGHBOUR)
        assert decided.status.phase == "Queued"
        assert len(decided.actions) > 0
        text = "".join(training_gauges(self.cache.trainings(), (), NOW.timestamp()))
        assert 'detection_training_target_steps{name="neighbour"' in text
        assert all(len(line.split(" ")) == 2 for line in text.splitlines() if line[0] != "#")


def neighbour() -> Object:
    return stored_training("neighbour", "uid-neighbour", preflight="Never")


def require_writable(decided: Plan | None) -> None:
    if decided is not None:
        assert Status.model_validate(dump(decided.status)) == decided.status


FUZZED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZED
@given(damaged(whole_training()))
def test_any_training_leaves_the_others_served(body: Object) -> None:
    cluster = Cluster()
    cluster.list(TRAININGS, body, stored_training("coco", "uid-coco"), neighbour())
    require_writable(cluster.decide_or_hold(TREES))
    assert UID in cluster.cache.versions(TRAININGS), "it is not taken for deleted"
    cluster.require_neighbour()


@FUZZED
@given(damaged(stored_training("coco", "uid-coco", whole_training()["status"])))
def test_any_source_object_leaves_the_training_that_waits_for_it_decidable(body: Object) -> None:
    cluster = Cluster()
    waiting = stored_training(
        preflight="Never", continueFrom={"trainingRef": {"name": "coco", "step": 40}}
    )
    cluster.list(TRAININGS, body, waiting, neighbour())
    require_writable(cluster.decide(TREES))
    cluster.require_neighbour()


@FUZZED
@given(damaged(whole_job()), damaged(whole_pod()))
def test_any_jobs_and_pods_leave_the_other_trainings_served(job: Object, pod: Object) -> None:
    cluster = Cluster()
    running = whole_training()
    del running["status"]["currentAttempt"]["outcome"]
    cluster.list(TRAININGS, running, neighbour())
    cluster.list(JOBS, job)
    cluster.list(PODS, pod)
    require_writable(cluster.decide_or_hold(TREES))
    cluster.require_neighbour()


HOSTILE_SPECS: dict[str, Any] = {
    "a volume whose name is an object": {
        "volumes": [{"name": {"a": "b"}}],
        "volumeMounts": [{"name": {"a": "b"}, "mountPath": "/data"}],
    },
    "volumes that are no list": {"volumes": {"a": 1}, "volumeMounts": [{"mountPath": "/data"}]},
    "mounts that are texts": {"volumeMounts": ["/data"]},
    "an affinity 150 levels deep": {"affinity": nested(150)},
    "an affinity 250 levels deep": {"affinity": nested(250)},
    "an affinity 1,200 levels deep": {"affinity": nested(1200)},
    "a pod template that is a text": "x",
}


@pytest.mark.parametrize("template", HOSTILE_SPECS.values(), ids=HOSTILE_SPECS.keys())
def test_a_hostile_pod_template_is_refused_by_name_and_the_others_are_served(
    template: Any,
) -> None:
    cluster = Cluster()
    body = stored_training(
        podTemplate=template, checkpoints={"storage": {"uri": "file:///data/trees"}}
    )
    cluster.list(TRAININGS, neighbour(), body)
    decided = cluster.decide(TREES)
    assert decided.status.phase == "Refused"
    stalled = decided.status.condition("Stalled")
    assert stalled is not None
    assert stalled.reason == "InvalidSpec"
    assert "podTemplate" in stalled.message or "deeper than 100 levels" in stalled.message
    cluster.require_neighbour()


@pytest.mark.parametrize("time", ODD_TIMES)
def test_a_time_that_python_does_not_have_is_read_all_the_same(time: str) -> None:
    cluster = Cluster()
    body = whole_training()
    body["status"]["startTime"] = body["status"]["retries"]["notBefore"] = time
    body["status"]["latestCheckpoint"]["savedAt"] = body["metadata"]["creationTimestamp"] = time
    del body["spec"]["continueFrom"]
    cluster.list(TRAININGS, body, neighbour())
    require_writable(cluster.decide(TREES))
    cluster.require_neighbour()
