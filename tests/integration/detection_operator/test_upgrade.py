"""From the release before: operator, CRD and stored statuses, under running trainings."""

import json
import signal
import tarfile
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from detection_operator.api.crd import build_crd
from sandbox.samples.trainings import training
from sandbox.site.kube import CRDS, ApiError, condition
from tests.integration.detection_operator.test_replicas import LEADER, SLOWEST_S, process, replica
from tests.support.cluster.operator_fixtures import Scene, environment, last_word, report, saved
from tests.support.cluster.released import CHART, WHEEL
from tests.support.cluster.running_operator import RunningOperator, Served

Object = dict[str, Any]
RAN = "sha256:" + "a" * 64
OLD_IMAGE, NEW_IMAGE = "detection-trainer:0.1.0", "detection-trainer:new"


def released_crd() -> Object:
    """Return the CustomResourceDefinition in the release's chart."""
    with tarfile.open(CHART) as chart:
        member = chart.extractfile("detection-operator/files/detectiontrainings.yaml")
        assert member is not None
        found: Object = yaml.safe_load(member.read())
        return found


def install(scene: Scene, crd: Object) -> None:
    """Replace the CRD's spec as helm does, and wait until the API server goes by it."""
    path = f"{CRDS}/{crd['metadata']['name']}"
    scene.kube.request("PUT", path, {**scene.kube.get(path), "spec": crd["spec"]})
    deadline = time.monotonic() + SLOWEST_S
    while knows_new_fields(scene) is not ("useDepthwise" in json.dumps(crd)):
        assert time.monotonic() < deadline, "the API server does not go by the CRD"
        time.sleep(0.05)


def knows_new_fields(scene: Scene) -> bool | None:
    """Whether a field of after the release is taken; None: storage is being initialized."""
    probe = training("probe", podTemplate={})
    probe["spec"]["model"]["boxPredictor"]["useDepthwise"] = True
    try:
        scene.kube.create(scene.path("").rstrip("/"), probe, dry_run=True)
    except ApiError as error:
        return None if error.status == HTTPStatus.TOO_MANY_REQUESTS else False
    return True


@pytest.fixture
def released(scene: Scene) -> Iterator[Scene]:
    """Give a cluster with the release's CRD; install the present one afterwards."""
    install(scene, released_crd())
    yield scene
    install(scene, build_crd())


def test_running_trainings_run_on_under_the_new_operator_and_crd(
    released: Scene, kubeconfig: Path | None, tmp_path: Path
) -> None:
    scene = released
    old = as_released(environment(scene.namespace, kubeconfig, TRAINER_IMAGE=OLD_IMAGE))
    with process(old, tmp_path, (WHEEL,), "LISTEN_PORT") as (leaving, port):
        for name in ("runs", "done"):
            scene.apply(name)
        pod, done = scene.wait_attempt(1, "runs"), scene.wait_attempt(1, "done")
        scene.run_pod(pod, f"docker.io/library/detection-trainer@{RAN}")
        token = scene.token(pod)
        assert post(port, scene, token, report(1, 1)) == HTTPStatus.OK
        scene.wait(lambda s: s["phase"] == "Running", "running", "runs")
        scene.end_pod(done, 52, last_word(52, "DataInvalid"))
        scene.wait(lambda s: s["phase"] == "Failed", "failed", "done")
        before = {name: scene.training(name) for name in ("runs", "done")}
        jobs = uids(scene)
        install(scene, build_crd())
        with RunningOperator(replica(scene, kubeconfig, TRAINER_IMAGE=NEW_IMAGE)) as operator:
            operator.wait_until(lambda: operator.metric(LEADER) == 1, "leading beside the old one")
            leaving.send_signal(signal.SIGTERM)
            assert leaving.wait(60) == 0
            body = report(10, 2, **saved(10, name="runs"))
            assert operator.report(scene.namespace, "runs", token, body)[0] == HTTPStatus.OK
            scene.wait(lambda s: s["step"] == 10, "running on", "runs")
            assert uids(scene) == jobs, "no Job was created"
            for name, was in before.items():
                now = scene.training(name)
                assert now["metadata"]["generation"] == was["metadata"]["generation"]
                assert now["status"]["attemptCount"] == 1
                assert now["status"]["startTime"] == was["status"]["startTime"]
                assert contains(now["spec"], was["spec"]), "a stored spec is not rewritten"
            assert scene.training("done")["status"]["phase"] == "Failed"
            pinned = scene.wait(lambda s: "imageDigest" in s, "pinning what runs", "runs")
            assert pinned["status"]["imageDigest"] == RAN
            scene.end_pod(pod, 137)
            again = scene.wait_attempt(2, "runs")
            image = again["spec"]["containers"][0]["image"]
            assert image == f"detection-trainer@{RAN}", "what ran is pinned"
            assert scene.training("runs")["status"]["image"] == OLD_IMAGE
            scene.apply("new")
            assert scene.wait_attempt(1, "new")["spec"]["containers"][0]["image"] == NEW_IMAGE


IDLE: Object = {"evaluation": {"everySteps": 10}}
"""Evaluations without data for them: accepted by the release, and refused today."""
INTERRUPTED: Object = {
    "observedGeneration": 1,
    "attemptCount": 1,
    "currentAttempt": {
        "number": 1,
        "jobName": "runs-1",
        "image": OLD_IMAGE,
        "createdAt": "2026-11-24T10:00:00Z",
        "outcome": {
            "exitCode": 40,
            "reason": "Saved",
            "message": "saved at step 10",
            "finishedAt": "2026-11-24T10:05:00Z",
        },
    },
    "checkpointCount": 1,
    "latestCheckpoint": saved(10, name="runs")["checkpoints"][0],
}


def test_a_started_training_is_served_whose_spec_would_be_refused_today(
    released: Scene, kubeconfig: Path | None
) -> None:
    scene = released
    for name in ("runs", "waits"):
        scene.apply(name, **IDLE)
    scene.kube.patch(f"{scene.path('runs')}/status", {"status": INTERRUPTED})
    install(scene, build_crd())
    with pytest.raises(ApiError, match=r"set dataset\.validation"):
        scene.apply("new", **IDLE)
    with RunningOperator(environment(scene.namespace, kubeconfig)) as operator:
        pod = scene.wait_attempt(2, "runs")
        scene.run_pod(pod)
        sent = report(20, 1, attempt=2, **saved(20, 10, name="runs"))
        status, _ = operator.report(scene.namespace, "runs", scene.token(pod), sent)
        assert status == HTTPStatus.OK
        scene.wait(lambda s: s["step"] == 20, "reports are accepted", "runs")
        scene.kube.patch(scene.path("runs"), {"spec": {"suspend": True}})
        scene.wait(lambda s: s["phase"] == "Suspended", "suspended", "runs")
        scene.kube.patch(scene.path("runs"), {"spec": {"suspend": False}})
        scene.wait_attempt(3, "runs")
        refused = scene.wait(lambda s: s["phase"] == "Refused", "not started", "waits")
        assert "expected dataset.validation" in condition(refused, "Stalled")["message"]


def test_a_stored_training_reads_with_the_defaults_of_new_fields(released: Scene) -> None:
    released.apply("stored")
    was = released.training("stored")
    install(released, build_crd())
    now = released.training("stored")
    assert contains(now["spec"], was["spec"])
    assert now["metadata"] == was["metadata"], "read with defaults, not written again"
    changed = released.kube.patch(released.path("stored"), {"spec": {"steps": 200}})
    assert changed["spec"]["steps"] == 200


def as_released(settings: dict[str, str]) -> dict[str, str]:
    """Return the settings without those that the release does not know."""
    newer = ("_PORT", "_PER_PEER", "METRICS_AUTHENTICATION")
    return {name: value for name, value in settings.items() if not name.endswith(newer)}


def post(port: int, scene: Scene, token: str, body: Object) -> int:
    """Post a report to an operator that is a process."""
    elsewhere = RunningOperator({}, _ports=[Served(port)])
    return elsewhere.report(scene.namespace, "runs", token, body)[0]


def uids(scene: Scene) -> set[str]:
    return {job["metadata"]["uid"] for job in scene.kube.items(scene.collection("jobs"))}


def contains(whole: Any, part: Any) -> bool:
    """Return whether `whole` has all values of `part`; it may have more."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    return bool(whole == part)
