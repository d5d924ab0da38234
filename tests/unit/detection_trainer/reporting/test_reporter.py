import io
import json
import math
import sys
import threading
from typing import Any

import pytest

from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Report, SkippedCheckpoint
from detection_trainer.reporting.console import JsonLines, ProgressBar, open_console
from detection_trainer.reporting.reporter import FINAL_TIMEOUT_S, Reporter
from detection_trainer.run.outcome import outcome_of
from tests.support.trainer.runs import NOW


class Operator:
    """Takes what a client would post."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.final: list[tuple[Report, float]] = []
        self.acknowledges = True

    def offer(self, report: Report) -> None:
        self.reports.append(report)

    def send_final(self, report: Report, timeout_s: float) -> bool:
        self.final.append((report, timeout_s))
        return self.acknowledges


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def reporter(output: io.StringIO, operator: Operator) -> Reporter:
    reporter = Reporter(JsonLines(output, lambda: NOW), lambda: NOW)
    reporter.connect(operator)  # type: ignore[arg-type]
    return reporter


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_each_report_is_a_whole_snapshot_with_a_rising_sequence(
    reporter: Reporter, operator: Operator
) -> None:
    reporter.update(target_steps=9, classes=["tree"])
    reporter.progress(3, loss=0.5, learning_rate=0.1)
    reporter.update(resumed_from_step=2)
    last = operator.reports[-1]
    assert [r.sequence for r in operator.reports] == [1, 2, 3]
    assert (last.target_steps, last.classes, last.step) == (9, ["tree"], 3)
    assert last.progress.loss == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_figures_that_are_not_finite_are_left_out(
    reporter: Reporter, operator: Operator, value: float
) -> None:
    reporter.progress(1, loss=0.5, steps_per_second=3.0)
    reporter.progress(2, loss=value, steps_per_second=2.0)
    assert operator.reports[-1].progress.loss is None
    assert operator.reports[-1].progress.steps_per_second == 2.0
    json.dumps(operator.reports[-1].model_dump(mode="json"), allow_nan=False)


def test_a_figure_that_is_not_measured_now_stays(reporter: Reporter, operator: Operator) -> None:
    reporter.progress(1, checkpoint_seconds=1.5)
    reporter.progress(2, loss=0.25)
    assert operator.reports[-1].progress.checkpoint_seconds == 1.5


def test_skipped_checkpoints_are_reported_and_logged(
    reporter: Reporter, operator: Operator, output: io.StringIO
) -> None:
    reporter.skipped([SkippedCheckpoint(step=4, problem="the bytes differ")])
    assert operator.reports[-1].skipped[0].step == 4
    assert lines(output)[-1]["message"] == (
        "skipped the damaged checkpoint of step 4: the bytes differ"
    )


def test_the_last_report_carries_the_outcome_and_waits_for_an_answer(
    reporter: Reporter, operator: Operator, output: io.StringIO
) -> None:
    assert reporter.finish(outcome_of(ExitCode.SAVED, "saved"))
    report, timeout_s = operator.final[0]
    assert report.outcome is not None
    assert report.outcome.exit_code is ExitCode.SAVED
    assert timeout_s == FINAL_TIMEOUT_S
    assert lines(output)[-1]["exitCode"] == 40
    operator.acknowledges = False
    assert not reporter.finish(outcome_of(ExitCode.SAVED, "saved"))


def test_many_threads_never_repeat_a_sequence(reporter: Reporter, operator: Operator) -> None:
    def report() -> None:
        for step in range(50):
            reporter.progress(step, loss=1.0)

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.sequence for r in operator.reports] == list(range(1, 201))


def test_without_a_terminal_there_is_one_json_object_a_line(output: io.StringIO) -> None:
    stream = JsonLines(output, lambda: NOW)
    stream.say("saved", "checkpoint", step=3, digest=None, seconds=math.nan)
    assert lines(output) == [
        {
            "time": "2026-03-04T05:06:07.000+00:00",
            "event": "saved",
            "message": "checkpoint",
            "step": 3,
        }
    ]
    stream.close()


def test_on_a_terminal_there_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    bar = open_console(lambda: NOW)
    assert isinstance(bar, ProgressBar)
    bar.say("started", "begins from [scratch] at step 0")
    bar.say("checkpointSkipped", "step 3")
    report = Report(
        attempt=1,
        sequence=1,
        time=NOW,
        step=5,
        target_steps=10,
        progress={"loss": 0.25, "stepsPerSecond": 3.0},
        metrics={"mAP": 0.5},
    )
    bar.progress(report)
    bar.progress(report)
    bar.close()
    printed = capsys.readouterr().out
    assert "begins from [scratch] at step 0" in printed
    assert "checkpoint skipped" in printed
    assert "step 5/10" in printed
    assert "loss 0.2500" in printed
    assert "mAP 0.500" in printed
