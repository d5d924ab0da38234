"""`activeDeadlineSeconds`: the active time of all attempts; waiting does not count."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import AttemptStatus
from detection_operator.core.case import Case, Standing, newest_step


def active_seconds(case: Case) -> float:
    """Return how long trainers have run, including the current attempt."""
    attempt = case.attempt
    running = 0.0
    if case.is_under_way and attempt is not None and attempt.started_at is not None:
        running = max((case.now - attempt.started_at).total_seconds(), 0.0)
    return case.status.active_seconds + running


def seconds_of(attempt: AttemptStatus) -> int:
    """Return how long an ended attempt was active."""
    outcome = attempt.outcome
    if outcome is None or outcome.finished_at is None or attempt.started_at is None:
        return 0
    return max(int((outcome.finished_at - attempt.started_at).total_seconds()), 0)


def is_over(case: Case) -> bool:
    """Return whether no active time is left."""
    limit = case.spec.active_deadline_seconds
    return limit is not None and active_seconds(case) >= limit


def seconds_left(case: Case) -> float | None:
    """Return the active time that is left; None without a deadline or before any was spent."""
    limit, attempt = case.spec.active_deadline_seconds, case.attempt
    if limit is None or not case.is_under_way or attempt is None or attempt.started_at is None:
        return None
    return max(limit - active_seconds(case), 0.0)


def fail_over_deadline(case: Case) -> Standing | None:
    """Fail a training whose active time is over; a higher deadline resumes it."""
    if not is_over(case):
        return None
    step = newest_step(case.status)
    newest = f"The newest checkpoint has step {step}."
    saved = "No checkpoint was saved." if step is None else newest
    message = f"{explain(case)} {saved} Raise spec.activeDeadlineSeconds to resume."
    return Standing(Phase.FAILED, Reason.DEADLINE_EXCEEDED, message)


def explain(case: Case) -> str:
    """Return the sentence that names the limit."""
    limit = case.spec.active_deadline_seconds
    return f"The training's attempts were active for activeDeadlineSeconds ({limit} s)."
