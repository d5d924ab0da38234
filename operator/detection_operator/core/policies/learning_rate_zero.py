"""Refuses steps beyond the schedule that would train at a learning rate of 0."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import ScheduleStatus
from detection_operator.core.case import Case, Standing
from detection_operator.core.outcomes import sentence
from detection_trainer.contract.schedule import first_cycles, zero_rate_refusal


def refuse_zero_rate(case: Case) -> Standing | None:
    """Refuse steps that would train at a learning rate of 0."""
    if case.is_unread:
        return None
    spec, schedule = case.spec, case.status.schedule or _carried(case)
    cycles = schedule.cycles if schedule else first_cycles(spec.optimizer.schedule, spec.steps)
    refusal = zero_rate_refusal(spec.optimizer, cycles, spec.steps)
    if refusal is None:
        return None
    return Standing(Phase.REFUSED, Reason.LEARNING_RATE_ZERO, sentence(refusal))


def _carried(case: Case) -> ScheduleStatus | None:
    """Return the schedule of the training that this one continues."""
    source = case.observed.source
    if case.spec.continue_from is None or source is None or source.status is None:
        return None
    return source.status.schedule
