"""What `plan` returns: the next status and the changes of the cluster, as plain values.

The reconciler writes the status first (with a resourceVersion precondition); then `cluster/act`
applies the actions in order. Each action is idempotent: a plan that was interrupted is made again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import Status


@dataclass(frozen=True, slots=True)
class RestoreFrom:
    """A resolved trainingRef: where the source's checkpoint is stored, and on which claim."""

    uri: str
    step: int
    claim_name: str | None = None
    """The trainer mounts it read-only if the source stores on a volume."""


@dataclass(frozen=True, slots=True)
class EnsureClaim:
    """Create the volume claim for checkpoints if it does not exist."""

    name: str


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Create the Job of attempt `number` (409 with our own uid is success)."""

    number: int
    job_name: str
    image: str
    source: RestoreFrom | None = None


@dataclass(frozen=True, slots=True)
class StartPreflight:
    """Create the Job of the preflight, which needs neither a GPU nor TensorFlow."""

    job_name: str
    image: str
    source: RestoreFrom | None = None


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job in the background: its pods get SIGTERM and their grace period."""

    name: str
    uid: str
    why: str
    reason: Reason | None = None
    """The reason of the Event that reports the deletion; None: no Event."""


@dataclass(frozen=True, slots=True)
class ForceDeletePod:
    """Delete a pod without a grace period because its node is lost."""

    name: str
    uid: str


Action = EnsureClaim | StartAttempt | StartPreflight | DeleteJob | ForceDeletePod


def makes_objects(actions: Iterable[Action]) -> bool:
    """Return whether one of `actions` creates objects, which the API server may refuse."""
    return any(
        isinstance(action, EnsureClaim | StartAttempt | StartPreflight) for action in actions
    )


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event for the person who owns the training."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision: the next status, the actions in order, the Events, and when to plan again."""

    status: Status
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    recheck_after_s: float | None = None
