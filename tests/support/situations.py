"""Every situation that the operator decides about, as a sentence with what is to be said of it."""

from dataclasses import dataclass
from typing import Any

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import RetryStatus, ScheduleStatus, Spec, Status
from detection_operator.core.reports import apply_report
from detection_operator.core.state import Job, Observed, Pod, PodPhase, Source
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from detection_trainer.contract.schedule import Cycle
from tests.support.observations import (
    NOW,
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
    report,
    said,
    spec,
    training,
    training_attempt,
    under_way,
    waiting,
)
from tests.support.trainings import TINY_MODEL


@dataclass(frozen=True)
class Situation:
    """What is observed, and where the training then stands."""

    observed: Observed
    phase: Phase
    reason: Reason
    says: str = ""
    """A part of the message."""


Situations = dict[str, Situation]


def _made(*jobs: Job, **fields: Any) -> Observed:
    return observed(spec(), under_way(attempt()), *jobs, **fields)


def _running(*jobs: Job, made: Spec | None = None, **fields: Any) -> Observed:
    return observed(made or spec(), under_way(), *jobs, **fields)


def _stuck(ended: Pod, **fields: Any) -> Observed:
    """Return an attempt that made no checkpoint beyond its start, and ended so."""
    return observed(spec(), under_way(training_attempt(start_step=40)), job(ended), **fields)


def _settled(code: int | None, reason: str, made: Spec | None = None, **fields: Any) -> Observed:
    ended = training_attempt(outcome=outcome(code, reason), **fields.pop("attempt", {}))
    generation = fields.pop("generation", 1)
    return observed(made or spec(), under_way(ended, **fields), generation=generation)


def _reported_end() -> Status:
    end = Outcome(exit_code=ExitCode.COMPLETED, reason="Completed", message="done")
    return apply_report(under_way(), report(100, outcome=end), NOW)


UNDER_WAY: Situations = {
    "a new training gets its first attempt": Situation(
        observed(), Phase.QUEUED, Reason.ATTEMPT_CREATED, "from the start to step 100"
    ),
    "an attempt on record without a Job is made again": Situation(
        _made(), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a Job without a pod waits": Situation(_made(job()), Phase.QUEUED, Reason.QUEUED),
    "a Job that its queue holds back waits": Situation(
        _made(job(suspended=True)), Phase.QUEUED, Reason.QUEUED, "queue"
    ),
    "a pod that is being set up waits": Situation(
        _made(job(pending_pod(waiting=waiting("ContainerCreating")))), Phase.QUEUED, Reason.QUEUED
    ),
    "a pod that no node takes is unschedulable": Situation(
        _made(job(pending_pod(unschedulable=waiting("Unschedulable", "Insufficient gpu")))),
        Phase.QUEUED,
        Reason.UNSCHEDULABLE,
        "Insufficient gpu",
    ),
    "an image that cannot be pulled is waited for": Situation(
        _made(job(pending_pod(waiting=waiting("ErrImagePull", since=ago(30))))),
        Phase.QUEUED,
        Reason.IMAGE_PULL_FAILED,
    ),
    "an image that cannot be pulled for too long fails it": Situation(
        _made(job(pending_pod(waiting=waiting("ImagePullBackOff", since=ago(700))))),
        Phase.FAILED,
        Reason.IMAGE_PULL_FAILED,
        "spec.image",
    ),
    "an image name that is none fails it at once": Situation(
        _made(job(pending_pod(waiting=waiting("InvalidImageName")))),
        Phase.FAILED,
        Reason.IMAGE_PULL_FAILED,
    ),
    "a container without its Secret waits": Situation(
        _made(job(pending_pod(waiting=waiting("CreateContainerConfigError", "no Secret s3")))),
        Phase.QUEUED,
        Reason.START_FAILED,
        "no Secret s3",
    ),
    "a pod that the cluster refuses is told of": Situation(
        _made(job(rejected="violates PodSecurity")), Phase.QUEUED, Reason.POD_REJECTED, "PodSec"
    ),
    "a trainer that has not reported starts": Situation(
        _made(job(pod())), Phase.STARTING, Reason.STARTING
    ),
    "a trainer that reports trains": Situation(
        _running(job(pod())), Phase.RUNNING, Reason.TRAINING
    ),
    "a pod that is being deleted saves": Situation(
        _running(job(pod(deleting_since=NOW))), Phase.RUNNING, Reason.SAVING
    ),
    "a pod that outlives its Job saves": Situation(
        _running(orphans=(pod(),)), Phase.RUNNING, Reason.SAVING
    ),
    "a Job that is being deleted saves": Situation(
        _running(job(pod(), deleting=True)), Phase.RUNNING, Reason.SAVING
    ),
    "a pod that outlives its grace period is on a lost node": Situation(
        _running(job(pod(deleting_since=ago(100)))), Phase.RUNNING, Reason.NODE_LOST, "node-1"
    ),
    "a pod on a node that stays lost is given up": Situation(
        _running(job(pod(deleting_since=ago(301)))), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a pod that vanished leaves its Job to end": Situation(
        _running(job()), Phase.RETRYING, Reason.POD_DELETED
    ),
    "a trainer that sent its last report is ending": Situation(
        observed(spec(), _reported_end(), job(pod())), Phase.RUNNING, Reason.SAVING, "last report"
    ),
    "a trainer that says nothing after its last report is stopped": Situation(
        observed(
            spec(),
            apply_report(
                under_way(),
                report(100, outcome=Outcome(exit_code=0, reason="Completed", message="")),
                ago(61),
            ),
            job(pod()),
        ),
        Phase.RUNNING,
        Reason.SAVING,
    ),
}

ENDED: Situations = {
    "a completion that was reported completes": Situation(
        observed(spec(), _reported_end(), job(ended_pod(0))),
        Phase.COMPLETE,
        Reason.TARGET_REACHED,
        "Raise steps",
    ),
    "a completion that was reported completes though Job and pod are gone": Situation(
        observed(spec(), _reported_end()), Phase.COMPLETE, Reason.TARGET_REACHED
    ),
    "a completion whose report never came is asked for again": Situation(
        _stuck(ended_pod(0, reason="Completed")), Phase.RETRYING, Reason.BACKING_OFF, "reaches"
    ),
    "a crash without a new checkpoint backs off": Situation(
        _stuck(ended_pod(1)), Phase.RETRYING, Reason.BACKING_OFF, "Retry 1 of 6"
    ),
    "a crash after a new checkpoint is followed at once": Situation(
        _running(job(ended_pod(1))), Phase.QUEUED, Reason.ATTEMPT_CREATED, "from step 40"
    ),
    "a drained trainer that saved is followed at once": Situation(
        _running(job(ended_pod(40, disruption=waiting("EvictionByEvictionAPI")))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a Job that was deleted is made again under the next number": Situation(
        _running(), Phase.QUEUED, Reason.ATTEMPT_CREATED, "Attempt 2"
    ),
    "a Job that its queue took back is made again": Situation(
        _running(job(suspended=True)), Phase.QUEUED, Reason.ATTEMPT_CREATED, "Attempt 2"
    ),
    "too many attempts without a checkpoint fail it": Situation(
        observed(
            spec(),
            under_way(training_attempt(start_step=40), retries=RetryStatus(count=6)),
            job(ended_pod(137, reason="OOMKilled")),
        ),
        Phase.FAILED,
        Reason.RETRIES_EXHAUSTED,
        "OutOfMemory",
    ),
    "a spec edited after too many attempts is tried at once": Situation(
        _settled(1, "Unexpected", generation=2, retries=RetryStatus(count=7, not_before=ago(-300))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a back-off that is over starts the next attempt": Situation(
        _settled(1, "Unexpected", retries=RetryStatus(count=1, not_before=ago(1))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "an edited spec is tried again after an end for good": Situation(
        _settled(52, "DataInvalid", generation=2), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a reason that is none of ours is unexpected": Situation(
        _settled(50, "Strange"), Phase.FAILED, Reason.UNEXPECTED
    ),
    **{
        f"an end with {code.reason} fails it for good": Situation(
            _running(job(ended_pod(code, said(code, code.reason, "file a is torn")))),
            Phase.FAILED,
            Reason(code.reason),
            "file a is torn",
        )
        for code in ExitCode
        if code in range(50, 70)
    },
}

STEPS: Situations = {
    "raised steps make a complete training go on": Situation(
        _settled(0, "Completed", spec(steps=200), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
        "to step 200",
    ),
    "steps raised while it ran make it go on": Situation(
        observed(spec(steps=200), _reported_end(), job(ended_pod(0)), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "steps lowered below what runs stop it": Situation(
        _running(job(pod()), made=spec(steps=45)), Phase.RUNNING, Reason.SAVING, "lowered to 45"
    ),
    "steps lowered to what is still ahead let it run": Situation(
        _running(job(pod()), made=spec(steps=80)), Phase.RUNNING, Reason.TRAINING
    ),
    "steps lowered below what is saved complete it where it is": Situation(
        _settled(40, "Saved", spec(steps=30), generation=2),
        Phase.COMPLETE,
        Reason.TARGET_REACHED,
        "below the 50",
    ),
    "a target that is saved and not evaluated is finished by another attempt": Situation(
        _settled(1, "Unexpected", latest_checkpoint=checkpoint(100)),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "an early end that the trainer calls complete is complete": Situation(
        _settled(0, "Completed"), Phase.COMPLETE, Reason.TARGET_REACHED, "step 50 of 100"
    ),
}

STOPS: Situations = {
    "a suspended training that runs saves and stops": Situation(
        _running(job(pod()), made=spec(suspend=True)), Phase.SUSPENDING, Reason.SAVING
    ),
    "a suspended training whose pod still saves is suspending": Situation(
        _running(made=spec(suspend=True), orphans=(pod(deleting_since=NOW),)),
        Phase.SUSPENDING,
        Reason.SAVING,
    ),
    "a suspended training that saved is suspended": Situation(
        _running(job(ended_pod(40)), made=spec(suspend=True)),
        Phase.SUSPENDED,
        Reason.SUSPENDED_BY_USER,
        "saved at step 40",
    ),
    "a training suspended before its first attempt is suspended": Situation(
        observed(spec(suspend=True)), Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, "before its first"
    ),
    "a training suspended before its Job was made is suspended": Situation(
        observed(spec(suspend=True), under_way(attempt())),
        Phase.SUSPENDED,
        Reason.SUSPENDED_BY_USER,
    ),
    "a complete training stays complete when suspended": Situation(
        _settled(0, "Completed", spec(suspend=True)), Phase.COMPLETE, Reason.TARGET_REACHED
    ),
    "an attempt over its deadline saves and stops": Situation(
        _running(job(pod()), made=spec(activeDeadlineSeconds=500)),
        Phase.RUNNING,
        Reason.SAVING,
        "activeDeadlineSeconds (500 s)",
    ),
    "an attempt that ended over its deadline fails": Situation(
        _running(job(ended_pod(40)), made=spec(activeDeadlineSeconds=480)),
        Phase.FAILED,
        Reason.DEADLINE_EXCEEDED,
        "step 40",
    ),
    "a training over its deadline without a checkpoint says so": Situation(
        observed(spec(activeDeadlineSeconds=10), Status(active_seconds=10)),
        Phase.FAILED,
        Reason.DEADLINE_EXCEEDED,
        "No checkpoint",
    ),
    "a raised deadline lets it go on": Situation(
        _settled(40, "Saved", spec(activeDeadlineSeconds=900), active_seconds=480, generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
}

GPU = {"limits": {"nvidia.com/gpu": 1}}


def _checking(result: Any = None, *jobs: Job, made: Spec | None = None, **fields: Any) -> Observed:
    status = Status(preflight=preflight(result), **fields)
    return observed(made or spec(preflight="Always"), status, *jobs)


PREFLIGHT: Situations = {
    "a training that asks for a GPU is checked first": Situation(
        observed(spec(resources=GPU)), Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING
    ),
    "no GPU at all is no device": Situation(
        observed(spec(resources={"limits": {"nvidia.com/gpu": 0}})),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a training that restores from a URI is checked first": Situation(
        observed(spec(restore={"mode": "detection", "from": {"uri": "s3://models/coco"}})),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a training that continues from a URI is checked first": Situation(
        observed(spec(continueFrom={"uri": "s3://models/coco"})),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a GPU without a preflight is taken at once": Situation(
        observed(spec(resources=GPU, preflight="Never")), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a training with a checkpoint is not checked again": Situation(
        _settled(40, "Saved", spec(preflight="Always"), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a check on record without a Job is made again": Situation(
        _checking(), Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING
    ),
    "a check that runs is waited for": Situation(
        _checking(None, check_job(pod("trees-5f2c8a1b-check-1"))),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check that no node takes is told of": Situation(
        _checking(None, check_job(pending_pod(unschedulable=waiting("Unschedulable")))),
        Phase.PREFLIGHT,
        Reason.UNSCHEDULABLE,
    ),
    "a check that passed is followed by the attempt": Situation(
        _checking(None, check_job(ended_pod(0, said(0, "Completed"), name="x"))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a check that passed and whose pod is gone is followed by the attempt": Situation(
        _checking(None, check_job(complete=True)), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a check that found bad data refuses": Situation(
        _checking(None, check_job(ended_pod(52, said(52, "DataInvalid", "no labels")))),
        Phase.REFUSED,
        Reason.DATA_INVALID,
        "no labels",
    ),
    "a check that refused the restore names the variables": Situation(
        _checking(outcome(51, "RestoreRefused", "no", differences=["a: (1,) and (2,)"])),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "a: (1,) and (2,)",
    ),
    "a check of an older spec is made anew": Situation(
        observed(
            spec(preflight="Always"),
            Status(preflight=preflight(outcome(52, "DataInvalid"))),
            generation=2,
        ),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check that the storage did not answer backs off": Situation(
        _checking(None, check_job(ended_pod(71, said(71, "StorageUnavailable")))),
        Phase.PREFLIGHT,
        Reason.BACKING_OFF,
    ),
    "a check that backed off is made again once its Job is gone": Situation(
        _checking(
            outcome(71, "StorageUnavailable"), retries=RetryStatus(count=1, not_before=ago(1))
        ),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check whose old Job is still going waits for it": Situation(
        _checking(
            outcome(71, "StorageUnavailable"),
            check_job(failed=True, deleting=True),
            retries=RetryStatus(count=1, not_before=ago(1)),
        ),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check over its deadline backs off": Situation(
        _checking(
            None,
            check_job(failed=True, failure_reason="DeadlineExceeded", failure_message="too long"),
        ),
        Phase.PREFLIGHT,
        Reason.BACKING_OFF,
        "DeadlineExceeded",
    ),
    "a check whose image cannot be pulled refuses": Situation(
        _checking(
            None,
            check_job(pending_pod(waiting=waiting("ErrImagePull", since=ago(700)))),
        ),
        Phase.REFUSED,
        Reason.IMAGE_PULL_FAILED,
    ),
    "a check on a lost node backs off": Situation(
        _checking(None, check_job(pod(deleting_since=ago(400)))),
        Phase.PREFLIGHT,
        Reason.BACKING_OFF,
        "NodeLost",
    ),
    "a suspended training is not checked": Situation(
        observed(spec(preflight="Always", suspend=True)), Phase.SUSPENDED, Reason.SUSPENDED_BY_USER
    ),
}


def restoring(mode: str = "detection", **fields: Any) -> Spec:
    """Return a spec that restores from the training `coco`."""
    reference = {"name": "coco", **fields.pop("ref", {})}
    return spec(restore={"mode": mode, "from": {"trainingRef": reference}}, **fields)


def source(phase: Phase, *steps: int, made: Spec | None = None, **fields: Any) -> Source:
    """Return the training `coco` with checkpoints of these steps, newest first."""
    saved = [checkpoint(step, f"s3://runs/coco/step-{step}") for step in steps]
    latest = saved[0] if saved else None
    status = Status(phase=phase, checkpoints=saved, latest_checkpoint=latest, **fields)
    return Source("coco", found=True, spec=made or spec(), status=status)


def _from(given: Source | None, made: Spec | None = None, **fields: Any) -> Observed:
    return Observed(training(made or restoring(), **fields), source=given)


COCO = {"trainingRef": {"name": "coco"}}
ENDS_AT_100 = ScheduleStatus(decay_steps=100, cycles=[Cycle(start=0, decay_steps=100)])
COLOURS = {"train": {"uri": "s3://data/t"}, "classes": ["red", "blue"]}

SOURCES: Situations = {
    "a source that is complete is taken": Situation(
        _from(source(Phase.COMPLETE, 500)), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a source that failed with a checkpoint is taken": Situation(
        _from(source(Phase.FAILED, 500)), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a step that a running source has is taken": Situation(
        _from(source(Phase.RUNNING, 500, 400), restoring(ref={"step": 400})),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "the latest of a source that runs is waited for": Situation(
        _from(source(Phase.RUNNING, 500)),
        Phase.PENDING,
        Reason.WAITING_FOR_SOURCE,
        "trainingRef.step",
    ),
    "a source that has none yet is waited for": Situation(
        _from(source(Phase.RUNNING)), Phase.PENDING, Reason.WAITING_FOR_SOURCE, "it has none"
    ),
    "a step that a source will have is waited for": Situation(
        _from(source(Phase.RUNNING, 100), restoring(ref={"step": 400})),
        Phase.PENDING,
        Reason.WAITING_FOR_SOURCE,
        "a checkpoint of 400",
    ),
    "a source that ended without one refuses": Situation(
        _from(source(Phase.FAILED)), Phase.REFUSED, Reason.SOURCE_HAS_NO_CHECKPOINT
    ),
    "a step that a complete source lacks refuses": Situation(
        _from(source(Phase.COMPLETE, 500), restoring(ref={"step": 400})),
        Phase.REFUSED,
        Reason.SOURCE_HAS_NO_CHECKPOINT,
        "it has steps 500",
    ),
    "a source whose spec does not hold refuses": Situation(
        _from(Source("coco", found=True)), Phase.REFUSED, Reason.SOURCE_HAS_NO_CHECKPOINT
    ),
    "a source that is not there refuses": Situation(
        _from(Source("coco", found=False)), Phase.REFUSED, Reason.SOURCE_NOT_FOUND, "create it"
    ),
    "a source that is not there yet is waited for a moment": Situation(
        _from(None, created_at=ago(5)), Phase.PENDING, Reason.WAITING_FOR_SOURCE
    ),
    "a training that names itself refuses": Situation(
        _from(None, restoring(ref={"name": "trees"})), Phase.REFUSED, Reason.SOURCE_NOT_FOUND
    ),
    "full restore of other classes refuses and says what fits": Situation(
        _from(source(Phase.COMPLETE, 500), restoring("full", dataset=COLOURS)),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "detection",
    ),
    "full restore of classes that only the source's status tells refuses": Situation(
        _from(
            source(
                Phase.COMPLETE,
                500,
                made=spec(dataset={"train": {"uri": "s3://d/t"}, "labelMap": {"uri": "s3://d/m"}}),
                classes=["car"],
            ),
            restoring("full"),
        ),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "car",
    ),
    "full restore of classes that nobody tells is left to the trainer": Situation(
        _from(
            source(
                Phase.COMPLETE,
                500,
                made=spec(dataset={"train": {"uri": "s3://d/t"}, "labelMap": {"uri": "s3://d/m"}}),
            ),
            restoring("full", dataset=COLOURS),
        ),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "detection restore of other classes fits": Situation(
        _from(source(Phase.COMPLETE, 500), restoring(dataset=COLOURS)),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "continuing from other classes refuses": Situation(
        _from(
            source(Phase.COMPLETE, 500),
            spec(continueFrom=COCO, dataset=COLOURS),
        ),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "continueFrom",
    ),
    "continuing with another model refuses and names what differs": Situation(
        _from(
            source(Phase.COMPLETE, 500),
            spec(continueFrom=COCO, steps=600, model={**TINY_MODEL, "imageSize": 128}),
        ),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "model.imageSize: there 64, here 128",
    ),
    "continuing with another optimizer refuses": Situation(
        _from(
            source(Phase.COMPLETE, 500),
            spec(continueFrom=COCO, steps=600, optimizer={"name": "adam"}),
        ),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "optimizer.name: there momentum, here adam",
    ),
    "continuing to more steps fits": Situation(
        _from(source(Phase.COMPLETE, 500), spec(continueFrom=COCO, steps=600)),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "continuing to steps that the source has reached refuses": Situation(
        _from(source(Phase.COMPLETE, 500), spec(continueFrom=COCO, steps=500)),
        Phase.REFUSED,
        Reason.INVALID_CONFIG,
        "more than 500",
    ),
    "continuing beyond the source's schedule that ends at 0 refuses": Situation(
        _from(
            source(Phase.COMPLETE, 100, schedule=ENDS_AT_100),
            spec(continueFrom=COCO, steps=200, optimizer={"schedule": {"finalFraction": 0.0}}),
        ),
        Phase.REFUSED,
        Reason.LEARNING_RATE_ZERO,
    ),
    "a source that is gone after the first checkpoint is not missed": Situation(
        _settled(40, "Saved", restoring()), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "an attempt on record whose source is gone is not made": Situation(
        observed(restoring(), Status(current_attempt=attempt(), attempt_count=1)),
        Phase.REFUSED,
        Reason.SOURCE_NOT_FOUND,
    ),
}

ZERO = {"learningRate": 0.1, "schedule": {"decaySteps": 50, "finalFraction": 0.0}}

REFUSALS: Situations = {
    "a spec that does not hold refuses": Situation(
        Observed(training(None, invalid="steps: must be above 0")),
        Phase.REFUSED,
        Reason.INVALID_SPEC,
        "steps: must be above 0",
    ),
    "several workers are not supported": Situation(
        observed(spec(workers=2)), Phase.REFUSED, Reason.NOT_SUPPORTED, "workers: 1"
    ),
    "steps beyond a schedule that ends at 0 refuse": Situation(
        observed(spec(optimizer=ZERO)), Phase.REFUSED, Reason.LEARNING_RATE_ZERO, "Restart"
    ),
    "raised steps beyond a recorded schedule that ends at 0 refuse": Situation(
        _settled(
            0,
            "Completed",
            spec(steps=200, optimizer={"schedule": {"finalFraction": 0.0}}),
            generation=2,
            schedule=ENDS_AT_100,
        ),
        Phase.REFUSED,
        Reason.LEARNING_RATE_ZERO,
    ),
    "a folder of an older training refuses": Situation(
        observed(folder_owner="vision/oaks"), Phase.REFUSED, Reason.STORAGE_IN_USE, "vision/oaks"
    ),
    "a folder that it already writes to is its own": Situation(
        _settled(40, "Saved"), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
}


def _cause(ended: Pod, *, deleting: bool = False, made: Spec | None = None) -> Observed:
    return _running(job(ended, deleting=deleting), made=made)


CAUSES: dict[str, tuple[Observed, Reason]] = {
    "preempted": (
        _cause(ended_pod(40, disruption=waiting("PreemptionByScheduler"))),
        Reason.PREEMPTED,
    ),
    "preempted, and taken back by its queue": (_running(job(suspended=True)), Reason.PREEMPTED),
    "drained": (_cause(ended_pod(40, disruption=waiting("EvictionByEvictionAPI"))), Reason.EVICTED),
    "evicted for its disk": (_cause(ended_pod(137, pod_reason="Evicted")), Reason.EVICTED),
    "evicted before it ran": (
        _running(
            job(pod(phase=PodPhase.FAILED, running_since=None, pod_reason="Evicted", uid="p2"))
        ),
        Reason.EVICTED,
    ),
    "on a node that was removed": (
        _cause(ended_pod(137, disruption=waiting("DeletionByPodGC"))),
        Reason.NODE_LOST,
    ),
    "on a node that is lost": (_running(job(pod(deleting_since=ago(301)))), Reason.NODE_LOST),
    "deleted by a person, and saved": (
        _cause(ended_pod(40, deleting_since=NOW)),
        Reason.POD_DELETED,
    ),
    "deleted by a person, and too slow": (
        _cause(ended_pod(137, deleting_since=NOW)),
        Reason.POD_DELETED,
    ),
    "deleted with no grace": (
        _running(job(failed=True, failure_reason="BackoffLimitExceeded")),
        Reason.POD_DELETED,
    ),
    "evicted, and its pod gone": (
        _running(job(failed=True, failure_message="has condition DisruptionTarget matching")),
        Reason.EVICTED,
    ),
    "out of memory, and its pod gone": (
        _running(job(failed=True, failure_message="failed with exit code 72 matching FailJob")),
        Reason.OUT_OF_MEMORY,
    ),
    "with its Job, and saved": (_cause(ended_pod(40), deleting=True), Reason.JOB_DELETED),
    "with its Job, and gone": (_running(), Reason.JOB_DELETED),
    "with its Job, and its pod is still known": (
        _running(orphans=(ended_pod(40),)),
        Reason.JOB_DELETED,
    ),
    "killed from outside": (_cause(ended_pod(137)), Reason.KILLED),
    "out of memory": (_cause(ended_pod(137, reason="OOMKilled")), Reason.OUT_OF_MEMORY),
    "out of the device's memory": (
        _cause(ended_pod(72, said(72, "OutOfMemory"))),
        Reason.OUT_OF_MEMORY,
    ),
    "with its storage away": (_cause(ended_pod(71)), Reason.STORAGE_UNAVAILABLE),
    "with its storage full": (_cause(ended_pod(74)), Reason.STORAGE_FULL),
    "fenced by a later attempt": (_cause(ended_pod(73)), Reason.SUPERSEDED),
    "with its document edited": (_cause(ended_pod(75)), Reason.CONFIG_CHANGED),
    "unable to start": (_cause(ended_pod(128, reason="StartError")), Reason.START_FAILED),
    "with a command that is not there": (_cause(ended_pod(127)), Reason.START_FAILED),
    "with a traceback": (_cause(ended_pod(1, "Traceback: a torn file")), Reason.UNEXPECTED),
    "with a code that is none of ours": (_cause(ended_pod(63, "?")), Reason.UNEXPECTED),
    "without saying what": (_running(job(pod(phase=PodPhase.FAILED))), Reason.UNEXPECTED),
    "asked to stop by nobody that is known": (_cause(ended_pod(40)), Reason.SAVED),
    "complete, and its report lost": (
        _cause(ended_pod(0, reason="Completed")),
        Reason.REPORT_MISSING,
    ),
    "complete, and report and pod lost": (_running(job(complete=True)), Reason.REPORT_MISSING),
    "suspended, and too slow to save": (
        _cause(ended_pod(137, deleting_since=NOW), made=spec(suspend=True)),
        Reason.SUSPENDED,
    ),
    "over its deadline, and too slow to save": (
        _cause(ended_pod(137, deleting_since=NOW), made=spec(activeDeadlineSeconds=480)),
        Reason.DEADLINE_EXCEEDED,
    ),
    "with fewer steps asked for, and too slow to save": (
        _cause(ended_pod(137, deleting_since=NOW), made=spec(steps=45)),
        Reason.STEPS_LOWERED,
    ),
    "with bad data in the middle": (
        _cause(ended_pod(52, said(52, "DataInvalid"))),
        Reason.DATA_INVALID,
    ),
}
"""How an attempt that trained was interrupted, and the reason that its entry carries."""

SITUATIONS: Situations = {
    **UNDER_WAY,
    **ENDED,
    **STEPS,
    **STOPS,
    **PREFLIGHT,
    **SOURCES,
    **REFUSALS,
}
