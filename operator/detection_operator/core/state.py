"""What `plan` receives: the training and everything observed of it, as frozen values.

`cluster/observe/gather.py` builds these from Kubernetes objects; the tests build them by hand.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import model_validator

from detection_operator.api.conditions import Reason
from detection_operator.api.pod_defaults import PodDefaults
from detection_operator.api.v1alpha1 import PipelineConfigStatus, Spec, Status
from detection_trainer.contract.dataset import Dataset, File, Place
from detection_trainer.contract.model import Model


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a resource."""

    namespace: str
    name: str
    uid: str


class UnreadSpec(Spec):
    """A spec whose pipelineConfig is stored at a URI that no pod has read yet.

    Fields that only the configuration can set have a default as a stand-in: it appears in no
    document that is written from the spec, and no rule is applied to it.
    """

    model: Model = Model(backbone="tiny")
    dataset: Dataset = Dataset(
        train=Place(uri="file:///unread"), label_map=File(uri="file:///unread")
    )
    steps: int = 2**31 - 1

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check nothing: the values that the fields are checked against are not known."""
        return self


@dataclass(frozen=True, slots=True)
class Training:
    """One DetectionTraining as last read."""

    identity: Identity
    generation: int
    resource_version: str
    created_at: datetime
    deleting: bool
    spec: Spec | None
    """None if the stored spec is invalid for this version; `invalid` states why."""
    status: Status
    invalid: str = ""
    pipeline_config: PipelineConfigStatus | None = None
    """The configuration that `spec` was made from."""
    labels: dict[str, str] = field(default_factory=dict)


class PodPhase(StrEnum):
    """core/v1 PodPhase."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why the container has not started (container state `waiting`, or PodScheduled=False)."""

    reason: str
    message: str
    since: datetime | None = None
    """When PodScheduled last changed: a container's `waiting` state has no time of its own."""
    container: str = ""
    """The init container that waits; empty: the trainer's container, or the whole pod."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container ended."""

    exit_code: int
    reason: str
    message: str
    """The termination message: JSON of contract.report.Outcome where the trainer wrote it."""
    finished_at: datetime | None = None

    @property
    def description(self) -> str:
        """How it ended: `exit code 3 (Error): no such file`."""
        reason = f" ({self.reason})" if self.reason else ""
        detail = f": {self.message.strip()}" if self.message.strip() else ""
        return f"exit code {self.exit_code}{reason}{detail}"


@dataclass(frozen=True, slots=True)
class Container:
    """A container of the pod that is not the trainer's: an init container or a sidecar."""

    name: str
    is_init: bool = False
    """An init container, native sidecars included."""
    blocks_start: bool = False
    """An init container that runs, so that the trainer's container waits for it."""
    running: bool = False
    termination: Termination | None = None

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"init container {self.name}" if self.is_init else f"container {self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a Job of the operator."""

    name: str
    uid: str
    job_name: str
    phase: PodPhase
    index: int = 0
    """Which worker; 0 is the chief, which reports for all workers."""
    node: str = ""
    deleting_since: datetime | None = None
    """metadata.deletionTimestamp: when its grace period ends."""
    forced: bool = False
    """Deleted without a grace period: `kubectl delete --force`, or the operator itself."""
    unschedulable: Waiting | None = None
    waiting: Waiting | None = None
    """The container's `waiting` state; also an error of an init container or of a pull."""
    disruption: Waiting | None = None
    """The DisruptionTarget condition: preempted, drained, evicted, taint, node deleted."""
    pod_reason: str = ""
    """status.reason: Evicted, NodeLost, Preempting, …"""
    pod_message: str = ""
    image_id: str = ""
    """The image that the container runs, once the node reports it."""
    running_since: datetime | None = None
    """startedAt of the container, running or ended."""
    termination: Termination | None = None
    others: tuple[Container, ...] = ()
    """The containers beside the trainer's that run or have failed."""
    claims: tuple[str, ...] = ()
    """The PersistentVolumeClaims that a pod without a node mounts: one may not be bound."""
    gone: bool = False
    """Deleted: this is its last state. Without a termination it was deleted without a grace period.
    """


@dataclass(frozen=True, slots=True)
class Job:
    """One batch/v1 Job of the operator, with its pods in the cache."""

    name: str
    uid: str
    created_at: datetime
    attempt: int | None
    """None for a preflight Job."""
    workers: int = 1
    """The number of its pods that run at once."""
    complete: bool = False
    failed: bool = False
    failure_reason: str = ""
    failure_message: str = ""
    suspended: bool = False
    """Job.spec.suspend: it belongs to Kueue; the operator does not write it after creation."""
    deleting: bool = False
    finished_at: datetime | None = None
    rejected: str = ""
    """The newest FailedCreate event, if no pod could be created."""
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """The training that `restore` or `continueFrom` refers to."""

    name: str
    found: bool
    spec: Spec | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the API server did not create an object of the training; a person must resolve it."""

    reason: Reason
    message: str
    since: datetime
    """When the API server first refused, in an unbroken row of refusals."""
    tried_at: datetime
    """When it last refused."""
    is_invalid: bool = False
    """The object itself is invalid (HTTP 400 or 422), and so is the spec it was built from."""
    generation: int = 0
    """The generation of the spec that the object was built from."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one decision depends on."""

    training: Training
    jobs: tuple[Job, ...] = ()
    orphans: tuple[Pod, ...] = ()
    """Pods of the training whose Job is gone: such a pod may still save."""
    source: Source | None = None
    folder_owner: str | None = None
    """`namespace/name` of an older training of this namespace with the same folder, if any."""
    obstacle: Obstacle | None = None
    """Why the last object was not created; None once it was created."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What the administrator sets for all trainings."""

    default_image: str
    report_url: str
    """Base URL of the progress endpoint as pods reach it."""
    plain_report_url: str = ""
    """The same over plain HTTP, for trainers of another image than `default_image`; empty: none."""
    report_ca: str = ""
    """PEM of the authorities that trainers trust for `report_url`; empty: those of their image."""
    backoff_base_s: float = 10.0
    backoff_cap_s: float = 300.0
    termination_grace_s: int = 60
    preflight_deadline_s: int = 600
    image_pull_timeout_s: float = 600.0
    """How long to wait for an image that cannot be pulled before the attempt is given up."""
    several_workers: bool = False
    """Whether trainings may have more than one worker."""
    pod_defaults: PodDefaults = field(default_factory=PodDefaults)
    """Of all trainers' pods; they apply to what is created next, and are no part of a spec."""
