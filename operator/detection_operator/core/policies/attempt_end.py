"""Whether the current attempt has ended, how, and what the status records about it.

The end is recorded once: when the outcome has a `finishedAt`.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import AttemptStatus, Interruption, OutcomeStatus, Status
from detection_operator.core import outcomes
from detection_operator.core.case import Case, has_ended, has_run, newest_step
from detection_operator.core.policies import deadline, image_pull, retry
from detection_operator.core.policies.image import record_image
from detection_operator.core.policies.stop import Stop, stop_of
from detection_operator.core.reports import apply_report
from detection_operator.core.state import Job, Pod
from detection_trainer.contract.exit_codes import Verdict

MAX_INTERRUPTIONS = 20


@dataclass(frozen=True, slots=True)
class End:
    """An attempt's end, and what Kubernetes reports of it."""

    outcome: OutcomeStatus
    """The trainer's own report if there is one, else what Kubernetes reports."""
    seen: Reason
    """What Kubernetes reports."""
    job: Job | None = None
    pod: Pod | None = None


def record_attempt(case: Case) -> Case:
    """Return `case` with what the cluster's objects show of the current attempt."""
    if not case.is_under_way:
        return case
    case = _apply_last_report(record_image(_record_start(_record_job(case))))
    attempt = case.attempt
    end = _end_of(case, attempt) if attempt is not None else None
    return case if attempt is None or end is None else _settle(case, attempt, end)


def verdict_in(case: Case, outcome: OutcomeStatus) -> Verdict:
    """Return what an outcome means for the next attempt of this training.

    A storage that accepted a checkpoint of this run and now refuses the credentials is probably in
    the middle of a key rotation: the run backs off before it fails.
    """
    verdict = outcomes.verdict(outcome)
    if outcome.reason == Reason.ACCESS_DENIED and newest_step(case.status) is not None:
        return Verdict.RETRYABLE
    return verdict


def made_checkpoint(attempt: AttemptStatus, status: Status) -> bool:
    """Return whether `attempt` committed a checkpoint after the one it began with."""
    newest = newest_step(status)
    start = -1 if attempt.start_step is None else attempt.start_step
    return newest is not None and newest > start


def _record_job(case: Case) -> Case:
    """Record the uid of the attempt's Job; it identifies the pods once the Job is gone."""
    attempt = case.attempt
    job = case.job(attempt.job_name) if attempt is not None else None
    if attempt is None or job is None or attempt.job_uid is not None:
        return case
    return case.amended(current_attempt=attempt.model_copy(update={"job_uid": job.uid}))


def _record_start(case: Case) -> Case:
    attempt = case.attempt
    if attempt is None:
        return case
    pods, job = case.pods(attempt.job_name), case.job(attempt.job_name)
    starts = [pod.running_since for pod in pods if pod.running_since]
    if len(starts) < (job.workers if job is not None else 1):
        # The attempt starts when its last worker starts.
        return case
    started_at = max(starts).replace(microsecond=0)
    # A report may have come first; the pod's time is more exact.
    if attempt.started_at is not None and attempt.started_at <= started_at:
        return case
    started = attempt.model_copy(update={"started_at": started_at})
    return case.amended(current_attempt=started)


def _apply_last_report(case: Case) -> Case:
    """Apply the last report of an ended pod, in case it was not received when it was sent."""
    attempt = case.attempt
    if attempt is None:
        return case
    for pod in case.pods(attempt.job_name):
        if pod.index > 0:
            continue
        left = pod.termination and outcomes.parse_last_report(pod.termination.message)
        if left:
            return replace(case, status=apply_report(case.status, left, case.now))
    return case


def _end_of(case: Case, attempt: AttemptStatus) -> End | None:
    """Return how the attempt ended; None while its trainer may still run or be created."""
    job, pods = case.job(attempt.job_name), case.pods(attempt.job_name)
    alive = [pod for pod in pods if not has_ended(pod)]
    if lost := [pod for pod in alive if is_lost(case, pod)]:
        return _lost(case, lost[0])
    if alive:
        ends = (_unpullable(case, attempt, pod) for pod in alive)
        return next((end for end in ends if end is not None), None)
    if job is not None and _lost_its_place(attempt, job, pods):
        return None
    # Pods that never ran, of a Job that is gone, were replaced: nothing was interrupted.
    is_over = _has_run(attempt, pods) if job is None else _are_all(job, pods)
    if pods and is_over:
        return _ended_pod(case, attempt, job, outcomes.blamed(pods, case.stamp))
    return _without_job(case, attempt) if job is None else _ended_job(case, attempt, job)


def _lost_its_place(attempt: AttemptStatus, job: Job, pods: tuple[Pod, ...]) -> bool:
    """Return whether pods that never ran were deleted and the Job may create others.

    The Job does if a queue preempted it before the start, once the queue admits it again. If a
    person deleted the pods, the Job fails within seconds.
    """
    over = job.complete or job.failed or job.deleting
    deleted = all(pod.gone or pod.deleting_since is not None for pod in pods)
    return bool(pods) and deleted and not over and attempt.started_at is None


def _has_run(attempt: AttemptStatus, pods: tuple[Pod, ...]) -> bool:
    """Return whether a container of the attempt has started, as far as is known."""
    return any(map(has_run, pods)) or attempt.started_at is not None or attempt.sequence is not None


def _are_all(job: Job, pods: tuple[Pod, ...]) -> bool:
    """Return whether no other pod of `job` can appear: one failure ends it for all workers."""
    return len(pods) >= job.workers or job.failed or job.complete or job.deleting


def is_lost(case: Case, pod: Pod) -> bool:
    """Return whether a pod has outlived its deletion by nodeLostTimeoutSeconds."""
    if pod.deleting_since is None or has_ended(pod) or not pod.node:
        # A pod without a node is removed at once, or when somebody's finalizer allows it.
        return False
    timeout = timedelta(seconds=case.spec.retry_policy.node_lost_timeout_seconds)
    return case.now - pod.deleting_since >= timeout


def _lost(case: Case, pod: Pod) -> End:
    timeout = case.spec.retry_policy.node_lost_timeout_seconds
    if pod.forced:
        # The kubelet was not asked to end the pod, so nothing is known of the node.
        message = f"The pod was deleted by force and still exists {timeout} s later."
        return End(_own(case, Reason.POD_DELETED, message), Reason.POD_DELETED)
    message = (
        f"Node {pod.node or 'unknown'} did not end the pod within nodeLostTimeoutSeconds "
        f"({timeout} s). The operator deletes the pod by force."
    )
    return End(_own(case, Reason.NODE_LOST, message), Reason.NODE_LOST)


def _unpullable(case: Case, attempt: AttemptStatus, pod: Pod) -> End | None:
    problem = image_pull.give_up(pod, attempt.image, case.settings, case.now)
    if problem is None:
        return None
    return End(_own(case, Reason.IMAGE_PULL_FAILED, problem), Reason.IMAGE_PULL_FAILED)


def _ended_pod(case: Case, attempt: AttemptStatus, job: Job | None, pod: Pod) -> End:
    seen = outcomes.outcome_of_pod(pod, case.stamp)
    return End(
        _reported_or_seen(attempt, case.status, seen), outcomes.reason_of(seen.reason), job, pod
    )


def _ended_job(case: Case, attempt: AttemptStatus, job: Job) -> End | None:
    if job.complete or job.failed:
        seen = outcomes.outcome_of_job(job, case.stamp)
    elif job.suspended and not job.deleting and attempt.started_at is not None:
        seen = _own(case, Reason.PREEMPTED, "The queue evicted the Job.")
    else:
        return None
    return End(_reported_or_seen(attempt, case.status, seen), outcomes.reason_of(seen.reason), job)


def _without_job(case: Case, attempt: AttemptStatus) -> End | None:
    if attempt.outcome is None and attempt.started_at is None:
        # Its Job was never created, or was deleted while it waited: create it unless unwanted.
        stop = stop_of(case)
        if stop is None:
            return None
        message = "The attempt was stopped before it started."
        return End(_own(case, stop.reason, message), stop.reason)
    seen = _own(case, Reason.JOB_DELETED, "The Job is gone, and no last report arrived.")
    return End(_reported_or_seen(attempt, case.status, seen), Reason.JOB_DELETED)


def _own(case: Case, reason: Reason, message: str) -> OutcomeStatus:
    return OutcomeStatus(reason=reason, message=message, finished_at=case.stamp)


def _reported_or_seen(attempt: AttemptStatus, status: Status, seen: OutcomeStatus) -> OutcomeStatus:
    """Return the outcome that the trainer reported, else what Kubernetes reported.

    A completion that was observed but not reported does not state the steps: another attempt reads
    the storage and reports.
    """
    finished_at = seen.finished_at.replace(microsecond=0) if seen.finished_at else None
    reported = attempt.outcome
    if reported is not None and (
        reported.reason != Reason.PEER_LOST or seen.reason == Reason.PEER_LOST
    ):
        return reported.model_copy(update={"finished_at": finished_at})
    seen = seen.model_copy(update={"finished_at": finished_at})
    if outcomes.verdict(seen) is not Verdict.COMPLETE or status.step >= attempt.target_steps:
        return seen
    message = (
        f"The trainer finished, but its last report was for step {status.step} of "
        f"{attempt.target_steps}: check that its pod reaches the operator's Service."
    )
    unknown = {"exit_code": None, "reason": Reason.REPORT_MISSING.value, "message": message}
    return seen.model_copy(update=unknown)


def _cause(end: End, stop: Stop | None) -> Reason:
    """Return what ended the attempt: a trainer reports Saved for a drain and a deletion alike."""
    if stop is not None:
        return stop.reason
    reason = outcomes.reason_of(end.outcome.reason)
    if reason not in {Reason.SAVED, Reason.POD_DELETED, Reason.KILLED}:
        return reason
    if end.pod is None:
        return end.seen
    if (disruption := outcomes.disruption_of(end.pod)) is not None:
        return disruption
    return _cause_of_job(end.job) or (
        Reason.POD_DELETED if end.pod.deleting_since is not None else reason
    )


def _cause_of_job(job: Job | None) -> Reason | None:
    if job is None or job.deleting:
        return Reason.JOB_DELETED
    # After a start only the Job's queue suspends it.
    return Reason.PREEMPTED if job.suspended else None


def _settle(case: Case, attempt: AttemptStatus, end: End) -> Case:
    """Record the end: active time, retries and the interruption."""
    ended = attempt.model_copy(update={"outcome": end.outcome})
    case = case.amended(
        current_attempt=ended,
        active_seconds=case.status.active_seconds + deadline.seconds_of(ended),
    )
    verdict, stop = verdict_in(case, end.outcome), stop_of(case)
    made = made_checkpoint(ended, case.status)
    if verdict in {Verdict.RETRYABLE, Verdict.SAVED} and stop is None:
        pods = (end.pod,) if end.pod is not None else ()
        counts = _has_run(ended, pods)
        case = case.amended(retries=retry.after_end(case, made=made, counts=counts))
    elif made or verdict is Verdict.COMPLETE:
        case = case.amended(retries=retry.NONE)
    if not _is_interruption(ended, verdict, stopped=stop is not None):
        return case
    return _interrupted(case, ended, _cause(end, stop))


def _is_interruption(attempt: AttemptStatus, verdict: Verdict, *, stopped: bool) -> bool:
    ran = attempt.resumed_from_step is not None
    match verdict:
        case Verdict.COMPLETE:
            return False
        case Verdict.SAVED:
            return not stopped
        case Verdict.PERMANENT:
            return ran
        case Verdict.RETRYABLE:
            return ran or not stopped


def _interrupted(case: Case, attempt: AttemptStatus, cause: Reason) -> Case:
    status, outcome = case.status, attempt.outcome
    reported = attempt.sequence is not None
    entry = Interruption(
        attempt=attempt.number,
        time=outcome.finished_at if outcome and outcome.finished_at else case.stamp,
        reason=cause,
        message=outcome.message if outcome else "",
        last_reported_step=attempt.last_step if reported else attempt.start_step or 0,
    )
    return case.amended(
        interruptions=[entry, *status.interruptions][:MAX_INTERRUPTIONS],
        interruption_count=status.interruption_count + 1,
    )
