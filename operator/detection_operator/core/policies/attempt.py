"""The current attempt, and the next one.

The status records `currentAttempt` before its Job is created, so that an operator that stops in
between creates the same Job again.
"""

from detection_operator import names
from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import AttemptStatus
from detection_operator.core.actions import (
    Action,
    DeleteJob,
    EnsureClaim,
    RestoreFrom,
    StartAttempt,
)
from detection_operator.core.case import Case, Standing, newest_step
from detection_operator.core.policies import cleanup, deadline, pod_waits, restore
from detection_operator.core.policies.attempt_end import is_lost
from detection_operator.core.policies.image import pinned_digest, pinned_image
from detection_operator.core.policies.several_workers import refuse_several_workers
from detection_operator.core.policies.spec_changed import spec_changed_since, spec_digest
from detection_operator.core.state import Job, Pod

_LOOK_AGAIN_S = 5.0


def pending_changes(case: Case) -> list[str]:
    """Return which changes wait for the next attempt."""
    attempt = case.attempt
    if attempt is None or not case.is_under_way:
        return []
    raised = not case.is_unread and attempt.target_steps != case.spec.steps
    pending = ["steps"] if raised else []
    if spec_changed_since(case, attempt):
        pending.append("spec")
    return pending


def wait_for_earlier(case: Case) -> Standing | None:
    """Wait for the end of everything from earlier attempts: two trainers never run at once.

    An attempt's end is recorded once its pod has ended. Its Job ends a moment later; until then it
    may create another pod if somebody deleted the pod. `cleanup` deletes a Job that does not end,
    and a pod on a lost node.
    """
    ending = [job for job in case.observed.jobs if job.attempt is not None and cleanup.ends(job)]
    pod = pod_waits.first_alive(tuple(pod for pod in case.all_pods if _delays_next(case, pod)))
    if not ending and pod is None:
        return None
    left = f"Job {ending[0].name}" if pod is None else f"Pod {pod.name}"
    message = f"Waiting for {left} to end; the next attempt starts then."
    return Standing(Phase.RETRYING, Reason.SAVING, message, (), _LOOK_AGAIN_S)


def _delays_next(case: Case, pod: Pod) -> bool:
    """Return whether the next attempt waits for `pod`; a pod on a lost node is deleted by force."""
    return not names.is_preflight(pod.job_name) and not is_lost(case, pod)


def start(case: Case, source: RestoreFrom | None) -> Standing:
    """Start the next attempt."""
    previous = case.attempt.number if case.attempt is not None else 0
    number = max(previous, case.status.attempt_count) + 1
    name, uid = case.identity.name, case.identity.uid
    attempt = AttemptStatus(
        number=number,
        job_name=names.attempt_name(name, uid, number),
        image=pinned_image(case),
        created_at=case.stamp,
        start_step=newest_step(case.status),
        generation=case.generation,
        target_steps=case.spec.steps,
        spec_digest=spec_digest(case.spec),
    )
    changes = (
        ("attempt_count", number),
        ("start_time", case.status.start_time or case.stamp),
        *_pin(case),
        ("completion_time", None),
    )
    return _made(case, attempt, source, changes)


def describe(case: Case, attempt: AttemptStatus) -> Standing:
    """Return the standing of the current attempt; create its Job if it is missing."""
    job, pod = case.job(attempt.job_name), pod_waits.first_alive(case.pods(attempt.job_name))
    if job is None and pod is None:
        return _make_again(case, attempt)
    standing: Standing | None = _stop_hung(case, attempt, job) or _describe_stopping(case, job, pod)
    if standing is not None or job is None:
        return standing or _make_again(case, attempt)
    if pod is None and attempt.started_at is not None:
        message = "The trainer's pod is gone; its Job is ending."
        return Standing(Phase.RETRYING, Reason.POD_DELETED, message)
    # A trainer that reports its step has started, with all workers, even if the watch lags behind.
    wait = pod_waits.wait_of(case, job, pod) if attempt.resumed_from_step is None else None
    if wait is not None:
        return pod_waits.standing_of(Phase.QUEUED, wait)
    return _describe_running(case, attempt)


def _describe_running(case: Case, attempt: AttemptStatus) -> Standing:
    left = deadline.seconds_left(case)
    if attempt.resumed_from_step is None:
        message = (
            f"The trainer of attempt {attempt.number} is running and has not reported a step yet."
        )
        return Standing(Phase.STARTING, Reason.STARTING, message, (), left)
    message = f"Attempt {attempt.number} is training to step {attempt.target_steps}."
    return Standing(Phase.RUNNING, Reason.TRAINING, message, (), left)


def _describe_stopping(case: Case, job: Job | None, pod: Pod | None) -> Standing | None:
    wait = pod_waits.stopping(case, pod) if pod is not None else None
    if wait is not None:
        return pod_waits.standing_of(Phase.RUNNING, wait)
    if job is None or job.deleting:
        return Standing(Phase.RUNNING, Reason.SAVING, _JOB_GONE)
    return None


def _make_again(case: Case, attempt: AttemptStatus) -> Standing:
    if (refused := refuse_several_workers(case)) is not None:
        return refused
    source = restore.resolve(case)
    if isinstance(source, Standing):
        return source
    renewed = attempt.model_copy(
        update={
            "image": pinned_image(case),
            "generation": case.generation,
            "target_steps": case.spec.steps,
            "spec_digest": spec_digest(case.spec),
        }
    )
    return _made(case, renewed, source, _pin(case))


def _made(
    case: Case,
    attempt: AttemptStatus,
    source: RestoreFrom | None,
    changes: tuple[tuple[str, object], ...],
) -> Standing:
    step = attempt.start_step
    begins = "" if step is None else f" from step {step}"
    message = f"Created attempt {attempt.number} to train{begins} to step {attempt.target_steps}."
    make = StartAttempt(attempt.number, attempt.job_name, attempt.image, source)
    return Standing(
        Phase.QUEUED,
        Reason.ATTEMPT_CREATED,
        message,
        (*_claim(case), make),
        changes=(*changes, ("current_attempt", attempt)),
    )


def _pin(case: Case) -> tuple[tuple[str, object], ...]:
    return (("image", case.image), ("image_digest", pinned_digest(case)))


_JOB_GONE = "The attempt's Job was deleted: the trainer saves and stops."


def _claim(case: Case) -> tuple[Action, ...]:
    claim = case.spec.checkpoints.storage.volume_claim
    if claim is None or claim.size is None:
        return ()
    return (EnsureClaim(names.claim_name(case.identity.name)),)


def _stop_hung(case: Case, attempt: AttemptStatus, job: Job | None) -> Standing | None:
    """End a trainer that sent its last report and does not exit."""
    progress = case.status.progress
    if attempt.outcome is None or progress is None or progress.reported_at is None:
        return None
    silent_s = (case.now - progress.reported_at).total_seconds()
    left = case.settings.termination_grace_s - silent_s
    message = "The trainer sent its last report; its pod is ending."
    if left > 0:
        return Standing(Phase.RUNNING, Reason.SAVING, message, (), left)
    actions: tuple[Action, ...] = ()
    if job is not None and not job.deleting:
        why = "The trainer sent its last report and did not exit."
        actions = (DeleteJob(job.name, job.uid, why),)
    return Standing(Phase.RUNNING, Reason.SAVING, message, actions)
