"""Chooses the learning-rate cycles of an attempt: pure.

They are fixed at the first start and stored in every manifest, so that raising `steps` changes the
rate only as `onExtend` defines.
"""

from collections.abc import Sequence

from detection_trainer.contract.schedule import (
    Cycle,
    extend_cycles,
    first_cycles,
    learning_rate,
    zero_rate_refusal,
)
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import InvalidConfigError


def choose_cycles(spec: TrainingSpec, carried: Sequence[Cycle] | None) -> list[Cycle]:
    """Return the cycles for a run to `spec.steps`.

    Args:
        spec: the training.
        carried: the cycles of the checkpoint from which the attempt resumes; None for a new run.

    Raises:
        InvalidConfigError: the run would train at rate 0.
    """
    schedule = spec.optimizer.schedule
    cycles = list(carried) if carried else first_cycles(schedule, spec.steps)
    refusal = zero_rate_refusal(spec.optimizer, cycles, spec.steps)
    if refusal is not None:
        raise InvalidConfigError(refusal)
    return extend_cycles(cycles, schedule, spec.steps)


def describe_extension(
    spec: TrainingSpec, before: Sequence[Cycle], after: Sequence[Cycle], step: int
) -> str | None:
    """Return how a raised `steps` changes the learning rate at `step`; None if it does not."""
    end = before[-1].end
    rate = learning_rate(spec.optimizer, list(after), step)
    if len(after) > len(before):
        added = after[-1]
        return (
            f"steps {spec.steps} begins a new cycle over steps {added.start} to {added.end}; the "
            f"rate at step {step} is {rate:.3g}"
        )
    if spec.steps > end and spec.optimizer.schedule.type == "cosine":
        return f"steps {spec.steps} holds the final rate from step {end}: {rate:.3g} at step {step}"
    return None
