"""Situations before an attempt: checks, sources, refusals."""

from typing import Any

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import RetryStatus, ScheduleStatus, Spec, Status
from detection_operator.core.policies.spec_changed import spec_digest
from detection_operator.core.state import Job, Observed, Source
from detection_trainer.contract.packing import pack
from detection_trainer.contract.schedule import Cycle
from sandbox.samples.trainings import TINY_MODEL
from tests.support.operator.observations import (
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
    unread,
    waiting,
)
from tests.support.operator.situation import Situation, Situations, running, settled

CONFIG_REPORTED = termination_message(0, "Completed", pipeline_config=pack("model { }"))
GPU = {"limits": {"nvidia.com/gpu": 1}}

_OF_OTHER = attempt(spec_digest=spec_digest(spec()))
"""An attempt that was made of another spec."""


def _checking(result: Any = None, *jobs: Job, made: Spec | None = None, **fields: Any) -> Observed:
    status = Status(preflight=preflight(result), **fields)
    return observed(made or spec(preflight="Always"), status, *jobs)


PREFLIGHT: Situations = {
    "a training that asks for a GPU is checked first": Situation(
        observed(spec(resources=GPU)), Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING
    ),
    "a training that asks for a slice of a GPU is checked first": Situation(
        observed(spec(resources={"requests": {"nvidia.com/mig-1g.5gb": 1}})),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a training that asks for another maker's GPU is checked first": Situation(
        observed(spec(resources={"limits": {"amd.com/gpu": "1"}})),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "large pages are no device": Situation(
        observed(spec(resources={"limits": {"hugepages-2Mi": "4Mi"}})),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
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
        settled(40, "Saved", spec(preflight="Always"), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a recorded check without a Job is created again": Situation(
        _checking(), Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING
    ),
    "a check that runs is waited for": Situation(
        _checking(None, check_job(pod("trees-5f2c8a1b-check-1"))),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check that no node accepts is reported": Situation(
        _checking(None, check_job(pending_pod(unschedulable=waiting("Unschedulable")))),
        Phase.PREFLIGHT,
        Reason.UNSCHEDULABLE,
    ),
    "a check that passed is followed by the attempt": Situation(
        _checking(None, check_job(ended_pod(0, termination_message(0, "Completed"), name="x"))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a passed check whose pod no longer exists is followed by the attempt": Situation(
        _checking(None, check_job(complete=True)), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a check that found bad data refuses": Situation(
        _checking(
            None, check_job(ended_pod(52, termination_message(52, "DataInvalid", "no labels")))
        ),
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
    "a configuration at a URI is read by a check": Situation(
        observed(unread()),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
        "reads the pipeline.config at s3://models/pipeline.config, then checks data",
    ),
    "one whose check passed is looked at again with it": Situation(
        _checking(None, check_job(ended_pod(0, CONFIG_REPORTED, name="x")), made=unread()),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
        "The pipeline.config at s3://models/pipeline.config was read",
    ),
    "a config whose check was lost with its text is read again": Situation(
        _checking(None, check_job(complete=True), made=unread()),
        Phase.PREFLIGHT,
        Reason.BACKING_OFF,
        "its pod was deleted together with the pipeline.config that it read",
    ),
    "one that is none is refused": Situation(
        _checking(
            None,
            check_job(ended_pod(50, termination_message(50, "InvalidConfig", "no"))),
            made=unread(),
        ),
        Phase.REFUSED,
        Reason.INVALID_CONFIG,
        "no",
    ),
    "one that is not there is refused": Situation(
        _checking(
            None,
            check_job(ended_pod(56, termination_message(56, "NotFound", "gone"))),
            made=unread(),
        ),
        Phase.REFUSED,
        Reason.NOT_FOUND,
        "gone",
    ),
    "one that is not read is not judged by its learning rate": Situation(
        observed(unread(optimizer={"schedule": {"finalFraction": 0.0, "decaySteps": 5}})),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "one that is not read waits for its source, and is not compared with it": Situation(
        observed(
            unread(restore={"mode": "full", "from": {"trainingRef": {"name": "coco"}}}),
            source=Source("coco", found=True, spec=spec(), status=Status(phase="Running")),
        ),
        Phase.PENDING,
        Reason.WAITING_FOR_SOURCE,
    ),
    "a source that is not read has no checkpoint yet": Situation(
        observed(
            spec(restore={"mode": "full", "from": {"trainingRef": {"name": "coco"}}}),
            source=Source("coco", found=True, spec=unread(), status=Status(phase="Preflight")),
        ),
        Phase.PENDING,
        Reason.WAITING_FOR_SOURCE,
    ),
    "one that is not read can be suspended": Situation(
        observed(unread(suspend=True)), Phase.SUSPENDED, Reason.SUSPENDED_BY_USER
    ),
    "another URI takes away a pod that has not begun": Situation(
        observed(unread(), Status(current_attempt=_OF_OTHER), job(pending_pod()), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
        "The spec changed before training started",
    ),
    "another URI before the Job was made is read first": Situation(
        observed(unread(), Status(current_attempt=_OF_OTHER), generation=2),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check of an older spec is created again": Situation(
        observed(
            spec(preflight="Always"),
            Status(preflight=preflight(outcome(52, "DataInvalid"))),
            generation=2,
        ),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check that the storage did not answer backs off": Situation(
        _checking(None, check_job(ended_pod(71, termination_message(71, "StorageUnavailable")))),
        Phase.PREFLIGHT,
        Reason.BACKING_OFF,
    ),
    "a check that backed off is created again once its Job is deleted": Situation(
        _checking(
            outcome(71, "StorageUnavailable"), retries=RetryStatus(count=1, not_before=ago(1))
        ),
        Phase.PREFLIGHT,
        Reason.PREFLIGHT_RUNNING,
    ),
    "a check whose old Job is still being deleted waits for it": Situation(
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
            check_job(pending_pod(waiting=waiting("ErrImagePull", "not found", since=ago(700)))),
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
    "a source with an invalid spec refuses": Situation(
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
    "full restore of other classes refuses and names a mode that fits": Situation(
        _from(source(Phase.COMPLETE, 500), restoring("full", dataset=COLOURS)),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "detection",
    ),
    "full restore of classes that only the source's status lists refuses": Situation(
        _from(
            source(
                Phase.COMPLETE,
                500,
                made=spec(
                    dataset={"train": {"uri": "s3://data/t"}, "labelMap": {"uri": "s3://data/m"}}
                ),
                classes=["car"],
            ),
            restoring("full"),
        ),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "car",
    ),
    "full restore of unknown classes is left to the trainer": Situation(
        _from(
            source(
                Phase.COMPLETE,
                500,
                made=spec(
                    dataset={"train": {"uri": "s3://data/t"}, "labelMap": {"uri": "s3://data/m"}}
                ),
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
    "continuing with averages of a run that keeps none refuses": Situation(
        _from(
            source(Phase.COMPLETE, 500),
            spec(continueFrom=COCO, steps=600, optimizer={"movingAverageDecay": 0.9}),
        ),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "averages there none, here kept",
    ),
    "continuing with a group frozen that was trained refuses": Situation(
        _from(
            source(Phase.COMPLETE, 500),
            spec(continueFrom=COCO, steps=600, freeze=["backbone"]),
        ),
        Phase.REFUSED,
        Reason.RESTORE_REFUSED,
        "freeze: there [], here ['backbone']",
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
        "set steps above 500",
    ),
    "continuing beyond the source's schedule that ends at 0 refuses": Situation(
        _from(
            source(Phase.COMPLETE, 100, schedule=ENDS_AT_100),
            spec(continueFrom=COCO, steps=200, optimizer={"schedule": {"finalFraction": 0.0}}),
        ),
        Phase.REFUSED,
        Reason.LEARNING_RATE_ZERO,
    ),
    "a source deleted after the first checkpoint is not needed": Situation(
        settled(40, "Saved", restoring()), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a recorded attempt whose source was deleted is not created": Situation(
        observed(restoring(), Status(current_attempt=attempt(), attempt_count=1)),
        Phase.REFUSED,
        Reason.SOURCE_NOT_FOUND,
    ),
}

_EVALUATED: dict[str, Any] = {"evaluation": {"everySteps": 10}}
IDLE = spec(**_EVALUATED)
"""Evaluations without data for them: no longer started, but such a training may have started."""
_IDLE_MESSAGE = "The spec is invalid: spec: expected dataset.validation, the data to evaluate on"

ZERO = {"learningRate": 0.1, "schedule": {"decaySteps": 50, "finalFraction": 0.0}}

REFUSALS: Situations = {
    "an invalid spec refuses": Situation(
        Observed(training(None, invalid="steps: must be above 0")),
        Phase.REFUSED,
        Reason.INVALID_SPEC,
        "steps: must be above 0",
    ),
    "a stored spec that is no longer started refuses": Situation(
        observed(IDLE), Phase.REFUSED, Reason.INVALID_SPEC, _IDLE_MESSAGE
    ),
    "a stored spec that is no longer started refuses, also once it was checked": Situation(
        _checking(outcome(0, "Completed"), made=spec(preflight="Always", **_EVALUATED)),
        Phase.REFUSED,
        Reason.INVALID_SPEC,
        _IDLE_MESSAGE,
    ),
    "a suspended training that is no longer started stays suspended": Situation(
        observed(spec(suspend=True, **_EVALUATED)), Phase.SUSPENDED, Reason.SUSPENDED_BY_USER
    ),
    "a running training that would no longer be started runs": Situation(
        running(job(pod()), made=IDLE), Phase.RUNNING, Reason.TRAINING
    ),
    "an attempt that was interrupted resumes, whatever would no longer be started": Situation(
        settled(40, "Saved", IDLE), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "an attempt without a checkpoint is retried, whatever would no longer be started": Situation(
        observed(
            IDLE,
            Status(current_attempt=training_attempt(outcome=outcome(40, "Saved")), attempt_count=1),
        ),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a finished training that would no longer be started is complete": Situation(
        settled(0, "Completed", IDLE, step=100), Phase.COMPLETE, Reason.TARGET_REACHED
    ),
    "steps beyond a schedule that ends at 0 refuse": Situation(
        observed(spec(optimizer=ZERO)), Phase.REFUSED, Reason.LEARNING_RATE_ZERO, "Restart"
    ),
    "raised steps beyond a recorded schedule that ends at 0 refuse": Situation(
        settled(
            0,
            "Completed",
            spec(steps=200, optimizer={"schedule": {"finalFraction": 0.0}}),
            generation=2,
            schedule=ENDS_AT_100,
        ),
        Phase.REFUSED,
        Reason.LEARNING_RATE_ZERO,
    ),
    "several workers are refused where the administrator does not allow them": Situation(
        observed(spec(workers=2)), Phase.REFUSED, Reason.SEVERAL_WORKERS_DISABLED, "administrator"
    ),
    "several workers of a training that ran are refused at its next attempt": Situation(
        settled(40, "Saved", spec(workers=2), generation=2),
        Phase.REFUSED,
        Reason.SEVERAL_WORKERS_DISABLED,
        "workers: 1",
    ),
    "several running workers are not stopped": Situation(
        running(job(pod(), workers=1), made=spec(workers=2)), Phase.RUNNING, Reason.TRAINING
    ),
    "a folder of an older training refuses": Situation(
        observed(folder_owner="vision/oaks"), Phase.REFUSED, Reason.STORAGE_IN_USE, "vision/oaks"
    ),
    "a folder that it already writes to is its own": Situation(
        settled(40, "Saved"), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
}


BEFORE: Situations = {**PREFLIGHT, **SOURCES, **REFUSALS}
