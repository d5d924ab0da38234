"""What a training waits for wakes it at once: no resync helps in these tests.

The resync is an hour away, so that only the watches, the operator's own writes and its timers can
wake a training.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults.api_proxy import ApiProxy
from sandbox.samples.trainings import training
from sandbox.site.kube import Object, condition
from tests.support.cluster.operator_fixtures import (
    Scene,
    ended,
    environment,
    last_word,
    report,
    saved,
)
from tests.support.cluster.queue import LABEL, Queue
from tests.support.cluster.running_operator import RunningOperator

NO_RESYNC = {"RESYNC_S": "3600"}
RESTORED = {"restore": {"mode": "full", "from": {"trainingRef": {"name": "trees"}}}}
FOLDER = {"checkpoints": {"storage": {"uri": "s3://runs/shared"}}}


@pytest.fixture
def operator(scene: Scene, kubeconfig: Path | None) -> Iterator[RunningOperator]:
    """Run an operator without a resync during the test."""
    with RunningOperator(environment(scene.namespace, kubeconfig, **NO_RESYNC)) as running:
        yield running


def wait_ready_reason(scene: Scene, reason: str, name: str, text: str = "") -> Object:
    """Wait until the condition Ready of a training has this reason and text."""

    def holds(status: Object) -> bool:
        ready = condition({"status": status}, "Ready") or {}
        return ready.get("reason") == reason and text in ready.get("message", "")

    return scene.wait(holds, f"{reason} ({text})", name)


def test_a_source_that_completes_by_a_report(operator: RunningOperator, scene: Scene) -> None:
    pod = scene.start(operator)
    scene.apply("heir", **RESTORED)
    wait_ready_reason(scene, "WaitingForSource", "heir", "it is Running")
    body = report(100, 2, **saved(100), **ended(0, "Completed"))
    assert operator.report(scene.namespace, "trees", scene.token(pod), body)[0] == 200
    scene.end_pod(pod, 0)
    heir = scene.wait_attempt(1, "heir")
    assert heir["metadata"]["labels"]["detectiontraining.dev/training"] == "heir"


def test_a_source_that_is_suspended_and_resumed(operator: RunningOperator, scene: Scene) -> None:
    scene.start(operator)
    scene.apply("heir", **RESTORED)
    scene.kube.patch(scene.path(), {"spec": {"suspend": True}})
    wait_ready_reason(scene, "WaitingForSource", "heir", "it is Suspended")
    scene.kube.patch(scene.path(), {"spec": {"suspend": False}})
    scene.run_pod(scene.wait_attempt(2))
    scene.wait(lambda s: s["phase"] != "Suspended", "resumed")
    scene.wait(
        lambda s: "it is Suspended" not in condition({"status": s}, "Ready")["message"],
        "the source's state is no longer reported",
        "heir",
    )


@pytest.mark.usefixtures("operator")
def test_a_source_that_is_created_later(scene: Scene) -> None:
    scene.apply("heir", **RESTORED)
    wait_ready_reason(scene, "WaitingForSource", "heir", "No DetectionTraining 'trees'")
    scene.apply()
    wait_ready_reason(scene, "WaitingForSource", "heir", "Waiting until training 'trees'")


@pytest.mark.parametrize("how", ["deleted", "moved elsewhere"])
@pytest.mark.usefixtures("operator")
def test_a_folder_that_another_training_releases(scene: Scene, how: str) -> None:
    scene.apply("first", **FOLDER)
    scene.wait_attempt(1, "first")
    scene.apply("second", **FOLDER)
    scene.wait(lambda s: s.get("phase") == "Refused", "refused the folder", "second")
    if how == "deleted":
        scene.kube.delete(scene.path("first"))
    else:
        moved = {"checkpoints": {"storage": {"uri": "s3://runs/elsewhere"}}}
        scene.kube.patch(scene.path("first"), {"spec": moved})
    scene.wait_attempt(1, "second")


def test_an_ended_job_that_is_found_by_its_name(
    scene: Scene, kubeconfig: Path | None, tmp_path: Path
) -> None:
    """Its creation was never answered, and its watch brings nothing."""
    with ApiProxy(kubeconfig, tmp_path) as proxy:
        settings = environment(scene.namespace, proxy.kubeconfig, **NO_RESYNC)
        with RunningOperator(settings) as operator:
            scene.apply("model")
            scene.wait_attempt(1, "model")
            proxy.refuse(lambda path, _watch: 503 if path in UNSEEN or path[:6] == "trees-" else 0)
            for plural in UNSEEN:
                proxy.interrupt_watches(plural=plural)
            operator.wait_until(
                lambda: operator.metric("detection_operator_watch_problems") == len(UNSEEN),
                "without these watches",
            )
            scene.apply()
            path = make_job(scene)
            scene.end_pod(scene.wait_pod(path.rpartition("/")[2]), 40, last_word(40, "Saved"))
            scene.kube.wait(path, _has_ended, what="the Job has ended")
            proxy.refuse(lambda plural, watch: 503 if watch and plural in UNSEEN else 0)
            scene.wait(lambda s: s["attemptCount"] == 2, "its end was seen")


UNSEEN = ("jobs", "pods")


def make_job(scene: Scene) -> str:
    """Create the requested Job, modelled on another training's; return its path."""
    status = scene.wait(lambda s: "currentAttempt" in s, "an attempt is on record")["status"]
    name, uid = status["currentAttempt"]["jobName"], scene.training()["metadata"]["uid"]
    other_uid = scene.training("model")["metadata"]["uid"]
    [job] = [j for j in scene.kube.items(scene.collection("jobs")) if other_uid in json.dumps(j)]
    metadata, spec = job["metadata"], job["spec"]
    del spec["selector"]
    spec["template"]["metadata"]["labels"] = metadata["labels"]
    kept = {key: metadata[key] for key in ("labels", "ownerReferences")}
    body = {**job, "metadata": {"name": name, **kept}, "spec": spec, "status": {}}
    text = json.dumps(body).replace(other_uid, uid).replace('"model"', '"trees"')
    scene.kube.create(scene.collection("jobs"), json.loads(text))
    return f"{scene.collection('jobs')}/{name}"


def _has_ended(job: Object | None) -> bool:
    conditions = (job or {}).get("status", {}).get("conditions") or []
    return any(c["type"] in {"Failed", "Complete"} and c["status"] == "True" for c in conditions)


@pytest.mark.usefixtures("operator")
def test_a_queue_that_admits(scene: Scene) -> None:
    document: dict[str, Any] = training("trees")
    document["metadata"]["labels"] = {LABEL: "gpus"}
    scene.kube.create(scene.path("").rstrip("/"), document)
    queue = Queue(scene.kube, scene.namespace)
    wait_ready_reason(scene, "Queued", "trees", "waits in its queue")
    [job] = queue.jobs()
    queue.admit(job, {"example.com/flavor": "spot"})
    scene.run_pod(scene.wait_attempt(1))
    scene.wait(lambda s: "startedAt" in s["currentAttempt"], "started")


def test_the_time_of_a_retry(scene: Scene, kubeconfig: Path | None) -> None:
    settings = environment(scene.namespace, kubeconfig, BACKOFF_BASE_S="2", **NO_RESYNC)
    with RunningOperator(settings):
        scene.apply()
        scene.end_pod(scene.wait_attempt(1), 71, last_word(71, "StorageUnavailable"))
        scene.wait_attempt(2)
    status = scene.training()["status"]
    due = datetime.fromisoformat(status["retries"]["notBefore"])
    made = datetime.fromisoformat(status["currentAttempt"]["createdAt"])
    assert due <= made < due + LATE


LATE = timedelta(seconds=30)
