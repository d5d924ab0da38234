"""A training that asks for a GPU is checked without one first, then placed where there is one."""

from collections.abc import Iterator

import pytest

from sandbox.kube import Kube, Object, condition
from tests.support.site import LiveTraining, Workspace

GPU = "nvidia.com/gpu"
NODES = "/api/v1/nodes"
REQUESTS = {"cpu": "200m", "memory": "512Mi"}


@pytest.fixture
def two_gpus(workspace: Workspace) -> Iterator[None]:
    """Let a node say that it has two GPUs, as a device plugin would."""
    node = workspace.kube.items(NODES)[0]["metadata"]["name"]
    path = f"{NODES}/{node}"
    set_capacity(workspace.kube, path, "2")
    workspace.kube.wait(path, has_gpus, what="the node offers GPUs")
    yield
    set_capacity(workspace.kube, path, None)


def set_capacity(kube: Kube, node: str, count: str | None) -> None:
    amounts = {"capacity": {GPU: count}, "allocatable": {GPU: count}}
    kube.patch(f"{node}/status", {"status": amounts})


def has_gpus(node: Object | None) -> bool:
    return node is not None and node["status"]["allocatable"].get(GPU) == "2"


def container_of(training: LiveTraining, role: str) -> Object:
    """Return the container of the training's only pod in a role."""
    label = "detectiontraining.dev/role"
    (pod,) = [pod for pod in training.pods if pod["metadata"]["labels"][label] == role]
    container: Object = pod["spec"]["containers"][0]
    return container


@pytest.mark.usefixtures("two_gpus")
def test_the_check_takes_no_gpu_and_the_trainer_does(workspace: Workspace) -> None:
    resources = {"limits": {GPU: 1}, "requests": REQUESTS}
    training = workspace.train("placed", steps=1, resources=resources)
    training.wait_for_phase("Preflight")
    status = training.wait_for_phase("Complete")
    assert status["preflight"]["outcome"]["reason"] == "Completed"
    check, trainer = container_of(training, "preflight"), container_of(training, "trainer")
    assert GPU not in check["resources"]["limits"]
    assert check["image"] == trainer["image"]
    assert trainer["resources"]["limits"][GPU] == "1"


@pytest.mark.usefixtures("two_gpus")
def test_more_gpus_than_there_are_are_waited_for(workspace: Workspace) -> None:
    resources = {"limits": {GPU: 3}, "requests": REQUESTS}
    training = workspace.train("queued", steps=1, resources=resources)
    status = training.wait_for_phase("Queued")
    ready = training.wait_for_condition("Ready", "True", "Unschedulable")
    assert f"Insufficient {GPU}" in ready["message"]
    assert condition({"status": status}, "Stalled")["status"] == "False"

    training.patch(resources={"limits": {GPU: 2}})
    assert training.wait_for_phase("Complete")["step"] == 1
