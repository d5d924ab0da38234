"""How an attempt that trained was interrupted."""

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import Spec
from detection_operator.core.state import Observed, Pod, PodPhase
from tests.support.operator.observations import (
    NOW,
    ago,
    ended_pod,
    job,
    pod,
    spec,
    termination_message,
    waiting,
)
from tests.support.operator.situation import running


def _cause(ended: Pod, *, deleting: bool = False, made: Spec | None = None) -> Observed:
    return running(job(ended, deleting=deleting), made=made)


CAUSES: dict[str, tuple[Observed, Reason]] = {
    "preempted": (
        _cause(ended_pod(40, disruption=waiting("PreemptionByScheduler"))),
        Reason.PREEMPTED,
    ),
    "preempted, and withdrawn by its queue": (running(job(suspended=True)), Reason.PREEMPTED),
    "drained": (_cause(ended_pod(40, disruption=waiting("EvictionByEvictionAPI"))), Reason.EVICTED),
    "evicted for its disk": (_cause(ended_pod(137, pod_reason="Evicted")), Reason.EVICTED),
    "evicted before it ran": (
        running(
            job(pod(phase=PodPhase.FAILED, running_since=None, pod_reason="Evicted", uid="p2"))
        ),
        Reason.EVICTED,
    ),
    "on a node that was removed": (
        _cause(ended_pod(137, disruption=waiting("DeletionByPodGC"))),
        Reason.NODE_LOST,
    ),
    "by a forced deletion that a finalizer blocks": (
        running(job(pod(deleting_since=ago(301), forced=True))),
        Reason.POD_DELETED,
    ),
    "on a node that is lost": (running(job(pod(deleting_since=ago(301)))), Reason.NODE_LOST),
    "deleted by a person, and saved": (
        _cause(ended_pod(40, deleting_since=NOW)),
        Reason.POD_DELETED,
    ),
    "deleted by a person, and too slow": (
        _cause(ended_pod(137, deleting_since=NOW)),
        Reason.POD_DELETED,
    ),
    "deleted with no grace": (
        running(job(failed=True, failure_reason="BackoffLimitExceeded")),
        Reason.POD_DELETED,
    ),
    "deleted with no grace, and its last state known": (
        running(job(pod(phase=PodPhase.FAILED, gone=True))),
        Reason.POD_DELETED,
    ),
    "with its Job, and with no grace": (
        running(orphans=(pod(phase=PodPhase.FAILED, gone=True),)),
        Reason.JOB_DELETED,
    ),
    "evicted, and its pod gone": (
        running(job(failed=True, failure_message="has condition DisruptionTarget matching")),
        Reason.EVICTED,
    ),
    "out of memory, and its pod gone": (
        running(job(failed=True, failure_message="failed with exit code 72 matching FailJob")),
        Reason.OUT_OF_MEMORY,
    ),
    "preempted by its queue, and saved": (
        running(job(ended_pod(40), suspended=True)),
        Reason.PREEMPTED,
    ),
    "preempted by its queue, and too slow": (
        running(job(ended_pod(137, deleting_since=NOW), suspended=True)),
        Reason.PREEMPTED,
    ),
    "with its Job, and saved": (_cause(ended_pod(40), deleting=True), Reason.JOB_DELETED),
    "with its Job, and gone": (running(), Reason.JOB_DELETED),
    "with its Job, and its pod is still known": (
        running(orphans=(ended_pod(40),)),
        Reason.JOB_DELETED,
    ),
    "killed from outside": (_cause(ended_pod(137)), Reason.KILLED),
    "out of memory": (_cause(ended_pod(137, reason="OOMKilled")), Reason.OUT_OF_MEMORY),
    "out of the device's memory": (
        _cause(ended_pod(72, termination_message(72, "OutOfMemory"))),
        Reason.OUT_OF_MEMORY,
    ),
    "with its storage away": (_cause(ended_pod(71)), Reason.STORAGE_UNAVAILABLE),
    "with its storage full": (_cause(ended_pod(74)), Reason.STORAGE_FULL),
    "fenced by a later attempt": (_cause(ended_pod(73)), Reason.SUPERSEDED),
    "with another worker lost": (_cause(ended_pod(76)), Reason.PEER_LOST),
    "with its document edited": (_cause(ended_pod(75)), Reason.CONFIG_CHANGED),
    "unable to start": (_cause(ended_pod(128, reason="StartError")), Reason.START_FAILED),
    "with a command that is not there": (_cause(ended_pod(127)), Reason.START_FAILED),
    "with a traceback": (_cause(ended_pod(1, "Traceback: a torn file")), Reason.UNEXPECTED),
    "with a code that is none of ours": (_cause(ended_pod(63, "?")), Reason.UNEXPECTED),
    "without a reason": (running(job(pod(phase=PodPhase.FAILED))), Reason.UNEXPECTED),
    "asked to stop by an unknown sender": (_cause(ended_pod(40)), Reason.SAVED),
    "complete, and its report lost": (
        _cause(ended_pod(0, reason="Completed")),
        Reason.REPORT_MISSING,
    ),
    "complete, and report and pod lost": (running(job(complete=True)), Reason.REPORT_MISSING),
    "suspended, and too slow to save": (
        _cause(ended_pod(137, deleting_since=NOW), made=spec(suspend=True)),
        Reason.SUSPENDED,
    ),
    "over its deadline, and too slow to save": (
        _cause(ended_pod(137, deleting_since=NOW), made=spec(activeDeadlineSeconds=480)),
        Reason.DEADLINE_EXCEEDED,
    ),
    "with lowered steps, and too slow to save": (
        _cause(ended_pod(137, deleting_since=NOW), made=spec(steps=45)),
        Reason.STEPS_LOWERED,
    ),
    "with its dataset changed under it": (
        _cause(ended_pod(58, termination_message(58, "DatasetChanged"))),
        Reason.DATASET_CHANGED,
    ),
    "with bad data in the middle": (
        _cause(ended_pod(52, termination_message(52, "DataInvalid"))),
        Reason.DATA_INVALID,
    ),
}
"""How an attempt that trained was interrupted, and the reason that its entry carries."""
