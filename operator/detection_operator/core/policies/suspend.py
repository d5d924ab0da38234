"""`suspend: true`: nothing runs, everything is kept."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing, newest_step
from detection_trainer.contract.exit_codes import ExitCode

SAVED_CODES = frozenset({ExitCode.SAVED, ExitCode.COMPLETED})
"""Exit codes of a trainer that has saved everything and reported the step."""


def suspend(case: Case) -> Standing | None:
    """Return Suspended once no attempt is running."""
    if not case.spec.suspend:
        return None
    message = f"Suspended, {_saved(case)}. Set spec.suspend: false to resume."
    return Standing(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, message)


def _saved(case: Case) -> str:
    step, attempt = newest_step(case.status), case.attempt
    known = "before its first checkpoint" if step is None else f"saved at step {step}"
    if attempt is None or attempt.outcome is None or attempt.resumed_from_step is None:
        return known
    if attempt.outcome.exit_code in SAVED_CODES:
        return known
    # Only the storage knows the newest step; the next attempt reads it.
    return (
        f"{known} according to the trainer's last report; it will resume from the newest "
        "checkpoint in the storage"
    )
