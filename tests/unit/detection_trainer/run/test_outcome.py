import json
from datetime import UTC, datetime
from typing import Any

import pytest

from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import (
    MAX_TERMINATION_BYTES,
    CheckpointRecord,
    Outcome,
    Report,
)
from detection_trainer.contract.training import InvalidTrainingError
from detection_trainer.errors import (
    NonFiniteLossError,
    RestoreRefusedError,
    StorageFullError,
    TrainerError,
)
from detection_trainer.run.outcome import (
    error_line,
    last_report,
    outcome_of,
    outcome_of_error,
    termination_message,
)


class ResourceExhaustedError(Exception):
    """As TensorFlow names it."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidTrainingError("steps: …"), ExitCode.INVALID_CONFIG),
        (RestoreRefusedError("differs"), ExitCode.RESTORE_REFUSED),
        (NonFiniteLossError("step 3"), ExitCode.NON_FINITE_LOSS),
        (StorageFullError("full"), ExitCode.STORAGE_FULL),
        (ResourceExhaustedError("GPU"), ExitCode.OUT_OF_MEMORY),
        (MemoryError(), ExitCode.OUT_OF_MEMORY),
        (KeyError("x"), ExitCode.UNEXPECTED),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: ExitCode) -> None:
    outcome = outcome_of_error(error)
    assert outcome.exit_code is code
    assert outcome.reason == code.reason


def test_every_trainer_error_has_a_code_of_its_own() -> None:
    codes = [error.exit_code for error in TrainerError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert ExitCode.UNEXPECTED not in codes


def test_an_unexpected_error_names_its_location() -> None:
    with pytest.raises(ValueError, match="surprise") as raised:
        int("surprise")
    outcome = outcome_of_error(raised.value)
    assert outcome.message.startswith("ValueError at test_outcome.py:")
    assert "surprise" in outcome.message


def test_a_refused_restore_keeps_at_most_50_differences() -> None:
    outcome = outcome_of_error(RestoreRefusedError("no", ["x" * 5000] * 80))
    assert len(outcome.differences) == 50
    assert len(outcome.differences[0]) == 1024


@pytest.mark.parametrize(
    ("message", "differences"),
    [
        ("short", []),
        ("short", ["backbone/conv: (3, 2) there, (3, 3) here"] * 50),
        ("m" * 16384, ["d" * 1000] * 50),
        ("ü€𝄞" * 5000, []),
        ('"\\' * 8000, []),
    ],
    ids=["short", "differences", "both", "several bytes a character", "escapes"],
)
def test_a_termination_message_fits_and_stays_json(message: str, differences: list[str]) -> None:
    outcome = Outcome(
        exit_code=ExitCode.RESTORE_REFUSED,
        reason="RestoreRefused",
        message=message,
        differences=differences,
    )
    text = termination_message(outcome)
    assert len(text.encode()) <= MAX_TERMINATION_BYTES
    read = Outcome.model_validate(json.loads(text))
    assert read.exit_code is ExitCode.RESTORE_REFUSED
    if read.differences:
        assert read.message == message
    assert len(text.encode()) > 3000 or len(message) < 100


def test_differences_are_shortened_before_the_message() -> None:
    outcome = Outcome(
        exit_code=ExitCode.RESTORE_REFUSED,
        reason="RestoreRefused",
        message="m" * 2000,
        differences=[f"{i} " + "d" * 500 for i in range(10)],
    )
    read = Outcome.model_validate_json(termination_message(outcome))
    assert read.message == outcome.message
    assert read.differences == outcome.differences[: len(read.differences)]
    assert len(read.differences) == 4


def _report(**fields: Any) -> Report:
    outcome = outcome_of(ExitCode.COMPLETED, "reached step 300 of 300")
    moment = datetime(2026, 3, 4, tzinfo=UTC)
    known = {"attempt": 2, "sequence": 9, "time": moment, "step": 300, "target_steps": 300}
    return Report(**known, outcome=outcome, **fields)


def _record(step: int) -> CheckpointRecord:
    return CheckpointRecord(
        step=step,
        uri=f"s3://runs/trees/step-{step:08d}",
        digest="sha256:" + "0" * 64,
        saved_at=datetime(2026, 3, 4, tzinfo=UTC),
        metrics={"mAP": 0.3} | {f"mAP/class-{i}": 0.1 for i in range(60)},
    )


def test_the_last_report_is_left_whole_where_it_fits() -> None:
    report = _report(checkpoints=[_record(300).model_copy(update={"metrics": {"mAP": 0.3}})])
    assert Report.model_validate_json(last_report(report)) == report


def test_the_final_report_drops_the_least_needed_first() -> None:
    records = [_record(step) for step in range(300, 100, -10)]
    report = _report(
        checkpoints=records,
        checkpoint_count=20,
        best=records[3],
        metrics=records[0].metrics,
        classes=[f"class number {i}" for i in range(300)],
    )
    text = last_report(report)
    left = Report.model_validate_json(text)
    assert len(text.encode()) <= MAX_TERMINATION_BYTES
    assert [record.step for record in left.checkpoints] == [300, 290, 280]
    assert left.metrics == {"mAP": 0.3}
    assert (left.step, left.checkpoint_count, left.outcome) == (300, 20, report.outcome)
    assert left.best is not None
    assert left.best.step == 270


def test_where_no_report_fits_the_outcome_is_left() -> None:
    outcome = outcome_of(ExitCode.DATA_INVALID, "m" * 9000)
    text = last_report(_report().model_copy(update={"outcome": outcome}))
    assert len(text.encode()) <= MAX_TERMINATION_BYTES
    assert Outcome.model_validate_json(text).exit_code is ExitCode.DATA_INVALID


def test_an_error_is_one_line() -> None:
    assert error_line("DataInvalid", "a\n  b") == "detection-trainer: DataInvalid: a b"
