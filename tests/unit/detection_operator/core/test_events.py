"""Which changes are worth an Event, and that each is reported once."""

import pytest

from detection_operator.api.conditions import ConditionType
from detection_operator.api.v1alpha1 import Interruption, RestoredStatus, Status
from detection_operator.core.events import events_between
from detection_operator.core.plan import plan
from detection_operator.core.state import Job, Pod
from detection_trainer.contract.report import SkippedCheckpoint, VariableCounts
from tests.support.operator.observations import (
    NOW,
    SETTINGS,
    ago,
    attempt,
    checkpoint,
    job,
    observed,
    pending_pod,
    pod,
    spec,
    under_way,
    waiting,
)
from tests.support.operator.situations_before import ZERO

COUNTS = VariableCounts(restored=3, fresh=1)
CUT = Interruption(attempt=1, time=ago(9), reason="Evicted", message="m", last_reported_step=9)
RESUMED = CUT.model_copy(update={"resumed_from_step": 7, "steps_lost": 2})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Status(), Status(), []),
        (Status(), Status(current_attempt=attempt(), attempt_count=1), []),
        (
            Status(current_attempt=attempt(), attempt_count=1),
            Status(current_attempt=attempt(number=2, start_step=7), attempt_count=2),
            [("Normal", "AttemptCreated", "Created attempt 2 to train from step 7 to step 100.")],
        ),
        (
            Status(),
            Status(restored=RestoredStatus(mode="detection", uri="s3://c", variables=COUNTS)),
            [
                (
                    "Normal",
                    "RestoredFromSource",
                    "Restored 3 variables from s3://c (mode detection); 1 have fresh values.",
                )
            ],
        ),
        (Status(latest_checkpoint=checkpoint(0)), Status(latest_checkpoint=checkpoint(9)), []),
        (
            Status(skipped_checkpoints=[SkippedCheckpoint(step=3, problem="torn")]),
            Status(
                skipped_checkpoints=[
                    SkippedCheckpoint(step=5, problem="its digest differs"),
                    SkippedCheckpoint(step=3, problem="torn"),
                ]
            ),
            [
                (
                    "Warning",
                    "CheckpointSkipped",
                    "Skipped the checkpoint of step 5: its digest differs",
                )
            ],
        ),
        (
            Status(),
            Status(interruptions=[CUT], interruption_count=1),
            [("Warning", "Evicted", "Attempt 1 was interrupted at step 9: m")],
        ),
        (
            Status(interruptions=[CUT], interruption_count=1),
            Status(interruptions=[RESUMED], interruption_count=1),
            [("Normal", "Resumed", "Resumed from step 7; steps lost: 2.")],
        ),
        (
            Status(interruptions=[RESUMED], interruption_count=1),
            Status(interruptions=[CUT, RESUMED], interruption_count=2),
            [("Warning", "Evicted", "Attempt 1 was interrupted at step 9: m")],
        ),
    ],
    ids=[
        "nothing",
        "the first attempt, which the phase shows",
        "another attempt",
        "a restore",
        "a checkpoint",
        "a damaged checkpoint",
        "an interruption",
        "a resumption",
        "another interruption",
    ],
)
def test_events(before: Status, after: Status, expected: list[tuple[str, str, str]]) -> None:
    events = events_between(before, after)
    assert [(event.type, event.reason, event.message) for event in events] == expected


@pytest.mark.parametrize(
    ("held_up", "reason", "advice"),
    [
        (job(pending_pod(unschedulable=waiting("Unschedulable"))), "Unschedulable", "nodes"),
        (job(pending_pod(waiting=waiting("ErrImagePull"))), "ImagePullFailed", "registry"),
        (job(pending_pod(waiting=waiting("CreateContainerConfigError"))), "StartFailed", "Correct"),
        (job(rejected="exceeded quota"), "PodRejected", "Change"),
        (job(pod(deleting_since=ago(31))), "NodeLost", "nodeLostTimeoutSeconds"),
    ],
    ids=["unschedulable", "no image", "no Secret", "refused", "a lost node"],
)
def test_what_delays_a_pod_is_reported_once_with_the_remedy(
    held_up: Job, reason: str, advice: str
) -> None:
    before = under_way(attempt(), phase="Queued")
    first = plan(observed(spec(), before, held_up), SETTINGS, NOW)
    [event] = first.events
    assert (event.type, event.reason) == ("Warning", reason)
    assert advice in event.message
    assert plan(observed(spec(), first.status, held_up), SETTINGS, NOW).events == ()


@pytest.mark.parametrize(
    "deleted",
    [pod(deleting_since=ago(5)), pod(deleting_since=ago(200), forced=True)],
    ids=["a node that takes a moment longer", "a deletion by force"],
)
def test_a_pod_that_a_person_deletes_is_no_lost_node(deleted: Pod) -> None:
    running = plan(observed(spec(), under_way(attempt()), job(deleted)), SETTINGS, NOW)
    assert [event.reason for event in running.events if event.reason == "NodeLost"] == []
    ready = running.status.condition(ConditionType.READY)
    assert ready is not None
    assert ready.reason in {"Saving", "PodDeleted"}


def test_a_refusal_is_reported_once_and_again_when_it_changes() -> None:
    zero = spec(optimizer=ZERO)
    first = plan(observed(zero), SETTINGS, NOW)
    assert [(e.type, e.reason) for e in first.events] == [("Warning", "LearningRateZero")]
    same = plan(observed(zero, first.status), SETTINGS, NOW)
    assert same.events == ()
    other = plan(observed(spec(), first.status, folder_owner="vision/oaks"), SETTINGS, NOW)
    assert [event.reason for event in other.events] == ["StorageInUse"]
