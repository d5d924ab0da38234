"""The training loop: updates, saves, evaluates, reports, and stops on request.

Step i uses batch i and the rate of step i. So the state after a step is a pure function of the
state before it: the loop may be killed at any point and resume from any checkpoint.
"""

import math
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from detection_trainer.checkpoints.fence_watch import FenceWatch
from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.checkpoints.saver import Saver
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.schedule import Cycle, learning_rate
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import NonFiniteLossError
from detection_trainer.reporting.reporter import Reporter
from detection_trainer.run.early_stopping import EarlyStop, is_judged
from detection_trainer.stop import Stop

REPORT_PERIOD_S = 5.0

Batch = tuple[Any, Any, Any]
Evaluate = Callable[[], Mapping[str, float]]
"""Returns the metrics of the current weights; raises StopRequested if a stop is requested."""


class Update(Protocol):
    """Updates the weights: `training.step.TrainingStep`."""

    def __call__(self, batch: Batch, rate: float, step: int) -> Mapping[str, Any]:
        """Update the state from `step` to `step + 1` and return scalar losses."""

    def first_bad_step(self) -> int | None:
        """Return the first step that was not finite, or None."""

    def snapshot(self, step: int) -> Snapshot:
        """Return a copy of the state."""


@dataclass(frozen=True, slots=True)
class LoopServices:
    """What the loop uses to save, to report and to stop."""

    saver: Saver
    store: CheckpointStore
    reporter: Reporter
    stop: Stop
    watch: FenceWatch
    early_stop: EarlyStop | None = None
    report_period_s: float = REPORT_PERIOD_S
    clock: Callable[[], float] = time.monotonic
    """Monotonic, in seconds."""
    agree: Callable[[float], float] = float
    """Returns the sum of all workers' values; with one worker, its own value."""


@dataclass(slots=True)
class _Meter:
    """Measures the speed of the steps since the last report."""

    since: float
    from_step: int
    data_wait_s: float = 0.0
    aside_s: float = 0.0
    """Seconds of saves and evaluations, which do not count as time of a step."""

    def figures(self, now: float, step: int) -> dict[str, float]:
        elapsed_s = max(now - self.since, 1e-9)
        return {
            "steps_per_second": (step - self.from_step) / elapsed_s,
            "data_wait_fraction": self.data_wait_s / max(elapsed_s - self.aside_s, 1e-9),
        }


class TrainingLoop:
    """Runs a training from one step to its target."""

    def __init__(
        self,
        update: Update,
        spec: TrainingSpec,
        cycles: Sequence[Cycle],
        services: LoopServices,
        evaluate: Evaluate | None = None,
    ) -> None:
        """Create a loop; `evaluate` is None if there is no validation set."""
        self._early_stop = services.early_stop or EarlyStop(None, spec.steps, None)
        self._update, self._spec, self._cycles = update, spec, list(cycles)
        self._saver, self._store = services.saver, services.store
        self._reporter, self._stop = services.reporter, services.stop
        self._agree = services.agree
        self._watch, self._evaluate = services.watch, evaluate
        self._period_s, self._clock = services.report_period_s, services.clock

    def run(self, start: int, batches: Iterable[Batch]) -> int:
        """Train from `start`, a committed checkpoint, to the target; returns the step reached.

        That step is below the target if the run stops early.

        Args:
            start: the step of the current state.
            batches: the batches of `start`, `start + 1`, …

        Raises:
            StopRequested: a stop was requested; the state is committed.
            NonFiniteLossError: the loss or a gradient was not finite.
            TrainerError: a save failed, or a later trainer started.
        """
        # The previous attempt may have ended between a commit and its evaluation.
        self._evaluate_if_due(start)
        iterator, step = iter(batches), start
        meter = _Meter(self._clock(), start)
        while step < self._spec.steps and not self._is_over(step, start):
            if self._stop.requested:
                self._save_now(step)
                self._stop.raise_if_requested()
            losses = self._train_one(iterator, step, meter)
            step += 1
            if step == start + 1:
                # The first step traces the graph, which belongs to the start-up: a signal may
                # interrupt it, and its duration is excluded from the speed.
                self._stop.defer_signals()
                meter = _Meter(self._clock(), step)
            meter = self._report_if_due(step, losses, meter)
            began = self._clock()
            self._save_if_due(step)
            meter.aside_s += self._clock() - began
            self._saver.check()
            self._watch.check()
        self._saver.drain()
        self._reporter.update(step=step)
        return step

    def _is_over(self, step: int, start: int) -> bool:
        over = self._early_stop.is_over
        if not is_judged(self._spec, step, start):
            return over
        return self._agree(float(over)) > 0

    def _train_one(self, batches: Iterator[Batch], step: int, meter: _Meter) -> Mapping[str, Any]:
        began = self._clock()
        batch = next(batches)
        meter.data_wait_s += self._clock() - began
        return self._update(batch, self._rate(step), step)

    def _report_if_due(self, step: int, losses: Mapping[str, Any], meter: _Meter) -> _Meter:
        now = self._clock()
        if now - meter.since < self._period_s and step < self._spec.steps:
            return meter
        loss = float(losses["loss"])  # Waits for the device, as the other losses do below.
        self._reporter.progress(
            step,
            loss=loss,
            learning_rate=self._rate(step - 1),  # Of the update that led to `step`.
            memory_bytes=_peak_memory_bytes(),
            **meter.figures(now, step),
        )
        if not math.isfinite(loss):
            self._require_finite(step)
        return _Meter(self._clock(), step)

    def _save_if_due(self, step: int) -> None:
        if self._is_evaluated(step) or step == self._spec.steps:
            self._save_now(step)
            self._evaluate_if_due(step)
        elif _is_multiple(step, self._spec.checkpoints.keep_every_steps):
            # This checkpoint is kept forever, so no newer one may replace it in the queue.
            self._save_now(step)
        elif _is_multiple(step, self._spec.checkpoints.every_steps):
            self._require_finite(step)
            self._saver.submit(self._update.snapshot(step))

    def _save_now(self, step: int) -> None:
        self._require_finite(step)
        self._saver.drain()
        # The queue, or the attempt that this one resumes, may have committed the step already.
        if self._store.at(step) is None:
            self._saver.save(self._update.snapshot(step))

    def _evaluate_if_due(self, step: int) -> None:
        """Evaluate the committed checkpoint of `step`, unless its metrics are already stored."""
        checkpoint = self._store.at(step)
        due = self._is_evaluated(step) or step >= self._spec.steps
        if self._evaluate is None or checkpoint is None or not due:
            return
        if checkpoint.is_evaluated:
            self._early_stop.judge(step, checkpoint.metrics)
            return
        self._reporter.console.say("evaluating", f"evaluating step {step}", step=step)
        began = self._clock()
        metrics = self._evaluate()
        self._store.add_metrics(step, metrics)
        self._early_stop.judge(step, metrics)
        self._reporter.evaluated(step, metrics, seconds=self._clock() - began)
        self._store.apply_retention()
        self._reporter.checkpoints(self._store)

    def _is_evaluated(self, step: int) -> bool:
        return self._evaluate is not None and _is_multiple(step, self._spec.evaluation.every_steps)

    def _require_finite(self, step: int) -> None:
        bad = self._update.first_bad_step()
        if bad is None:
            return
        # A save that is still running may become the last good checkpoint.
        self._saver.drain()
        good = next((f"step {c.step}" for c in self._store.checkpoints), "none")
        msg = (
            f"the loss or its gradient was not finite at step {bad} (seen at step {step}); last "
            f"good checkpoint: {good}: lower optimizer.learningRate, lengthen warmupSteps or set "
            "optimizer.gradientClipNorm in a new training"
        )
        raise NonFiniteLossError(msg)

    def _rate(self, step: int) -> float:
        return learning_rate(self._spec.optimizer, self._cycles, step)


def _is_multiple(step: int, period: int | None) -> bool:
    return period is not None and step > 0 and step % period == 0


def _peak_memory_bytes() -> int:
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
