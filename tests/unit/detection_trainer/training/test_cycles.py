from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection_trainer.contract.schedule import Cycle, learning_rate
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import InvalidConfigError
from detection_trainer.training.cycles import choose_cycles, describe_extension
from tests.support.trainer.runs import parsed


def spec(steps: int, **schedule: Any) -> TrainingSpec:
    return parsed(
        steps=steps, optimizer={"learningRate": 0.1, "schedule": {"warmupSteps": 0, **schedule}}
    ).spec


def test_a_new_run_decays_over_its_first_steps() -> None:
    assert choose_cycles(spec(100), None) == [Cycle(start=0, decay_steps=100)]
    assert choose_cycles(spec(100, decaySteps=60), None) == [Cycle(start=0, decay_steps=60)]


def test_raised_steps_hold_the_final_rate_as_a_run_planned_so_would() -> None:
    before = choose_cycles(spec(100), None)
    raised = spec(150)
    after = choose_cycles(raised, before)
    planned = spec(150, decaySteps=100)
    assert after == choose_cycles(planned, None)
    for step in (0, 50, 99, 100, 149):
        assert learning_rate(raised.optimizer, after, step) == learning_rate(
            planned.optimizer, choose_cycles(planned, None), step
        )
    message = describe_extension(raised, before, after, 100)
    assert message is not None
    assert "holds the final rate from step 100" in message


def test_restart_begins_a_new_cycle_over_the_added_steps() -> None:
    before = choose_cycles(spec(100), None)
    raised = spec(150, onExtend="Restart")
    after = choose_cycles(raised, before)
    assert after[-1] == Cycle(start=100, decay_steps=50)
    assert learning_rate(raised.optimizer, after, 100) == 0.1
    message = describe_extension(raised, before, after, 100)
    assert message is not None
    assert "new cycle over steps 100 to 150" in message


def test_raised_steps_at_rate_0_are_refused_with_the_choices() -> None:
    before = choose_cycles(spec(100, finalFraction=0), None)
    with pytest.raises(InvalidConfigError, match=r"rate 0 from step 100.*Restart.*finalFraction"):
        choose_cycles(spec(150, finalFraction=0), before)
    choose_cycles(spec(150, finalFraction=0, onExtend="Restart"), before)


def test_a_resumed_run_reports_nothing_about_its_schedule() -> None:
    cycles = choose_cycles(spec(100), None)
    assert describe_extension(spec(100), cycles, cycles, 50) is None


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a schedule that the contract takes."""
    kind = draw(st.sampled_from(["constant", "cosine", "step"]))
    decay = draw(st.none() | st.integers(60, 300))
    found: dict[str, Any] = {"type": kind, "warmupSteps": draw(st.integers(0, 50))}
    found |= {} if decay is None else {"decaySteps": decay}
    if kind == "step":
        found["boundaries"] = sorted(draw(st.lists(st.integers(1, 300), min_size=1, max_size=4)))
        found["factor"] = draw(st.floats(0.01, 1.0))
    # Above 0: a run that would train on at rate 0 is refused, as shown above.
    found["finalFraction"] = draw(st.floats(0.001, 1.0))
    return found | {"onExtend": draw(st.sampled_from(["Hold", "Restart"]))}


@given(schedule=schedules(), targets=st.lists(st.integers(51, 400), min_size=1, max_size=4))
def test_a_rate_that_was_applied_is_never_rewritten_by_raised_steps(
    schedule: dict[str, Any], targets: list[int]
) -> None:
    cycles: list[Cycle] | None = None
    applied: dict[int, float] = {}
    for target in sorted(targets):
        wanted = spec(target, **schedule)
        cycles = choose_cycles(wanted, cycles)
        rates = {step: learning_rate(wanted.optimizer, cycles, step) for step in range(target)}
        assert {step: rates[step] for step in applied} == applied
        assert all(0.0 < rate <= 0.1 * (1 + 1e-9) for rate in rates.values())
        assert choose_cycles(wanted, cycles) == cycles, "a resume changes nothing"
        applied = rates
