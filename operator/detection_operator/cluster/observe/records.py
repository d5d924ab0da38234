"""Slim records of watched objects: the cache's content.

A training is kept as packed text (`packing.py`), which takes a small part of the memory of its
decoded form; Jobs and pods are kept as the frozen values that `plan` reads.
"""

import sys
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from pydantic_core import from_json, to_json

from detection_operator import names
from detection_operator.api.conditions import Phase
from detection_operator.cluster.api.decode import CUT, MAX_DEPTH
from detection_operator.cluster.api.resources import Key, Object, controller_of
from detection_operator.cluster.observe.folders import folder_of
from detection_operator.cluster.observe.ownership import Ref, job_of_pod, training_of_job
from detection_operator.cluster.observe.packing import pack, unpack
from detection_operator.cluster.observe.parse import (
    key_of,
    parse_attempt,
    parse_job,
    parse_time,
    parse_training,
    text_of,
)
from detection_operator.cluster.observe.parse_pod import parse_pod
from detection_operator.core.state import Job, Pod, Training
from detection_operator.errors import UnreadableError

KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
)


PHASES = frozenset(Phase)
_CUT = CUT.encode()


@dataclass(frozen=True, slots=True)
class Version:
    """The state of an object.

    Later states have higher resource versions, also after an object of this name was created again.
    """

    uid: str
    resource_version: str

    def is_before(self, other: "Version") -> bool:
        """Return whether `other` is a later state."""
        mine, its = self.resource_version, other.resource_version
        if mine.isdigit() and its.isdigit():
            return int(mine) < int(its)
        return mine != its


def version_of(body: Object) -> Version:
    """Return the version of an object, or of its metadata alone."""
    return Version(body["metadata"]["uid"], body["metadata"].get("resourceVersion", ""))


@dataclass(frozen=True, slots=True)
class Measures:
    """What `/metrics` reports of one training."""

    step: int
    target_steps: int
    attempts: int
    steps_lost: int
    phase: str
    loss: float | None = None
    checkpoint_at: datetime | None = None


class ConfigMapKey(NamedTuple):
    """A key of a ConfigMap in the training's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One DetectionTraining."""

    key: Key
    version: Version
    created_at: str
    folder: str
    """The checkpoint folder, comparable within the namespace; empty: unknown."""
    source: Key | None
    """The training that this one's `restore` or `continueFrom` refers to."""
    attempt: int | None
    """The number of the current attempt."""
    job_uid: str
    """The uid of its Job, from the status; empty: not recorded yet."""
    measures: Measures
    packed: bytes
    """Its JSON."""
    config_map: ConfigMapKey | None
    """The ConfigMap that has its pipeline.config, while the configuration may still change."""
    length: int
    """The size of its JSON in bytes."""
    problem: str = ""
    """Why its spec cannot be read, if the spec itself does not show it."""

    @property
    def ref(self) -> Ref:
        """The reference to the training itself."""
        return Ref(self.key.namespace, self.version.uid)

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.key.namespace

    def parse(self, found: str | None = None) -> Training:
        """Return what `plan` receives; `found` is the pipeline.config in its ConfigMap.

        Raises:
            UnreadableError: the status or the metadata is invalid.
        """
        try:
            training = parse_training(from_json(unpack(self.packed)), found)
        except (AttributeError, TypeError, ValueError) as error:
            raise UnreadableError(f"{self.key} cannot be read: {error}") from error
        if not self.problem:
            return training
        invalid = training.invalid or self.problem
        return replace(training, spec=None, invalid=invalid, pipeline_config=None)

    def stored_status(self) -> Object:
        """Return the status as the API server has it."""
        found: Object = from_json(unpack(self.packed))["status"]
        return found


def training_record(body: Object) -> TrainingRecord:
    """Return the record of a DetectionTraining, whose spec and status may be anything."""
    kept = _kept(body)
    text = to_json(kept)
    try:
        if _CUT in text:
            problem = f"a field of it is nested deeper than {MAX_DEPTH} levels: take it out."
            return _record_without(body, kept, text, problem)
        return _record(body, kept, text)
    except Exception as error:  # noqa: BLE001 - it is reported, and the others are served
        # An older CRD may have accepted what this one refuses.
        problem = f"it cannot be read: {type(error).__name__}: {error}."
        return _record_without(body, kept, text, problem)


def _kept(body: Object) -> Object:
    metadata = body["metadata"]
    return {
        "metadata": {name: metadata[name] for name in KEPT_METADATA if name in metadata},
        "spec": body.get("spec") or {},
        "status": body.get("status") or {},
    }


def _record_without(body: Object, kept: Object, text: bytes, problem: str) -> TrainingRecord:
    """Return the record of a training whose spec cannot be used, but whose status can."""
    try:
        measures = measures_of({}, kept["status"])
    except Exception:  # noqa: BLE001 - parsing reports the problem
        measures = Measures(0, 0, 0, 0, Phase.PENDING)
    return TrainingRecord(
        key=key_of(body),
        version=version_of(body),
        created_at=str(body["metadata"].get("creationTimestamp", "")),
        folder="",
        source=None,
        attempt=_attempt_of(kept["status"]),
        job_uid=_job_uid_of(kept["status"]),
        measures=measures,
        packed=pack(text),
        config_map=None,
        length=len(text),
        problem=problem,
    )


def _record(body: Object, kept: Object, text: bytes) -> TrainingRecord:
    key = key_of(body)
    return TrainingRecord(
        key=key,
        version=version_of(body),
        created_at=text_of(body["metadata"].get("creationTimestamp")),
        folder=folder_of(key, kept["spec"]),
        source=source_of(key, kept["spec"]),
        attempt=_attempt_of(kept["status"]),
        job_uid=_job_uid_of(kept["status"]),
        measures=measures_of(kept["spec"], kept["status"]),
        packed=pack(text),
        config_map=config_map_of(kept["spec"], kept["status"]),
        length=len(text),
    )


def _attempt_of(status: Object) -> int | None:
    number = (status.get("currentAttempt") or {}).get("number")
    return number if isinstance(number, int) else None


def _job_uid_of(status: Object) -> str:
    uid = (status.get("currentAttempt") or {}).get("jobUID")
    return uid if isinstance(uid, str) else ""


def source_of(key: Key, spec: Object) -> Key | None:
    """Return the training that the spec refers to."""
    place = spec.get("continueFrom") or (spec.get("restore") or {}).get("from") or {}
    name = text_of((place.get("trainingRef") or {}).get("name"))
    return Key(key.namespace, name) if name else None


def config_map_of(spec: Object, status: Object) -> ConfigMapKey | None:
    """Return the ConfigMap key of its pipeline.config; None if that is pinned or not in one."""
    reference = (spec.get("pipelineConfig") or {}).get("configMapKeyRef")
    attempt = status.get("currentAttempt") or {}
    running = bool(attempt) and not (attempt.get("outcome") or {}).get("finishedAt")
    if not reference or status.get("latestCheckpoint") or (running and "pipelineConfig" in status):
        return None
    return ConfigMapKey(
        text_of(reference["name"]), text_of(reference.get("key")) or "pipeline.config"
    )


def measures_of(spec: Object, status: Object) -> Measures:
    """Return what `/metrics` reports, from the status."""
    progress = status.get("progress") or {}
    phase = status.get("phase")
    checkpoint = status.get("latestCheckpoint") or {}
    loss = progress.get("loss")
    return Measures(
        step=int(status.get("step", 0)),
        target_steps=int(spec.get("steps") or status.get("targetSteps") or 0),
        attempts=int(status.get("attemptCount", 0)),
        steps_lost=int(status.get("stepsLost", 0)),
        phase=phase if phase in PHASES else Phase.PENDING,
        loss=None if loss is None else float(loss),
        checkpoint_at=parse_time(checkpoint.get("savedAt")),
    )


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One Job of the operator."""

    namespace: str
    version: Version
    training_uid: str
    training: Key
    job: Job

    @property
    def ref(self) -> Ref:
        """The reference to the Job itself."""
        return Ref(self.namespace, self.version.uid)

    @property
    def controller(self) -> Ref:
        """The training that it names as its controller."""
        return Ref(self.namespace, self.training_uid)


def job_record(body: Object) -> JobRecord | None:
    """Return the record of a Job; None if no DetectionTraining controls it."""
    training = training_of_job(body)
    if training is None:
        return None
    owner = Key(training.namespace, text_of(controller_of(body).get("name")))
    return JobRecord(training.namespace, version_of(body), training.uid, owner, parse_job(body))


@dataclass(frozen=True, slots=True)
class PodRecord:
    """One pod that a Job created.

    Its labels name its training but prove nothing: `Cache.training_of` knows.
    """

    namespace: str
    version: Version
    training_uid: str
    training: Key
    created_at: str
    job_uid: str
    attempt: int | None
    pod: Pod
    gone: bool = False
    """It is deleted; kept for its last state, which a Job does not report."""

    @property
    def controller(self) -> Ref:
        """The Job that it names as its controller."""
        return Ref(self.namespace, self.job_uid)


def pod_record(body: Object) -> PodRecord | None:
    """Return the record of a pod; None if no Job controls it, or it names no training."""
    metadata, owner = body["metadata"], job_of_pod(body)
    labels = metadata.get("labels") or {}
    training = text_of(labels.get(names.LABEL_TRAINING))
    uid = text_of(labels.get(names.LABEL_TRAINING_UID))
    if owner is None or not training or not uid:
        return None
    return PodRecord(
        namespace=metadata["namespace"],
        version=version_of(body),
        training_uid=uid,
        training=Key(metadata["namespace"], training),
        created_at=sys.intern(text_of(metadata.get("creationTimestamp"))),
        job_uid=owner.uid,
        attempt=parse_attempt(labels),
        pod=parse_pod(body),
    )
