"""When a training is complete, and when raised steps resume it."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core import outcomes
from detection_operator.core.case import Case, Standing, end_is_recorded, newest_step
from detection_operator.core.policies import retry
from detection_trainer.contract.exit_codes import Verdict


def complete(case: Case) -> Standing | None:
    """Return Complete if nothing is left to do."""
    attempt = case.attempt
    if attempt is None or attempt.outcome is None or not end_is_recorded(attempt):
        return None
    finished = outcomes.verdict(attempt.outcome) is Verdict.COMPLETE
    steps, reached = case.spec.steps, newest_step(case.status) or 0
    if finished and steps <= attempt.target_steps:
        return _completed(case, reached)
    # Only if steps were lowered: at an attempt's own target, evaluation and report may be missing.
    if steps < attempt.target_steps and steps <= reached:
        return _completed(case, reached)
    return None


def _completed(case: Case, reached: int) -> Standing:
    steps = case.spec.steps
    trained = max(reached, case.status.step)
    attempt, completed_at = case.attempt, case.status.completion_time
    outcome = None if attempt is None else attempt.outcome
    reason = Reason.TARGET_REACHED
    if outcome is not None and outcome.reason == Reason.EARLY_STOPPED and trained < steps:
        reason = Reason.EARLY_STOPPED
        message = f"The run {outcome.message}. Raise spec.steps to train more."
    elif steps < trained:
        message = (
            f"spec.steps is {steps}, and {trained} steps are trained already: the training is "
            "complete. Raise spec.steps to train more."
        )
    elif trained < steps:
        message = f"Training ended at step {trained} of {steps}. Raise spec.steps to train more."
    else:
        message = f"All {steps} steps are trained. Raise spec.steps to train more."
    if completed_at is None and outcome is not None:
        completed_at = outcome.finished_at
    changes = (("completion_time", completed_at or case.stamp), ("retries", retry.NONE))
    return Standing(Phase.COMPLETE, reason, message, changes=changes)
