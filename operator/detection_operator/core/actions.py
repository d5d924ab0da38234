"""What `plan` answers: the next status, and what to do to the cluster, as plain values.

The reconciler writes the status first (with a resourceVersion precondition), then `cluster/act`
carries the actions out in order. Each is idempotent: a plan that was cut short is made again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import Status


@dataclass(frozen=True, slots=True)
class RestoreFrom:
    """A trainingRef made concrete: where the source's checkpoint is stored, and on which claim."""

    uri: str
    step: int
    claim_name: str | None = None
    """Mounted read-only for the trainer where the source stores on a volume."""


@dataclass(frozen=True, slots=True)
class EnsureClaim:
    """Make the volume claim for checkpoints if it is not there."""

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
    """Create the Job that checks without a GPU and without TensorFlow."""

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
    """Of the Event that reports the deletion; None: it is none that a person must know of."""


@dataclass(frozen=True, slots=True)
class ForceDeletePod:
    """Delete a pod with no grace, since its node is lost."""

    name: str
    uid: str


Action = EnsureClaim | StartAttempt | StartPreflight | DeleteJob | ForceDeletePod


def makes_objects(actions: Iterable[Action]) -> bool:
    """Tell whether one of `actions` makes objects, which the API server may refuse."""
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
    """The answer: actions in order, the status to be, events, and when to look again."""

    status: Status
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    recheck_after_s: float | None = None
