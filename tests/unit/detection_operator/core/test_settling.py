"""Which changes of a status may wait for the next, which are told at once."""

from typing import Any

import pytest

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import DeleteJob, Event, Plan
from detection_operator.core.settling import may_wait
from tests.support.observations import NOW, attempt

MADE = Status(phase="Queued", attempt_count=1, current_attempt=attempt())


def changed(**changes: Any) -> Status:
    return MADE.model_copy(update=changes)


@pytest.mark.parametrize(
    ("plan", "waits"),
    [
        (Plan(MADE), False),
        (Plan(changed(phase="Starting", current_attempt=attempt(started_at=NOW))), True),
        (Plan(changed(phase="Running")), False),
        (Plan(changed(phase="Refused")), False),
        (Plan(changed(step=1)), False),
        (Plan(changed(observed_generation=2)), False),
        (Plan(changed(current_attempt=attempt(number=2))), False),
        (Plan(changed(phase="Starting"), events=(Event("Normal", Reason.RESUMED, "x"),)), False),
        (Plan(changed(phase="Starting"), actions=(DeleteJob("a", "b", "c"),)), False),
    ],
    ids=[
        "nothing is new",
        "a pod that starts",
        "one that trains",
        "one that is refused",
        "a step",
        "a change of the spec that is seen",
        "another attempt",
        "what is worth an event",
        "what is acted on",
    ],
)
def test_a_start_on_its_way_may_wait_and_nothing_else(plan: Plan, *, waits: bool) -> None:
    assert may_wait(MADE, plan) is waits


def test_a_state_before_any_attempt_is_told_at_once() -> None:
    assert not may_wait(Status(), Plan(MADE))
