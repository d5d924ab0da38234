"""A training that is being deleted and waits for finalizers: no attempt is started."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing

_KEPT = frozenset({Phase.FAILED, Phase.REFUSED})


def leave_deleted(case: Case) -> Standing | None:
    """Start nothing for a training that is being deleted."""
    if not case.observed.training.deleting:
        return None
    phase = Phase(case.status.phase) if case.status.phase in _KEPT else Phase.SUSPENDED
    message = (
        "The training is being deleted: no attempt is started. The deletion waits for "
        "metadata.finalizers."
    )
    return Standing(phase, Reason.BEING_DELETED, message)
