"""An end that must not be retried: it stands until the spec changes."""

from detection_operator.api.conditions import Phase
from detection_operator.core import outcomes
from detection_operator.core.case import Case, Standing, is_settled
from detection_trainer.contract.exit_codes import Verdict


def fail_permanently(case: Case) -> Standing | None:
    """Fail a training whose last attempt ended for a reason that stands, with this spec."""
    attempt = case.attempt
    if attempt is None or attempt.outcome is None or not is_settled(attempt):
        return None
    outcome = attempt.outcome
    if attempt.generation != case.generation or outcomes.verdict(outcome) is not Verdict.PERMANENT:
        return None
    message = outcomes.explain(outcome, "Any change of the spec tries again.")
    return Standing(Phase.FAILED, outcomes.reason_of(outcome.reason), message)
