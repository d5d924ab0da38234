"""A real cluster with the operator and an S3 server in it, and trainings to test there."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from detection_trainer.checkpoints.format import (
    Arrays,
    Checkpoint,
    checkpoint_name,
    open_checkpoint,
)
from detection_trainer.storage import Folder
from sandbox.samples.trainings import TINY_MODEL, training
from sandbox.site import object_store
from sandbox.site.kube import (
    NAMESPACES,
    TRAININGS,
    Kube,
    Object,
    WaitTimeoutError,
    condition,
    phase,
)
from sandbox.site.namespaces import restricted_namespace
from sandbox.site.object_store import ObjectStore
from sandbox.site.tools import Tools, run
from tests.support.trainer.shapes import CLASSES

S3_NAMESPACE = "detection-e2e"
OPERATOR_VALUES = (
    "statusIntervalSeconds=1",
    "trainer.backoffBaseSeconds=1",
    "trainer.backoffCapSeconds=4",
    "trainer.terminationGracePeriodSeconds=40",
    "trainer.imagePullTimeoutSeconds=600",
)
DATASET = "s3://data/shapes"
CONTROL_STEPS = 400
"""Some ten seconds: long enough to be interrupted in."""
ONE_THREAD = [
    {"name": "TF_NUM_INTRAOP_THREADS", "value": "1"},
    {"name": "TF_NUM_INTEROP_THREADS", "value": "1"},
]
START_TIMEOUT_S = 120
"""Until a trainer has saved its first checkpoints, on two busy cores."""
RUN_TIMEOUT_S = 180
STUCK = ("Failed", "Refused")
"""Phases that a person has to end: a wait for another phase would never end."""

Until = Callable[[Object], bool]


@dataclass(frozen=True)
class Site:
    """The cluster, and the S3 server as this machine reaches it."""

    tools: Tools
    kube: Kube
    store: ObjectStore

    @contextmanager
    def workspace(self) -> Iterator["Workspace"]:
        """Make a namespace under the restricted Pod Security level, with the S3 server's Secret."""
        with restricted_namespace(self.kube, "e2e") as name:
            self.kube.create(f"{NAMESPACES}/{name}/secrets", s3_secret())
            yield Workspace(self, name)


def s3_secret(name: str = object_store.SECRET, **changes: str) -> Object:
    """Return the Secret that trainings refer to; `changes` replace some of its keys."""
    keys = object_store.keys_for(object_store.endpoint(S3_NAMESPACE))
    return {"metadata": {"name": name}, "stringData": keys | changes}


@dataclass(frozen=True)
class Workspace:
    """A namespace to train in."""

    site: Site
    namespace: str

    @property
    def kube(self) -> Kube:
        """The client."""
        return self.site.kube

    def path(self, *parts: str, api: str = "api/v1") -> str:
        """Return the path of a collection or an object in this namespace."""
        return "/".join([f"/{api}/namespaces/{self.namespace}", *parts])

    def folder_uri(self, name: str) -> str:
        """Return where the training `name` keeps its checkpoints."""
        return f"s3://runs/{self.namespace}/{name}"

    def document(self, name: str, **spec: Any) -> Object:
        """Return a training of the coloured shapes that two cores end within seconds.

        Args:
            name: of the resource.
            spec: replaces the spec's fields of that name; None takes one away.
        """
        checkpoints = {
            "storage": {"uri": self.folder_uri(name)}, "everySteps": 40, "keepLast": 100,
        }  # fmt: skip
        fields: Object = {
            "model": copy.deepcopy(TINY_MODEL),
            "dataset": dataset(),
            "steps": 60,
            "batchSize": 4,
            "deterministic": True,
            "optimizer": {"learningRate": 0.01, "schedule": {"type": "constant"}},
            "augmentation": [{"randomHorizontalFlip": {}}, {"randomScaleCrop": {}}],
            "credentials": [{"uriPrefix": "s3://", "secretRef": {"name": object_store.SECRET}}],
            "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}},
            "podTemplate": {"env": ONE_THREAD},
        }
        fields |= spec
        fields["checkpoints"] = checkpoints | fields.get("checkpoints", {})
        return training(name, **fields)

    def train(self, name: str, **spec: Any) -> "LiveTraining":
        """Apply the training that `document` returns."""
        return self.apply(self.document(name, **spec))

    def apply(self, document: Object) -> "LiveTraining":
        """Create a training, as strictly validated as kubectl does."""
        self.kube.create(TRAININGS.format(namespace=self.namespace), document)
        return LiveTraining(self, document["metadata"]["name"])


def dataset(**changes: Any) -> Object:
    """Return the coloured shapes as a training names them."""
    fields = {"train": {"uri": f"{DATASET}/train-*.tfrecord"}, "classes": list(CLASSES)} | changes
    return {key: value for key, value in fields.items() if value is not None}


@dataclass(frozen=True)
class LiveTraining:
    """A DetectionTraining in the cluster."""

    workspace: Workspace
    name: str

    @property
    def kube(self) -> Kube:
        """The client."""
        return self.workspace.kube

    @property
    def path(self) -> str:
        """The resource's path."""
        return f"{TRAININGS.format(namespace=self.workspace.namespace)}/{self.name}"

    @property
    def folder(self) -> Folder:
        """Its folder of checkpoints, from here."""
        return self.workspace.site.store.folder(self.workspace.folder_uri(self.name))

    @property
    def status(self) -> Object:
        """The present status."""
        found: Object = self.kube.get(self.path)["status"]
        return found

    def patch(self, **spec: Any) -> Object:
        """Change fields of the spec, as `kubectl patch --type merge` does."""
        return self.kube.patch(self.path, {"spec": spec})

    def delete(self) -> None:
        """Delete the resource in the background, as kubectl does."""
        self.kube.delete(self.path)

    def wait(self, until: Until, what: str, timeout_s: float = RUN_TIMEOUT_S) -> Object:
        """Wait by watch until `until` accepts the resource; return its status.

        Raises:
            WaitTimeoutError: it timed out, or the training ended in another phase.
        """

        def settled(found: Object | None) -> bool:
            return found is not None and (until(found) or is_stuck(found))

        found = self.kube.wait(self.path, settled, what=what, timeout_s=timeout_s)
        if not until(found):
            dumped = json.dumps(found["status"], indent=1)
            raise WaitTimeoutError(f"{what}: {self.name} is stuck meanwhile: {dumped[:6000]}")
        status: Object = found["status"]
        return status

    def wait_for_phase(self, *wanted: str, timeout_s: float = RUN_TIMEOUT_S) -> Object:
        """Wait until the operator has seen the newest spec and the phase is one of `wanted`."""

        def reached(found: Object) -> bool:
            seen = found["status"].get("observedGeneration") == found["metadata"]["generation"]
            return seen and phase(found) in wanted

        return self.wait(reached, f"{self.name} is {' or '.join(wanted)}", timeout_s)

    def wait_for_checkpoint(self, step: int, timeout_s: float = START_TIMEOUT_S) -> Object:
        """Wait until a checkpoint of `step` or a later one is recorded."""
        what = f"{self.name} has a checkpoint of step {step}"
        return self.wait(lambda found: newest_step(found) >= step, what, timeout_s)

    def wait_for_condition(self, kind: str, value: str, reason: str | None = None) -> Object:
        """Wait until a condition has this value; return the condition."""

        def holds(found: Object) -> bool:
            seen = condition(found, kind)
            return seen.get("status") == value and reason in {None, seen.get("reason")}

        what = f"{self.name} has condition {kind}={value} {reason or ''}"
        status = self.wait(holds, what, START_TIMEOUT_S)
        return condition({"status": status}, kind)

    def wait_for_attempt(self, number: int) -> Object:
        """Wait until the trainer of attempt `number` has reported the step at which it resumed."""

        def reported(found: Object) -> bool:
            attempt = found["status"].get("currentAttempt") or {}
            return attempt.get("number", 0) >= number and "resumedFromStep" in attempt

        return self.wait(reported, f"attempt {number} of {self.name} trains", START_TIMEOUT_S)

    def owned(self, collection: str, api: str) -> list[Object]:
        """Return the Jobs or pods that carry the training's label."""
        selector = f"detectiontraining.dev/training={self.name}"
        path = self.workspace.path(collection, api=api)
        return self.kube.items(f"{path}?labelSelector={selector}")

    @property
    def pods(self) -> list[Object]:
        """Its pods, newest first."""
        pods = self.owned("pods", "api/v1")
        return sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)

    @property
    def jobs(self) -> list[Object]:
        """Its Jobs."""
        return self.owned("jobs", "apis/batch/v1")

    @property
    def pod_path(self) -> str:
        """The path of its newest pod."""
        return self.workspace.path("pods", self.pods[0]["metadata"]["name"])

    @property
    def job_path(self) -> str:
        """The path of the Job of its current attempt."""
        name = self.status["currentAttempt"]["jobName"]
        return self.workspace.path("jobs", name, api="apis/batch/v1")

    @property
    def events(self) -> list[Object]:
        """The events about it."""
        selector = f"involvedObject.kind=DetectionTraining,involvedObject.name={self.name}"
        return self.kube.items(f"{self.workspace.path('events')}?fieldSelector={selector}")

    def checkpoint(self, step: int) -> Checkpoint:
        """Open the committed checkpoint of `step` in its folder."""
        return open_checkpoint(self.folder.child(checkpoint_name(step)))

    @property
    def log(self) -> str:
        """The log of its newest pod so far."""
        command = [
            "logs",
            self.pods[0]["metadata"]["name"],
            "--namespace",
            self.workspace.namespace,
        ]
        return run([*self.workspace.site.tools.kubectl, *command])

    def weights(self, step: int) -> Arrays:
        """Read the variables of the model at `step`, digests verified."""
        return self.checkpoint(step).load()[0]


def newest_step(found: Object) -> int:
    """Return the step of the newest recorded checkpoint, or -1."""
    latest = found["status"].get("latestCheckpoint") or {}
    return int(latest.get("step", -1))


def is_stuck(found: Object) -> bool:
    """Return whether the operator has seen the newest spec and waits for a person."""
    seen = found["status"].get("observedGeneration") == found["metadata"]["generation"]
    return seen and phase(found) in STUCK


@dataclass(frozen=True)
class Result:
    """What an interrupted run is compared by with one that was not."""

    step: int
    loss: str
    digest: str
    """Of the weights."""

    @classmethod
    def of(cls, status: Object) -> "Result":
        """Take it from a status; the newest checkpoint must be of the last step."""
        newest = status["latestCheckpoint"]
        assert newest["step"] == status["step"]
        return cls(status["step"], status["progress"]["loss"], newest["digest"])
