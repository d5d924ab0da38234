"""Several workers are one attempt: it starts with the last, and ends with the first that fails."""

from dataclasses import replace

import pytest

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import Spec
from detection_operator.core.actions import StartAttempt
from detection_operator.core.plan import plan
from detection_operator.core.state import Pod, PodPhase
from detection_trainer.contract.report import Outcome, Report
from tests.support.operator.observations import (
    NOW,
    SETTINGS,
    ago,
    attempt,
    ended_pod,
    job,
    observed,
    outcome,
    pending_pod,
    pod,
    report,
    spec,
    termination_message,
    training_attempt,
    under_way,
    unread,
    waiting,
)

PAIR = spec(workers=2)
ALLOWED = replace(SETTINGS, several_workers=True)


def worker(index: int, made: Pod) -> Pod:
    """Return `made` as one worker's pod."""
    return replace(made, index=index, name=f"{made.name}-{index}", uid=f"uid-{index}")


def lost(index: int) -> Pod:
    return worker(index, ended_pod(76, termination_message(76, "PeerLost")))


def test_one_that_waits_delays_all_and_is_named() -> None:
    nowhere = worker(1, pending_pod(unschedulable=waiting("Unschedulable", "no room")))
    made = job(worker(0, pod()), nowhere, workers=2)
    status = under_way(attempt(), latest_checkpoint=None, step=0)
    found = plan(observed(PAIR, status, made), ALLOWED, NOW).status
    assert found.phase == Phase.QUEUED
    ready = next(c for c in found.conditions if c.type == "Ready")
    held_up = "Worker 1 of 2 delays the others: No node fits the pod: no room. "
    assert ready.message.startswith(held_up)
    assert found.current_attempt is not None
    assert found.current_attempt.started_at is None


def test_the_attempt_starts_with_its_last_worker() -> None:
    early, late = worker(0, pod(running_since=ago(90))), worker(1, pod(running_since=ago(30)))
    status = under_way(attempt(), latest_checkpoint=None, step=0)
    found = plan(observed(PAIR, status, job(early, late, workers=2)), ALLOWED, NOW).status
    assert found.current_attempt is not None
    assert found.current_attempt.started_at == ago(30)


def test_it_has_not_ended_while_one_still_ends() -> None:
    made = job(worker(0, pod()), worker(1, ended_pod(137)), workers=2)
    found = plan(observed(PAIR, under_way(), made), ALLOWED, NOW).status
    assert found.interruption_count == 0


def test_it_has_not_ended_while_one_may_still_come() -> None:
    made = job(worker(1, ended_pod(76)), workers=2)
    assert plan(observed(PAIR, under_way(), made), ALLOWED, NOW).status.interruption_count == 0
    failed = job(worker(1, ended_pod(76)), workers=2, failed=True)
    assert plan(observed(PAIR, under_way(), failed), ALLOWED, NOW).status.interruption_count == 1


ENDS: dict[str, tuple[tuple[Pod, Pod], Reason]] = {
    "a worker killed": ((lost(0), worker(1, ended_pod(137))), Reason.KILLED),
    "a worker out of memory": (
        (lost(0), worker(1, ended_pod(137, reason="OOMKilled"))),
        Reason.OUT_OF_MEMORY,
    ),
    "the chief killed": ((worker(0, ended_pod(137)), lost(1)), Reason.KILLED),
    "a worker drained, and all saved": (
        (
            worker(0, ended_pod(40, termination_message(40, "Saved"), deleting_since=ago(5))),
            worker(
                1,
                ended_pod(
                    40,
                    termination_message(40, "Saved"),
                    disruption=waiting("EvictionByEvictionAPI"),
                ),
            ),
        ),
        Reason.EVICTED,
    ),
    "a worker deleted, and all saved": (
        (
            worker(0, ended_pod(40, termination_message(40, "Saved"))),
            worker(1, ended_pod(137, termination_message(40, "Saved"), deleting_since=ago(5))),
        ),
        Reason.POD_DELETED,
    ),
    "none arrived": ((lost(0), lost(1)), Reason.PEER_LOST),
    "a pod deleted with its siblings": (
        (lost(0), worker(1, ended_pod(143, deleting_since=ago(5)))),
        Reason.POD_DELETED,
    ),
}


@pytest.mark.parametrize(("pods", "reason"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("reported", [False, True], ids=["", "the chief's final report arrived"])
def test_blame_is_the_first_failed_workers(
    pods: tuple[Pod, Pod], reason: Reason, *, reported: bool
) -> None:
    chief = pods[0].termination
    assert chief is not None
    final = (
        outcome(76, "PeerLost", finished_at=None) if chief.exit_code == 76 and reported else None
    )
    made = job(*pods, workers=2, failed=True)
    status = under_way(training_attempt(outcome=final))
    found = plan(observed(PAIR, status, made), ALLOWED, NOW).status
    (interruption,) = found.interruptions
    assert interruption.reason == reason
    assert found.phase != Phase.FAILED


def test_an_error_that_would_recur_ends_the_attempt_whichever_worker_met_it() -> None:
    pods = lost(0), worker(1, ended_pod(52, termination_message(52, "DataInvalid")))
    made = job(*pods, workers=2, failed=True)
    found = plan(observed(PAIR, under_way(), made), ALLOWED, NOW).status
    assert found.phase == Phase.FAILED
    assert found.current_attempt is not None
    assert found.current_attempt.outcome is not None
    assert found.current_attempt.outcome.reason == Reason.DATA_INVALID


def test_only_the_chief_leaves_a_report() -> None:
    def leaving(step: int, index: int) -> Pod:
        done = Outcome(exit_code=0, reason="Completed", message="done")
        left: Report = report(step, outcome=done)
        return worker(index, ended_pod(0, left.model_dump_json(by_alias=True), reason="Completed"))

    made = job(leaving(7, 1), leaving(100, 0), workers=2, complete=True)
    found = plan(observed(PAIR, under_way(), made), ALLOWED, NOW).status
    assert (found.phase, found.step) == (Phase.COMPLETE, 100)


def test_an_image_that_one_worker_cannot_pull_ends_the_attempt() -> None:
    problem = waiting("InvalidImageName", since=ago(900))
    stuck = worker(1, pending_pod(phase=PodPhase.PENDING, waiting=problem))
    made = job(worker(0, pod()), stuck, workers=2)
    status = under_way(attempt(), latest_checkpoint=None, step=0)
    found = plan(observed(PAIR, status, made), ALLOWED, NOW).status
    assert found.phase == Phase.FAILED


@pytest.mark.parametrize(
    "asked",
    [PAIR, unread(workers=2)],
    ids=["a whole spec", "a pipeline.config that was not read yet"],
)
def test_several_workers_are_refused_before_any_pod_until_they_are_allowed(asked: Spec) -> None:
    found = plan(observed(asked), SETTINGS, NOW)
    assert found.actions == ()
    assert found.status.phase == Phase.REFUSED
    (stalled,) = [c for c in found.status.conditions if c.type == "Stalled"]
    assert stalled.reason == Reason.SEVERAL_WORKERS_DISABLED
    for part in ("workers 2", "allows 1", "credentials", "workers: 1", "trainer.severalWorkers"):
        assert part in stalled.message
    allowed = plan(observed(asked, found.status), ALLOWED, NOW)
    assert allowed.status.phase != Phase.REFUSED
    assert allowed.actions != ()


def test_one_worker_is_never_asked_about() -> None:
    assert plan(observed(), SETTINGS, NOW).status.phase != Phase.REFUSED


def test_a_running_attempt_is_not_stopped_when_several_workers_are_disabled() -> None:
    made = job(worker(0, pod()), worker(1, pod()), workers=2)
    found = plan(observed(PAIR, under_way(training_attempt()), made), SETTINGS, NOW)
    assert found.actions == ()
    assert found.status.phase == Phase.RUNNING


def test_the_attempt_after_it_is_refused() -> None:
    made = job(lost(0), worker(1, ended_pod(137)), workers=2, failed=True)
    found = plan(observed(PAIR, under_way(attempt()), made), SETTINGS, NOW)
    assert not any(isinstance(action, StartAttempt) for action in found.actions)
    assert found.status.phase == Phase.REFUSED
    assert found.status.latest_checkpoint is not None, "what is saved is kept"


def test_a_job_that_was_not_created_yet_is_not_created() -> None:
    status = under_way(attempt(started_at=None, resumed_from_step=None), latest_checkpoint=None)
    found = plan(observed(PAIR, status), SETTINGS, NOW)
    assert found.actions == ()
    assert found.status.phase == Phase.REFUSED
    (start,) = plan(observed(PAIR, found.status), ALLOWED, NOW).actions
    assert isinstance(start, StartAttempt)
    assert start.number == 1
