"""Why a running attempt is to be stopped: the user suspends it, its time is over, or less is asked.

A stop deletes the Job in the background: the trainer gets SIGTERM and its grace period to save.
"""

from dataclasses import dataclass

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.actions import Action, DeleteJob
from detection_operator.core.case import Case, Standing
from detection_operator.core.policies import deadline


@dataclass(frozen=True, slots=True)
class Stop:
    """Why an attempt must end now."""

    phase: Phase
    """What people see while it ends."""
    reason: Reason
    message: str


def stop_of(case: Case) -> Stop | None:
    """Return why the attempt must stop; None where it may go on."""
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
                f"spec.steps was lowered to {case.spec.steps}, and step {reached} is reached: the "
                "trainer saves and stops."
            )
            return Stop(Phase.RUNNING, Reason.STEPS_LOWERED, message)
    return None


def stop(case: Case) -> Standing | None:
    """Stop the attempt that is under way, where it must."""
    attempt, why = case.attempt, stop_of(case)
    if attempt is None or why is None:
        return None
    job = case.job(attempt.job_name)
    actions: tuple[Action, ...] = ()
    if job is not None and not job.deleting:
        actions = (DeleteJob(job.name, job.uid, why.message),)
    return Standing(why.phase, Reason.SAVING, why.message, actions)
