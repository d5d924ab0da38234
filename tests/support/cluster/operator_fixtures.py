"""Fixtures for tests that run the operator against a real API server."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.samples.trainings import training
from sandbox.site.kube import TRAININGS, Kube
from tests.support.cluster.running_operator import RunningOperator

Object = dict[str, Any]
NOWHERE = {"nodeSelector": {"detectiontraining.dev/no-such-node": "here"}}
"""No node runs these pods: the test itself writes their status."""
NOW = "2026-11-24T10:00:00Z"
DIGEST = "sha256:" + "0" * 64
EVENT_TIMEOUT_S = 30.0


def environment(namespace: str, kubeconfig: Path | None, **more: str) -> dict[str, str]:
    """Return the environment of an operator that watches one namespace."""
    settings = {
        "TRAINER_IMAGE": "detection-trainer:none",
        "REPORT_URL": "http://127.0.0.1:1",
        "NAMESPACES": namespace,
        "LISTEN_HOST": "127.0.0.1",
        "REPORTS_PORT": "0",
        "HEALTH_PORT": "0",
        "METRICS_PORT": "0",
        "PLAIN_PORT": "0",
        "REPORT_CONNECTIONS_PER_PEER": "0",
        "METRICS_AUTHENTICATION": "false",
        "WORKERS": "4",
        "BACKOFF_BASE_S": "0.2",
        "STATUS_INTERVAL_S": "0.5",
        **more,
    }
    found = {f"DETECTION_OPERATOR_{key}": value for key, value in settings.items()}
    return found if kubeconfig is None else {**found, "KUBECONFIG": str(kubeconfig)}


@dataclass(frozen=True)
class Scene:
    """One namespace of a real cluster, seen by a person with kubectl."""

    kube: Kube
    namespace: str

    def path(self, name: str = "trees") -> str:
        return f"{TRAININGS.format(namespace=self.namespace)}/{name}"

    def collection(self, plural: str) -> str:
        group = "/apis/batch/v1" if plural == "jobs" else "/api/v1"
        return f"{group}/namespaces/{self.namespace}/{plural}"

    def apply(self, name: str = "trees", **spec: Any) -> Object:
        """Create a training whose pods no node runs."""
        fields = {"podTemplate": NOWHERE, **spec}
        return self.kube.create(self.path("").rstrip("/"), training(name, **fields))

    def start(self, operator: RunningOperator, step: int = 40, **spec: Any) -> Object:
        """Bring a training to `step`, with a checkpoint there; return its pod."""
        self.apply(**spec)
        pod = self.wait_attempt(1)
        self.run_pod(pod)
        body = report(step, 1, **saved(step))
        assert operator.report(self.namespace, "trees", self.token(pod), body)[0] == 200
        return pod

    def training(self, name: str = "trees") -> Object:
        return self.kube.get(self.path(name))

    def wait(self, until: Callable[[Object], bool], what: str, name: str = "trees") -> Object:
        """Wait until `until` accepts the training's status."""
        return self.kube.wait(
            self.path(name),
            lambda found: found is not None and until(found.get("status") or {}),
            what=what,
        )

    def wait_attempt(self, number: int, name: str = "trees") -> Object:
        """Wait until attempt `number` has a pod; return the pod."""
        status = self.wait(
            lambda status: (status.get("currentAttempt") or {}).get("number") == number,
            f"attempt {number} is on record",
            name,
        )["status"]
        return self.wait_pod(status["currentAttempt"]["jobName"])

    def wait_pod(self, job_name: str) -> Object:
        """Wait until a Job has its pod; return the pod."""
        job = self.kube.wait(
            f"{self.collection('jobs')}/{job_name}",
            lambda found: found is not None and (found.get("status") or {}).get("active") == 1,
            what="the Job has a pod",
        )
        [pod] = self.pods(job["metadata"]["uid"])
        return pod

    def pods(self, job_uid: str) -> list[Object]:
        selector = f"?labelSelector=batch.kubernetes.io/controller-uid={job_uid}"
        return self.kube.items(self.collection("pods") + selector)

    def jobs(self) -> list[str]:
        return sorted(j["metadata"]["name"] for j in self.kube.items(self.collection("jobs")))

    def events(self) -> list[str]:
        mine = "?fieldSelector=involvedObject.kind=DetectionTraining"
        return [e["reason"] for e in self.kube.items(self.collection("events") + mine)]

    def wait_event(self, reason: str) -> None:
        """Wait until an Event with this reason is there: it is posted after the status."""
        deadline = time.monotonic() + EVENT_TIMEOUT_S
        while reason not in (seen := self.events()):
            assert time.monotonic() < deadline, f"expected an Event {reason}; received {seen}"
            time.sleep(0.1)

    def token(self, pod: Object | None, audience: str = "detectiontraining.dev/progress") -> str:
        """Return a token as the kubelet projects it into `pod`; None: bound to no pod."""
        request: Object = {"audiences": [audience], "expirationSeconds": 600}
        if pod is not None:
            who = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
            request["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", **who}
        path = f"{self.collection('serviceaccounts')}/default/token"
        answer = self.kube.request("POST", path, {"spec": request})
        return str(answer["status"]["token"])

    def run_pod(self, pod: Object, image_id: str = "x") -> None:
        """Write the status that scheduler and kubelet write when a pod's container runs."""
        running = {"state": {"running": {"startedAt": NOW}}, "ready": True, "imageID": image_id}
        self._say(pod, "Running", running, [{"type": "PodScheduled", "status": "True"}])

    def end_pod(self, pod: Object, exit_code: int, message: str = "") -> None:
        """Write the status that a kubelet writes when a pod's container has ended."""
        terminated = {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "message": message,
            "startedAt": NOW,
            "finishedAt": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self._say(pod, phase, {"state": {"terminated": terminated}, "ready": False}, [])

    def _say(self, pod: Object, phase: str, container: Object, conditions: list[Object]) -> None:
        known = {"name": "trainer", "image": "x", "imageID": "x", "restartCount": 0}
        status: Object = {"phase": phase, "containerStatuses": [known | container]}
        if conditions:
            status["conditions"] = conditions
        path = f"{self.collection('pods')}/{pod['metadata']['name']}/status"
        self.kube.patch(path, {"status": status})


def report(step: int, sequence: int, attempt: int = 1, **more: Any) -> Object:
    """Return a trainer's report."""
    fields = {
        "attempt": attempt,
        "sequence": sequence,
        "time": NOW,
        "step": step,
        "targetSteps": 100,
        "resumedFromStep": 0,
        "progress": {"loss": 0.5},
    }
    return fields | more


def saved(*steps: int, name: str = "trees") -> Object:
    """Return the part of a report that lists committed checkpoints."""
    records = [
        {"step": s, "uri": f"s3://runs/{name}/step-{s}", "digest": DIGEST, "savedAt": NOW}
        for s in steps
    ]
    return {"checkpoints": records, "checkpointCount": len(records)}


def ended(code: int, reason: str, message: str = "as reported") -> Object:
    """Return the part of a report that makes it the final one."""
    return {"outcome": {"exitCode": code, "reason": reason, "message": message}}


def last_word(code: int, reason: str, message: str = "as reported", **more: Any) -> str:
    """Return a termination message."""
    return json.dumps(ended(code, reason, message)["outcome"] | more)


@pytest.fixture
def scene(kube: Kube, namespace: str) -> Scene:
    """Return a namespace to act in."""
    return Scene(kube, namespace)


@pytest.fixture
def operator(scene: Scene, kubeconfig: Path | None) -> Iterator[RunningOperator]:
    """Run the operator for this namespace."""
    with RunningOperator(environment(scene.namespace, kubeconfig)) as running:
        yield running
