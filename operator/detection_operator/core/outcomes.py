"""Reads how a pod or a Job ended: from the pod, because a Job gives one reason for all ends.

A Job reports `BackoffLimitExceeded` for a crash, a SIGKILL, an OOM kill and a plain `kubectl delete
pod` alike. The policies that judge attempts and preflights call this module.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import OutcomeStatus
from detection_operator.core.case import clip
from detection_operator.core.state import Job, Pod, Termination
from detection_trainer.contract.base import Contract
from detection_trainer.contract.exit_codes import ExitCode, Verdict, verdict_of
from detection_trainer.contract.packing import unpack
from detection_trainer.contract.report import Outcome, Report
from detection_trainer.contract.spec import MAX_PIPELINE_CONFIG

Message = TypeVar("Message", bound=Contract)

SIGKILL, SIGTERM = 137, 143
START_CODES = frozenset({125, 126, 127, 128})
"""Exit codes of container runtimes for a command that could not be started."""
MAX_MESSAGE = 16384

_DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "DeletionByTaintManager": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "DeletionByPodGC": Reason.NODE_LOST,
}
_POD_REASONS = {
    "Evicted": Reason.EVICTED,
    "Preempting": Reason.PREEMPTED,
    "NodeLost": Reason.NODE_LOST,
    "NodeShutdown": Reason.EVICTED,
    "Terminated": Reason.EVICTED,
}
_EXIT_CODE = re.compile(r"exit code (\d{1,3})\b")


def reason_of(text: str) -> Reason:
    """Return the reason that a trainer names; Unexpected if the operator does not know it."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.UNEXPECTED


def verdict(outcome: OutcomeStatus) -> Verdict:
    """Return what an outcome means for the next attempt; without an exit code it may be retried."""
    if outcome.reason == Reason.IMAGE_PULL_FAILED:
        return Verdict.PERMANENT
    return Verdict.RETRYABLE if outcome.exit_code is None else verdict_of(outcome.exit_code)


def outcome_of_pod(pod: Pod, now: datetime) -> OutcomeStatus:
    """Return how the trainer in an ended pod ended: by its own report, else by the pod's status."""
    termination = pod.termination
    if termination is None:
        reason, message = _explain_no_run(pod)
        return OutcomeStatus(reason=reason, message=clip(message, MAX_MESSAGE), finished_at=now)
    finished_at = termination.finished_at or now
    reported = parse_termination(termination.message)
    if reported is not None:
        return reported.model_copy(update={"finished_at": finished_at})
    reason, message = _explain(pod, termination)
    return OutcomeStatus(
        exit_code=termination.exit_code,
        reason=reason,
        message=clip(message, MAX_MESSAGE),
        finished_at=finished_at,
    )


def _explain_no_run(pod: Pod) -> tuple[Reason, str]:
    """Return why the trainer's container left no exit code, from the pod's status."""
    if (disruption := disruption_of(pod)) is not None:
        message = pod.pod_message or (pod.disruption.message if pod.disruption else "")
        return (
            disruption,
            message or f"The cluster took the pod away ({disruption}).{_last_wait(pod)}",
        )
    if (failed := _failed_before(pod)) is not None:
        return Reason.START_FAILED, failed
    if pod.gone or pod.deleting_since is not None:
        how = f"was deleted and has no exit code ({Reason.POD_DELETED})"
        return Reason.POD_DELETED, pod.pod_message or f"The pod {how}.{_last_wait(pod)}"
    if pod.pod_reason or pod.pod_message:
        # The kubelet refused it, for example with `OutOfcpu` or `UnexpectedAdmissionError`.
        message = ": ".join(filter(None, (pod.pod_reason, pod.pod_message)))
        where = f"Node {pod.node}" if pod.node else "The cluster"
        return Reason.START_FAILED, f"{where} did not run the pod: {sentence(message)}"
    if pod.waiting is not None or pod.unschedulable is not None:
        return Reason.START_FAILED, f"The pod ended before the trainer ran.{_last_wait(pod)}"
    return Reason.UNEXPECTED, (
        "The pod ended without running, and its status states no cause (Unexpected)."
    )


def _failed_before(pod: Pod) -> str | None:
    """Return which container failed before the trainer ran, with its exit code and message."""
    deleted = pod.gone or pod.deleting_since is not None
    for other in pod.others:
        ended = other.termination
        if ended is None or (deleted and ended.exit_code in {SIGKILL, SIGTERM}):
            continue
        title = other.title[0].upper() + other.title[1:]
        advice = "" if ended.message.strip() else f"; see kubectl logs {pod.name} -c {other.name}"
        return sentence(f"{title} failed before the trainer ran: {ended.description}{advice}")
    return None


def _last_wait(pod: Pod) -> str:
    """Return the sentence with what a pod that never ran was waiting for; empty if unknown."""
    waited = pod.waiting or pod.unschedulable
    if waited is None:
        return ""
    who = f"Init container {waited.container}" if waited.container else "The pod"
    return f" {who} was waiting: {waited.reason}: {sentence(waited.message)}"


def blamed(pods: Sequence[Pod], now: datetime) -> Pod:
    """Return the pod that ended an attempt; other workers end because that one did.

    An error that another attempt would repeat comes first, then a disruption by the cluster, then
    the failure of one worker. If all workers saved, a pod that was deleted made the others save;
    else the chief is returned.
    """

    def order(pod: Pod) -> tuple[int, bool, int, datetime]:
        outcome = outcome_of_pod(pod, now)
        finished = outcome.finished_at or now
        if verdict(outcome) is Verdict.PERMANENT:
            return 0, False, 0, finished
        if disruption_of(pod) is not None:
            return 1, False, 0, finished
        if verdict(outcome) is Verdict.RETRYABLE and outcome.reason != Reason.PEER_LOST:
            return 2, False, 0, finished
        rank = 4 if outcome.reason == Reason.PEER_LOST else 3
        return rank, pod.deleting_since is None, pod.index, finished

    return min(pods, key=order)


def outcome_of_job(job: Job, now: datetime) -> OutcomeStatus:
    """Return how a Job without a pod ended: the exit code that its condition quotes, if any."""
    finished_at = job.finished_at or now
    if job.complete:
        code: int | None = ExitCode.COMPLETED.value
        reason, message = Reason.REPORT_MISSING, _REPORT_MISSING
    else:
        quoted = _EXIT_CODE.search(job.failure_message)
        code = int(quoted.group(1)) if quoted else None
        reason = _reason_of_code(code) if code is not None else _reason_of_failure(job)
        message = f"The pod is gone; its Job reports: {job.failure_reason}: {job.failure_message}"
    return OutcomeStatus(
        exit_code=code,
        reason=reason,
        message=clip(message, MAX_MESSAGE),
        finished_at=finished_at,
    )


def disruption_of(pod: Pod) -> Reason | None:
    """Return why the cluster removed the pod; None if the trainer ended by itself."""
    if pod.disruption is not None:
        return _DISRUPTIONS.get(pod.disruption.reason, Reason.EVICTED)
    return _POD_REASONS.get(pod.pod_reason)


def parse_last_report(message: str) -> Report | None:
    """Return the last report in a termination message; None if there is none."""
    return _parse(Report, message)


def parse_termination(message: str) -> OutcomeStatus | None:
    """Return the outcome in a termination message; None if the trainer did not write it."""
    report = parse_last_report(message)
    outcome = report.outcome if report else _parse(Outcome, message)
    return None if outcome is None else outcome_status(outcome)


def parse_config(message: str) -> str | None:
    """Return the pipeline.config in a preflight's termination message; None if there is none."""
    outcome = _parse(Outcome, message)
    if outcome is None or outcome.pipeline_config is None:
        return None
    try:
        return unpack(outcome.pipeline_config, MAX_PIPELINE_CONFIG)
    except ValueError:
        return None


def _parse(kind: type[Message], message: str) -> Message | None:
    try:
        return kind.model_validate(json.loads(message))
    except (ValueError, RecursionError):
        return None


def outcome_status(outcome: Outcome) -> OutcomeStatus:
    """Return a trainer's outcome as the status stores it."""
    return OutcomeStatus(
        exit_code=outcome.exit_code.value,
        reason=outcome.reason,
        message=outcome.message,
        differences=outcome.differences,
        dataset=outcome.dataset,
    )


def _explain(pod: Pod, termination: Termination) -> tuple[Reason, str]:
    code = termination.exit_code
    if termination.reason == "OOMKilled":
        return Reason.OUT_OF_MEMORY, (
            "The container used more than spec.resources.limits.memory and was killed: raise the "
            "limit, or lower batchSize."
        )
    if code == ExitCode.COMPLETED:
        return Reason.REPORT_MISSING, _REPORT_MISSING
    if (disruption := disruption_of(pod)) is not None and verdict_of(code) is Verdict.RETRYABLE:
        message = pod.disruption.message if pod.disruption else pod.pod_message
        return disruption, message or f"The cluster evicted the pod ({disruption})."
    if code in START_CODES or termination.reason in {"StartError", "ContainerCannotRun"}:
        return Reason.START_FAILED, termination.message or "The container could not be started."
    if code in {SIGKILL, SIGTERM}:
        return _explain_signal(pod, termination)
    reason = _reason_of_code(code)
    message = termination.message or "it left no message: see the pod's log"
    return reason, f"The trainer ended with exit code {code}: {message}"


def _explain_signal(pod: Pod, termination: Termination) -> tuple[Reason, str]:
    code, message = termination.exit_code, termination.message.strip()
    detail = f" {termination.reason}: {sentence(message)}" if message else ""
    if pod.deleting_since is not None:
        how = f"The pod was deleted; the trainer ended with exit code {code}."
        return Reason.POD_DELETED, how + detail
    return Reason.KILLED, f"The trainer was killed from outside (exit code {code}).{detail}"


def _reason_of_code(code: int) -> Reason:
    try:
        return reason_of(ExitCode(code).reason)
    except ValueError:
        return Reason.UNEXPECTED


def _reason_of_failure(job: Job) -> Reason:
    if "DisruptionTarget" in job.failure_message:
        return Reason.EVICTED
    if job.failure_reason == "DeadlineExceeded":
        return Reason.DEADLINE_EXCEEDED
    # A pod that ended by itself can still be read; this one is gone, so it was deleted.
    return Reason.POD_DELETED


_REPORT_MISSING = (
    "The trainer exited with code 0, but its last report did not arrive: check that its pod "
    "reaches the operator's Service."
)


def explain(outcome: OutcomeStatus, advice: str) -> str:
    """Return an outcome as a condition's message: the differences, and what to do."""
    parts = [outcome.message, advice, *outcome.differences]
    return clip(" ".join(sentence(part) for part in parts if part.strip()), MAX_MESSAGE)


def sentence(text: str) -> str:
    """Return `text` with a full stop, unless it already ends a sentence."""
    text = text.strip()
    return text if text.endswith((".", "!", "?", ";")) else f"{text}."
