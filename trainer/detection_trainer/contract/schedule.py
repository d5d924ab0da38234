"""The learning rate as a pure function of the step, and how raising `steps` changes it.

A run's schedule is a list of cycles. The first begins at step 0; extending a run with
`onExtend: Restart` adds another. Called by the trainer at every start and by the operator when
`steps` is raised.
"""

import math
from typing import Annotated

from pydantic import Field

from detection_trainer.contract.base import MAX_COUNT, Contract, Count
from detection_trainer.contract.optimizer import Optimizer, Schedule


class Cycle(Contract):
    """One pass of the schedule, in absolute steps of the run."""

    start: Count
    decay_steps: Annotated[int, Field(ge=1, le=MAX_COUNT)]

    @property
    def end(self) -> int:
        """The step from which the rate no longer changes."""
        return self.start + self.decay_steps


Cycles = Annotated[list[Cycle], Field(min_length=1, max_length=64)]


def first_cycles(schedule: Schedule, steps: int) -> list[Cycle]:
    """Return the cycles of a new run of `steps`; raising `steps` does not change them."""
    return [Cycle(start=0, decay_steps=schedule.decay_steps or steps)]


def extend_cycles(cycles: list[Cycle], schedule: Schedule, steps: int) -> list[Cycle]:
    """Return the cycles for the new target `steps`; unchanged unless `onExtend: Restart`.

    >>> extend_cycles([Cycle(start=0, decay_steps=100)], Schedule(on_extend="Restart"), 300)
    [Cycle(start=0, decay_steps=100), Cycle(start=100, decay_steps=200)]
    """
    last = cycles[-1]
    if schedule.on_extend == "Restart" and schedule.type == "cosine" and steps > last.end:
        return [*cycles, Cycle(start=last.end, decay_steps=steps - last.end)]
    return cycles


def learning_rate(optimizer: Optimizer, cycles: list[Cycle], step: int) -> float:
    """Return the rate of the update from `step` to `step + 1`.

    With `warmupLearningRate`, and for every type, it is the rate of the OD API
    (utils/learning_schedules.py).

    >>> optimizer = Optimizer(learning_rate=0.04)
    >>> cycles = first_cycles(optimizer.schedule, steps=100)
    >>> learning_rate(optimizer, cycles, 0), learning_rate(optimizer, cycles, 100)
    (0.04, 0.0004)
    """
    schedule, peak = optimizer.schedule, optimizer.learning_rate
    cycle = next(c for c in reversed(cycles) if c.start <= step)
    position = step - cycle.start
    if position < schedule.warmup_steps:
        return _warming(schedule, peak, position)
    match schedule.type:
        case "constant":
            return peak
        case "step":
            return _stepped(schedule, peak, step)
        case "exponential":
            return peak * max(_decayed(schedule, position), schedule.final_fraction)
        case "cosine":
            return peak * _cosine(schedule, cycle.decay_steps, position)


def _warming(schedule: Schedule, peak: float, position: int) -> float:
    first = schedule.warmup_learning_rate
    if first is None:
        # The first update already has a rate above 0.
        return peak * (position + 1) / schedule.warmup_steps
    if schedule.warmup == "Constant":
        return first
    return first + (peak - first) * position / schedule.warmup_steps


def _stepped(schedule: Schedule, peak: float, step: int) -> float:
    passed = sum(step >= boundary for boundary in schedule.boundaries)
    if schedule.rates is None:
        return peak * schedule.factor**passed
    return [peak, *schedule.rates][passed]


def _decayed(schedule: Schedule, position: int) -> float:
    periods = (position - schedule.warmup_steps) / (schedule.decay_steps or 1)
    staircase = schedule.staircase is not False
    return float(schedule.factor ** (math.floor(periods) if staircase else periods))


def _cosine(schedule: Schedule, decay_steps: int, position: int) -> float:
    begins = schedule.warmup_steps + (schedule.hold_steps or 0)
    span = max(decay_steps - begins, 1)
    done = min(max(position - begins, 0) / span, 1.0)
    cosine = 0.5 * (1.0 + math.cos(math.pi * done))
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * cosine


def zero_rate_from(optimizer: Optimizer, cycles: list[Cycle], steps: int) -> int | None:
    """Return the step from which a run to `steps` would train at rate 0, or None.

    The OD API continues with rate 0 without a warning; here such a run is refused.
    """
    extended = extend_cycles(cycles, optimizer.schedule, steps)
    end = extended[-1].end
    if steps <= end or learning_rate(optimizer, extended, end) > 0.0:
        return None
    return end


def zero_rate_refusal(optimizer: Optimizer, cycles: list[Cycle], steps: int) -> str | None:
    """Return why a run to `steps` is refused, and what to set; None if its rate stays above 0."""
    start = zero_rate_from(optimizer, cycles, steps)
    if start is None:
        return None
    return (
        f"steps {steps} would train at learning rate 0 from step {start}: set "
        "optimizer.schedule.onExtend to Restart for a new cycle over the added steps, or "
        "optimizer.schedule.finalFraction above 0 (once the run has checkpoints: in a new "
        f"training with continueFrom), or steps to {start}"
    )
