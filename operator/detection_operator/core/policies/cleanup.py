"""Which Jobs and pods to delete: expired, left over, or on a lost node."""

from datetime import datetime, timedelta

from detection_operator.api.conditions import ConditionType, Phase, Reason
from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import Action, DeleteJob, ForceDeletePod
from detection_operator.core.case import Case, has_ended
from detection_operator.core.policies.attempt_end import is_lost
from detection_operator.core.state import Job

KEPT_JOBS = 3
"""The number of ended attempts whose pods stay for `kubectl logs`; older ones are deleted."""

CATCH_UP_S = 5.0
"""Seconds after a training's end in which the end of its Job may not be observed yet: another
replica may have written the status, and a deletion of the Job would delete the pod's log.
"""

LINGER_S = 60.0
"""Seconds that a Job may run after its trainer has ended: another container, for example an
injected sidecar, may keep the pod and its GPU.
"""

FORCE_AGAIN_S = 5.0
"""Seconds until a pod that was deleted by force is checked again: somebody's finalizer may keep it.
"""

_FINISHED: dict[str, ConditionType] = {
    Phase.COMPLETE: ConditionType.COMPLETE,
    Phase.FAILED: ConditionType.FAILED,
    Phase.REFUSED: ConditionType.STALLED,
}


def clean_up(case: Case) -> tuple[Action, ...]:
    """Return what to delete, given the next status; never the resource or a checkpoint."""
    expired = seconds_to_live(case) == 0.0
    jobs = [job for job in case.observed.jobs if not job.deleting]
    old = _old(case)
    deletions = [
        DeleteJob(job.name, job.uid, why)
        for job in jobs
        if (why := _why_delete(case, job, expired=expired, old=job.name in old))
    ]
    forced = [ForceDeletePod(pod.name, pod.uid) for pod in case.all_pods if is_lost(case, pod)]
    known = {deletion.uid for deletion in deletions}
    left = [deletion for deletion in lingering(case) if deletion.uid not in known]
    return (*forced, *deletions, *left)


def recheck_after_s(case: Case) -> float | None:
    """Return the seconds until the next deletion that no event will trigger."""
    left = seconds_to_live(case)
    waits = [] if not left or not case.observed.jobs else [left]
    catching_up_s = _catching_up_s(case)
    if catching_up_s > 0 and any(_is_stray(case, job) for job in case.observed.jobs):
        waits.append(catching_up_s)
    lingers = (_linger_left_s(case, job) for job in case.observed.jobs)
    waits += [left_s for left_s in lingers if left_s]
    timeout = case.spec.retry_policy.node_lost_timeout_seconds
    for pod in case.all_pods:
        if pod.deleting_since is not None and not has_ended(pod):
            left_s = timeout - (case.now - pod.deleting_since).total_seconds()
            waits.append(left_s if left_s > 0 else FORCE_AGAIN_S)
    return min(waits, default=None)


def seconds_to_live(case: Case) -> float | None:
    """Return the seconds until `ttlSecondsAfterFinished` is over; None if nothing expires."""
    ttl, since = case.spec.ttl_seconds_after_finished, _finished_since(case.status)
    if ttl is None or since is None:
        return None
    # Compared as seconds: a time to live may exceed the range of datetime.
    return max(ttl - (case.now - since) / timedelta(seconds=1), 0.0)


def _finished_since(status: Status) -> datetime | None:
    about = _FINISHED.get(status.phase)
    finished = None if about is None else status.condition(about)
    return None if finished is None else finished.last_transition_time


def lingering(case: Case) -> tuple[DeleteJob, ...]:
    """Return the deletions of Jobs that still run although their trainers have ended."""
    return tuple(
        DeleteJob(job.name, job.uid, _lingering_containers(job), Reason.SIDECAR_RUNNING)
        for job in case.observed.jobs
        if _linger_left_s(case, job) == 0.0
    )


def _lingering_containers(job: Job) -> str:
    """Return which containers keep the pods of `job`, and how a person ends them."""
    names = {other.name for pod in job.pods for other in pod.others if other.running}
    who = {0: "A container", 1: "Container"}.get(len(names), "Containers")
    named = ", ".join(sorted(names))
    several = len(names) > 1
    return (
        f"{who}{' ' if named else ''}{named} beside the trainer {'are' if several else 'is'} still "
        f"running {LINGER_S:.0f} s after the trainer ended, and "
        f"{'occupy' if several else 'occupies'} the pod's resources. Make it a native sidecar (an "
        "init container with restartPolicy: Always), which ends with the trainer."
    )


def _linger_left_s(case: Case, job: Job) -> float | None:
    """Return how long `job` may still run after its trainer's end; None if no end is known."""
    ended = _recorded_end(case, job) if ends(job) else None
    if ended is None:
        return None
    return max(LINGER_S - (case.now - ended) / timedelta(seconds=1), 0.0)


def _recorded_end(case: Case, job: Job) -> datetime | None:
    """Return when the trainer of `job` ended, if that is recorded."""
    for known in (case.attempt, case.status.preflight):
        if known is not None and known.job_name == job.name:
            return known.outcome.finished_at if known.outcome is not None else None
    # The Job of an earlier attempt: the status no longer has its outcome.
    ends_of_pods = [pod.termination.finished_at for pod in job.pods if pod.termination]
    return max((time for time in ends_of_pods if time is not None), default=None)


def _why_delete(case: Case, job: Job, *, expired: bool, old: bool) -> str:
    if expired:
        return "ttlSecondsAfterFinished has passed."
    if old:
        return f"Only the Jobs of the newest {KEPT_JOBS} ended attempts are kept."
    is_stray = _is_stray(case, job) and not _catching_up_s(case)
    return "The Job belongs to no current attempt or check." if is_stray else ""


def _catching_up_s(case: Case) -> float:
    """Return for how many seconds the observed Jobs of an ended training may still be outdated."""
    since = _finished_since(case.status)
    if since is None:
        return 0.0
    return max(CATCH_UP_S - (case.now - since) / timedelta(seconds=1), 0.0)


def ends(job: Job) -> bool:
    """Return whether all pods of `job` have ended, so that its own end follows soon."""
    # A suspended Job is still in its queue and could start a second trainer.
    if job.complete or job.failed or job.deleting or job.suspended:
        return False
    return bool(job.pods) and all(has_ended(pod) for pod in job.pods)


def _is_stray(case: Case, job: Job) -> bool:
    """Return whether `job` may still run pods that nothing waits for."""
    if job.complete or job.failed or ends(job):
        return False
    attempt, preflight = case.attempt, case.status.preflight
    if job.attempt is not None:
        current = attempt is not None and attempt.job_name == job.name and case.is_under_way
        return not current
    checking = case.status.phase == Phase.PREFLIGHT
    return not (checking and preflight is not None and preflight.job_name == job.name)


def _old(case: Case) -> frozenset[str]:
    attempt = case.attempt
    current = attempt.job_name if attempt is not None else ""
    ended = [job for job in case.observed.jobs if job.attempt is not None and job.name != current]
    ended.sort(key=lambda job: job.attempt or 0, reverse=True)
    return frozenset(job.name for job in ended[KEPT_JOBS:])
