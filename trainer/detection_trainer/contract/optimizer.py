"""How weights move, and how fast: optimizer.proto of the OD API."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from detection_trainer.contract.base import Contract, Positive
from detection_trainer.contract.model import Fraction, PositiveFloat
from detection_trainer.contract.rules import (
    cel,
    cel_for_new,
    is_new_start,
    only_with,
    require_only_with,
    with_rules,
)

_OF_SCHEDULES = {
    "decaySteps": ("cosine", "exponential"),
    "holdSteps": ("cosine",),
    "staircase": ("exponential",),
}
_OF_OPTIMIZERS = {"decay": ("rms_prop",), "epsilon": ("adam", "adamw", "rms_prop")}
LearningRate = Annotated[float, Field(gt=0.0, le=10.0)]


class Schedule(Contract):
    """The learning rate as a pure function of the step (optimizer.proto)."""

    model_config = with_rules(
        cel(
            "self.type == 'step' || !has(self.boundaries) || size(self.boundaries) == 0",
            "boundaries are only valid with type step",
        ),
        cel(
            "self.type != 'step' || (has(self.boundaries) && size(self.boundaries) > 0)",
            "type step needs boundaries: the steps at which the rate is multiplied by factor",
        ),
        cel_for_new(
            "!has(self.boundaries) || self.boundaries.isSorted()",
            "boundaries must be in rising order: sort them",
        ),
        cel(
            "self.type != 'cosine' || !has(self.decaySteps) || "
            "self.warmupSteps + (has(self.holdSteps) ? self.holdSteps : 0) < self.decaySteps",
            "warmupSteps and holdSteps together must be below decaySteps",
        ),
        cel(
            "self.type != 'exponential' || has(self.decaySteps)",
            "type exponential needs decaySteps: the number of steps after which the rate is "
            "multiplied by factor",
        ),
        cel(
            "!has(self.rates) || (self.type == 'step' && has(self.boundaries) && "
            "size(self.rates) == size(self.boundaries))",
            "rates are only valid with type step, one rate for each boundary",
        ),
        *only_with("type", _OF_SCHEDULES),
        cel_for_new(
            "self.warmupSteps > 0 || !(has(self.warmup) || has(self.warmupLearningRate))",
            "warmup and warmupLearningRate need a warm-up: set warmupSteps, or remove them",
        ),
    )

    type: Literal["constant", "cosine", "step", "exponential"] = "cosine"
    """Course of the rate after the warm-up: `constant`, `cosine` down to `finalFraction`, `step` at
    `boundaries`, `exponential` by `factor` each `decaySteps`.
    """
    warmup_steps: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Steps over which the rate rises to `learningRate`."""
    warmup_learning_rate: Annotated[float, Field(ge=0.0, le=10.0)] | None = None
    """The rate of step 0, which rises to `learningRate`; absent means `learningRate /
    warmupSteps`, as if it rose from 0 at the step before."""
    warmup: Literal["Linear", "Constant"] | None = None
    """`Constant` stays at `warmupLearningRate` until the warm-up ends; absent means `Linear`."""
    hold_steps: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """`cosine` only: steps at `learningRate` between the warm-up and the decay."""
    decay_steps: Positive | None = None
    """`cosine`: steps until the final rate; fixed at the first start to the first `steps` if
    absent. `exponential`: steps after which the rate is multiplied by `factor`."""
    final_fraction: Fraction = 0.01
    """Where `cosine` ends, and what `exponential` never falls below, as a part of the rate."""
    boundaries: Annotated[list[Positive], Field(max_length=16)] = []
    """`step` only: where the rate is multiplied by `factor`, or becomes the one in `rates`."""
    rates: Annotated[list[LearningRate], Field(min_length=1, max_length=16)] | None = None
    """`step` only: the rates from each of `boundaries` on, instead of `factor`."""
    factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """What the rate is multiplied by at each of `boundaries`, or after each `decaySteps`."""
    staircase: bool | None = None
    """`exponential` only: whether the rate falls in steps; absent means true."""
    on_extend: Literal["Hold", "Restart"] = "Hold"
    """What raised `steps` do to a `cosine` schedule that has ended: `Hold` keeps its final rate,
    `Restart` runs a new cycle over the added steps.
    """

    @model_validator(mode="after")
    def _fits_its_type(self, info: ValidationInfo) -> Self:
        if self.type == "exponential" and self.decay_steps is None:
            msg = (
                "type exponential needs decaySteps: the number of steps after which the rate is "
                "multiplied by factor"
            )
            raise ValueError(msg)
        if self.rates is not None and len(self.rates) != len(self.boundaries):
            msg = (
                f"rates needs one rate for each of boundaries; received {len(self.rates)} rates "
                f"and {len(self.boundaries)} boundaries"
            )
            raise ValueError(msg)
        if is_new_start(info):
            require_only_with(self, "type", _OF_SCHEDULES)
            self._require_boundaries()
            self._require_time_to_decay()
            self._require_warmup_steps()
        return self

    def _require_boundaries(self) -> None:
        if (self.type == "step") != bool(self.boundaries):
            msg = (
                "expected boundaries with type step, and with no other type; received type "
                f"{self.type} and boundaries {self.boundaries}: correct one of them"
            )
            raise ValueError(msg)
        if self.boundaries != sorted(self.boundaries):
            msg = (
                "expected boundaries in rising order, because rates and factor apply in this "
                f"order; received {self.boundaries}: sort them"
            )
            raise ValueError(msg)

    def _require_time_to_decay(self) -> None:
        before = self.warmup_steps + (self.hold_steps or 0)
        if self.type == "cosine" and self.decay_steps is not None and before >= self.decay_steps:
            msg = (
                "expected warmupSteps and holdSteps together below decaySteps, "
                f"{self.decay_steps}; received {before}: lower them, or raise decaySteps"
            )
            raise ValueError(msg)

    def _require_warmup_steps(self) -> None:
        given = {"warmup": self.warmup, "warmupLearningRate": self.warmup_learning_rate}
        shown = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
        if shown and not self.warmup_steps:
            msg = (
                f"expected warmupSteps above 0 with warmup and warmupLearningRate; received {shown}"
                " without a warm-up: set warmupSteps, or remove them"
            )
            raise ValueError(msg)


class Optimizer(Contract):
    """How weights move: optimizer.proto, with its `moving_average_decay`."""

    model_config = with_rules(*only_with("name", _OF_OPTIMIZERS))

    name: Literal["momentum", "adam", "adamw", "rms_prop"] = "momentum"
    """The update rule: `momentum` (SGD with momentum), `adam`, `adamw` or `rms_prop`."""
    learning_rate: LearningRate = 0.04
    """The highest rate of the schedule."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Of `momentum` and `rms_prop`."""
    decay: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """`rms_prop` only: of the average of squared gradients; absent means 0.9."""
    epsilon: Annotated[float, Field(gt=0.0, le=10.0)] | None = None
    """Added where `adam`, `adamw` (absent: 1e-7) and `rms_prop` (absent: 1.0) divide."""
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """L2 regularisation of kernels, added to the loss; with `adamw` it is decoupled from the
    gradient.
    """
    gradient_clip_norm: PositiveFloat | None = 10.0
    """Largest global norm of the gradient, which is scaled down to it."""
    moving_average_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Keep an exponential moving average of the weights, and evaluate, export and restore by it."""
    schedule: Schedule = Schedule()
    """The learning rate over the steps."""

    @model_validator(mode="after")
    def _has_effect(self, info: ValidationInfo) -> Self:
        if is_new_start(info):
            require_only_with(self, "name", _OF_OPTIMIZERS)
        return self
