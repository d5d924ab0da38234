"""The state of a training in each situation, the actions, and that repeating them is safe."""

from dataclasses import replace
from typing import Any

import pytest

from detection_operator.api.conditions import (
    CONDITION_HELP,
    PHASE_HELP,
    REASON_HELP,
    ConditionType,
    Phase,
    Reason,
)
from detection_operator.api.v1alpha1 import Condition, OutcomeStatus, Status
from detection_operator.core.actions import (
    DeleteJob,
    EnsureClaim,
    ForceDeletePod,
    Plan,
    RestoreFrom,
    StartAttempt,
    StartPreflight,
)
from detection_operator.core.plan import plan
from detection_operator.core.state import Observed, PodPhase
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import ExitCode
from tests.support.operator.causes import CAUSES
from tests.support.operator.observations import (
    CHECK,
    JOB,
    NOW,
    SETTINGS,
    ago,
    attempt,
    check_job,
    checkpoint,
    ended_pod,
    job,
    observed,
    outcome,
    pending_pod,
    pod,
    preflight,
    spec,
    termination_message,
    training,
    training_attempt,
    under_way,
    waiting,
)
from tests.support.operator.situations import SITUATIONS
from tests.support.operator.situations_before import restoring, source


def ready(status: Status) -> Condition:
    return next(condition for condition in status.conditions if condition.type == "Ready")


@pytest.mark.parametrize("sentence", SITUATIONS)
def test_standing(sentence: str) -> None:
    situation = SITUATIONS[sentence]
    status = plan(situation.observed, SETTINGS, NOW).status
    condition = ready(status)
    assert (status.phase, condition.reason) == (situation.phase, situation.reason)
    assert situation.message in condition.message


@pytest.mark.parametrize("sentence", [*SITUATIONS, *CAUSES])
def test_planning_again_changes_nothing_and_reports_nothing(sentence: str) -> None:
    situation = SITUATIONS.get(sentence)
    given = situation.observed if situation else CAUSES[sentence][0]
    first = plan(given, SETTINGS, NOW)
    written = Status.model_validate(dump(first.status))
    again = plan(replace(given, training=replace(given.training, status=written)), SETTINGS, NOW)
    assert again.status == first.status
    assert again.events == ()
    starts = (StartAttempt, StartPreflight, EnsureClaim)
    made = [action for action in first.actions if isinstance(action, starts)]
    assert [action for action in again.actions if isinstance(action, starts)] == made


@pytest.mark.parametrize("sentence", CAUSES)
def test_interruption_carries_its_cause(sentence: str) -> None:
    given, reason = CAUSES[sentence]
    status = plan(given, SETTINGS, NOW).status
    (entry,) = status.interruptions
    assert (entry.reason, entry.attempt, entry.last_reported_step) == (reason, 1, 50)
    assert status.interruption_count == 1
    assert entry.steps_lost is None


def test_every_phase_is_reached_and_explained() -> None:
    assert {situation.phase for situation in SITUATIONS.values()} == set(Phase)
    assert set(PHASE_HELP) == set(Phase)
    assert set(CONDITION_HELP) == set(ConditionType)


def test_every_reason_is_explained() -> None:
    assert set(REASON_HELP) == set(Reason)
    assert all(text.endswith(".") for text in REASON_HELP.values())


UNKNOWN = "model.headType: unknown field"
RUNS = under_way(phase="Running", observed_generation=1)


@pytest.mark.parametrize(
    "given",
    [
        Observed(training(None, RUNS, invalid=UNKNOWN), (job(pod()),)),
        Observed(training(None, RUNS, invalid=UNKNOWN), (job(),)),
        Observed(training(None, RUNS.model_copy(update={"phase": "Complete"}), invalid=UNKNOWN)),
        Observed(training(None, RUNS.model_copy(update={"phase": "Failed"}), invalid=UNKNOWN)),
        Observed(training(None, RUNS.model_copy(update={"phase": "Suspended"}), invalid=UNKNOWN)),
    ],
    ids=["it runs", "it has no pod yet", "complete", "failed", "suspended"],
)
def test_a_spec_that_a_newer_version_accepted_is_not_judged(given: Observed) -> None:
    assert plan(given, SETTINGS, NOW) == Plan(given.training.status)


@pytest.mark.parametrize(
    "given",
    [
        Observed(training(None, RUNS, 2, invalid=UNKNOWN), (job(pod()),)),
        Observed(training(None, RUNS, invalid=UNKNOWN), (job(ended_pod(1)),)),
        Observed(training(None, RUNS, invalid=UNKNOWN)),
        Observed(training(None, Status(phase="Pending", observed_generation=1), invalid=UNKNOWN)),
    ],
    ids=["an edited one", "one whose Job has ended", "one without its Job", "one that waits"],
)
def test_any_other_invalid_spec_is_refused(given: Observed) -> None:
    decided = plan(given, SETTINGS, NOW)
    assert decided.status.phase == Phase.REFUSED
    assert UNKNOWN in ready(decided.status).message
    assert decided.actions == ()


def actions(given: Observed) -> tuple[object, ...]:
    return plan(given, SETTINGS, NOW).actions


def test_first_attempt_is_on_record_before_its_job() -> None:
    first = plan(observed(), SETTINGS, NOW)
    attempt = first.status.current_attempt
    assert attempt is not None
    assert first.actions == (StartAttempt(1, JOB, "registry.example/trainer:1"),)
    assert (attempt.number, attempt.job_name, attempt.target_steps) == (1, JOB, 100)
    assert (first.status.attempt_count, first.status.start_time) == (1, NOW)


def test_the_uid_of_an_attempts_job_is_recorded_once_and_proves_its_pods_later() -> None:
    status = under_way()
    seen = plan(observed(spec(), status, job(pod())), SETTINGS, NOW).status
    assert seen.current_attempt is not None
    assert seen.current_attempt.job_uid == "job-uid"
    other = plan(observed(spec(), seen, job(pod(), uid="uid-2")), SETTINGS, NOW).status
    assert other.current_attempt is not None
    assert other.current_attempt.job_uid == "job-uid"


def test_claim_is_ensured_before_the_attempt() -> None:
    claimed = spec(checkpoints={"storage": {"volumeClaim": {"size": "20Gi"}}})
    ensure, start = actions(observed(claimed))
    assert ensure == EnsureClaim("trees-checkpoints")
    assert isinstance(start, StartAttempt)


def test_existing_claim_is_not_made() -> None:
    claimed = spec(checkpoints={"storage": {"volumeClaim": {"claimName": "disk"}}})
    assert [type(action) for action in actions(observed(claimed))] == [StartAttempt]


@pytest.mark.parametrize(
    ("asked", "pinned", "used"),
    [
        (None, None, "registry.example/trainer:1"),
        (None, "trainer:0", "trainer:0"),
        ("mine:3", "trainer:0", "mine:3"),
    ],
    ids=["the operator's", "the one pinned at the first attempt", "the requested one"],
)
def test_image(asked: str | None, pinned: str | None, used: str) -> None:
    decided = plan(observed(spec(image=asked), Status(image=pinned)), SETTINGS, NOW)
    (start,) = decided.actions
    assert isinstance(start, StartAttempt)
    assert (start.image, decided.status.image) == (used, used)


def test_suspended_training_has_its_job_deleted_once() -> None:
    suspended = spec(suspend=True)
    (deletion,) = actions(observed(suspended, under_way(), job(pod())))
    assert isinstance(deletion, DeleteJob)
    assert (deletion.name, deletion.uid) == (JOB, "job-uid")
    assert actions(observed(suspended, under_way(), job(pod(), deleting=True))) == ()


def test_a_suspended_check_is_stopped_and_created_again_later() -> None:
    checked = Status(preflight=preflight())
    running = check_job(pod(CHECK))
    stopped = plan(
        observed(spec(preflight="Always", suspend=True), checked, running), SETTINGS, NOW
    )
    assert [action.name for action in stopped.actions if isinstance(action, DeleteJob)] == [CHECK]
    resumed = plan(observed(spec(preflight="Always"), stopped.status), SETTINGS, NOW)
    assert [type(action) for action in resumed.actions] == [StartPreflight]


def test_lost_node_has_pod_and_job_removed_before_the_next_attempt() -> None:
    given = observed(spec(), under_way(), job(pod(deleting_since=ago(301))))
    forced, deletion, start = actions(given)
    assert forced == ForceDeletePod(f"{JOB}-abcde", "pod-uid")
    assert isinstance(deletion, DeleteJob)
    assert isinstance(start, StartAttempt)
    assert start.number == 2


def test_a_job_that_its_queue_withdrew_is_deleted_so_that_it_does_not_run_again() -> None:
    given = observed(spec(), under_way(), job(ended_pod(40), suspended=True))
    deletion, start = actions(given)
    assert isinstance(deletion, DeleteJob)
    assert deletion.name == JOB
    assert isinstance(start, StartAttempt)
    assert start.number == 2


def test_a_job_that_does_not_end_though_its_pods_have_is_deleted_after_a_while() -> None:
    sidecar_goes_on = job(ended_pod(40), failed=False)
    ended = training_attempt(outcome=outcome(40, "Saved", finished_at=ago(20)))
    waits = plan(observed(spec(), under_way(ended), sidecar_goes_on), SETTINGS, NOW)
    assert (waits.actions, waits.recheck_after_s) == ((), 5.0)
    ended = training_attempt(outcome=outcome(40, "Saved", finished_at=ago(60)))
    decided = plan(observed(spec(), under_way(ended), sidecar_goes_on), SETTINGS, NOW)
    (deletion,) = decided.actions
    assert isinstance(deletion, DeleteJob)
    assert (deletion.name, decided.recheck_after_s) == (JOB, 5.0)
    assert deletion.reason == Reason.SIDECAR_RUNNING
    gone = replace(sidecar_goes_on, deleting=True)
    (start,) = plan(observed(spec(), under_way(ended), gone), SETTINGS, NOW).actions
    assert isinstance(start, StartAttempt)


BESIDE_A_SIDECAR = {"phase": PodPhase.RUNNING}


@pytest.mark.parametrize(
    ("code", "reason", "step"),
    [(0, "Completed", 100), (52, "DataInvalid", 40)],
    ids=["a completion", "a permanent failure"],
)
def test_a_sidecar_keeps_no_resources_for_long_if_no_attempt_follows(
    code: int, reason: str, step: int
) -> None:
    def decided(ended_s: float) -> Plan:
        end = outcome(code, reason, finished_at=ago(ended_s))
        done = training_attempt(outcome=end, last_step=step)
        lives_on = job(ended_pod(code, **BESIDE_A_SIDECAR), complete=False, failed=False)
        return plan(observed(spec(), under_way(done, step=step), lives_on), SETTINGS, NOW)

    waits = decided(20)
    assert (waits.actions, waits.recheck_after_s) == ((), 40.0)
    [deletion] = decided(60).actions
    assert isinstance(deletion, DeleteJob)
    assert deletion.reason == Reason.SIDECAR_RUNNING
    assert "native sidecar" in deletion.why


def test_a_sidecar_of_a_check_keeps_no_resources_for_long() -> None:
    refused = preflight(outcome(52, "DataInvalid", finished_at=ago(61)))
    check = check_job(ended_pod(52, name=CHECK, **BESIDE_A_SIDECAR), failed=False)
    given = observed(spec(preflight="Always"), Status(preflight=refused), check)
    [deletion] = actions(given)
    assert isinstance(deletion, DeleteJob)
    assert deletion.name == CHECK


def test_a_check_is_given_up_after_its_running_time() -> None:
    def outcome_after(**pod_fields: Any) -> OutcomeStatus | None:
        status = Status(preflight=preflight())
        given = observed(spec(preflight="Always"), status, check_job(pod(CHECK, **pod_fields)))
        checked = plan(given, SETTINGS, NOW).status.preflight
        return checked.outcome if checked is not None else None

    deadline_s = SETTINGS.preflight_deadline_s
    late = outcome_after(running_since=ago(deadline_s))
    assert late is not None
    assert late.reason == Reason.DEADLINE_EXCEEDED
    assert outcome_after(running_since=ago(deadline_s - 1)) is None
    waits = waiting("Unschedulable", "Insufficient cpu")
    phase = {"phase": PodPhase.PENDING, "running_since": None, "unschedulable": waits}
    assert outcome_after(**phase) is None, "waiting is not running"


def test_what_only_waited_uses_no_retry() -> None:
    evicted: dict[str, Any] = {"phase": PodPhase.FAILED, "running_since": None}
    waited = waiting("Unschedulable", "Insufficient cpu")
    never_ran = job(pod(unschedulable=waited, **evicted), failed=True)
    status = plan(
        observed(spec(), under_way(attempt(start_step=40)), never_ran), SETTINGS, NOW
    ).status
    assert status.retries.count == 0
    assert status.retries.not_before is not None
    check = check_job(pod(CHECK, unschedulable=waited, **evicted), failed=True)
    given = observed(spec(preflight="Always"), Status(preflight=preflight()), check)
    status = plan(given, SETTINGS, NOW).status
    assert status.retries.count == 0


def test_an_edit_before_the_start_replaces_pods_and_is_no_interruption() -> None:
    gone = pod(
        phase=PodPhase.FAILED, running_since=None, gone=True, node="", deleting_since=ago(400)
    )
    status = under_way(attempt(spec_digest="sha256:" + "0" * 64))
    given = replace(observed(spec(), status, generation=2), orphans=(gone,))
    decided = plan(given, SETTINGS, NOW)
    assert decided.status.interruption_count == 0
    [start] = decided.actions
    assert isinstance(start, StartAttempt)
    assert start.number == 1


def test_a_pod_without_a_node_is_on_no_lost_node() -> None:
    stuck = pending_pod(node="", deleting_since=ago(4000))
    decided = plan(observed(spec(), under_way(attempt()), job(stuck)), SETTINGS, NOW)
    assert decided.status.interruption_count == 0
    assert not [action for action in decided.actions if isinstance(action, ForceDeletePod)]


def test_refused_credentials_are_retried_once_a_checkpoint_exists() -> None:
    refused = job(
        ended_pod(
            ExitCode.ACCESS_DENIED, termination_message(ExitCode.ACCESS_DENIED, "AccessDenied")
        )
    )
    later = plan(observed(spec(), under_way(), refused), SETTINGS, NOW).status
    assert later.phase != Phase.FAILED
    never = under_way(latest_checkpoint=None, checkpoints=[])
    assert plan(observed(spec(), never, refused), SETTINGS, NOW).status.phase == Phase.FAILED


def test_a_pod_that_survives_its_forced_end_is_checked_only_after_a_pause() -> None:
    given = observed(spec(), under_way(), job(pod(deleting_since=ago(400))))
    assert plan(given, SETTINGS, NOW).recheck_after_s == 5.0


def test_a_deleted_pod_is_checked_again_when_its_node_may_be_lost() -> None:
    given = observed(spec(), under_way(), job(pod(deleting_since=ago(100))))
    assert plan(given, SETTINGS, NOW).recheck_after_s == 200.0


def test_trainer_that_hangs_after_its_last_report_is_stopped() -> None:
    given = SITUATIONS["a trainer that is silent after its final report is stopped"].observed
    (deletion,) = actions(given)
    assert isinstance(deletion, DeleteJob)
    waiting = SITUATIONS["a trainer that sent its last report is ending"].observed
    decided = plan(waiting, SETTINGS, NOW)
    assert (decided.actions, decided.recheck_after_s) == ((), 60.0)


def test_the_job_of_a_failed_check_is_deleted_before_the_next_check() -> None:
    status = Status(preflight=preflight(outcome(71, "StorageUnavailable")))
    given = observed(spec(preflight="Always"), status, check_job(ended_pod(71, name=CHECK)))
    (deletion,) = actions(given)
    assert isinstance(deletion, DeleteJob)
    assert deletion.name == CHECK


def test_check_of_an_older_spec_is_removed_while_it_runs() -> None:
    status = Status(preflight=preflight())
    given = observed(spec(preflight="Always"), status, check_job(pod(CHECK)), generation=2)
    deletion, start = actions(given)
    assert isinstance(deletion, DeleteJob)
    assert start == StartPreflight("trees-5f2c8a1b-check-2", "registry.example/trainer:1")


def test_a_training_whose_deletion_is_blocked_saves_and_starts_nothing() -> None:
    going = training(spec(), under_way(), deleting=True)
    decided = plan(Observed(going, jobs=(job(pod()),)), SETTINGS, NOW)
    [deletion] = decided.actions
    assert isinstance(deletion, DeleteJob)
    assert decided.status.phase == Phase.SUSPENDING
    saved = job(ended_pod(40, termination_message(40, "Saved"), deleting_since=NOW), deleting=True)
    ended = plan(Observed(going, jobs=(saved,)), SETTINGS, NOW)
    assert ended.actions == ()
    assert ended.status.phase == Phase.SUSPENDED
    assert ended.status.current_attempt is not None
    assert ended.status.current_attempt.outcome is not None


@pytest.mark.parametrize("status", [Status(), under_way()], ids=["new", "under way"])
def test_nothing_is_made_for_a_training_that_is_being_deleted(status: Status) -> None:
    decided = plan(Observed(training(spec(), status, deleting=True)), SETTINGS, NOW)
    assert decided.actions == ()
    unreadable = Observed(training(None, status, deleting=True, invalid="steps: above 0"))
    assert plan(unreadable, SETTINGS, NOW).status == status


@pytest.mark.parametrize(
    ("select", "step", "uri"),
    [
        ({"select": "Latest"}, 500, "s3://runs/coco/step-500"),
        ({"select": "Best"}, 300, "s3://runs/coco/step-300"),
        ({"step": 400}, 400, "s3://runs/coco/step-400"),
    ],
    ids=["the latest", "the best", "one by its step"],
)
def test_source_checkpoint(select: dict[str, object], step: int, uri: str) -> None:
    best = checkpoint(300, "s3://runs/coco/step-300")
    given = Observed(
        training(restoring(ref=select)),
        source=source(Phase.COMPLETE, 500, 400, best_checkpoint=best),
    )
    (start,) = actions(given)
    assert isinstance(start, StartAttempt)
    assert start.source == RestoreFrom(uri, step)


def test_best_of_a_source_that_was_never_evaluated_is_its_latest() -> None:
    given = Observed(training(restoring(ref={"select": "Best"})), source=source(Phase.COMPLETE, 7))
    (start,) = actions(given)
    assert isinstance(start, StartAttempt)
    assert start.source == RestoreFrom("s3://runs/coco/step-7", 7)


def test_a_source_on_a_claim_is_read_from_its_mount_path() -> None:
    made = spec(checkpoints={"storage": {"volumeClaim": {"size": "1Gi"}}})
    saved = checkpoint(500, "file:///checkpoints/step-00000500")
    given = source(Phase.COMPLETE, 500, made=made)
    assert given.status is not None
    status = given.status.model_copy(update={"latest_checkpoint": saved})
    (start,) = actions(Observed(training(restoring()), source=replace(given, status=status)))
    assert isinstance(start, StartAttempt)
    uri = "file:///sources/coco/step-00000500"
    assert start.source == RestoreFrom(uri, 500, "coco-checkpoints")


def test_a_source_that_did_not_exist_is_looked_up_again() -> None:
    given = Observed(training(restoring(), created_at=ago(10)))
    assert plan(given, SETTINGS, NOW).recheck_after_s == 20.0


def test_classes_are_known_before_the_first_report() -> None:
    assert plan(observed(), SETTINGS, NOW).status.classes == ["tree"]


@pytest.mark.parametrize(
    ("changes", "pending"),
    [
        ({}, []),
        ({"steps": 200}, ["steps"]),
        ({"resources": {"limits": {"memory": "8Gi"}}}, ["spec"]),
        ({"steps": 200, "image": "mine:2"}, ["steps", "spec"]),
        ({"ttlSecondsAfterFinished": 5}, []),
    ],
    ids=["none", "steps", "what pods are made from", "both", "what applies at once"],
)
def test_pending_changes(changes: dict[str, object], pending: list[str]) -> None:
    made = plan(observed(), SETTINGS, NOW).status
    edited = observed(spec(**changes), made, job(pod()), generation=2)
    status = plan(edited, SETTINGS, NOW).status
    assert status.pending_changes == pending
    assert status.target_steps == 100


def test_nothing_is_pending_between_attempts() -> None:
    ended = under_way(training_attempt(outcome=outcome(0, "Completed")))
    assert plan(observed(spec(), ended), SETTINGS, NOW).status.pending_changes == []
