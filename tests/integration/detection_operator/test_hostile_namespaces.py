"""A user of one namespace attacks a training of another, or of theirs: nothing of it changes.

The user may write any label, owner reference and termination message, as the role `edit` allows.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detection_operator import names
from detection_operator.api.v1alpha1 import API_VERSION, KIND
from sandbox.site.kube import NAMESPACES, Kube, condition
from tests.support.cluster.operator_fixtures import Object, Scene, ended, environment, report, saved
from tests.support.cluster.running_operator import RunningOperator

HELD = "detectiontraining.dev/held-by-a-test"
"""A finalizer: the garbage collector would delete objects whose owner does not exist."""
COMPLETED = json.dumps(report(100, 99, **saved(100), **ended(0, "Completed")))
SECURE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD_SPEC: Object = {
    "nodeSelector": {"no": "where"},
    "restartPolicy": "Never",
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "containers": [{"name": "trainer", "image": "x", "securityContext": SECURE}],
}


@pytest.fixture
def attacker(kube: Kube) -> Iterator[Scene]:
    """Return another namespace."""
    name = f"t-{secrets.token_hex(4)}"
    kube.create(NAMESPACES, {"metadata": {"name": name}})
    yield Scene(kube, name)
    kube.delete(f"{NAMESPACES}/{name}")


@pytest.fixture
def operator(scene: Scene, attacker: Scene, kubeconfig: Path | None) -> Iterator[RunningOperator]:
    """Run one operator for both namespaces."""
    places = f"{scene.namespace},{attacker.namespace}"
    with RunningOperator(environment(places, kubeconfig)) as running:
        yield running


@dataclass(frozen=True)
class Victim:
    """A training that runs, and its objects."""

    training: Object
    job: Object
    pod: Object

    def labels(self) -> Object:
        """Return the labels of its attempt, which everybody can guess or read."""
        return {
            names.LABEL_TRAINING: "trees",
            names.LABEL_TRAINING_UID: self.training["metadata"]["uid"],
            names.LABEL_ATTEMPT: "1",
            names.LABEL_MANAGED_BY: names.MANAGED_BY,
            names.LABEL_ROLE: names.ROLE_TRAINER,
        }

    def owner(self) -> Object:
        """Return a reference to it as the controller."""
        uid = self.training["metadata"]["uid"]
        return {"apiVersion": API_VERSION, "kind": KIND, "name": "trees", "uid": uid}


def forge_job(place: Scene, victim: Victim, *owners: Object) -> str:
    """Create a Job with the labels of the attempt, and elsewhere its name; return its uid."""
    real = victim.job["metadata"]
    metadata = {
        "name": "forged" if place.namespace == real["namespace"] else real["name"],
        "labels": victim.labels(),
        "ownerReferences": [{**owner, "controller": True} for owner in owners],
        "finalizers": [HELD],
    }
    spec = {"suspend": True, "template": {"spec": POD_SPEC}}
    made = place.kube.create(place.collection("jobs"), {"metadata": metadata, "spec": spec})
    return str(made["metadata"]["uid"])


def forge_pod(place: Scene, victim: Victim, job_uid: str) -> Object:
    """Create a pod of a Job with this uid; it claims that it completed the victim's training."""
    job = {"apiVersion": "batch/v1", "kind": "Job", "name": victim.job["metadata"]["name"]}
    metadata = {
        "name": "forged",
        "labels": victim.labels(),
        "ownerReferences": [{**job, "uid": job_uid, "controller": True}],
        "finalizers": [HELD],
    }
    made = place.kube.create(place.collection("pods"), {"metadata": metadata, "spec": POD_SPEC})
    place.end_pod(made, 0, COMPLETED)
    return made


def job_that_names_the_training(place: Scene, victim: Victim) -> Object:
    return forge_pod(place, victim, forge_job(place, victim, victim.owner()))


def pod_that_names_the_job(place: Scene, victim: Victim) -> Object:
    return forge_pod(place, victim, victim.job["metadata"]["uid"])


def job_with_the_labels_alone(place: Scene, victim: Victim) -> Object:
    return forge_pod(place, victim, forge_job(place, victim))


def pod_of_a_job_that_never_was(place: Scene, victim: Victim) -> Object:
    return forge_pod(place, victim, "5f2c8a1b-0000-4000-8000-000000000001")


@contextmanager
def released(place: Scene) -> Iterator[None]:
    """Remove the finalizers in any case."""
    try:
        yield
    finally:
        for plural in ("pods", "jobs"):
            for found in place.kube.items(place.collection(plural)):
                if HELD in found["metadata"].get("finalizers", ()):
                    path = f"{place.collection(plural)}/{found['metadata']['name']}"
                    place.kube.patch(path, {"metadata": {"finalizers": None}})


def start(operator: RunningOperator, scene: Scene) -> Victim:
    pod = scene.start(operator)
    status = scene.training()["status"]
    job = scene.kube.get(f"{scene.collection('jobs')}/{status['currentAttempt']['jobName']}")
    return Victim(scene.training(), job, pod)


def wait_until_seen(place: Scene) -> None:
    """Wait until the operator knows of a later pod of the same namespace."""
    place.apply("canary")
    place.wait_attempt(1, "canary")
    place.wait(lambda s: "Unschedulable" in json.dumps(s["conditions"]), "seen", "canary")


ATTACKS = {
    "elsewhere, a Job that names the training": ("attacker", job_that_names_the_training),
    "elsewhere, a pod that names the Job": ("attacker", pod_that_names_the_job),
    "in the namespace, a Job with the labels": ("scene", job_with_the_labels_alone),
    "in the namespace, a pod of no Job": ("scene", pod_of_a_job_that_never_was),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_forged_objects_end_no_training_and_report_nothing(
    operator: RunningOperator, scene: Scene, attacker: Scene, attack: str
) -> None:
    victim = start(operator, scene)
    where, forge = ATTACKS[attack]
    place = {"scene": scene, "attacker": attacker}[where]
    with released(place):
        token = place.token(forge(place, victim))
        wait_until_seen(place)
        answer, _ = operator.report(scene.namespace, "trees", token, report(99, 98))
        assert answer in (403, 503)
        body = report(50, 2, **saved(50, 40))
        assert operator.report(scene.namespace, "trees", scene.token(victim.pod), body)[0] == 200
        scene.wait(lambda s: s["step"] == 50, "the real trainer's report is accepted")
        # A forged value that was accepted would be in every later decision.
        scene.kube.patch(scene.path(), {"spec": {"retryPolicy": {"maxRetries": 3}}})
        decided = scene.wait(lambda s: s["observedGeneration"] == 2, "decided on again")
        status = decided["status"]
    assert (status["phase"], status["attemptCount"]) == ("Running", 1)
    assert status["latestCheckpoint"]["step"] == 50
    assert status["currentAttempt"]["jobUID"] == victim.job["metadata"]["uid"]
    assert "outcome" not in status["currentAttempt"]
    real = scene.kube.get(f"{scene.collection('pods')}/{victim.pod['metadata']['name']}")
    assert "deletionTimestamp" not in real["metadata"]


def test_a_folder_that_another_namespace_names_first_is_no_obstacle(
    operator: RunningOperator, scene: Scene, attacker: Scene
) -> None:
    del operator
    folder: dict[str, Any] = {"checkpoints": {"storage": {"uri": "s3://runs/one"}}}
    attacker.apply("squatter", suspend=True, **folder)
    attacker.wait(lambda s: s.get("phase") == "Suspended", "suspended", "squatter")
    scene.apply(**folder)
    scene.wait_attempt(1)
    scene.apply("second", **folder)
    refused = scene.wait(lambda s: s.get("phase") == "Refused", "refused", "second")
    stalled = condition(refused, "Stalled")
    assert stalled["reason"] == "StorageInUse"
    assert f"{scene.namespace}/trees" in stalled["message"], "within a namespace it is named"
    assert attacker.namespace not in json.dumps(scene.training()["status"])
    assert attacker.namespace not in json.dumps(refused["status"])


def test_a_source_is_not_looked_up_in_another_namespace(
    operator: RunningOperator, scene: Scene, attacker: Scene
) -> None:
    pod = scene.start(operator)
    assert pod["metadata"]["uid"]
    reference = {"trainingRef": {"name": "trees", "step": 40}}
    attacker.apply("thief", restore={"mode": "detection", "from": reference})
    found = attacker.wait(lambda s: bool(s.get("conditions")), "decided on", "thief")
    assert condition(found, "Ready")["reason"] == "WaitingForSource"
    assert attacker.jobs() == []
    assert scene.namespace not in json.dumps(found["status"])
