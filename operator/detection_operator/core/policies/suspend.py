"""`suspend: true`: nothing runs, everything is kept."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing, newest_step


def suspend(case: Case) -> Standing | None:
    """Say that the training is suspended, once no attempt is under way."""
    if not case.spec.suspend:
        return None
    step = newest_step(case.status)
    saved = "before its first checkpoint" if step is None else f"saved at step {step}"
    message = f"Suspended, {saved}. Set spec.suspend: false to go on."
    return Standing(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, message)
