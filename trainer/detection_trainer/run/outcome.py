"""Writes the outcome of an attempt for the operator, the kubelet and a terminal."""

import itertools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import EARLY_STOPPED, ExitCode
from detection_trainer.contract.report import (
    MAX_DIFFERENCES,
    MAX_TERMINATION_BYTES,
    CheckpointRecord,
    Metrics,
    Outcome,
    Progress,
    Report,
)
from detection_trainer.contract.training import InvalidTrainingError
from detection_trainer.errors import RestoreRefusedError, TrainerError

_MAX_MESSAGE = 16384
_MAX_DIFFERENCE = 1024
_OUT_OF_MEMORY = ("ResourceExhaustedError", "MemoryError")


def outcome_of(code: ExitCode, message: str) -> Outcome:
    """Return the outcome of an attempt that ended as planned."""
    return Outcome(exit_code=code, reason=code.reason, message=message[:_MAX_MESSAGE])


def early_outcome(message: str) -> Outcome:
    """Return the outcome of a run that stopped early."""
    code = ExitCode.COMPLETED
    return Outcome(exit_code=code, reason=EARLY_STOPPED, message=message[:_MAX_MESSAGE])


def outcome_of_error(error: BaseException) -> Outcome:
    """Return the outcome of an attempt that failed with `error`."""
    code = exit_code_of(error)
    differences = error.differences if isinstance(error, RestoreRefusedError) else ()
    message = str(error)
    if code is ExitCode.UNEXPECTED:
        where = traceback.extract_tb(error.__traceback__)[-1:]
        place = "".join(f" at {Path(f.filename).name}:{f.lineno}" for f in where)
        message = f"{type(error).__name__}{place}: {message}"
    return Outcome(
        exit_code=code,
        reason=code.reason,
        message=message[:_MAX_MESSAGE],
        differences=[d[:_MAX_DIFFERENCE] for d in differences[:MAX_DIFFERENCES]],
    )


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code that the contract defines for `error`."""
    if isinstance(error, TrainerError):
        return error.exit_code
    if isinstance(error, InvalidTrainingError):
        return ExitCode.INVALID_CONFIG
    # Compare names: TensorFlow may not be imported, and its class is not a MemoryError.
    if any(base.__name__ in _OUT_OF_MEMORY for base in type(error).__mro__):
        return ExitCode.OUT_OF_MEMORY
    return ExitCode.UNEXPECTED


def termination_message(outcome: Outcome) -> str:
    """Return `outcome` as JSON of at most 4096 bytes, the limit of the kubelet.

    If it is longer, the last differences are dropped first, then the message is shortened.
    """
    while len(text := _json(outcome)) > MAX_TERMINATION_BYTES:
        if outcome.differences:
            outcome = outcome.model_copy(update={"differences": outcome.differences[:-1]})
        else:
            excess = len(text) - MAX_TERMINATION_BYTES
            kept = max(len(outcome.message) - max(excess // 4, 1) - 1, 0)
            outcome = outcome.model_copy(update={"message": outcome.message[:kept] + "…"})
    return text.decode()


def last_report(report: Report) -> str:
    """Return the attempt's last report as a termination message of at most 4096 bytes.

    An operator that was down reads it later. If it is too long, the least important fields are
    dropped first; if that is not enough, only the outcome remains.
    """
    for reduced in itertools.accumulate(_REDUCTIONS, lambda kept, cut: cut(kept), initial=report):
        text = reduced.model_dump_json(by_alias=True, exclude_defaults=True)
        if len(text.encode()) <= MAX_TERMINATION_BYTES:
            return text
    return "" if report.outcome is None else termination_message(report.outcome)


def _shorter(**changes: Any) -> Callable[[Report], Report]:
    return lambda report: report.model_copy(update=changes)


def _without_class_metrics(report: Report) -> Report:
    def overall(metrics: Metrics) -> Metrics:
        return {name: value for name, value in metrics.items() if "/" not in name}

    def slim(record: CheckpointRecord) -> CheckpointRecord:
        return record.model_copy(update={"metrics": overall(record.metrics)})

    return report.model_copy(
        update={
            "metrics": overall(report.metrics),
            "checkpoints": [slim(record) for record in report.checkpoints],
            "best": None if report.best is None else slim(report.best),
        }
    )


_REDUCTIONS: tuple[Callable[[Report], Report], ...] = (
    _without_class_metrics,
    _shorter(progress=Progress(), skipped=[]),
    lambda report: report.model_copy(update={"checkpoints": report.checkpoints[:3]}),
    _shorter(classes=[]),
    lambda report: report.model_copy(update={"exports": report.exports[:1]}),
    lambda report: report.model_copy(update={"checkpoints": report.checkpoints[:1]}),
    _shorter(restored=None),
)


def error_line(reason: str, message: str) -> str:
    """Return the line that a terminal shows for an error."""
    return f"detection-trainer: {reason}: {' '.join(message.split())}"


def _json(outcome: Outcome) -> bytes:
    return (
        Outcome.model_validate(dump(outcome))
        .model_dump_json(by_alias=True, exclude_defaults=True)
        .encode()
    )
