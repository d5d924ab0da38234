"""Which changes of a status may be written later, because another is likely to follow soon.

When all steps are done, the pod's end follows at once.

A start has several states within a second if a node and the image are available. They do not matter
by themselves: the first report does, or what delays the start. With slow nodes or a slow control
plane, it matters little that there is no pod yet, or no node for it.
"""

from detection_operator.api.conditions import ConditionType, Phase, Reason
from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import Plan
from detection_trainer.contract.exit_codes import ExitCode

ON_THE_WAY = frozenset({Phase.QUEUED, Phase.STARTING})
PATIENCE_S = 2.0
"""Seconds that a start may stay unreported: a quick start needs no status of its own."""
LONGEST_PATIENCE_S = 60.0
"""Seconds that a pod's wait may stay unreported if no problem is known."""
END_PATIENCE_S = 3.0
"""Seconds in which a trainer that has done all steps exits."""
UNEVENTFUL = frozenset({Reason.ATTEMPT_CREATED, Reason.POD_PENDING})


def patience_s(before: Status, plan: Plan) -> float:
    """Return for how many seconds the status of `plan` may stay unwritten; 0: not at all.

    It may if `plan` has no action and reports only the progress of a start, what delays it, or that
    all steps are done. Its Event is written with it.
    """
    after = plan.status
    if plan.actions or after == before:
        return 0.0
    if _is_done(after) and before.observed_generation == after.observed_generation:
        return END_PATIENCE_S
    on_the_way = before.phase in ON_THE_WAY and after.phase in ON_THE_WAY
    if not on_the_way or _without_start(before) != _without_start(after):
        return 0.0
    uneventful = _is_uneventful(before) and _is_uneventful(after)
    return LONGEST_PATIENCE_S if uneventful else PATIENCE_S


def _is_done(status: Status) -> bool:
    """Return whether the trainer has reported all steps as done and its pod has not ended."""
    attempt = status.current_attempt
    outcome = attempt.outcome if attempt is not None else None
    if outcome is None or outcome.finished_at is not None:
        return False
    return outcome.exit_code == ExitCode.COMPLETED


def _is_uneventful(status: Status) -> bool:
    """Return whether the status reports only that the attempt was created and has not started."""
    ready = status.condition(ConditionType.READY)
    if ready is None or status.phase != Phase.QUEUED:
        return False
    return ready.reason in UNEVENTFUL


def _without_start(status: Status) -> Status:
    """Return the status without the fields that change from moment to moment during a start."""
    attempt = status.current_attempt
    if attempt is not None:
        attempt = attempt.model_copy(update={"started_at": None, "job_uid": None})
    return status.model_copy(update={"phase": "", "conditions": [], "current_attempt": attempt})
