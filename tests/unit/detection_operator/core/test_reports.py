"""How reports change the status: late ones do not, and NaN never appears."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection_operator.api.v1alpha1 import Interruption, Status
from detection_operator.core.reports import apply_report, decimal, decimals
from detection_trainer.contract.base import dump
from detection_trainer.contract.report import (
    ExportRecord,
    Outcome,
    Progress,
    Report,
    Restored,
    SkippedCheckpoint,
    VariableCounts,
)
from detection_trainer.contract.schedule import Cycle
from tests.support.operator.observations import (
    NOW,
    ago,
    attempt,
    outcome,
    record,
    report,
    training_attempt,
    under_way,
)


@pytest.mark.parametrize(
    ("status", "late"),
    [
        (under_way(), report(90, sequence=5)),
        (under_way(), report(90, sequence=4)),
        (under_way(), report(90, attempt=2)),
        (under_way(training_attempt(number=2)), report(90)),
        (under_way(training_attempt(outcome=outcome(40, "Saved"))), report(90)),
        (Status(), report(90)),
    ],
    ids=[
        "a repeated one",
        "one that was overtaken",
        "one of an attempt that is not made",
        "one of an earlier attempt",
        "one of an attempt whose end is recorded",
        "one of a training without attempts",
    ],
)
def test_late_report_changes_nothing(status: Status, late: Report) -> None:
    assert apply_report(status, late, NOW) == status


def test_first_report_may_have_the_sequence_0() -> None:
    status = apply_report(Status(current_attempt=attempt()), report(1, sequence=0), NOW)
    assert status.current_attempt is not None
    assert (status.step, status.current_attempt.sequence) == (1, 0)
    assert status.current_attempt.started_at == NOW


def test_the_step_never_decreases_within_an_attempt() -> None:
    status = apply_report(under_way(), report(30), NOW)
    assert (status.step, status.current_attempt and status.current_attempt.last_step) == (50, 50)


def test_the_step_returns_to_the_resumed_step_once_it_is_known() -> None:
    status = under_way(attempt(number=2))
    unknown = apply_report(status, report(0, 0, attempt=2, resumed_from_step=None), NOW)
    known = apply_report(unknown, report(40, 1, attempt=2, resumed_from_step=40), NOW)
    assert (unknown.step, known.step) == (50, 40)


LAST_KNOWN = Progress(loss=0.4, learning_rate=0.01, steps_per_second=3.0)


@pytest.mark.parametrize(
    ("reported", "kept"),
    [
        (Progress(), ("0.4", "0.01", "3")),
        (Progress(learning_rate=0.005), ("0.4", "0.005", "3")),
    ],
    ids=["a trainer that made no step", "one that knows its rate alone"],
)
def test_the_last_known_progress_stays_until_another_is_reported(
    reported: Progress, kept: tuple[str | None, ...]
) -> None:
    known = apply_report(under_way(), report(60, progress=LAST_KNOWN), NOW)
    progress = apply_report(known, report(60, sequence=9, progress=reported), NOW).progress
    assert progress is not None
    assert (progress.loss, progress.learning_rate, progress.steps_per_second) == kept


def test_progress_is_kept_as_short_decimals() -> None:
    reported = Progress(
        loss=0.4123456,
        learning_rate=4e-5,
        steps_per_second=2.5,
        data_wait_fraction=0.0,
        checkpoint_seconds=1.25,
        memory_bytes=2**30,
    )
    progress = apply_report(under_way(), report(60, progress=reported), NOW).progress
    assert progress is not None
    assert dump(progress) == {
        "loss": "0.4123",
        "learningRate": "4e-05",
        "stepsPerSecond": "2.5",
        "dataWaitFraction": "0",
        "checkpointSeconds": "1.25",
        "memoryBytes": 2**30,
        "estimatedCompletionTime": "2026-11-24T10:00:16Z",
        "reportedAt": "2026-11-24T10:00:00Z",
    }


@pytest.mark.parametrize(
    ("rate", "step"),
    [(None, 50), (0.0, 50), (-1.0, 50), (1e-300, 50), (5.0, 100)],
    ids=["unknown", "none", "below 0", "too low for an estimate", "at the target"],
)
def test_no_completion_is_estimated_at_a_rate_that_is(rate: float | None, step: int) -> None:
    received = report(step, progress=Progress(steps_per_second=rate))
    progress = apply_report(under_way(), received, NOW).progress
    assert progress is not None
    assert progress.estimated_completion_time is None


def test_memory_below_0_is_left_out() -> None:
    received = report(60, progress=Progress(memory_bytes=-1))
    progress = apply_report(under_way(), received, NOW).progress
    assert progress is not None
    assert progress.memory_bytes is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_finite_never_reaches_the_api(value: float | None) -> None:
    assert decimal(value) is None


def test_metrics_that_are_not_finite_are_left_out() -> None:
    assert decimals({"mAP": 0.31, "mAP50": math.nan}) == {"mAP": "0.31"}


def test_checkpoints_are_those_in_the_storage() -> None:
    received = report(
        90, checkpoints=[record(90), record(80, mAP=0.3)], checkpoint_count=7, best=record(80)
    )
    status = apply_report(under_way(), received, NOW)
    assert [c.step for c in status.checkpoints] == [90, 80]
    assert (status.checkpoint_count, status.checkpoints[1].metrics) == (7, {"mAP": "0.3"})
    assert status.latest_checkpoint is not None
    assert status.best_checkpoint is not None
    assert (status.latest_checkpoint.step, status.best_checkpoint.step) == (90, 80)


def test_recorded_checkpoints_are_not_removed_by_a_trainer_that_has_not_listed_them() -> None:
    status = under_way()
    received = apply_report(status, report(60), NOW)
    assert received.checkpoints == status.checkpoints
    assert received.latest_checkpoint == status.latest_checkpoint


def test_metrics_stay_until_there_are_new_ones() -> None:
    status = apply_report(under_way(), report(60, metrics={"mAP": 0.31}), NOW)
    assert apply_report(status, report(61, 7), NOW).metrics == {"mAP": "0.31"}


def test_the_start_is_reported_once_it_is_known() -> None:
    counts = VariableCounts(restored=161, fresh=42)
    received = report(
        60,
        classes=["tree", "car"],
        cycles=[Cycle(start=0, decay_steps=100)],
        restored=Restored(mode="detection", uri="s3://models/coco", step=9, variables=counts),
        skipped=[SkippedCheckpoint(step=55, problem="its digest differs")],
    )
    status = apply_report(under_way(), received, NOW)
    assert status.classes == ["tree", "car"]
    assert status.schedule is not None
    assert status.restored is not None
    assert (status.schedule.decay_steps, status.restored.variables) == (100, counts)
    assert [skipped.step for skipped in status.skipped_checkpoints] == [55]


def test_outcome_waits_for_the_pods_end() -> None:
    end = Outcome(exit_code=51, reason="RestoreRefused", message="no", differences=["a"])
    status = apply_report(under_way(), report(0, outcome=end), NOW)
    assert status.current_attempt is not None
    kept = status.current_attempt.outcome
    assert kept is not None
    assert (kept.exit_code, kept.differences, kept.finished_at) == (51, ["a"], None)


def entry(number: int, last: int, **fields: int) -> Interruption:
    return Interruption(
        attempt=number, time=ago(60), reason="Killed", last_reported_step=last, **fields
    )


def test_resuming_reports_what_interruptions_cost() -> None:
    known = entry(1, 30, resumed_from_step=20, steps_lost=10)
    status = under_way(attempt(number=4), interruptions=[entry(3, 40), entry(2, 55), known])
    status = status.model_copy(update={"steps_lost": 10})
    resumed = apply_report(status, report(40, 0, attempt=4, resumed_from_step=40), NOW)
    assert [e.steps_lost for e in resumed.interruptions] == [0, 15, 10]
    assert [e.resumed_from_step for e in resumed.interruptions] == [40, 40, 20]
    assert resumed.steps_lost == 25
    again = apply_report(resumed, report(41, 1, attempt=4, resumed_from_step=40), NOW)
    assert again.steps_lost == 25


FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.none()
STEPS = st.integers(0, 2**31 - 1)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    return report(
        draw(STEPS),
        draw(st.integers(0, 20)),
        attempt=draw(st.sampled_from([1, 1, 1, 2])),
        target_steps=draw(STEPS),
        resumed_from_step=draw(STEPS | st.none()),
        checkpoints=[record(step) for step in draw(st.lists(STEPS, max_size=3))],
        metrics=draw(st.dictionaries(st.sampled_from(["mAP", "mAP50"]), st.floats(0, 1))),
        progress=Progress(
            loss=draw(FLOATS), learning_rate=draw(FLOATS), steps_per_second=draw(FLOATS)
        ),
    )


@given(st.lists(reports(), max_size=6))
def test_any_reports_leave_a_status_that_the_api_takes(received: list[Report]) -> None:
    status = under_way(interruptions=[entry(1, 70)])
    last, now = 0, NOW
    for each in received:
        now += timedelta(seconds=1)
        status = apply_report(status, each, now)
        assert Status.model_validate(dump(status)) == status
        assert status.current_attempt is not None
        assert status.current_attempt.last_step >= last
        last = status.current_attempt.last_step
        assert apply_report(status, each, now) == status


def test_exports_are_kept_once_they_are_reported() -> None:
    uri = "s3://runs/trees/export/saved_model-00000060"
    export = ExportRecord(format="SavedModel", step=60, uri=uri, digest="sha256:" + "6" * 64)
    status = apply_report(under_way(), report(60, exports=[export]), NOW)
    assert [dump(kept) for kept in status.exports] == [dump(export)]
    assert apply_report(status, report(70, 9), NOW).exports == status.exports
