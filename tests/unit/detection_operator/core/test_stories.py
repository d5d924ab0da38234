"""Trainings over time: interrupted, resumed, extended, suspended, backed off, given up."""

from dataclasses import replace

import pytest

from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import DeleteJob, ForceDeletePod, StartAttempt, StartPreflight
from detection_operator.core.policies.retry import delay_s
from detection_operator.core.state import Job
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import DatasetPin, Outcome
from tests.support.operator.observations import (
    DIGEST,
    Story,
    ago,
    check_job,
    ended_pod,
    job,
    pending_pod,
    pod,
    record,
    report,
    spec,
    termination_message,
    waiting,
)


def ending(code: ExitCode, message: str = "as reported") -> Outcome:
    return Outcome(exit_code=code, reason=code.reason, message=message)


def begun() -> Story:
    story = Story(spec(), Status())
    story.start()
    story.plan()
    return story


def completed() -> Story:
    story = begun()
    story.report(100, 0, 100, end=ending(ExitCode.COMPLETED))
    story.end(0)
    story.plan()
    return story


def reasons(story: Story) -> list[str]:
    return [str(event.reason) for event in story.plan().events]


def test_applied_runs_and_completes() -> None:
    story = Story(spec(), Status())
    assert reasons(story) == []
    story.start()
    story.plan()
    assert story.status.phase == "Starting"
    story.report(10, 0)
    story.plan()
    assert story.status.phase == "Running"
    story.wait(60)
    story.report(100, 0, 100, end=ending(ExitCode.COMPLETED))
    story.end(0)
    assert reasons(story) == ["TargetReached"]
    status = story.status
    assert (status.phase, status.step, status.attempt_count) == ("Complete", 100, 1)
    assert (status.completion_time, status.active_seconds) == (story.now, 60)
    assert (status.interruption_count, status.steps_lost) == (0, 0)


def test_a_killed_training_resumes_and_reports_what_was_lost() -> None:
    story = begun()
    story.report(57, 0, 40)
    story.end(137)
    assert reasons(story) == ["AttemptCreated", "Killed"]
    assert story.status.attempt_count == 2
    action = story.start()
    assert action.number == 2
    story.report(40, 0, 40, resumed=40)
    status = story.status
    assert [(e.reason, e.last_reported_step, e.steps_lost) for e in status.interruptions] == [
        ("Killed", 57, 17)
    ]
    assert (status.steps_lost, status.step, status.interruption_count) == (17, 40, 1)
    assert story.plan().status.current_attempt is not None
    assert status.current_attempt is not None
    assert status.current_attempt.start_step == 40


def test_what_an_operator_missed_is_read_from_the_pod() -> None:
    story = begun()
    story.report(57, 0, 40)
    left = report(
        100,
        sequence=50,
        checkpoints=[record(100, mAP=0.31)],
        metrics={"mAP": 0.31},
        outcome=ending(ExitCode.COMPLETED),
    )
    story.end(0, message=left.model_dump_json(by_alias=True, exclude_defaults=True))
    story.plan()
    status = story.status
    assert (status.phase, status.step, status.metrics) == ("Complete", 100, {"mAP": "0.31"})
    assert status.latest_checkpoint is not None
    assert status.latest_checkpoint.step == 100


def test_a_waiting_pod_is_replaced_once_the_spec_is_corrected() -> None:
    story = Story(spec(), Status())
    story.plan()
    held = pending_pod(waiting=waiting("ImagePullBackOff", since=story.now))
    story.jobs = (job(held, created_at=story.now),)
    story.plan()
    story.edit(image="trainer:mended")
    decided = story.plan()
    assert [type(action) for action in decided.actions] == [DeleteJob]
    assert ("creates the pod again") in next(
        c for c in story.status.conditions if c.type == "Ready"
    ).message
    story.jobs = ()
    action = story.start()
    assert (action.number, action.image) == (1, "trainer:mended")
    assert story.status.interruption_count == 0
    assert story.status.pending_changes == []


def test_a_dataset_that_changed_after_its_check_is_checked_again_on_request() -> None:
    story = Story(spec(preflight="Always"), Status())
    (check,) = story.plan().actions
    assert isinstance(check, StartPreflight)
    pin = DatasetPin(digest=DIGEST, files=2, size_bytes=4096)
    passed = ending(ExitCode.COMPLETED).model_copy(update={"dataset": pin})
    story.jobs = (check_job(ended_pod(0, passed.model_dump_json(by_alias=True))),)
    story.start()
    assert story.status.preflight is not None
    assert story.status.preflight.outcome is not None
    assert story.status.preflight.outcome.dataset == pin
    story.end(58, termination_message(58, "DatasetChanged", "dataset.train has changed since"))
    assert story.plan().actions == ()
    stalled = next(c for c in story.status.conditions if c.type == "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "DatasetChanged")
    story.edit()
    (again,) = story.plan().actions
    assert isinstance(again, StartPreflight)
    assert again.job_name != check.job_name


def test_a_pod_that_starts_while_it_is_replaced_is_no_interruption() -> None:
    story = Story(spec(), Status())
    story.plan()
    story.jobs = (job(pending_pod(), created_at=story.now),)
    story.edit(image="trainer:mended")
    assert [type(action) for action in story.plan().actions] == [DeleteJob]
    story.jobs = (job(pod(running_since=story.now), created_at=story.now, deleting=True),)
    story.plan()
    story.jobs = ()
    action = story.start()
    assert (action.number, action.image) == (2, "trainer:mended")
    assert (story.status.interruption_count, story.status.retries.count) == (0, 0)


def test_saved_on_a_drain_loses_nothing() -> None:
    story = begun()
    story.report(57, 0, 57, end=ending(ExitCode.SAVED))
    story.end(40, pod_reason="Evicted")
    story.start()
    story.report(57, 0, 57, resumed=57)
    (entry,) = story.status.interruptions
    assert (entry.reason, entry.steps_lost) == ("Evicted", 0)


def test_raised_steps_continue_a_complete_training() -> None:
    story = completed()
    story.edit(steps=200)
    action = story.start()
    assert (action.number, story.status.completion_time) == (2, None)
    conditions = {c.type: c.status for c in story.status.conditions}
    assert (conditions["Complete"], conditions["Ready"]) == ("False", "True")
    assert story.status.interruption_count == 0
    story.report(200, 0, 100, 200, resumed=100, end=ending(ExitCode.COMPLETED))
    story.end(0)
    story.plan()
    assert (story.status.phase, story.status.step) == ("Complete", 200)
    assert story.status.interruption_count == 0


def test_raised_while_it_runs_continues_after_the_first_target() -> None:
    story = begun()
    story.edit(steps=200)
    story.plan()
    assert (story.status.pending_changes, story.status.target_steps) == (["steps"], 100)
    story.report(100, 0, 100, end=ending(ExitCode.COMPLETED))
    story.end(0)
    story.start()
    assert story.status.current_attempt is not None
    assert story.status.current_attempt.target_steps == 200
    assert (story.status.pending_changes, story.status.interruption_count) == ([], 0)


def test_lowered_steps_stop_the_run_where_it_is_and_can_be_raised_again() -> None:
    story = begun()
    story.report(57, 0, 40)
    story.edit(steps=50)
    (deletion,) = story.plan().actions
    assert isinstance(deletion, DeleteJob)
    story.report(58, 0, 40, 58, end=ending(ExitCode.SAVED))
    story.jobs = ()
    assert reasons(story) == ["TargetReached"]
    assert (story.status.phase, story.status.interruption_count) == ("Complete", 0)
    story.edit(steps=100)
    assert story.start().number == 2


def test_a_suspended_training_saves_and_resumes_later() -> None:
    story = begun()
    story.report(57, 0, 40)
    story.edit(suspend=True)
    (deletion,) = story.plan().actions
    assert isinstance(deletion, DeleteJob)
    assert story.status.phase == "Suspending"
    story.orphans, story.jobs = (replace(story.jobs[0].pods[0], deleting_since=story.now),), ()
    story.plan()
    assert story.status.phase == "Suspending"
    story.report(58, 0, 40, 58, end=ending(ExitCode.SAVED))
    story.orphans = ()
    assert reasons(story) == ["SuspendedByUser"]
    assert story.status.phase == "Suspended"
    assert story.status.interruptions == []
    story.edit(suspend=False)
    assert story.start().number == 2
    assert story.status.phase == "Queued"


def test_crash_loop_backs_off_twice_as_long_each_time_and_ends() -> None:
    story = begun()
    story.edit(retry_policy=story.spec.retry_policy.model_copy(update={"max_retries": 2}))
    story.plan()
    waits = []
    for _ in range(2):
        story.end(1)
        decided = story.plan()
        assert story.status.phase in {"Retrying", "Queued"}
        if decided.recheck_after_s:
            waits.append(decided.recheck_after_s)
            story.wait(decided.recheck_after_s)
        story.start()
    # The first end was of an older spec, and is forgiven.
    assert waits == [10.0]
    for wait in (20.0, None):
        story.end(1)
        decided = story.plan()
        if wait:
            assert decided.recheck_after_s == wait
            story.wait(wait)
            story.start()
    assert story.status.phase == "Failed"
    assert story.status.interruption_count == 4
    assert story.plan().actions == ()


def test_new_checkpoint_forgives_failures_before_it() -> None:
    story = begun()
    story.end(1)
    story.plan()
    assert story.status.retries.count == 1
    story.wait(10)
    story.start()
    story.report(5, 5)
    story.end(1)
    story.plan()
    assert story.status.retries.count == 0
    assert story.status.attempt_count == 3


def test_job_deleted_while_it_waited_is_made_under_the_same_name() -> None:
    story = begun()
    waiting = replace(story.jobs[0].pods[0], running_since=None)
    story.status = Story(spec(), Status()).plan().status
    story.jobs = (replace(story.jobs[0], pods=(waiting,)),)
    story.plan()
    story.jobs = ()
    (start,) = story.plan().actions
    assert isinstance(start, StartAttempt)
    assert start.number == 1


def test_lost_node_is_forced_and_followed() -> None:
    story = begun()
    story.report(57, 0, 40)
    stuck = replace(story.jobs[0].pods[0], deleting_since=story.now)
    story.jobs = (replace(story.jobs[0], pods=(stuck,)),)
    story.wait(300)
    actions = story.plan().actions
    assert [type(action) for action in actions] == [ForceDeletePod, DeleteJob, StartAttempt]
    again = story.plan().actions
    assert [type(action) for action in again] == [ForceDeletePod, DeleteJob, StartAttempt]
    assert story.status.interruption_count == 1


def test_deadline_counts_active_time_of_all_attempts() -> None:
    story = begun()
    story.edit(active_deadline_seconds=100)
    story.report(5, 0)
    story.wait(70)
    assert story.plan().recheck_after_s == 30.0
    story.report(50, 0, 50, end=ending(ExitCode.SAVED))
    story.end(40)
    story.plan()
    story.wait(1000)
    story.start()
    story.plan()
    assert (story.status.phase, story.status.active_seconds) == ("Starting", 70)
    story.wait(30)
    (deletion,) = story.plan().actions
    assert isinstance(deletion, DeleteJob)
    story.report(60, 50, 60, resumed=50, end=ending(ExitCode.SAVED))
    story.end(40)
    assert reasons(story) == ["DeadlineExceeded"]
    assert (story.status.phase, story.status.active_seconds) == ("Failed", 100)
    story.edit(active_deadline_seconds=200)
    assert story.start().number == 3


def test_time_to_live_removes_jobs_and_not_the_record() -> None:
    story = completed()
    story.edit(ttl_seconds_after_finished=3600)
    assert story.plan().recheck_after_s == 3600.0
    story.wait(3600)
    decided = story.plan()
    (deletion,) = decided.actions
    assert isinstance(deletion, DeleteJob)
    assert decided.status.phase == "Complete"
    assert len(decided.status.checkpoints) == 2
    story.jobs = ()
    assert (story.plan().actions, story.plan().recheck_after_s) == ((), None)


def test_only_the_newest_ended_jobs_are_kept() -> None:
    story = completed()
    old = tuple(
        Job(f"trees-5f2c8a1b-{n}", f"u{n}", ago(900), n, failed=True) for n in (2, 3, 4, 5, 6)
    )
    story.jobs = (*story.jobs, *old)
    deleted = [action.name for action in story.plan().actions if isinstance(action, DeleteJob)]
    assert deleted == ["trees-5f2c8a1b-2", "trees-5f2c8a1b-3"]


def test_a_job_of_a_settled_attempt_is_deleted_once_its_own_end_is_due() -> None:
    story = completed()
    story.jobs = (job(pod()),)
    planned = story.plan()
    assert (planned.actions, planned.recheck_after_s) == ((), 5.0), "the view may be an old one"
    story.wait(5)
    (deletion,) = story.plan().actions
    assert isinstance(deletion, DeleteJob)
    story.jobs = (job(ended_pod(0)),)
    assert story.plan().actions == ()


@pytest.mark.parametrize(
    ("count", "wait"), [(0, 10.0), (1, 10.0), (2, 20.0), (5, 160.0), (6, 300.0), (10**6, 300.0)]
)
def test_back_off(count: int, wait: float) -> None:
    assert delay_s(count, 10.0, 300.0) == wait


def test_interruptions_are_bounded_and_counted() -> None:
    story = begun()
    for n in range(25):
        story.report(n + 1, n, n + 1, resumed=n)
        story.end(137)
        story.start()
    assert len(story.status.interruptions) == 20
    assert story.status.interruptions[0].attempt == 25
    assert story.status.interruption_count == 25
