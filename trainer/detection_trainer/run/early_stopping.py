"""Decides when evaluations have stopped improving: pure; every checkpoint stores the counters.

So a resumed run continues to count, and each evaluation counts once however often the trainer is
killed around it.
"""

import math
from collections.abc import Mapping

from detection_trainer.checkpoints.format import Checkpoint
from detection_trainer.checkpoints.manifest import Patience
from detection_trainer.contract.report import Step
from detection_trainer.contract.spec import EarlyStopping, TrainingSpec


def resume_counting(spec: EarlyStopping | None, target: Step, resumed: Checkpoint) -> "EarlyStop":
    """Return the counters of a run that resumes from its own checkpoint `resumed`."""
    carried = resumed.manifest.patience or Patience(target_steps=target)
    before = EarlyStop(spec, carried.target_steps, carried)
    if resumed.is_evaluated:
        # The manifest was written before its step was evaluated.
        before.judge(resumed.step, resumed.metrics)
    return EarlyStop(spec, target, before.patience)


def is_judged(spec: TrainingSpec, step: Step, start: Step) -> bool:
    """Return whether the run may end at `step`, so that all workers must agree there.

    An attempt that begins at `start` may find that its run has already ended.
    """
    if spec.early_stopping is None:
        return False
    period = spec.evaluation.every_steps
    return step == start or (period is not None and step % period == 0)


class EarlyStop:
    """Counts evaluations in the order of their steps."""

    def __init__(self, spec: EarlyStopping | None, target: Step, carried: Patience | None) -> None:
        """Continue to count from `carried`, or from 0 if `steps` was raised after an early stop.

        Args:
            spec: None if the run never stops early.
            target: `spec.steps`.
            carried: the counters of the checkpoint from which the attempt resumes.
        """
        self._spec = spec
        before = carried or Patience(target_steps=target)
        raised = target > before.target_steps
        misses = 0 if raised and self._exhausts(before) else before.misses
        self.patience = before.model_copy(update={"target_steps": target, "misses": misses})

    @property
    def is_over(self) -> bool:
        """Whether enough evaluations were made without an improvement."""
        return self._exhausts(self.patience)

    def judge(self, step: Step, metrics: Mapping[str, float]) -> None:
        """Count the evaluation of `step`, unless it is already counted."""
        if self._spec is None or step <= self.patience.evaluated_step:
            return
        score, best = metrics.get(self._spec.metric, math.nan), self.patience.best
        # NaN is never better.
        better = score > (-math.inf if best is None else best + self._spec.min_delta)
        changes = {"best": score, "best_step": step, "misses": 0} if better else {}
        misses = {"misses": self.patience.misses + 1}
        update = {"evaluated_step": step, **(changes or misses)}
        self.patience = self.patience.model_copy(update=update)

    def message(self, step: Step) -> str:
        """Return why the run stopped at `step`."""
        spec, patience = self._spec, self.patience
        name = "" if spec is None else spec.metric
        best = (
            "no evaluation gave a number"
            if patience.best is None
            else (f"the best was {patience.best:.4f} at step {patience.best_step}")
        )
        return (
            f"stopped early at step {step} of {patience.target_steps}: {name} did not rise in "
            f"{patience.misses} evaluations ({best})"
        )

    def _exhausts(self, patience: Patience) -> bool:
        return self._spec is not None and patience.misses >= self._spec.patience
