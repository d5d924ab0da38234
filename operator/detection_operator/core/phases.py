"""Which conditions belong to which phase: the table that the documentation shows.

kstatus (Flux, Argo CD, kubectl wait) reads Ready, Reconciling and Stalled. A training that is
queued, runs, is suspended or complete is Ready: nobody should wait days for it. A training that is
checked or waits for its source is Reconciling. A training that needs a person is Stalled: at once
if the spec must change, and after a minute if an object is missing, because it may still be
created.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from detection_operator.api.conditions import ConditionType, Phase, Reason
from detection_operator.api.v1alpha1 import Condition, Spec, Status
from detection_operator.core.case import Standing, clip

MAX_MESSAGE = 16384

Truth = Literal["True", "False"]


@dataclass(frozen=True, slots=True)
class Row:
    """The kstatus conditions of one phase."""

    ready: Truth
    reconciling: Truth
    stalled: Truth


_IN_PROGRESS = Row("False", "True", "False")
_READY = Row("True", "False", "False")
_STALLED = Row("False", "False", "True")

TABLE = {
    Phase.PENDING: _IN_PROGRESS,
    Phase.PREFLIGHT: _IN_PROGRESS,
    Phase.QUEUED: _READY,
    Phase.STARTING: _READY,
    Phase.RUNNING: _READY,
    Phase.RETRYING: _READY,
    Phase.SUSPENDING: _READY,
    Phase.SUSPENDED: _READY,
    Phase.COMPLETE: _READY,
    Phase.REFUSED: _STALLED,
    Phase.FAILED: _STALLED,
}

Statement = tuple[ConditionType, Truth, Reason, str]


def conditions_of(
    standing: Standing, status: Status, spec: Spec | None, generation: int, now: datetime
) -> list[Condition]:
    """Return the conditions of `standing`; a condition keeps its time if its status is the same."""
    before = {condition.type: condition for condition in status.conditions}
    row = _row(standing, before.get(ConditionType.STALLED), now)
    statements = [*_kstatus(standing, row), *_own(standing), *_restored(status, spec)]
    return [_condition(entry, before, generation, now) for entry in statements]


def _row(standing: Standing, stalled: Condition | None, now: datetime) -> Row:
    held_up = standing.held_up
    if held_up is None:
        return TABLE[standing.phase]
    # After a restart the operator does not know since when the API server refuses an object.
    was_stalled = (
        stalled is not None and stalled.status == "True" and stalled.reason == standing.reason
    )
    return _STALLED if was_stalled or held_up.stalled_in_s(now) <= 0 else _IN_PROGRESS


def _kstatus(standing: Standing, row: Row) -> list[Statement]:
    reason, message = standing.reason, standing.message
    accepted = (Reason.ACCEPTED, "The spec is accepted.")
    if row.stalled == "True":
        accepted = (reason, "The training cannot proceed: see the Stalled condition.")
    reconciling = (reason, message) if row.reconciling == "True" else accepted
    sound = (Reason.NOT_STALLED, "The training is not stalled.")
    stalled = (reason, message) if row.stalled == "True" else sound
    return [
        (ConditionType.READY, row.ready, reason, message),
        (ConditionType.RECONCILING, row.reconciling, *reconciling),
        (ConditionType.STALLED, row.stalled, *stalled),
    ]


def _own(standing: Standing) -> list[Statement]:
    phase, why = standing.phase, (standing.reason, standing.message)
    unfinished = (Reason.IN_PROGRESS, "The target has not been reached.")
    sound = (Reason.NOT_FAILED, "The training has not failed.")
    awake = (Reason.NOT_SUSPENDED, "spec.suspend is not set.")
    if phase is Phase.SUSPENDING:
        awake = why
    return [
        _when(ConditionType.COMPLETE, why, unfinished, is_true=phase is Phase.COMPLETE),
        _when(ConditionType.FAILED, why, sound, is_true=phase is Phase.FAILED),
        _when(ConditionType.SUSPENDED, why, awake, is_true=phase is Phase.SUSPENDED),
    ]


def _when(
    about: ConditionType,
    yes: tuple[Reason, str],
    no: tuple[Reason, str],
    *,
    is_true: bool,
) -> Statement:
    reason, message = yes if is_true else no
    return (about, "True" if is_true else "False", reason, message)


def _restored(status: Status, spec: Spec | None) -> list[Statement]:
    restored, about = status.restored, ConditionType.RESTORED
    if restored is not None:
        counts = restored.variables
        what = f"Restored {counts.restored} variables from {restored.uri}"
        if restored.mode is None:
            reason, rest = Reason.CONTINUED_FROM_SOURCE, "with step and optimizer state"
        else:
            reason, rest = Reason.RESTORED_FROM_SOURCE, f"{counts.fresh} have fresh values"
        mode = f" (mode {restored.mode})" if restored.mode is not None else ""
        return [(about, "True", reason, f"{what}{mode}; {rest}.")]
    if spec is not None and (spec.restore is not None or spec.continue_from is not None):
        message = "The trainer has not reported a restore."
        return [(about, "False", Reason.RESTORE_PENDING, message)]
    return [(about, "False", Reason.FROM_SCRATCH, "Training starts with fresh weights.")]


def _condition(
    statement: Statement, before: dict[str, Condition], generation: int, now: datetime
) -> Condition:
    about, truth, reason, message = statement
    last = before.get(about)
    changed = last is None or last.status != truth
    return Condition(
        type=about,
        status=truth,
        observed_generation=generation,
        last_transition_time=now if last is None or changed else last.last_transition_time,
        reason=reason,
        message=clip(message, MAX_MESSAGE),
    )
