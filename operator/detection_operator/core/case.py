"""What one plan is made from and what a policy returns: values that the policies pass on."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from detection_operator import names
from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import AttemptStatus, Spec, Status
from detection_operator.core.actions import Action
from detection_operator.core.state import (
    Identity,
    Job,
    Observed,
    Pod,
    PodPhase,
    PolicySettings,
    UnreadSpec,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One training with a valid spec, at one moment, with its status as amended so far."""

    observed: Observed
    spec: Spec
    status: Status
    settings: PolicySettings
    now: datetime

    @property
    def identity(self) -> Identity:
        """The identity of the training."""
        return self.observed.training.identity

    @property
    def generation(self) -> int:
        """The generation of the spec."""
        return self.observed.training.generation

    @property
    def attempt(self) -> AttemptStatus | None:
        """The newest attempt, ended or not."""
        return self.status.current_attempt

    @property
    def is_under_way(self) -> bool:
        """Whether there is an attempt whose end is not recorded."""
        return self.attempt is not None and not end_is_recorded(self.attempt)

    @property
    def is_unread(self) -> bool:
        """Whether the spec is incomplete until a pod has read its pipelineConfig."""
        return isinstance(self.spec, UnreadSpec)

    @property
    def stamp(self) -> datetime:
        """Now, in the precision of the API."""
        return self.now.replace(microsecond=0)

    @property
    def image(self) -> str:
        """The trainer image that the spec requests, as people name it."""
        return self.spec.image or self.status.image or self.settings.default_image

    def job(self, name: str) -> Job | None:
        """Return the Job of this name, if the cluster has it."""
        return next((job for job in self.observed.jobs if job.name == name), None)

    @property
    def all_pods(self) -> tuple[Pod, ...]:
        """The pods of all its Jobs, including pods whose Job is gone."""
        own = [pod for job in self.observed.jobs for pod in job.pods]
        return (*own, *self.observed.orphans)

    def pods(self, name: str) -> tuple[Pod, ...]:
        """Return the pods of the Job of this name, also if the Job is gone."""
        job = self.job(name)
        own = job.pods if job is not None else ()
        return (*own, *(pod for pod in self.observed.orphans if pod.job_name == name))

    def amended(self, **changes: Any) -> "Case":
        """Return this case with changed fields of its status."""
        return replace(self, status=self.status.model_copy(update=changes))


@dataclass(frozen=True, slots=True)
class HeldUp:
    """A cause that a person must fix, such as a missing Secret: Stalled after a grace time."""

    since: datetime
    grace_s: float = 60.0
    """One manifest or pipeline may apply the objects a moment apart."""

    def stalled_in_s(self, now: datetime) -> float:
        """Return the seconds until the training counts as stalled; 0 once it does."""
        return max(self.grace_s - (now - self.since).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Standing:
    """The phase of a training, its reason, and what follows from it."""

    phase: Phase
    reason: Reason
    message: str
    actions: tuple[Action, ...] = ()
    recheck_after_s: float | None = None
    changes: tuple[tuple[str, Any], ...] = ()
    """Fields of the status to set, besides phase and conditions."""
    held_up: HeldUp | None = None
    """What blocks the training until a person acts."""


def end_is_recorded(attempt: AttemptStatus) -> bool:
    """Return whether the end of `attempt` and what it cost are recorded: its pods have ended."""
    return attempt.outcome is not None and attempt.outcome.finished_at is not None


def has_ended(pod: Pod) -> bool:
    """Return whether the trainer's container will not run again."""
    return pod.termination is not None or pod.phase in {PodPhase.SUCCEEDED, PodPhase.FAILED}


def has_run(pod: Pod) -> bool:
    """Return whether a container of the pod has run: only then it may have failed by itself."""
    if pod.running_since is not None or pod.termination is not None:
        return True
    # The deletion of a pod also ends its init containers.
    deleted = pod.gone or pod.deleting_since is not None
    return not deleted and any(other.termination is not None for other in pod.others)


def checkpoint_claim(training: str, spec: Spec) -> str | None:
    """Return the name of the claim with the checkpoints; None if they are stored at a URI."""
    claim = spec.checkpoints.storage.volume_claim
    return None if claim is None else claim.claim_name or names.claim_name(training)


def newest_step(status: Status) -> int | None:
    """Return the step of the newest checkpoint; None before the first."""
    return status.latest_checkpoint.step if status.latest_checkpoint else None


def clip(text: str, limit: int) -> str:
    """Return `text`, cut at `limit` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
