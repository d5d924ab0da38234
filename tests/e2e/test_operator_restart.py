"""Training does not depend on the operator: what it missed, it catches up with."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.site import installation
from sandbox.site.kube import Kube, Object
from tests.support.cluster.site import CONTROL_STEPS, DATASET, Result, Workspace, dataset

OPERATOR = f"/apis/apps/v1/namespaces/{installation.NAMESPACE}/deployments/{installation.RELEASE}"
PODS = f"/api/v1/namespaces/{installation.NAMESPACE}/pods"
SELECTOR = "app.kubernetes.io/name=detection-operator"
SAVED_STEP = 40
UNSEEN_STEPS = 4 * CONTROL_STEPS
"""Enough that the operator ends before them: it accepts reports for some seconds more."""


def test_a_new_operator_continues_with_the_running_attempt(
    workspace: Workspace, control: Result
) -> None:
    training = workspace.train("unmoved", steps=CONTROL_STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    (operator,) = operator_pods(workspace.kube)
    workspace.kube.delete(f"{PODS}/{operator}", grace_s=0)
    status = training.wait_for_phase("Complete")
    assert operator_pods(workspace.kube) != [operator]
    assert status["attemptCount"] == 1
    assert status.get("interruptions", []) == []
    assert Result.of(status) == control


def test_a_training_that_ended_unseen_is_complete_at_once(workspace: Workspace) -> None:
    validation = {"uri": f"{DATASET}/validation-*.tfrecord"}
    training = workspace.train("unseen", steps=UNSEEN_STEPS, dataset=dataset(validation=validation))
    training.wait_for_checkpoint(SAVED_STEP)
    with operator_away(workspace.kube):
        workspace.kube.wait(
            training.pod_path, has_succeeded, what="the trainer ends", timeout_s=240
        )
        assert training.status["phase"] == "Running"
        assert "reportsUnanswered" in training.log
    status = training.wait_for_phase("Complete")
    assert status["step"] == UNSEEN_STEPS
    assert status["latestCheckpoint"]["step"] == UNSEEN_STEPS
    assert status["stepsLost"] == 0
    assert float(status["metrics"]["mAP"]) >= 0
    assert training.checkpoint(UNSEEN_STEPS).manifest.attempt == 1, "nothing is trained twice"


def operator_pods(kube: Kube) -> list[str]:
    pods = kube.items(f"{PODS}?labelSelector={SELECTOR}")
    return [p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"]]


@contextmanager
def operator_away(kube: Kube) -> Iterator[None]:
    """Scale the operator to none, and back."""
    (pod,) = operator_pods(kube)
    kube.patch(OPERATOR, {"spec": {"replicas": 0}})
    try:
        kube.wait(f"{PODS}/{pod}", lambda found: found is None, what="the operator ends")
        yield
    finally:
        kube.patch(OPERATOR, {"spec": {"replicas": 1}})


def has_succeeded(pod: Object | None) -> bool:
    return pod is not None and pod["status"]["phase"] == "Succeeded"
