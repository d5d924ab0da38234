"""What a pod of an attempt or a preflight waits for, as a reason and a message."""

import re
from dataclasses import dataclass, replace

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, HeldUp, Standing, has_ended
from detection_operator.core.outcomes import sentence
from detection_operator.core.policies import image_pull
from detection_operator.core.state import Job, Pod, Waiting

SANDBOX_REASON = "FailedCreatePodSandBox"
_ABOUT_CLAIM = re.compile(r"persistentvolumeclaim|\bpvc\b|binding volumes", re.IGNORECASE)
"""What the scheduler's message contains if a claim is missing, not a node."""
STARTING_REASONS = frozenset({"ContainerCreating", "PodInitializing"})
NODE_SLACK_S = 30.0
"""A busy node ends a pod some seconds after its grace period; a lost node never does."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a Job's pod waits for."""

    reason: Reason
    message: str
    recheck_after_s: float | None = None
    held_up: HeldUp | None = None


def standing_of(phase: Phase, wait: Wait) -> Standing:
    """Return the standing of a training in `phase` whose pod waits."""
    return Standing(
        phase,
        wait.reason,
        wait.message,
        recheck_after_s=wait.recheck_after_s,
        held_up=wait.held_up,
    )


def first_alive(pods: tuple[Pod, ...]) -> Pod | None:
    """Return the pod to describe, of those whose container may still run.

    A pod that is not being deleted comes first; of several workers, the one that all others wait
    for.
    """
    alive = [pod for pod in pods if not has_ended(pod)]

    def order(pod: Pod) -> tuple[bool, bool, int]:
        return pod.deleting_since is not None, pod.running_since is not None, pod.index

    return min(alive, key=order, default=None)


def wait_of(case: Case, job: Job, pod: Pod | None) -> Wait | None:
    """Return what the Job's pod waits for; None once its container runs."""
    if pod is None or job.rejected:
        return _wait_for_pod(job)
    wait = _wait_of_pod(case, job, pod)
    if wait is None or job.workers == 1:
        return wait
    others = f"Worker {pod.index} of {job.workers} delays the others: {wait.message}"
    return replace(wait, message=others)


def _wait_of_pod(case: Case, job: Job, pod: Pod) -> Wait | None:
    if pod.running_since is not None:
        return None
    if pod.unschedulable is not None:
        return Wait(Reason.UNSCHEDULABLE, _no_node(pod, pod.unschedulable.message))
    if (problem := image_pull.pull_problem(pod)) is not None:
        return _wait_for_image(case, job, pod, problem)
    if pod.waiting is not None and pod.waiting.reason not in STARTING_REASONS:
        return _wait_for_container(pod, pod.waiting, job)
    if (init := next((other for other in pod.others if other.blocks_start), None)) is not None:
        message = f"The trainer waits for init container {init.name}, which is running."
        return Wait(Reason.POD_PENDING, message)
    return Wait(Reason.POD_PENDING, "The pod waits for a node, a volume or its image.")


def stopping(case: Case, pod: Pod) -> Wait | None:
    """Return what a pod that is being deleted waits for; None if it is not being deleted."""
    if pod.deleting_since is None:
        return None
    timeout = case.spec.retry_policy.node_lost_timeout_seconds
    overdue = (case.now - pod.deleting_since).total_seconds()
    left = max(timeout - overdue, 0.0)
    if pod.forced:
        message = "The pod was deleted by force: the trainer has no grace period to save in."
        return Wait(Reason.POD_DELETED, message, left)
    slack = min(NODE_SLACK_S, timeout / 2)
    if overdue <= slack:
        message = "The pod is being stopped: the trainer saves."
        return Wait(Reason.SAVING, message, min(left, max(slack - overdue, 0.0) + 1.0))
    message = (
        f"Node {pod.node or 'unknown'} has not ended the pod within its grace period. The operator "
        f"deletes the pod by force {timeout} s after that period "
        "(retryPolicy.nodeLostTimeoutSeconds)."
    )
    return Wait(Reason.NODE_LOST, message, left)


def _wait_for_pod(job: Job) -> Wait:
    if job.suspended:
        return Wait(Reason.QUEUED, "The Job waits in its queue, which sets the Job's spec.suspend.")
    if not job.rejected:
        return Wait(Reason.POD_PENDING, "The Job has no pod yet.")
    if is_quota(job.rejected):
        message = (
            f"The pod exceeds the namespace's quota: {sentence(job.rejected)} Wait until enough of "
            f"the quota is free, raise the quota, or lower spec.{_resources_field(job)}."
        )
        return Wait(Reason.POD_REJECTED, message)
    message = (
        f"The cluster refuses the pod: {sentence(job.rejected)} Change the rules of the namespace, "
        f"spec.podTemplate or spec.{_resources_field(job)}. The Job controller retries."
    )
    return Wait(Reason.POD_REJECTED, message, held_up=HeldUp(job.created_at))


def is_quota(message: str) -> bool:
    """Return whether the quota admission of the API server refused the pod."""
    return "exceeded quota:" in message


def _resources_field(job: Job) -> str:
    """Return the field of the spec that sets the resources of this Job's pods."""
    return "preflightResources" if job.attempt is None else "resources"


def _wait_for_image(case: Case, job: Job, pod: Pod, problem: Waiting) -> Wait:
    since = problem.since or job.created_at
    error = sentence(f"{problem.reason}: {problem.message}")
    whose = f"of init container {problem.container} " if problem.container else ""
    if image_pull.is_definite(problem):
        message = f"The image {whose}cannot be pulled: {error} {image_pull.advice(problem)}"
        left_s = image_pull.seconds_left(pod, case.settings, case.now)
        return Wait(Reason.IMAGE_PULL_FAILED, message, left_s, HeldUp(since))
    message = (
        f"The image {whose}cannot be pulled yet: {error} The node retries until its registry "
        "answers."
    )
    held_up = HeldUp(since, case.settings.image_pull_timeout_s)
    return Wait(Reason.IMAGE_PULL_FAILED, message, held_up=held_up)


def _no_node(pod: Pod, message: str) -> str:
    if pod.claims and _ABOUT_CLAIM.search(message):
        return (
            f"A claim of the pod is not bound: {sentence(message)} The pod mounts "
            f"{', '.join(pod.claims)}. Correct spec.checkpoints.storage.volumeClaim or "
            "podTemplate.volumes, or create the volume or StorageClass that is missing."
        )
    return (
        f"No node fits the pod: {sentence(message)} Wait for a node to become free, or compare "
        "spec.resources and spec.podTemplate with the nodes."
    )


def _wait_for_container(pod: Pod, waiting: Waiting, job: Job) -> Wait:
    who = f"Init container {waiting.container}" if waiting.container else "The container"
    error = sentence(f"{waiting.reason}: {waiting.message}")
    advice = "Correct the Secret, volume or command at fault. The node retries."
    if waiting.reason == SANDBOX_REASON:
        advice = (
            f"The network plugin or the container runtime of node {pod.node or 'unknown'} is at "
            "fault. The node retries."
        )
    message = f"{who} cannot start: {error} {advice}"
    return Wait(Reason.START_FAILED, message, held_up=HeldUp(waiting.since or job.created_at))
