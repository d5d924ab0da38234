"""Two workers train as one, if this is allowed, and no other pod reaches them."""

import json
from collections.abc import Iterator

import pytest

from sandbox.site import installation
from sandbox.site.kube import Object
from sandbox.site.tools import run
from tests.support.cluster.site import OPERATOR_VALUES, LiveTraining, Site, Workspace

STEPS = 160
SAVED_STEP = 40
ENDLESS = 10**6
GRPC, METRICS = 2222, 9464
POLICIES = "apis/networking.k8s.io/v1"
CONNECT = """
import json, socket
def connect(port):
    try:
        socket.create_connection(("{address}", port), timeout=3).close()
        return "connected"
    except OSError as error:
        return type(error).__name__
print(json.dumps({{port: connect(port) for port in (2222, 9464)}}))
"""


@pytest.fixture(scope="module")
def allowed(site: Site) -> Iterator[None]:
    """Allow several workers, as an administrator does."""
    installation.install(site.tools, *OPERATOR_VALUES, switches=["trainer.severalWorkers=true"])
    yield
    installation.install(site.tools, *OPERATOR_VALUES)


def test_the_default_chart_refuses_several_workers_before_any_pod(
    workspace: Workspace,
) -> None:
    training = workspace.train("pair", workers=2)
    training.wait_for_phase("Refused")
    stalled = training.wait_for_condition("Stalled", "True", "SeveralWorkersDisabled")
    assert "trainer.severalWorkers" in stalled["message"]
    assert training.jobs == []
    assert training.pods == []


@pytest.mark.usefixtures("allowed")
def test_two_workers_complete_and_a_killed_one_is_replaced_with_the_other(
    workspace: Workspace,
) -> None:
    training = workspace.train("pair", workers=2, steps=STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    assert sorted(index_of(pod) for pod in training.pods) == ["0", "1"]
    (service,) = training.owned("services", "api/v1")
    assert service["spec"]["clusterIP"] == "None"
    (policy,) = training.owned("networkpolicies", "apis/networking.k8s.io/v1")
    assert policy["metadata"]["name"] == service["metadata"]["name"]
    kill(training, "1")
    status = training.wait_for_phase("Complete")
    (interruption,) = status["interruptions"]
    assert interruption["reason"] == "PodDeleted"
    assert SAVED_STEP <= interruption["resumedFromStep"] < STEPS
    assert (status["attemptCount"], status["step"]) == (2, STEPS)
    assert training.checkpoint(STEPS).manifest.environment.world_size == 2
    last = status["currentAttempt"]["jobName"]
    made = [pod for pod in training.pods if pod["metadata"]["name"].startswith(f"{last}-")]
    assert sorted(map(index_of, made)) == ["0", "1"]


@pytest.mark.usefixtures("allowed")
def test_a_pod_of_another_namespace_does_not_reach_a_worker(
    workspace: Workspace, site: Site
) -> None:
    training = workspace.train("pair", workers=2, steps=ENDLESS)
    training.wait_for_checkpoint(SAVED_STEP)
    with site.workspace() as elsewhere:
        assert attack(elsewhere, training) == {GRPC: "TimeoutError", METRICS: "connected"}
        # Only the policy stops the attack, and the next attempt has it again.
        (policy,) = training.owned("networkpolicies", POLICIES)
        name = policy["metadata"]["name"]
        training.kube.delete(workspace.path("networkpolicies", name, api=POLICIES))
        assert attack(elsewhere, training)[GRPC] == "connected"
        kill(training, "1")
        training.wait_for_attempt(2)
        assert attack(elsewhere, training)[GRPC] == "TimeoutError"


def attack(attacker: Workspace, training: LiveTraining) -> dict[int, str]:
    """Return how a pod of `attacker` fares that connects to both ports of the second worker.

    The pod has the labels of the workers, and is honest in everything else.
    """
    (victim,) = [pod for pod in newest(training) if index_of(pod) == "1"]
    script = CONNECT.format(address=victim["status"]["podIP"])
    labels = victim["metadata"]["labels"]
    kept = {key: labels[key] for key in labels if key.startswith("detectiontraining.dev/")}
    body = pod_of(attacker.site.tools.images["operator"], script, kept)
    name = attacker.kube.create(attacker.path("pods"), body)["metadata"]["name"]
    path = attacker.path("pods", name)
    attacker.kube.wait(path, has_ended, what="the attack has ended", timeout_s=60)
    kubectl = attacker.site.tools.kubectl
    printed = run([*kubectl, "logs", name, "--namespace", attacker.namespace])
    return {int(port): answer for port, answer in json.loads(printed).items()}


def newest(training: LiveTraining) -> list[Object]:
    """Return the pods of the attempt under way."""
    job_name = training.status["currentAttempt"]["jobName"]
    return [pod for pod in training.pods if pod["metadata"]["name"].startswith(f"{job_name}-")]


def pod_of(image: str, script: str, labels: dict[str, str]) -> Object:
    """Return a pod of the restricted level that runs a Python script."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": image,
        "command": ["python3", "-c", script],
        "securityContext": security,
    }
    return {
        "metadata": {"generateName": "attack-", "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }


def has_ended(pod: Object | None) -> bool:
    """Return whether all of a pod's containers have ended."""
    return pod is not None and pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def index_of(pod: Object) -> str:
    """Return which worker a pod is."""
    return str(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])


def kill(training: LiveTraining, index: str) -> None:
    """Delete the worker's pod with no grace."""
    (name,) = [pod["metadata"]["name"] for pod in newest(training) if index_of(pod) == index]
    training.kube.delete(training.workspace.path("pods", name), grace_s=0)
