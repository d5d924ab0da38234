"""A training that requests a GPU is checked without one, then placed on a node that has one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.site.kube import NODES, Kube, Object, condition
from tests.support.cluster.site import LiveTraining, Workspace, dataset
from tests.support.trainer.shapes import CLASSES, draw_picture, record_file

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-1g.5gb"
MIG_LABEL = "nvidia.com/mig.capable"
REQUESTS = {"cpu": "200m", "memory": "512Mi"}


@pytest.fixture
def two_gpus(workspace: Workspace) -> Iterator[None]:
    """Report two GPUs of a node, as a device plugin would."""
    with offered(workspace.kube, GPU, "2"):
        yield


@contextmanager
def offered(kube: Kube, device: str, count: str) -> Iterator[str]:
    """Report `count` of a device on a node; give the node's path."""
    path = f"{NODES}/{kube.items(NODES)[0]['metadata']['name']}"
    set_capacity(kube, path, device, count)

    def offers(node: Object | None) -> bool:
        return node is not None and node["status"]["allocatable"].get(device) == count

    kube.wait(path, offers, what=f"the node offers {device}")
    try:
        yield path
    finally:
        set_capacity(kube, path, device, None)


@contextmanager
def kept_for_devices(kube: Kube, node: str) -> Iterator[None]:
    """Label and taint a node as providers do with theirs that have GPUs."""
    taint = {"key": GPU, "value": "present", "effect": "NoSchedule"}
    kube.patch(node, {"metadata": {"labels": {MIG_LABEL: "true"}}, "spec": {"taints": [taint]}})
    try:
        yield
    finally:
        kube.patch(node, {"metadata": {"labels": {MIG_LABEL: None}}, "spec": {"taints": None}})


def set_capacity(kube: Kube, node: str, device: str, count: str | None) -> None:
    amounts = {"capacity": {device: count}, "allocatable": {device: count}}
    kube.patch(f"{node}/status", {"status": amounts})


def container_of(training: LiveTraining, role: str) -> Object:
    """Return the container of the training's only pod in a role."""
    label = "detectiontraining.dev/role"
    (pod,) = [pod for pod in training.pods if pod["metadata"]["labels"][label] == role]
    container: Object = pod["spec"]["containers"][0]
    return container


@pytest.mark.usefixtures("two_gpus")
def test_the_check_requests_no_gpu_and_the_trainer_does(workspace: Workspace) -> None:
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


def test_a_slice_of_a_gpu_on_a_node_that_is_kept_for_them(workspace: Workspace) -> None:
    asked = {
        "resources": {"limits": {MIG: 1}, "requests": REQUESTS},
        "podTemplate": {"nodeSelector": {MIG_LABEL: "true"}},
        "preflight": "Never",
    }
    with offered(workspace.kube, MIG, "1") as node, kept_for_devices(workspace.kube, node):
        training = workspace.train("sliced", steps=1, **asked)
        ready = training.wait_for_condition("Ready", "True", "Unschedulable")
        assert "untolerated taint" in ready["message"]
        tolerations = [{"key": GPU, "operator": "Exists"}]
        training.patch(podTemplate={"tolerations": tolerations})
        assert training.wait_for_phase("Complete")["step"] == 1
    trainer = container_of(training, "trainer")
    assert trainer["resources"]["limits"][MIG] == "1"
    assert "detection-shm" in [mount["name"] for mount in trainer["volumeMounts"]]


def test_a_dataset_that_changes_while_a_gpu_is_waited_for_is_not_trained_on(
    workspace: Workspace,
) -> None:
    folder = workspace.site.store.folder(workspace.folder_uri("data"))
    folder.write("part-0.tfrecord", record_file([draw_picture(1)]))
    place = {"uri": f"{folder.uri.rstrip('/')}/part-*.tfrecord"}
    training = workspace.train(
        "drifted",
        steps=1,
        dataset=dataset(classes=list(CLASSES), train=place),
        resources={"limits": {GPU: 1}, "requests": REQUESTS},
    )
    status = training.wait_for_phase("Queued")
    assert status["preflight"]["outcome"]["dataset"]["files"] == 1
    folder.write("part-1.tfrecord", record_file([draw_picture(2)]))
    with offered(workspace.kube, GPU, "1"):
        stalled = condition({"status": training.wait_for_phase("Failed")}, "Stalled")
        assert stalled["reason"] == "DatasetChanged"
        assert "have these checked" in stalled["message"]
        training.patch(retryPolicy={"maxRetries": 5})
        status = training.wait_for_phase("Complete")
    assert status["preflight"]["outcome"]["dataset"]["files"] == 2
    pinned = status["imageDigest"]
    assert status["currentAttempt"]["image"].endswith(f"@{pinned}"), "as the first attempt ran"
