"""The decision: a training's next status, and what to do in the cluster.

Pure and total. First it records what is observed (an attempt's end). Then it calls the policies in
order, and the first that returns an answer decides. Conditions and Events follow from that.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import PipelineConfigStatus
from detection_operator.core.actions import Plan, makes_objects
from detection_operator.core.case import Case, HeldUp, Standing, end_is_recorded
from detection_operator.core.events import events_between
from detection_operator.core.outcomes import sentence
from detection_operator.core.phases import conditions_of
from detection_operator.core.policies import (
    attempt,
    cleanup,
    pod_waits,
    preflight,
    restore,
    retry,
)
from detection_operator.core.policies.attempt_end import record_attempt
from detection_operator.core.policies.completion import complete
from detection_operator.core.policies.deadline import fail_over_deadline
from detection_operator.core.policies.deletion import leave_deleted
from detection_operator.core.policies.first_start import refuse_first_start
from detection_operator.core.policies.folder_in_use import refuse_shared_folder
from detection_operator.core.policies.learning_rate_zero import refuse_zero_rate
from detection_operator.core.policies.permanent_failure import fail_permanently
from detection_operator.core.policies.several_workers import refuse_several_workers
from detection_operator.core.policies.stop import stop
from detection_operator.core.policies.suspend import suspend
from detection_operator.core.state import Observed, Obstacle, PolicySettings, Training

Policy = Callable[[Case], Standing | None]

GATES: tuple[Policy, ...] = (
    complete,
    leave_deleted,
    suspend,
    fail_permanently,
    fail_over_deadline,
    retry.give_up,
    refuse_first_start,
    refuse_several_workers,
    refuse_zero_rate,
    refuse_shared_folder,
)
"""Called in this order before anything is started."""
INVALID_RETRY_S = 300.0
"""An admission policy may also have refused the object, and that policy may change."""
_AT_REST = frozenset({Phase.COMPLETE, Phase.FAILED, Phase.SUSPENDED})


def plan(observed: Observed, settings: PolicySettings, now: datetime) -> Plan:
    """Return what to do about one training.

    If the status needs no change, the plan has the observed status and no Events.
    """
    training = observed.training
    if training.spec is None:
        leave = training.deleting or _was_accepted(observed)
        return Plan(training.status) if leave else _refuse_invalid(training, now)
    case = Case(observed, training.spec, training.status, settings, now)
    case = retry.forgive_edited(preflight.record_preflight(record_attempt(case)))
    return _finish(case, explain_obstacle(case, choose_standing(case)))


def choose_standing(case: Case) -> Standing:
    """Return the standing of the training, from everything that is recorded."""
    if case.attempt is not None and case.is_under_way:
        return stop(case) or attempt.describe(case, case.attempt)
    for policy in GATES:
        if (standing := policy(case)) is not None:
            return standing
    source = restore.resolve(case)
    if isinstance(source, Standing):
        return source
    return (
        preflight.check(case, source)
        or retry.back_off(case)
        or attempt.wait_for_earlier(case)
        or attempt.start(case, source)
    )


def explain_obstacle(case: Case, standing: Standing) -> Standing:
    """Return the standing of a training whose Job, Service or claim the API server refuses.

    The operator retries with back-off, so the training proceeds once the quota, the admission
    plugin or the name no longer prevents it. An object that is itself invalid is refused.
    """
    obstacle = case.observed.obstacle
    if obstacle is None or not makes_objects(standing.actions):
        return standing
    if obstacle.is_invalid:
        return _refuse_object(case, standing, obstacle)
    message = (
        f"The API server did not create an object of the training: {sentence(obstacle.message)} "
        "The operator retries."
    )
    held_up = None if pod_waits.is_quota(obstacle.message) else HeldUp(obstacle.since)
    return replace(standing, reason=obstacle.reason, message=message, held_up=held_up)


def _refuse_object(case: Case, standing: Standing, obstacle: Obstacle) -> Standing:
    if obstacle.generation != case.generation:
        return standing
    message = (
        f"The API server refuses an object of the training: {sentence(obstacle.message)} Correct "
        "the spec, or the admission policy that refuses it. The operator retries when the spec "
        f"changes, and every {INVALID_RETRY_S / 60:.0f} minutes."
    )
    left_s = max(INVALID_RETRY_S - (case.now - obstacle.tried_at).total_seconds(), 0.0)
    refused = replace(standing, phase=Phase.REFUSED, reason=obstacle.reason, message=message)
    return replace(refused, actions=(), recheck_after_s=left_s) if left_s > 0 else refused


def _finish(case: Case, standing: Standing) -> Plan:
    changes = dict(standing.changes)
    if standing.phase is not Phase.COMPLETE:
        changes["completion_time"] = None
    case = case.amended(**changes)
    classes = case.spec.dataset.classes
    case = case.amended(
        observed_generation=case.generation,
        phase=standing.phase.value,
        classes=case.status.classes if classes is None else list(classes),
        target_steps=_target_steps(case),
        pipeline_config=_pipeline_config(case),
        pending_changes=attempt.pending_changes(case),
        conditions=conditions_of(standing, case.status, case.spec, case.generation, case.stamp),
    )
    held_up_s = standing.held_up.stalled_in_s(case.now) if standing.held_up else 0.0
    waits = [standing.recheck_after_s, cleanup.recheck_after_s(case), held_up_s or None]
    return Plan(
        status=case.status,
        actions=(*cleanup.clean_up(case), *standing.actions),
        events=events_between(case.observed.training.status, case.status),
        recheck_after_s=min((wait for wait in waits if wait is not None), default=None),
    )


def _target_steps(case: Case) -> int | None:
    """Return the last step; None while it is in a configuration that was not read yet."""
    if case.attempt is not None and case.is_under_way:
        return case.attempt.target_steps
    return None if case.is_unread else case.spec.steps


def _pipeline_config(case: Case) -> PipelineConfigStatus | None:
    """Return the configuration of the spec, or the one that a pod has just read."""
    if case.is_unread:
        return case.status.pipeline_config
    return case.observed.training.pipeline_config


def _was_accepted(observed: Observed) -> bool:
    """Return whether another version accepted this spec, and there is nothing to decide.

    This happens while operator and CRD are upgraded: every training that is read has the defaults
    of a newer CRD. A running or ended training is left to the version that can read it.
    """
    status = observed.training.status
    if status.observed_generation != observed.training.generation:
        return False
    if status.phase in _AT_REST:
        return True
    attempt = status.current_attempt
    if attempt is None or end_is_recorded(attempt):
        return False
    job = next((job for job in observed.jobs if job.name == attempt.job_name), None)
    return job is not None and not (job.complete or job.failed)


def _refuse_invalid(training: Training, now: datetime) -> Plan:
    """Return the plan that refuses an invalid stored spec; running pods are left alone."""
    message = f"The spec is invalid: {training.invalid} Correct these fields."
    standing = Standing(Phase.REFUSED, Reason.INVALID_SPEC, message)
    stamp = now.replace(microsecond=0)
    status = training.status.model_copy(
        update={
            "observed_generation": training.generation,
            "phase": standing.phase.value,
            "conditions": conditions_of(
                standing, training.status, None, training.generation, stamp
            ),
        }
    )
    return Plan(status, events=events_between(training.status, status))
