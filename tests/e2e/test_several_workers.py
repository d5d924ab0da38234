"""Two workers train as one: together they start, end, and go on."""

from collections.abc import Iterator

import pytest

from sandbox import installation
from sandbox.kube import Object
from tests.support.site import OPERATOR_VALUES, LiveTraining, Site, Workspace

STEPS = 160
SAVED_STEP = 40


@pytest.fixture(autouse=True)
def allowed(site: Site) -> Iterator[None]:
    """Let trainings have several workers, as an administrator does."""
    installation.install(site.tools, *OPERATOR_VALUES, switches=["trainer.severalWorkers=true"])
    yield
    installation.install(site.tools, *OPERATOR_VALUES)


def test_two_workers_complete_and_a_killed_one_is_made_again_with_the_other(
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


def index_of(pod: Object) -> str:
    """Return which worker a pod is."""
    return str(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])


def kill(training: LiveTraining, index: str) -> None:
    """Delete the worker's pod with no grace."""
    (name,) = [pod["metadata"]["name"] for pod in training.pods if index_of(pod) == index]
    training.kube.delete(training.workspace.path("pods", name), grace_s=0)
