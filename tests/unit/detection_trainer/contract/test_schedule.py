"""The learning rate of a step: a table of schedules."""

from typing import Any

import pytest
from pydantic import ValidationError

from detection_trainer.contract.optimizer import Optimizer, Schedule
from detection_trainer.contract.schedule import (
    Cycle,
    first_cycles,
    learning_rate,
    zero_rate_from,
    zero_rate_refusal,
)

RATES: dict[str, tuple[dict[str, Any], dict[int, float]]] = {
    "a warm-up from a rate of its own": (
        {"type": "constant", "warmupSteps": 10, "warmupLearningRate": 0.02},
        {0: 0.02, 5: 0.06, 9: 0.092, 10: 0.1, 99: 0.1},
    ),
    "a warm-up that stays where it is": (
        {
            "type": "constant",
            "warmupSteps": 10,
            "warmupLearningRate": 0.02,
            "warmup": "Constant",
        },
        {0: 0.02, 9: 0.02, 10: 0.1},
    ),
    "cosine that holds before it decays": (
        {"warmupSteps": 10, "holdSteps": 20, "decaySteps": 50, "finalFraction": 0.0},
        {9: 0.1, 10: 0.1, 30: 0.1, 40: 0.05, 50: 0.0, 60: 0.0},
    ),
    "steps with rates of their own": (
        {"type": "step", "boundaries": [10, 20], "rates": [0.01, 0.5]},
        {0: 0.1, 9: 0.1, 10: 0.01, 19: 0.01, 20: 0.5, 99: 0.5},
    ),
    "exponential by steps": (
        {"type": "exponential", "decaySteps": 10, "factor": 0.5, "finalFraction": 0.0},
        {0: 0.1, 9: 0.1, 10: 0.05, 19: 0.05, 20: 0.025},
    ),
    "exponential without steps": (
        {
            "type": "exponential",
            "decaySteps": 10,
            "factor": 0.25,
            "staircase": False,
            "finalFraction": 0.0,
        },
        {0: 0.1, 5: 0.05, 10: 0.025},
    ),
    "exponential that begins after its warm-up": (
        {
            "type": "exponential",
            "warmupSteps": 5,
            "warmupLearningRate": 0.01,
            "decaySteps": 10,
            "factor": 0.5,
            "finalFraction": 0.0,
        },
        {0: 0.01, 5: 0.1, 14: 0.1, 15: 0.05},
    ),
    "exponential with a least rate": (
        {"type": "exponential", "decaySteps": 1, "factor": 0.1, "finalFraction": 0.2},
        {0: 0.1, 1: 0.02, 50: 0.02},
    ),
}


@pytest.mark.parametrize(("schedule", "rates"), RATES.values(), ids=RATES.keys())
def test_the_rate_of_a_step(schedule: dict[str, Any], rates: dict[int, float]) -> None:
    optimizer = Optimizer.model_validate({"learningRate": 0.1, "schedule": schedule})
    cycles = first_cycles(optimizer.schedule, 100)
    found = {step: learning_rate(optimizer, cycles, step) for step in rates}
    assert found == pytest.approx(rates, abs=1e-12)


def test_an_exponential_schedule_never_reaches_0() -> None:
    schedule = {"type": "exponential", "decaySteps": 10, "finalFraction": 0.0}
    optimizer = Optimizer.model_validate({"schedule": schedule})
    assert zero_rate_from(optimizer, [Cycle(start=0, decay_steps=10)], 1000) is None


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"type": "exponential"}, "exponential needs decaySteps"),
        (
            {"type": "step", "boundaries": [1, 2], "rates": [0.1]},
            "received 1 rates and 2 boundaries",
        ),
    ],
    ids=["exponential without decaySteps", "too few rates"],
)
def test_a_missing_field_of_a_type_is_named(schedule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Schedule.model_validate(schedule)


@pytest.mark.parametrize(
    ("schedule", "steps", "zero_from"),
    [
        ({"finalFraction": 0.0}, 10, None),
        ({"finalFraction": 0.0}, 11, 10),
        ({"finalFraction": 0.01}, 11, None),
        ({"finalFraction": 0.0, "onExtend": "Restart"}, 11, None),
        ({"type": "constant"}, 11, None),
    ],
    ids=["to the end", "beyond the end", "a rate above 0", "a new cycle", "no decay"],
)
def test_a_run_at_rate_0_is_refused_with_its_remedies(
    schedule: dict[str, Any], steps: int, zero_from: int | None
) -> None:
    optimizer = Optimizer.model_validate({"schedule": schedule})
    refusal = zero_rate_refusal(optimizer, [Cycle(start=0, decay_steps=10)], steps)
    if zero_from is None:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.startswith(f"steps {steps} would train at learning rate 0 from step {zero_from}")
    assert refusal.endswith(f"or steps to {zero_from}")
