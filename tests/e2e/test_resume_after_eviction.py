"""An evicted pod has time to save: the training resumes and loses no step."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.site.kube import Kube, Object, condition
from tests.support.cluster.site import CONTROL_STEPS, LiveTraining, Result, Workspace

SAVED_STEP = 40


def test_an_evicted_pod_saves_first(workspace: Workspace, control: Result) -> None:
    training = workspace.train("evicted", steps=CONTROL_STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    evict(training)
    status = training.wait_for_phase("Complete")
    require_nothing_lost(status)
    assert Result.of(status) == control


def test_a_drained_node_is_waited_for(workspace: Workspace, control: Result) -> None:
    training = workspace.train("drained", steps=CONTROL_STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    node = training.pods[0]["spec"]["nodeName"]
    with cordoned(workspace.kube, node):
        evict(training)
        status = training.wait_for_phase("Queued")
        waiting = condition({"status": status}, "Ready")
        if waiting["reason"] != "Unschedulable":
            waiting = training.wait_for_condition("Ready", "True", "Unschedulable")
        assert "No node fits the pod" in waiting["message"]
    status = training.wait_for_phase("Complete")
    require_nothing_lost(status)
    assert Result.of(status) == control


def evict(training: LiveTraining) -> None:
    pod = training.pods[0]["metadata"]
    metadata = {"name": pod["name"], "namespace": pod["namespace"]}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    training.kube.request("POST", f"{training.pod_path}/eviction", eviction)


@contextmanager
def cordoned(kube: Kube, node: str) -> Iterator[None]:
    """Take the node out of service, as `kubectl drain` does before it evicts."""
    path = f"/api/v1/nodes/{node}"
    kube.patch(path, {"spec": {"unschedulable": True}})
    try:
        yield
    finally:
        kube.patch(path, {"spec": {"unschedulable": None}})


def require_nothing_lost(status: Object) -> None:
    (interruption,) = status["interruptions"]
    assert interruption["reason"] == "Evicted"
    assert interruption["resumedFromStep"] >= interruption["lastReportedStep"]
    assert interruption["stepsLost"] == 0
    assert status["stepsLost"] == 0
    assert status["attemptCount"] == 2
