"""Before the first attempt a spec must pass the checks that a stored one may be older than."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing, newest_step
from detection_operator.core.outcomes import sentence
from detection_trainer.contract.training import start_problem


def refuse_first_start(case: Case) -> Standing | None:
    """Refuse a spec that must not be started; a training that has started is served as before.

    Admission refuses most of these specs. What comes here was stored before an upgrade, comes from
    a pipeline.config, or is too expensive to check with a CEL rule.
    """
    if case.is_unread or case.status.attempt_count or newest_step(case.status) is not None:
        return None
    problem = start_problem(case.spec)
    if problem is None:
        return None
    message = f"The spec is invalid: {sentence(problem)} Correct these fields."
    return Standing(Phase.REFUSED, Reason.INVALID_SPEC, message)
