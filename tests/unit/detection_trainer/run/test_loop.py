import io
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detection_trainer.checkpoints.fence_watch import FenceWatch
from detection_trainer.checkpoints.format import Snapshot, committed_steps, open_checkpoint
from detection_trainer.checkpoints.manifest import Patience
from detection_trainer.checkpoints.ownership import raise_fence
from detection_trainer.checkpoints.saver import Saver
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.schedule import learning_rate
from detection_trainer.errors import NonFiniteLossError, StorageFullError, SupersededError
from detection_trainer.reporting.console import JsonLines
from detection_trainer.reporting.reporter import Reporter
from detection_trainer.run.early_stopping import EarlyStop
from detection_trainer.run.loop import Batch, LoopServices, TrainingLoop
from detection_trainer.stop import StopRequested, StopSignal
from detection_trainer.storage import Folder, open_folder
from detection_trainer.training.cycles import choose_cycles
from tests.support.trainer.runs import NOW, description, parsed, snapshot


class Sum:
    """An "update" whose state is the sum of rate x batch, so that order and position show."""

    def __init__(self, state: float = 0.0) -> None:
        self.state = state
        self.steps: list[int] = []
        self.bad_step: int | None = None
        self.loss: Callable[[int], float] = lambda step: 1.0 / (step + 1)
        self.after: Callable[[int], None] = lambda _step: None

    def __call__(self, batch: Batch, rate: float, step: int) -> dict[str, Any]:
        self.steps.append(step)
        self.state = self.state * 0.5 + rate * float(batch[0])
        loss = self.loss(step)
        if not math.isfinite(loss) and self.bad_step is None:
            self.bad_step = step + 1
        self.after(step + 1)
        return {"loss": loss}

    def first_bad_step(self) -> int | None:
        return self.bad_step

    def snapshot(self, step: int) -> Snapshot:
        return snapshot(step, self.state)


class Run:
    """A run in a folder; each attempt has its own loop."""

    def __init__(self, folder: Folder, **spec: Any) -> None:
        self.folder = folder
        self.spec = parsed(**{"steps": 12, **spec}).spec
        self.output = io.StringIO()
        self.reporter = Reporter(JsonLines(self.output, lambda: NOW), lambda: NOW)
        self.stop = StopSignal()
        self.evaluations: list[float] = []
        self.evaluate: Callable[[], dict[str, float]] = lambda: {"mAP": 0.5}
        self.clock: Callable[[], float] = itertools.count().__next__
        self.wait: Callable[[], None] = lambda: None
        self.period_s = 1000.0
        self.early_stop = EarlyStop(self.spec.early_stopping, self.spec.steps, None)

    def attempt(self, update: Sum | None = None, start: int | None = None) -> Sum:
        store = CheckpointStore(self.folder, self.spec.checkpoints)
        fence = raise_fence(self.folder, None, NOW)
        describe = description(self.spec).manifest
        saver = Saver(lambda state: self.commit(store, state, describe, fence), self.delay)
        watch = FenceWatch(fence, period_s=1000)
        update = update or Sum()
        if start is None:
            start = store.checkpoints[0].step if store.checkpoints else 0
            if store.checkpoints:
                weights, _ = store.checkpoints[0].load()
                update.state = float(weights["backbone/conv/kernel"][0, 0])
            else:
                self.commit(store, update.snapshot(0), describe, fence)
        services = LoopServices(
            saver,
            store,
            self.reporter,
            self.stop,
            watch,
            self.early_stop,
            self.period_s,
            self.clock,
        )
        evaluate = self._evaluate if self.spec.dataset.validation else None
        cycles = choose_cycles(self.spec, None)
        loop = TrainingLoop(update, self.spec, cycles, services, evaluate)
        batches = (self._batch(i) for i in itertools.count(start))
        self.reached = None
        try:
            self.reached = loop.run(start, batches)
        finally:
            watch.close()
            saver.close()
        return update

    def _batch(self, step: int) -> Batch:
        self.wait()
        return float(step + 1), None, None

    def commit(self, store: CheckpointStore, state: Snapshot, describe: Any, fence: Any) -> None:
        store.commit(state, describe, fence)
        store.apply_retention()
        self.reporter.checkpoints(store)

    def delay(self, _state: Snapshot, _error: Exception) -> None:
        raise AssertionError

    def _evaluate(self) -> dict[str, float]:
        self.evaluations.append(1.0)
        return self.evaluate()

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [line for line in found if line["event"] == event]


VALIDATED = {
    "dataset": {
        "train": {"uri": "file:///data/train.tfrecord"},
        "validation": {"uri": "file:///data/val.tfrecord"},
        "classes": ["tree"],
    }
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder((tmp_path / "run").as_uri())


def storage(**fields: Any) -> dict[str, Any]:
    return {"storage": {"uri": "file:///unused"}, "everySteps": 4, "keepLast": 100, **fields}


def test_it_trains_to_the_target_with_the_rate_of_each_step(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage())
    update = run.attempt()
    expected, cycles = 0.0, choose_cycles(run.spec, None)
    for step in range(12):
        expected = expected * 0.5 + learning_rate(run.spec.optimizer, cycles, step) * (step + 1)
    assert update.state == expected
    assert run.reached == 12
    assert committed_steps(folder)[0] == 0
    assert committed_steps(folder)[-1] == 12


@pytest.mark.parametrize("killed_at", range(1, 12))
def test_killed_after_any_step_it_ends_with_the_same_state(
    folder: Folder, tmp_path: Path, killed_at: int
) -> None:
    control = Run(open_folder((tmp_path / "control").as_uri()), checkpoints=storage()).attempt()

    class Killed(BaseException):
        pass

    def kill(step: int) -> None:
        if step == killed_at:
            raise Killed

    doomed = Sum()
    doomed.after = kill
    run = Run(folder, checkpoints=storage())
    with pytest.raises(Killed):
        run.attempt(doomed)
    resumed = run.attempt()
    assert resumed.steps[0] == committed_steps(folder)[0] or resumed.steps[0] % 4 == 0
    assert resumed.state == pytest.approx(control.state, abs=0)


def test_an_evaluated_step_is_a_checkpoint_with_its_metrics_beside_it(folder: Folder) -> None:
    run = Run(
        folder, **VALIDATED, checkpoints=storage(everySteps=100), evaluation={"everySteps": 5}
    )
    run.attempt()
    assert committed_steps(folder) == [0, 5, 10, 12]
    evaluated = [open_checkpoint(folder.child(f"step-{s:08d}")).metrics for s in (0, 5, 10, 12)]
    assert evaluated == [{}, {"mAP": 0.5}, {"mAP": 0.5}, {"mAP": 0.5}]
    assert run.reporter.report.metrics == {"mAP": 0.5}
    assert run.reporter.report.best is not None
    assert run.reporter.report.best.step == 12


def test_the_end_is_evaluated_without_a_period(folder: Folder) -> None:
    run = Run(folder, **VALIDATED, checkpoints=storage())
    run.attempt()
    assert len(run.evaluations) == 1


def test_a_killed_evaluation_is_made_up_for_at_the_next_start(folder: Folder) -> None:
    run = Run(folder, **VALIDATED, checkpoints=storage(), evaluation={"everySteps": 5})

    def fail() -> dict[str, float]:
        raise KeyboardInterrupt

    run.evaluate = fail
    with pytest.raises(KeyboardInterrupt):
        run.attempt()
    assert committed_steps(folder)[-1] == 5
    run.evaluate = lambda: {"mAP": 0.75}
    run.attempt()
    assert open_checkpoint(folder.child("step-00000005")).score == 0.75


def test_it_ends_where_the_evaluations_stop_rising(folder: Folder) -> None:
    early = {"evaluation": {"everySteps": 2}, "earlyStopping": {"patience": 2}}
    run = Run(folder, **VALIDATED, checkpoints=storage(), **early)
    scores = iter([0.1, 0.3, 0.2, 0.3])
    run.evaluate = lambda: {"mAP": next(scores)}
    run.attempt()
    assert run.reached == 8
    assert committed_steps(folder)[-1] == 8
    # Another attempt counts the existing checkpoints, and trains no further.
    again = Run(folder, **VALIDATED, checkpoints=storage(), **early)
    again.early_stop = EarlyStop(
        again.spec.early_stopping, 12, Patience(target_steps=12, best=0.3, best_step=4, misses=1)
    )
    assert again.attempt().steps == []
    assert again.reached == 8


def test_a_reached_target_still_evaluates_what_was_not(folder: Folder) -> None:
    Run(folder, checkpoints=storage()).attempt()
    run = Run(folder, **VALIDATED, checkpoints=storage())
    assert run.attempt().steps == []
    assert run.evaluations == [1.0]


def test_asked_to_stop_it_finishes_the_step_saves_and_raises(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage())
    update = Sum()
    update.after = lambda step: run.stop.request() if step == 6 else None
    with pytest.raises(StopRequested):
        run.attempt(update)
    assert update.steps[-1] == 5
    assert committed_steps(folder)[-1] == 6
    assert run.reporter.report.checkpoints[0].step == 6


def test_asked_to_stop_where_it_has_just_saved_it_saves_no_second_time(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage(everySteps=3))
    update = Sum()
    update.after = lambda step: run.stop.request() if step == 6 else None
    with pytest.raises(StopRequested):
        run.attempt(update)
    assert committed_steps(folder)[-1] == 6


def test_a_loss_that_is_not_finite_is_named_with_the_last_good_checkpoint(
    folder: Folder,
) -> None:
    run = Run(folder, checkpoints=storage())
    update = Sum()
    update.loss = lambda step: math.nan if step >= 5 else 1.0
    with pytest.raises(NonFiniteLossError, match=r"at step 6 \(seen at step 8\).*step 4"):
        run.attempt(update)
    assert committed_steps(folder)[-1] == 4


def test_a_loss_that_is_not_finite_is_seen_at_the_report(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage())
    run.period_s = 0.0
    update = Sum()
    update.loss = lambda step: math.inf if step == 5 else 1.0
    with pytest.raises(NonFiniteLossError, match=r"at step 6 \(seen at step 6\)"):
        run.attempt(update)
    assert run.reporter.report.step == 6
    assert run.reporter.report.progress.loss is None


def test_a_stop_commits_nothing_after_a_loss_that_was_not_finite(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage(everySteps=100))
    update = Sum()
    update.loss = lambda _step: math.nan
    update.after = lambda step: run.stop.request() if step == 2 else None
    with pytest.raises(NonFiniteLossError):
        run.attempt(update)
    assert committed_steps(folder) == [0]


def test_a_superseded_trainer_stops_at_its_next_save(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage())
    update = Sum()

    def start_another(step: int) -> None:
        if step == 5:
            raise_fence(folder, None, NOW)

    update.after = start_another
    with pytest.raises(SupersededError, match="trainer start 2"):
        run.attempt(update)
    assert committed_steps(folder)[-1] <= 4


def test_a_full_storage_ends_the_attempt(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(folder, checkpoints=storage())

    def full(*_: Any, **__: Any) -> None:
        raise StorageFullError("the volume is full")

    update = Sum()
    update.after = lambda step: monkeypatch.setattr(Folder, "write", full) if step == 2 else None
    with pytest.raises(StorageFullError):
        run.attempt(update)


def test_progress_is_reported_with_its_figures(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage())
    run.period_s = 0.0
    run.attempt()
    lines = run.lines("progress")
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[-1]["loss"] == pytest.approx(1 / 12)
    assert {"learningRate", "stepsPerSecond", "dataWaitFraction", "memoryBytes"} <= lines[-1].keys()
    assert run.reporter.report.checkpoint_count == len(committed_steps(folder))


def test_a_step_to_keep_for_ever_is_never_replaced_by_a_newer_one(folder: Folder) -> None:
    run = Run(folder, checkpoints=storage(everySteps=1, keepLast=1, keepEverySteps=3))
    run.attempt()
    assert committed_steps(folder) == [3, 6, 9, 12]


def test_the_share_of_waiting_is_that_of_the_steps_without_saves_and_evaluations(
    folder: Folder,
) -> None:
    run, update = Run(folder, **VALIDATED, evaluation={"everySteps": 5}), Sum()
    now = [0.0]

    def spend(seconds: float) -> None:
        now[0] += seconds

    def evaluate() -> dict[str, float]:
        spend(1000.0)
        return {"mAP": 0.5}

    run.clock, run.evaluate = lambda: now[0], evaluate
    run.wait = lambda: spend(1.0)
    update.after = lambda _step: spend(3.0)
    run.attempt(update)
    first = run.lines("progress")[0]
    assert first["step"] == 6
    assert first["dataWaitFraction"] == pytest.approx(0.25)
    assert first["stepsPerSecond"] == pytest.approx(5 / 1020)
