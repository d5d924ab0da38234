"""Why an attempt must stop: the user suspends it, its time is over, or the spec was edited.

A stop deletes the Job in the background: the trainer gets SIGTERM and its grace period to save.
"""

from dataclasses import dataclass

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import AttemptStatus
from detection_operator.core.actions import Action, DeleteJob
from detection_operator.core.case import Case, Standing
from detection_operator.core.policies import deadline
from detection_operator.core.policies.spec_changed import spec_changed_since


@dataclass(frozen=True, slots=True)
class Stop:
    """Why an attempt must end now."""

    phase: Phase
    """The phase that people see until it has ended."""
    reason: Reason
    message: str
    shown: Reason = Reason.SAVING
    """The reason of the conditions until it has ended."""


def stop_of(case: Case) -> Stop | None:
    """Return why the attempt must stop; None if it may keep running."""
    if case.observed.training.deleting:
        message = "The training is being deleted: the trainer saves and stops."
        return Stop(Phase.SUSPENDING, Reason.BEING_DELETED, message)
    if case.spec.suspend:
        message = "spec.suspend is set: the trainer saves and stops."
        return Stop(Phase.SUSPENDING, Reason.SUSPENDED, message)
    if deadline.is_over(case):
        message = f"{deadline.explain(case)} The trainer saves and stops."
        return Stop(Phase.RUNNING, Reason.DEADLINE_EXCEEDED, message)
    attempt = case.attempt
    if attempt is not None and case.spec.steps < attempt.target_steps:
        reached = attempt.last_step
        if case.spec.steps <= reached:
            message = (
                f"spec.steps was lowered to {case.spec.steps}, and the trainer has reached step "
                f"{reached}: it saves and stops."
            )
            return Stop(Phase.RUNNING, Reason.STEPS_LOWERED, message)
    if attempt is not None and _is_to_be_replaced(case, attempt):
        message = "The spec changed before training started: the operator creates the pod again."
        return Stop(Phase.QUEUED, Reason.ATTEMPT_CREATED, message, shown=Reason.ATTEMPT_CREATED)
    return None


def _is_to_be_replaced(case: Case, attempt: AttemptStatus) -> bool:
    """Return whether to delete a pod that has not started and that the spec no longer describes.

    So a corrected image, node selector or Secret takes effect at once. The pod may start while its
    Job is being deleted; it can be replaced until its trainer reports.
    """
    if not spec_changed_since(case, attempt) or attempt.resumed_from_step is not None:
        return False
    job = case.job(attempt.job_name)
    if attempt.started_at is None:
        # A Job that is created now would lack its configuration.
        return job is not None or case.is_unread
    return job is None or job.deleting


def stop(case: Case) -> Standing | None:
    """Stop the current attempt if it must stop."""
    attempt, why = case.attempt, stop_of(case)
    if attempt is None or why is None:
        return None
    job = case.job(attempt.job_name)
    actions: tuple[Action, ...] = ()
    if job is not None and not job.deleting:
        actions = (DeleteJob(job.name, job.uid, why.message),)
    return Standing(why.phase, why.shown, why.message, actions)
