"""What ends an attempt early, and what follows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.site.kube import NODES, Object, condition
from tests.support.cluster.operator_fixtures import (
    Scene,
    ended,
    environment,
    last_word,
    report,
    saved,
)
from tests.support.cluster.running_operator import RunningOperator

UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
GIVES_UP = [
    {"operator": "Exists", "effect": "NoSchedule"},
    {**UNREACHABLE, "operator": "Exists", "tolerationSeconds": 0},
]


def start(operator: RunningOperator, scene: Scene, step: int = 40) -> None:
    """Bring a training to `step`, with a checkpoint there."""
    scene.start(operator, step)
    scene.wait(lambda s: s["phase"] == "Running", "running")


def test_a_job_that_a_person_deleted_is_created_again(
    operator: RunningOperator, scene: Scene
) -> None:
    start(operator, scene)
    [job] = scene.jobs()
    scene.kube.delete(f"{scene.collection('jobs')}/{job}")
    pod = scene.wait_attempt(2)
    status = scene.training()["status"]
    [interruption] = status["interruptions"]
    assert (interruption["reason"], interruption["lastReportedStep"]) == ("JobDeleted", 40)
    token = scene.token(pod)
    body = report(41, 1, attempt=2, resumedFromStep=40, **saved(40))
    assert operator.report(scene.namespace, "trees", token, body)[0] == 200
    [interruption] = scene.training()["status"]["interruptions"]
    assert (interruption["resumedFromStep"], interruption["stepsLost"]) == (40, 0)
    scene.wait_event("Resumed")


def test_a_job_that_was_deleted_before_it_ran_is_created_again(
    operator: RunningOperator, scene: Scene
) -> None:
    scene.apply()
    scene.wait_attempt(1)
    [job] = scene.kube.items(scene.collection("jobs"))
    scene.kube.delete(f"{scene.collection('jobs')}/{job['metadata']['name']}")
    old = job["metadata"]["uid"]
    operator.wait_until(
        lambda: (
            {old} != {j["metadata"]["uid"] for j in scene.kube.items(scene.collection("jobs"))}
            and scene.jobs()
        ),
        "making a Job again",
    )


def test_a_pod_that_was_deleted_with_no_grace_is_followed_by_another(
    operator: RunningOperator, scene: Scene
) -> None:
    start(operator, scene)
    [pod] = scene.kube.items(scene.collection("pods"))
    scene.kube.delete(f"{scene.collection('pods')}/{pod['metadata']['name']}", grace_s=0)
    scene.wait_attempt(2)
    [interruption] = scene.training()["status"]["interruptions"]
    assert interruption["reason"] == "PodDeleted"


def test_a_permanent_error_stops_the_training_with_the_trainers_message(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    scene.apply()
    pod = scene.wait_attempt(1)
    scene.end_pod(pod, 52, last_word(52, "DataInvalid", "train-0.tfrecord: record 7 is cut short"))
    failed = scene.wait(lambda s: s["phase"] == "Failed", "failed")
    stalled = condition(failed, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "DataInvalid")
    assert "record 7 is cut short" in stalled["message"]
    assert failed["status"]["attemptCount"] == 1


def test_a_crash_is_retried_after_a_delay(operator: RunningOperator, scene: Scene) -> None:
    del operator
    scene.apply()
    scene.end_pod(scene.wait_attempt(1), 1)
    pod = scene.wait_attempt(2)
    assert scene.training()["status"]["retries"]["count"] == 1
    scene.end_pod(pod, 137)
    scene.wait_attempt(3)


def test_suspending_saves_and_resuming_continues(operator: RunningOperator, scene: Scene) -> None:
    start(operator, scene)
    [pod] = scene.kube.items(scene.collection("pods"))
    # Like a trainer that ends only after it has saved.
    path = f"{scene.collection('pods')}/{pod['metadata']['name']}"
    scene.kube.patch(path, {"metadata": {"finalizers": ["test.example/saving"]}})
    token = scene.token(pod)
    scene.kube.patch(scene.path(), {"spec": {"suspend": True}})
    scene.wait(lambda s: s["phase"] == "Suspending", "suspending")
    body = report(45, 2, **saved(45, 40), **ended(40, "Saved", "saved at step 45"))
    # The Job is gone before its pod is deleted; the answer is 503 until the operator knows.
    operator.wait_until(
        lambda: operator.report(scene.namespace, "trees", token, body)[0] == 200,
        "the report is acknowledged",
    )
    scene.end_pod(pod, 40, last_word(40, "Saved", "saved at step 45"))
    scene.kube.patch(path, {"metadata": {"finalizers": None}})
    suspended = scene.wait(lambda s: s["phase"] == "Suspended", "suspended")
    assert scene.jobs() == []
    assert "45" in condition(suspended, "Suspended")["message"]
    scene.kube.patch(scene.path(), {"spec": {"suspend": False}})
    scene.wait_attempt(2)


def test_a_node_that_drains_is_distinguished_from_a_crash(
    operator: RunningOperator, scene: Scene
) -> None:
    start(operator, scene)
    [pod] = scene.kube.items(scene.collection("pods"))
    path = f"{scene.collection('pods')}/{pod['metadata']['name']}"
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod["metadata"]["name"]},
    }
    scene.kube.create(f"{path}/eviction", eviction)
    scene.wait_attempt(2)
    [interruption] = scene.training()["status"]["interruptions"]
    assert interruption["reason"] == "Evicted"


def test_raised_steps_resume_from_the_last_step(operator: RunningOperator, scene: Scene) -> None:
    start(operator, scene)
    [pod] = scene.kube.items(scene.collection("pods"))
    body = report(100, 2, **saved(100), **ended(0, "Completed"))
    assert operator.report(scene.namespace, "trees", scene.token(pod), body)[0] == 200
    scene.end_pod(pod, 0)
    scene.wait(lambda s: s["phase"] == "Complete", "complete")
    scene.kube.patch(scene.path(), {"spec": {"steps": 200}})
    scene.wait_attempt(2)
    status = scene.training()["status"]
    assert (status["currentAttempt"]["startStep"], status["targetSteps"]) == (100, 200)
    assert status.get("interruptionCount", 0) == 0


def test_a_node_that_is_lost_is_given_up(
    scene: Scene, kubeconfig: Path | None, silent_node: Object
) -> None:
    """Its pod is deleted, and no kubelet reacts."""
    name = silent_node["metadata"]["name"]
    with RunningOperator(
        environment(scene.namespace, kubeconfig, TERMINATION_GRACE_S="1")
    ) as operator:
        scene.apply(
            podTemplate={
                "nodeSelector": silent_node["metadata"]["labels"],
                "tolerations": GIVES_UP,
            },
            retryPolicy={"nodeLostTimeoutSeconds": 1},
        )
        pod = scene.wait_attempt(1)
        path = f"{scene.collection('pods')}/{pod['metadata']['name']}"
        pod = scene.kube.wait(
            path, lambda found: bool(found and found["spec"].get("nodeName")), what="bound"
        )
        assert pod["spec"]["nodeName"] == name
        scene.run_pod(pod)
        body = report(40, 1, **saved(40))
        assert operator.report(scene.namespace, "trees", scene.token(pod), body)[0] == 200
        scene.kube.patch(f"{NODES}/{name}", {"spec": {"taints": [UNREACHABLE]}})
        scene.wait_event("NodeLost")
        again = scene.wait_attempt(2)
        assert again["metadata"]["uid"] != pod["metadata"]["uid"]
        scene.kube.wait(path, lambda found: found is None, what="forced to end")
    status = scene.training()["status"]
    [interruption] = status["interruptions"]
    assert (interruption["reason"], interruption["lastReportedStep"]) == ("NodeLost", 40)
    assert status["currentAttempt"]["startStep"] == 40


@pytest.fixture
def silent_node(scene: Scene) -> Iterator[Object]:
    """Give a node that has no kubelet, and looks well at first."""
    room = {"cpu": "8", "memory": "16Gi", "pods": "10"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": scene.namespace, "labels": {"silent": scene.namespace}},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }
    made = scene.kube.create(NODES, node)
    yield {"metadata": {"name": made["metadata"]["name"], "labels": {"silent": scene.namespace}}}
    scene.kube.delete(f"{NODES}/{scene.namespace}")
