"""The Kubernetes Events that report a change of the status, once, on the transition.

`plan` calls this for its own changes, and the progress server for the changes of a report.
"""

from collections.abc import Iterator
from typing import Literal

from detection_operator.api.conditions import ConditionType, Phase, Reason
from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import Event
from detection_operator.core.outcomes import reason_of


def events_between(before: Status, after: Status) -> tuple[Event, ...]:
    """Return the events that report the change from `before` to `after`."""
    return (
        *_attempts(before, after),
        *_restores(before, after),
        *_checkpoints(before, after),
        *_interruptions(before, after),
        *_phases(before, after),
        *_waits(before, after),
    )


def _attempts(before: Status, after: Status) -> Iterator[Event]:
    attempt = after.current_attempt
    # The phase reports the creation of the first attempt.
    if attempt is not None and after.attempt_count > max(before.attempt_count, 1):
        begins = "" if attempt.start_step is None else f" from step {attempt.start_step}"
        message = (
            f"Created attempt {attempt.number} to train{begins} to step {attempt.target_steps}."
        )
        yield Event("Normal", Reason.ATTEMPT_CREATED, message)


def _restores(before: Status, after: Status) -> Iterator[Event]:
    restored = after.restored
    if restored is None or before.restored is not None:
        return
    reason = Reason.RESTORED_FROM_SOURCE if restored.mode else Reason.CONTINUED_FROM_SOURCE
    mode = f" (mode {restored.mode})" if restored.mode else ""
    counts = restored.variables
    message = (
        f"Restored {counts.restored} variables from {restored.uri}{mode}; {counts.fresh} have "
        "fresh values."
    )
    yield Event("Normal", reason, message)


def _checkpoints(before: Status, after: Status) -> Iterator[Event]:
    known = {skipped.step for skipped in before.skipped_checkpoints}
    for skipped in after.skipped_checkpoints:
        if skipped.step not in known:
            message = f"Skipped the checkpoint of step {skipped.step}: {skipped.problem}"
            yield Event("Warning", Reason.CHECKPOINT_SKIPPED, message)


def _interruptions(before: Status, after: Status) -> Iterator[Event]:
    newest = after.interruptions[0] if after.interruptions else None
    if newest is None:
        return
    if after.interruption_count > before.interruption_count:
        message = (
            f"Attempt {newest.attempt} was interrupted at step {newest.last_reported_step}: "
            f"{newest.message}"
        )
        yield Event("Warning", reason_of(newest.reason), message)
    old = before.interruptions[0] if before.interruptions else None
    resumed = newest.resumed_from_step
    if resumed is not None and (old is None or old.resumed_from_step is None):
        message = f"Resumed from step {resumed}; steps lost: {newest.steps_lost}."
        yield Event("Normal", Reason.RESUMED, message)


_REPORTED_PHASES: dict[str, Literal["Normal", "Warning"]] = {
    Phase.SUSPENDED: "Normal",
    Phase.COMPLETE: "Normal",
    Phase.REFUSED: "Warning",
    Phase.FAILED: "Warning",
}


def _phases(before: Status, after: Status) -> Iterator[Event]:
    kind = _REPORTED_PHASES.get(after.phase)
    previous, ready = _ready(before), _ready(after)
    if kind is None or ready is None or (before.phase == after.phase and previous == ready):
        return
    yield Event(kind, reason_of(ready[0]), ready[1])


_REPORTED_WAITS = frozenset({
    Reason.UNSCHEDULABLE, Reason.IMAGE_PULL_FAILED, Reason.START_FAILED, Reason.POD_REJECTED,
    Reason.NODE_LOST, Reason.JOB_REJECTED, Reason.NAME_TAKEN, Reason.OBJECT_OUTDATED,
})  # fmt: skip


def _waits(before: Status, after: Status) -> Iterator[Event]:
    """Yield the Event for what a pod waits for: once per reason, even if the message changes."""
    previous, ready = _ready(before), _ready(after)
    if ready is None or after.phase in _REPORTED_PHASES or ready[0] not in _REPORTED_WAITS:
        return
    if previous is None or previous[0] != ready[0]:
        yield Event("Warning", reason_of(ready[0]), ready[1])


def _ready(status: Status) -> tuple[str, str] | None:
    ready = status.condition(ConditionType.READY)
    return (ready.reason, ready.message) if ready else None
