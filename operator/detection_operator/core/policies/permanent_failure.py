"""Ends that must not be retried: the training fails until its spec changes."""

from detection_operator.api.conditions import Phase
from detection_operator.core import outcomes
from detection_operator.core.case import Case, Standing, end_is_recorded
from detection_operator.core.policies.attempt_end import verdict_in
from detection_trainer.contract.exit_codes import Verdict


def fail_permanently(case: Case) -> Standing | None:
    """Fail a training whose last attempt, with this spec, ended for a permanent reason."""
    attempt = case.attempt
    if attempt is None or attempt.outcome is None or not end_is_recorded(attempt):
        return None
    outcome = attempt.outcome
    if attempt.generation != case.generation or verdict_in(case, outcome) is not Verdict.PERMANENT:
        return None
    message = outcomes.explain(outcome, "Change the spec to retry.")
    return Standing(Phase.FAILED, outcomes.reason_of(outcome.reason), message)
