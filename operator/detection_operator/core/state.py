"""What `plan` is given: the training and everything observed of it, as frozen values.

`cluster/observe/gather.py` makes these from Kubernetes objects; the tests make them by hand.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import model_validator

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import PipelineConfigStatus, Spec, Status
from detection_trainer.contract.model import Model
from detection_trainer.contract.spec import Dataset, File, Place


@dataclass(frozen=True, slots=True)
class Identity:
    """Which resource."""

    namespace: str
    name: str
    uid: str


class UnreadSpec(Spec):
    """A spec whose pipelineConfig is stored at a URI that no pod has read yet.

    What only the configuration may give has a stand-in, which is a default: it appears in no
    document that is written of the spec, and nothing is judged by it.
    """

    model: Model = Model(backbone="tiny")
    dataset: Dataset = Dataset(
        train=Place(uri="file:///unread"), label_map=File(uri="file:///unread")
    )
    steps: int = 2**31 - 1

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Judge nothing: what the fields are judged with is not known."""
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
    """The configuration that `spec` was made of."""
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
    def words(self) -> str:
        """How it ended, in words: `exit code 3 (Error): no such file`."""
        reason = f" ({self.reason})" if self.reason else ""
        said = f": {self.message.strip()}" if self.message.strip() else ""
        return f"exit code {self.exit_code}{reason}{said}"


@dataclass(frozen=True, slots=True)
class Container:
    """A container of the pod that is not the trainer's: an init container or a sidecar."""

    name: str
    is_init: bool = False
    """An init container, native sidecars included."""
    holds_up: bool = False
    """An init container that runs, so that the trainer's container waits for it."""
    running: bool = False
    termination: Termination | None = None

    @property
    def title(self) -> str:
        """What a message calls it."""
        return f"init container {self.name}" if self.is_init else f"container {self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a Job of ours."""

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
    """The container's `waiting` state, also an init or pull error."""
    disruption: Waiting | None = None
    """The DisruptionTarget condition: preempted, drained, evicted, taint, node deleted."""
    pod_reason: str = ""
    """status.reason: Evicted, NodeLost, Preempting, …"""
    pod_message: str = ""
    image_id: str = ""
    """The image that the container runs, once the node knows."""
    running_since: datetime | None = None
    """startedAt of the container, running or ended."""
    termination: Termination | None = None
    others: tuple[Container, ...] = ()
    """The containers beside the trainer's that run or have failed."""
    claims: tuple[str, ...] = ()
    """The PersistentVolumeClaims that it mounts, while it has no node: one may not bind."""
    gone: bool = False
    """Deleted: this is its last state. Without a termination it was forced, with no grace."""


@dataclass(frozen=True, slots=True)
class Job:
    """One batch/v1 Job of ours, with the pods that the cache knows."""

    name: str
    uid: str
    created_at: datetime
    attempt: int | None
    """None for a preflight Job."""
    workers: int = 1
    """How many pods it has at once."""
    complete: bool = False
    failed: bool = False
    failure_reason: str = ""
    failure_message: str = ""
    suspended: bool = False
    """Job.spec.suspend: Kueue's, never written by the operator after creation."""
    deleting: bool = False
    finished_at: datetime | None = None
    rejected: str = ""
    """The newest FailedCreate event where no pod could be made."""
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
    """Why the API server did not create what the training needs; a person must end it."""

    reason: Reason
    message: str
    since: datetime
    """When the API server first refused, in a row of refusals."""
    tried_at: datetime
    """When it last refused."""
    is_invalid: bool = False
    """The object itself is wrong (HTTP 400 or 422), and so is the spec it was built from."""
    generation: int = 0
    """Of the spec that the object was built from."""


@dataclass(frozen=True, slots=True)
class Observed:
    """All that one decision rests on."""

    training: Training
    jobs: tuple[Job, ...] = ()
    orphans: tuple[Pod, ...] = ()
    """Pods of ours whose Job is gone: one deleted in the background is still saving."""
    source: Source | None = None
    folder_owner: str | None = None
    """`namespace/name` of an older training of this namespace with the same folder, if any."""
    obstacle: Obstacle | None = None
    """Why the last object was not created; None once it was."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What an administrator decides for all trainings."""

    default_image: str
    report_url: str
    """Base URL of the progress endpoint as pods reach it."""
    plain_report_url: str = ""
    """The same over plain HTTP, for trainers of another image than `default_image`; none: none."""
    report_ca: str = ""
    """PEM of the authorities that trainers trust for `report_url`; empty: those of their image."""
    backoff_base_s: float = 10.0
    backoff_cap_s: float = 300.0
    termination_grace_s: int = 60
    preflight_deadline_s: int = 600
    image_pull_timeout_s: float = 600.0
    """How long an image that cannot be pulled is waited for before the attempt is given up."""
    several_workers: bool = False
    """Whether trainings may have more than one worker."""
