"""Steps beyond the schedule that would train at a learning rate of 0 are refused."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import ScheduleStatus
from detection_operator.core.case import Case, Standing
from detection_trainer.contract.schedule import first_cycles, zero_rate_from


def refuse_zero_rate(case: Case) -> Standing | None:
    """Refuse steps that would train at a learning rate of 0."""
    if case.is_unread:
        return None
    spec, schedule = case.spec, case.status.schedule or _carried(case)
    cycles = schedule.cycles if schedule else first_cycles(spec.optimizer.schedule, spec.steps)
    start = zero_rate_from(spec.optimizer, cycles, spec.steps)
    if start is None:
        return None
    message = (
        f"From step {start} to {spec.steps} the learning rate would be 0 and nothing would be "
        "learned: set optimizer.schedule.onExtend: Restart for a new cycle over the added steps, "
        f"or steps: {start}."
    )
    return Standing(Phase.REFUSED, Reason.LEARNING_RATE_ZERO, message)


def _carried(case: Case) -> ScheduleStatus | None:
    """Return the schedule of the training that this one continues; its cycles go on."""
    source = case.observed.source
    if case.spec.continue_from is None or source is None or source.status is None:
        return None
    return source.status.schedule
