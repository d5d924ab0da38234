"""Merges a trainer's reports into the status; the progress server calls it for every report.

`merged = apply_report(status, report, now)`, then a write with the status's resourceVersion, then
the acknowledgement. `events_between(status, merged)` (core/events.py) returns the Events.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from detection_operator.api.v1alpha1 import (
    AttemptStatus,
    CheckpointStatus,
    ExportStatus,
    Interruption,
    ProgressStatus,
    RestoredStatus,
    ScheduleStatus,
    Status,
)
from detection_operator.core.case import end_is_recorded
from detection_operator.core.outcomes import outcome_status
from detection_trainer.contract.report import CheckpointRecord, Progress, Report

SIGNIFICANT_DIGITS = 4
LONGEST_ESTIMATE_S = 10 * 365 * 86400
"""No completion time is estimated beyond this: the speed is too low to be meaningful."""


def apply_report(status: Status, report: Report, now: datetime) -> Status:
    """Return `status` with `report` merged; equal to `status` if the report is stale.

    A report is stale if it is of another attempt, if its sequence was applied, or if the attempt's
    end is recorded. It is acknowledged all the same: sending it again would change nothing.
    """
    attempt = status.current_attempt
    if attempt is None or is_stale(attempt, report):
        return status
    merged = attempt.model_copy(
        update={
            "sequence": report.sequence,
            "started_at": attempt.started_at or _started(report, now),
            "last_step": max(attempt.last_step, _proven_step(report)),
            "resumed_from_step": _first(attempt.resumed_from_step, report.resumed_from_step),
            "outcome": outcome_status(report.outcome) if report.outcome else attempt.outcome,
        }
    )
    changes = {
        "current_attempt": merged,
        # The trainer has no step before it knows where it resumes.
        "step": status.step if merged.resumed_from_step is None else merged.last_step,
        "progress": _progress(report, merged, status.progress, now.replace(microsecond=0)),
        "classes": report.classes or status.classes,
        "metrics": decimals(report.metrics) or status.metrics,
        **_start(report),
        **_checkpoints(report),
    }
    return _complete_interruptions(status.model_copy(update=changes), merged)


def _started(report: Report, now: datetime) -> datetime | None:
    """Return when the attempt began, by a report; without a step it waits for other workers."""
    return None if report.resumed_from_step is None else now.replace(microsecond=0)


def _proven_step(report: Report) -> int:
    """Return the step that a report proves: a checkpoint may be newer than the last measurement."""
    saved = [record.step for record in report.checkpoints]
    return max([report.step, *saved]) if report.resumed_from_step is not None else report.step


def is_stale(attempt: AttemptStatus, report: Report) -> bool:
    """Return whether `report` must not be applied to `attempt`."""
    if report.attempt != attempt.number or end_is_recorded(attempt):
        return True
    return attempt.sequence is not None and report.sequence <= attempt.sequence


def decimal(value: float | None) -> str | None:
    """Return a number as the API stores it, for example `"0.4123"`; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return f"{value + 0.0:.{SIGNIFICANT_DIGITS}g}"


def decimals(values: Mapping[str, float]) -> dict[str, str]:
    """Return the finite `values` as decimals."""
    texts = {name: decimal(value) for name, value in values.items()}
    return {name: text for name, text in texts.items() if text is not None}


def _first(known: int | None, reported: int | None) -> int | None:
    return reported if known is None else known


def _start(report: Report) -> dict[str, object]:
    """Return what a trainer reports at its start: the restore and the schedule."""
    changes: dict[str, object] = {}
    if report.cycles:
        changes["schedule"] = ScheduleStatus(
            decay_steps=report.cycles[0].decay_steps, cycles=report.cycles
        )
    if (restored := report.restored) is not None:
        changes["restored"] = RestoredStatus(
            mode=restored.mode,
            uri=restored.uri,
            step=restored.step,
            digest=restored.digest,
            variables=restored.variables,
            groups=restored.groups,
        )
    return changes


def _checkpoints(report: Report) -> dict[str, object]:
    """Return the checkpoints in storage; the list is empty until the trainer has read it.

    A recorded checkpoint is never removed: the trainer reports its loss (CheckpointMissing).
    """
    changes: dict[str, object] = {}
    if report.skipped:
        changes["skipped_checkpoints"] = list(report.skipped)
    if report.exports:
        changes["exports"] = [ExportStatus(**dict(record)) for record in report.exports]
    if not report.checkpoints:
        return changes
    checkpoints = [_checkpoint(record) for record in report.checkpoints]
    changes["checkpoints"] = checkpoints
    changes["checkpoint_count"] = max(report.checkpoint_count, len(checkpoints))
    changes["latest_checkpoint"] = max(checkpoints, key=lambda checkpoint: checkpoint.step)
    if report.best is not None:
        changes["best_checkpoint"] = _checkpoint(report.best)
    return changes


def _checkpoint(record: CheckpointRecord) -> CheckpointStatus:
    return CheckpointStatus(
        step=record.step,
        uri=record.uri,
        digest=record.digest,
        saved_at=record.saved_at.replace(microsecond=0),
        metrics=decimals(record.metrics),
    )


def _progress(
    report: Report, attempt: AttemptStatus, known: ProgressStatus | None, now: datetime
) -> ProgressStatus:
    """Return the progress that `report` states.

    Loss, rate and speed belong to a step. A trainer that made no step yet, or had none left to
    make, reports none of the three: the last known values stay.
    """
    progress, known = report.progress, known or ProgressStatus()
    memory = progress.memory_bytes
    return ProgressStatus(
        loss=_newest(progress.loss, known.loss),
        learning_rate=_newest(progress.learning_rate, known.learning_rate),
        steps_per_second=_newest(progress.steps_per_second, known.steps_per_second),
        data_wait_fraction=decimal(progress.data_wait_fraction),
        checkpoint_seconds=decimal(progress.checkpoint_seconds),
        memory_bytes=memory if memory is not None and memory >= 0 else None,
        estimated_completion_time=_estimate(progress, report.target_steps - attempt.last_step, now),
        reported_at=now,
    )


def _newest(reported: float | None, known: str | None) -> str | None:
    """Return a reported number as a decimal; `known` if none was reported."""
    return known if reported is None else decimal(reported)


def _estimate(progress: Progress, steps_left: int, now: datetime) -> datetime | None:
    rate = progress.steps_per_second
    if rate is None or not rate > 0 or steps_left <= 0:
        return None
    # Multiplied, since a quotient by the smallest of rates would overflow.
    if steps_left > LONGEST_ESTIMATE_S * rate:
        return None
    return (now + timedelta(seconds=steps_left / rate)).replace(microsecond=0)


def _complete_interruptions(status: Status, attempt: AttemptStatus) -> Status:
    """Record the steps that earlier interruptions cost, once the attempt has resumed."""
    resumed = attempt.resumed_from_step
    if resumed is None:
        return status
    known = [_completed(entry, resumed) for entry in status.interruptions]
    added = sum(
        new.steps_lost or 0
        for old, new in zip(status.interruptions, known, strict=True)
        if old.steps_lost is None
    )
    lost = status.steps_lost + added
    return status.model_copy(update={"interruptions": known, "steps_lost": lost})


def _completed(entry: Interruption, resumed: int) -> Interruption:
    if entry.resumed_from_step is not None:
        return entry
    lost = max(entry.last_reported_step - resumed, 0)
    return entry.model_copy(update={"resumed_from_step": resumed, "steps_lost": lost})
