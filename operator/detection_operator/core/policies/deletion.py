"""A training that is being deleted, which finalizers of others hold up: nothing is started."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing

_KEPT = frozenset({Phase.FAILED, Phase.REFUSED})


def leave_deleted(case: Case) -> Standing | None:
    """Start nothing for a training that is being deleted."""
    if not case.observed.training.deleting:
        return None
    phase = Phase(case.status.phase) if case.status.phase in _KEPT else Phase.SUSPENDED
    message = (
        "The training is being deleted: nothing is started. Finalizers in metadata.finalizers hold "
        "the deletion up."
    )
    return Standing(phase, Reason.BEING_DELETED, message)
