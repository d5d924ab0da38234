"""Situations of an attempt: under way, ended, its steps changed, stopped."""

from dataclasses import replace

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import RetryStatus, Status
from detection_operator.core.reports import apply_report
from detection_operator.core.state import Observed, PodPhase
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from tests.support.operator.observations import (
    CHECK,
    JOB,
    NOW,
    ago,
    attempt,
    check_job,
    checkpoint,
    deleted_pod,
    ended_pod,
    job,
    observed,
    outcome,
    pending_pod,
    pod,
    refusal,
    report,
    spec,
    termination_message,
    training,
    training_attempt,
    under_way,
    waiting,
)
from tests.support.operator.situation import (
    Situation,
    Situations,
    just_made,
    reported_end,
    running,
    settled,
    stuck,
)

NO_IMAGE = "failed to resolve reference: not found"
GIVEN_UP = settled(None, "NodeLost")

UNDER_WAY: Situations = {
    "a new training gets its first attempt": Situation(
        observed(), Phase.QUEUED, Reason.ATTEMPT_CREATED, "Created attempt 1 to train to step 100"
    ),
    "a recorded attempt without a Job is created again": Situation(
        just_made(), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a Job without a pod waits": Situation(just_made(job()), Phase.QUEUED, Reason.POD_PENDING),
    "a Job that its queue suspends waits": Situation(
        just_made(job(suspended=True)), Phase.QUEUED, Reason.QUEUED, "queue"
    ),
    "a Job that its queue suspends again before it started waits": Situation(
        just_made(job(deleted_pod(), suspended=True)), Phase.QUEUED, Reason.QUEUED, "queue"
    ),
    "a Job that has its place again waits for its next pod": Situation(
        just_made(job(deleted_pod())), Phase.QUEUED, Reason.POD_PENDING
    ),
    "a Job whose pod a person deleted before it started is created again": Situation(
        just_made(job(deleted_pod(), failed=True)),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
        "Created attempt 2",
    ),
    "a pod that is being set up waits": Situation(
        just_made(job(pending_pod(waiting=waiting("ContainerCreating")))),
        Phase.QUEUED,
        Reason.POD_PENDING,
    ),
    "a pod that no node takes is unschedulable": Situation(
        just_made(job(pending_pod(unschedulable=waiting("Unschedulable", "Insufficient gpu")))),
        Phase.QUEUED,
        Reason.UNSCHEDULABLE,
        "Insufficient gpu",
    ),
    "an image that cannot be pulled is waited for": Situation(
        just_made(job(pending_pod(waiting=waiting("ErrImagePull", NO_IMAGE, since=ago(30))))),
        Phase.QUEUED,
        Reason.IMAGE_PULL_FAILED,
        "Correct spec.image",
        held_up=True,
    ),
    "an image whose registry does not answer is waited for": Situation(
        just_made(
            job(pending_pod(waiting=waiting("ErrImagePull", "connection refused", since=ago(300))))
        ),
        Phase.QUEUED,
        Reason.IMAGE_PULL_FAILED,
        "until its registry answers",
        held_up=True,
    ),
    "an image whose registry does not answer for long is waited for, and needs a person": Situation(
        just_made(
            job(pending_pod(waiting=waiting("ErrImagePull", "429 Too Many", since=ago(9999))))
        ),
        Phase.QUEUED,
        Reason.IMAGE_PULL_FAILED,
        "until its registry answers",
        stalled=True,
    ),
    "an image that cannot be pulled for too long fails it": Situation(
        just_made(job(pending_pod(waiting=waiting("ImagePullBackOff", NO_IMAGE, since=ago(700))))),
        Phase.FAILED,
        Reason.IMAGE_PULL_FAILED,
        "spec.image",
    ),
    "an image name that is none fails it at once": Situation(
        just_made(job(pending_pod(waiting=waiting("InvalidImageName")))),
        Phase.FAILED,
        Reason.IMAGE_PULL_FAILED,
    ),
    "a container without its Secret waits": Situation(
        just_made(job(pending_pod(waiting=waiting("CreateContainerConfigError", "no Secret s3")))),
        Phase.QUEUED,
        Reason.START_FAILED,
        "no Secret s3",
        stalled=True,
    ),
    "a Job that the API server refuses is reported and retried": Situation(
        observed(spec(), obstacle=refusal("exceeded quota: jobs")),
        Phase.QUEUED,
        Reason.JOB_REJECTED,
        "exceeded quota: jobs. The operator retries",
    ),
    "a Job that a policy refuses is reported": Situation(
        observed(spec(), obstacle=refusal("denied by policy", since=ago(30))),
        Phase.QUEUED,
        Reason.JOB_REJECTED,
        "denied by policy",
        held_up=True,
    ),
    "a Job that a policy refuses for a minute needs a person": Situation(
        observed(spec(), obstacle=refusal("denied by policy", since=ago(61))),
        Phase.QUEUED,
        Reason.JOB_REJECTED,
        "denied by policy",
        stalled=True,
    ),
    "a Job that can never be made is refused": Situation(
        observed(spec(), obstacle=refusal("requests above limits", is_invalid=True, generation=1)),
        Phase.REFUSED,
        Reason.JOB_REJECTED,
        "requests above limits. Correct the spec",
    ),
    "a Job that could not be made of an older spec is tried": Situation(
        observed(
            spec(),
            obstacle=refusal("requests above limits", is_invalid=True, generation=1),
            generation=2,
        ),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a Job whose name another Job has is reported and retried": Situation(
        observed(spec(), obstacle=refusal("belongs to Backup nightly", reason=Reason.NAME_TAKEN)),
        Phase.QUEUED,
        Reason.NAME_TAKEN,
        "belongs to Backup nightly",
        held_up=True,
    ),
    "an obstacle is not reported if nothing is to be created": Situation(
        running(job(pod()), obstacle=refusal("exceeded quota: jobs")),
        Phase.RUNNING,
        Reason.TRAINING,
    ),
    "a pod that the cluster refuses is reported": Situation(
        just_made(job(rejected="violates PodSecurity")),
        Phase.QUEUED,
        Reason.POD_REJECTED,
        "PodSec",
        stalled=True,
    ),
    "a pod that the quota has no room for waits": Situation(
        just_made(job(rejected="exceeded quota: gpus, requested: 1, used: 8, limited: 8")),
        Phase.QUEUED,
        Reason.POD_REJECTED,
        "Wait until enough of the quota is free",
    ),
    "a trainer that has not reported starts": Situation(
        just_made(job(pod())), Phase.STARTING, Reason.STARTING
    ),
    "a trainer that reports trains": Situation(running(job(pod())), Phase.RUNNING, Reason.TRAINING),
    "a pod that is being deleted saves": Situation(
        running(job(pod(deleting_since=NOW))), Phase.RUNNING, Reason.SAVING
    ),
    "a pod that outlives its Job saves": Situation(
        running(orphans=(pod(),)), Phase.RUNNING, Reason.SAVING
    ),
    "a Job that is being deleted saves": Situation(
        running(job(pod(), deleting=True)), Phase.RUNNING, Reason.SAVING
    ),
    "a pod that outlives its grace period is on a lost node": Situation(
        running(job(pod(deleting_since=ago(100)))), Phase.RUNNING, Reason.NODE_LOST, "node-1"
    ),
    "a pod on a node that stays lost is given up": Situation(
        running(job(pod(deleting_since=ago(301)))), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a pod that vanished leaves its Job to end": Situation(
        running(job()), Phase.RETRYING, Reason.POD_DELETED
    ),
    "a trainer that sent its last report is ending": Situation(
        observed(spec(), reported_end(), job(pod())), Phase.RUNNING, Reason.SAVING, "last report"
    ),
    "a trainer that is silent after its final report is stopped": Situation(
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
        observed(spec(), reported_end(), job(ended_pod(0))),
        Phase.COMPLETE,
        Reason.TARGET_REACHED,
        "Raise spec.steps",
    ),
    "a reported completion completes although Job and pod are deleted": Situation(
        observed(spec(), reported_end()), Phase.COMPLETE, Reason.TARGET_REACHED
    ),
    "a completion without a report is requested again": Situation(
        stuck(ended_pod(0, reason="Completed")), Phase.RETRYING, Reason.BACKING_OFF, "reaches"
    ),
    "a crash without a new checkpoint backs off": Situation(
        stuck(ended_pod(1)), Phase.RETRYING, Reason.BACKING_OFF, "Retry 1 of 6"
    ),
    "a crash after a new checkpoint is followed at once": Situation(
        running(job(ended_pod(1))), Phase.QUEUED, Reason.ATTEMPT_CREATED, "from step 40"
    ),
    "a drained trainer that saved is followed at once": Situation(
        running(job(ended_pod(40, disruption=waiting("EvictionByEvictionAPI")))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a Job that was deleted is created again under the next number": Situation(
        running(), Phase.QUEUED, Reason.ATTEMPT_CREATED, "Created attempt 2"
    ),
    "a Job that its queue withdrew is created again": Situation(
        running(job(suspended=True)), Phase.QUEUED, Reason.ATTEMPT_CREATED, "Created attempt 2"
    ),
    "a pod of an attempt that another replica gave up is waited for": Situation(
        replace(GIVEN_UP, jobs=(job(pod(deleting_since=ago(-20))),)),
        Phase.RETRYING,
        Reason.SAVING,
        f"Pod {JOB}",
    ),
    "a pod whose Job was deleted is waited for before the next attempt": Situation(
        replace(GIVEN_UP, orphans=(pod(),)),
        Phase.RETRYING,
        Reason.SAVING,
        "to end; the next attempt starts then",
    ),
    "a pod that a lost node keeps is forced to end before the next attempt": Situation(
        replace(GIVEN_UP, jobs=(job(pod(deleting_since=ago(301))),)),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
        "2",
    ),
    "a pod that outlived a status that was lost is waited for": Situation(
        observed(spec(), Status(), job(pod())),
        Phase.RETRYING,
        Reason.SAVING,
        "to end; the next attempt starts then",
    ),
    "a preflight's pod is not waited for where no check is wanted any more": Situation(
        replace(
            observed(spec(), Status(), check_job(pending_pod(CHECK))),
            orphans=(pending_pod(CHECK),),
        ),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a back-off that a clock wrote which is a little fast is waited for": Situation(
        settled(1, "Unexpected", retries=RetryStatus(count=6, not_before=ago(-330))),
        Phase.RETRYING,
        Reason.BACKING_OFF,
    ),
    "a Job whose pod has ended is waited for before the next attempt": Situation(
        running(job(ended_pod(1), failed=False)), Phase.RETRYING, Reason.SAVING, f"Job {JOB}"
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
        settled(1, "Unexpected", generation=2, retries=RetryStatus(count=7, not_before=ago(-300))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a back-off that a wrong clock wrote is not waited for": Situation(
        settled(1, "Unexpected", retries=RetryStatus(count=1, not_before=ago(-3600))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "the longest back-off is waited for": Situation(
        settled(1, "Unexpected", retries=RetryStatus(count=6, not_before=ago(-300))),
        Phase.RETRYING,
        Reason.BACKING_OFF,
    ),
    "a back-off that is over starts the next attempt": Situation(
        settled(1, "Unexpected", retries=RetryStatus(count=1, not_before=ago(1))),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "an edited spec is retried after a final end": Situation(
        settled(52, "DataInvalid", generation=2), Phase.QUEUED, Reason.ATTEMPT_CREATED
    ),
    "a reason that is none of ours is unexpected": Situation(
        settled(50, "Strange"), Phase.FAILED, Reason.UNEXPECTED
    ),
    **{
        f"an end with {code.reason} fails it permanently": Situation(
            running(job(ended_pod(code, termination_message(code, code.reason, "file a is torn")))),
            Phase.FAILED,
            Reason(code.reason),
            "file a is torn",
        )
        for code in ExitCode
        if code in range(50, 70) and code is not ExitCode.ACCESS_DENIED
    },
    "refused credentials before the first checkpoint fail it permanently": Situation(
        observed(
            spec(),
            under_way(latest_checkpoint=None, checkpoints=[]),
            job(ended_pod(55, termination_message(ExitCode.ACCESS_DENIED, "AccessDenied"))),
        ),
        Phase.FAILED,
        Reason.ACCESS_DENIED,
    ),
    "refused credentials of a run that has a checkpoint are retried": Situation(
        stuck(
            ended_pod(
                ExitCode.ACCESS_DENIED, termination_message(ExitCode.ACCESS_DENIED, "AccessDenied")
            )
        ),
        Phase.RETRYING,
        Reason.BACKING_OFF,
        "AccessDenied",
    ),
    "a sidecar that outlives the trainer has its Job deleted": Situation(
        observed(
            spec(),
            under_way(training_attempt(outcome=outcome(52, "DataInvalid", finished_at=ago(61)))),
            job(ended_pod(52, phase=PodPhase.RUNNING), failed=False),
        ),
        Phase.FAILED,
        Reason.DATA_INVALID,
    ),
    "a training whose deletion is blocked saves": Situation(
        replace(running(job(pod())), training=training(spec(), under_way(), deleting=True)),
        Phase.SUSPENDING,
        Reason.SAVING,
        "being deleted",
    ),
    "a training whose deletion is blocked starts nothing": Situation(
        Observed(training(spec(), Status(), deleting=True)),
        Phase.SUSPENDED,
        Reason.BEING_DELETED,
        "finalizers",
    ),
    "a claim of an older spec that waits has to go": Situation(
        observed(
            spec(),
            obstacle=refusal("PersistentVolumeClaim a/b: size", reason=Reason.OBJECT_OUTDATED),
        ),
        Phase.QUEUED,
        Reason.OBJECT_OUTDATED,
        "PersistentVolumeClaim a/b",
        held_up=True,
    ),
}

STEPS: Situations = {
    "raised steps resume a complete training": Situation(
        settled(0, "Completed", spec(steps=200), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
        "to step 200",
    ),
    "steps raised during the run resume it": Situation(
        observed(spec(steps=200), reported_end(), job(ended_pod(0)), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "steps lowered below what runs stop it": Situation(
        running(job(pod()), made=spec(steps=45)), Phase.RUNNING, Reason.SAVING, "lowered to 45"
    ),
    "steps lowered to what is still ahead let it run": Situation(
        running(job(pod()), made=spec(steps=80)), Phase.RUNNING, Reason.TRAINING
    ),
    "steps lowered below what is saved complete it where it is": Situation(
        settled(40, "Saved", spec(steps=30), generation=2),
        Phase.COMPLETE,
        Reason.TARGET_REACHED,
        "50 steps are trained already",
    ),
    "a target that is saved and not evaluated is finished by another attempt": Situation(
        settled(1, "Unexpected", latest_checkpoint=checkpoint(100)),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
    "a run whose evaluations stopped rising is complete and reports so": Situation(
        settled(0, "EarlyStopped"),
        Phase.COMPLETE,
        Reason.EARLY_STOPPED,
        "Raise spec.steps to train more",
    ),
    "raised steps resume a run that stopped early": Situation(
        settled(0, "EarlyStopped", spec(steps=200), generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
        "to step 200",
    ),
    "an early end that the trainer calls complete is complete": Situation(
        settled(0, "Completed"), Phase.COMPLETE, Reason.TARGET_REACHED, "step 50 of 100"
    ),
}

STOPS: Situations = {
    "a suspended training that runs saves and stops": Situation(
        running(job(pod()), made=spec(suspend=True)), Phase.SUSPENDING, Reason.SAVING
    ),
    "a suspended training whose pod still saves is suspending": Situation(
        running(made=spec(suspend=True), orphans=(pod(deleting_since=NOW),)),
        Phase.SUSPENDING,
        Reason.SAVING,
    ),
    "a suspended training that saved is suspended": Situation(
        running(job(ended_pod(40)), made=spec(suspend=True)),
        Phase.SUSPENDED,
        Reason.SUSPENDED_BY_USER,
        "saved at step 40",
    ),
    "a suspended training without a report does not claim to know": Situation(
        running(made=spec(suspend=True)),
        Phase.SUSPENDED,
        Reason.SUSPENDED_BY_USER,
        "according to the trainer's last report",
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
        settled(0, "Completed", spec(suspend=True)), Phase.COMPLETE, Reason.TARGET_REACHED
    ),
    "an attempt over its deadline saves and stops": Situation(
        running(job(pod()), made=spec(activeDeadlineSeconds=500)),
        Phase.RUNNING,
        Reason.SAVING,
        "activeDeadlineSeconds (500 s)",
    ),
    "an attempt that ended over its deadline fails": Situation(
        running(job(ended_pod(40)), made=spec(activeDeadlineSeconds=480)),
        Phase.FAILED,
        Reason.DEADLINE_EXCEEDED,
        "step 40",
    ),
    "a training over its deadline without a checkpoint reports so": Situation(
        observed(spec(activeDeadlineSeconds=10), Status(active_seconds=10)),
        Phase.FAILED,
        Reason.DEADLINE_EXCEEDED,
        "No checkpoint",
    ),
    "a raised deadline resumes it": Situation(
        settled(40, "Saved", spec(activeDeadlineSeconds=900), active_seconds=480, generation=2),
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
    ),
}

RUNNING: Situations = {**UNDER_WAY, **ENDED, **STEPS, **STOPS}
