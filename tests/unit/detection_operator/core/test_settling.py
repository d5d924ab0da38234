"""Which changes of a status may wait for the next, and which are written at once."""

from typing import Any

import pytest

from detection_operator.api.conditions import ConditionType, Reason
from detection_operator.api.v1alpha1 import Condition, Status
from detection_operator.core.actions import DeleteJob, Event, Plan
from detection_operator.core.settling import (
    END_PATIENCE_S,
    LONGEST_PATIENCE_S,
    PATIENCE_S,
    patience_s,
)
from tests.support.operator.observations import NOW, attempt, outcome

MADE = Status(phase="Queued", attempt_count=1, current_attempt=attempt())
HELD_UP = Condition(
    type="Ready",
    status="True",
    last_transition_time=NOW,
    reason=Reason.UNSCHEDULABLE,
    message="No node fits the pod: no room.",
)
EVENT = Event("Warning", Reason.UNSCHEDULABLE, HELD_UP.message)


def changed(**changes: Any) -> Status:
    return MADE.model_copy(update=changes)


@pytest.mark.parametrize(
    ("plan", "waits"),
    [
        (Plan(MADE), False),
        (Plan(changed(phase="Starting", current_attempt=attempt(started_at=NOW))), True),
        (Plan(changed(phase="Starting", current_attempt=attempt(job_uid="uid-1"))), True),
        (Plan(changed(phase="Running")), False),
        (Plan(changed(phase="Refused")), False),
        (Plan(changed(step=1)), False),
        (Plan(changed(observed_generation=2)), False),
        (Plan(changed(current_attempt=attempt(number=2))), False),
        (Plan(changed(phase="Queued", conditions=[HELD_UP]), events=(EVENT,)), True),
        (Plan(changed(phase="Starting"), actions=(DeleteJob("a", "b", "c"),)), False),
    ],
    ids=[
        "nothing is new",
        "a pod that starts",
        "a Job whose uid is known",
        "one that trains",
        "one that is refused",
        "a step",
        "a change of the spec that is seen",
        "another attempt",
        "what delays it, with its Event",
        "what is acted on",
    ],
)
def test_only_the_progress_of_a_start_may_wait(plan: Plan, *, waits: bool) -> None:
    assert patience_s(MADE, plan) == (PATIENCE_S if waits else 0)


def test_a_state_before_any_attempt_is_reported_at_once() -> None:
    assert patience_s(Status(), Plan(MADE)) == 0


def waiting_status(reason: Reason, message: str, phase: str = "Queued") -> Status:
    status = Status(phase=phase, attempt_count=1, current_attempt=attempt())
    ready = Condition(
        type=ConditionType.READY,
        status="True",
        observed_generation=1,
        last_transition_time=NOW,
        reason=reason,
        message=message,
    )
    return status.model_copy(update={"conditions": [ready]})


STATUS_MADE = waiting_status(
    Reason.ATTEMPT_CREATED, "Attempt 1 is made, Created attempt 1 to train to step 100."
)
NO_POD = waiting_status(Reason.POD_PENDING, "in any words")
NO_CONTAINER = waiting_status(Reason.POD_PENDING, "in others")
IN_QUEUE = waiting_status(
    Reason.QUEUED, "The Job waits in its queue, which sets the Job's spec.suspend."
)
NO_NODE = waiting_status(Reason.UNSCHEDULABLE, "No node fits the pod: 0/3 nodes are available")
STARTS = waiting_status(Reason.STARTING, "The trainer of attempt 1 runs.", phase="Starting")


@pytest.mark.parametrize(
    ("before", "after", "patience"),
    [
        (STATUS_MADE, NO_POD, LONGEST_PATIENCE_S),
        (NO_POD, NO_CONTAINER, LONGEST_PATIENCE_S),
        (STATUS_MADE, IN_QUEUE, PATIENCE_S),
        (IN_QUEUE, NO_POD, PATIENCE_S),
        (NO_CONTAINER, NO_NODE, PATIENCE_S),
        (NO_NODE, NO_CONTAINER, PATIENCE_S),
        (NO_POD, STARTS, PATIENCE_S),
    ],
    ids=[
        "no pod yet",
        "a pod without a container",
        "a queue that has not admitted it",
        "a queue that has",
        "a complaint",
        "a complaint that is answered",
        "a pod that starts",
    ],
)
def test_what_a_pod_waits_for_is_reported_late_without_a_warning(
    before: Status, after: Status, patience: float
) -> None:
    assert patience_s(before, Plan(after)) == patience


DONE = outcome(0, "Completed", finished_at=None)


@pytest.mark.parametrize(
    ("current", "patience"),
    [
        (attempt(outcome=DONE), END_PATIENCE_S),
        (attempt(outcome=outcome(0, "Completed")), 0),
        (attempt(outcome=outcome(40, "Saved", finished_at=None)), 0),
        (attempt(), 0),
    ],
    ids=["all steps are done", "its pod has ended", "it has saved", "it trains"],
)
def test_the_completion_of_all_steps_waits_for_the_end_of_the_pod(
    current: Any, patience: float
) -> None:
    before = changed(phase="Running")
    after = before.model_copy(update={"current_attempt": current, "step": 100})
    assert patience_s(before, Plan(after)) == patience
    edited = before.model_copy(update={"observed_generation": 7})
    assert patience_s(edited, Plan(after)) == 0
