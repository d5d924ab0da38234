"""Containers beside the trainer, claims and sandboxes: the message names the cause."""

from typing import Any

import pytest

from detection_operator.api.conditions import ConditionType, Reason
from detection_operator.core.actions import DeleteJob
from detection_operator.core.outcomes import outcome_of_pod
from detection_operator.core.plan import plan
from detection_operator.core.state import Container, Pod, PodPhase, Termination, Waiting
from tests.support.operator.observations import (
    NOW,
    SETTINGS,
    ago,
    attempt,
    check_job,
    ended_pod,
    job,
    observed,
    outcome,
    pending_pod,
    preflight,
    spec,
    training_attempt,
    under_way,
)

NO_ROUTE = Termination(3, "Error", "no route to storage", ago(20))


def failed(**fields: Any) -> Pod:
    """Return a pod that ended and whose trainer has not run."""
    return pending_pod(**{"phase": PodPhase.FAILED, **fields})


def init(termination: Termination | None = NO_ROUTE, **fields: Any) -> Container:
    return Container("fetch", is_init=True, termination=termination, **fields)


ENDS: dict[str, tuple[Pod, Reason, str]] = {
    "an init container that failed": (
        failed(others=(init(),)),
        Reason.START_FAILED,
        (
            "Init container fetch failed before the trainer ran: exit code 3 (Error): no route to "
            "storage"
        ),
    ),
    "an init container that left no words": (
        failed(others=(init(Termination(3, "Error", "")),)),
        Reason.START_FAILED,
        "exit code 3 (Error); see kubectl logs trees-5f2c8a1b-1-abcde -c fetch",
    ),
    "an init container that used too much memory": (
        failed(others=(init(Termination(137, "OOMKilled", "")),)),
        Reason.START_FAILED,
        "Init container fetch failed before the trainer ran: exit code 137 (OOMKilled)",
    ),
    "another container that failed": (
        failed(others=(Container("proxy", termination=NO_ROUTE),)),
        Reason.START_FAILED,
        "Container proxy failed before the trainer ran: exit code 3",
    ),
    "an init container that a deletion ended": (
        failed(others=(init(Termination(143, "Error", "")),), deleting_since=ago(5)),
        Reason.POD_DELETED,
        "was deleted",
    ),
    "an init container that failed before the pod was deleted": (
        failed(others=(init(),), deleting_since=ago(5), gone=True),
        Reason.START_FAILED,
        "no route to storage",
    ),
    "an eviction while an init container ran": (
        failed(others=(init(Termination(137, "Error", "")),), pod_reason="Evicted"),
        Reason.EVICTED,
        "Evicted",
    ),
    "a pod that the kubelet does not admit": (
        failed(pod_reason="UnexpectedAdmissionError", pod_message="Allocate failed: no devices"),
        Reason.START_FAILED,
        "Node node-1 did not run the pod: UnexpectedAdmissionError: Allocate failed: no devices.",
    ),
    "a pod that ended while it waited": (
        failed(waiting=Waiting("CreateContainerError", "no such device", container="fetch")),
        Reason.START_FAILED,
        "Init container fetch was waiting: CreateContainerError: no such device.",
    ),
    "a container that was lost with words": (
        ended_pod(137, "The container could not be located", "ContainerStatusUnknown"),
        Reason.KILLED,
        "(exit code 137). ContainerStatusUnknown: The container could not be located.",
    ),
    "nothing": (failed(), Reason.UNEXPECTED, "its status states no cause"),
}


@pytest.mark.parametrize(("pod", "reason", "text"), ENDS.values(), ids=ENDS.keys())
def test_the_end_of_a_pod_quotes_its_status(pod: Pod, reason: Reason, text: str) -> None:
    ended = outcome_of_pod(pod, NOW)
    assert (ended.reason, ended.exit_code is None) == (reason, pod.termination is None)
    assert text in ended.message


def test_an_init_container_that_fails_uses_a_retry_and_is_quoted() -> None:
    made = attempt(start_step=40)
    given = observed(spec(), under_way(made), job(failed(others=(init(),)), failed=True))
    decided = plan(given, SETTINGS, NOW).status
    assert decided.retries.count == 1
    ready = decided.condition(ConditionType.READY)
    assert ready is not None
    assert "Init container fetch failed" in ready.message


def test_an_init_container_that_fails_in_the_check_uses_a_retry_and_is_quoted() -> None:
    check = check_job(failed(others=(init(),)), failed=True)
    status = under_way(None, current_attempt=None, latest_checkpoint=None, preflight=preflight())
    decided = plan(observed(spec(preflight="Always"), status, check), SETTINGS, NOW).status
    assert decided.preflight is not None
    assert decided.preflight.outcome is not None
    assert "Init container fetch failed" in decided.preflight.outcome.message
    assert decided.retries.count == 1


UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
PROVISION = "PersistentVolumeClaim data: ProvisioningFailed: storageclass fats not found"
WAITS: dict[str, tuple[Pod, Reason, str]] = {
    "a claim that does not bind": (
        pending_pod(node="", claims=("data",), unschedulable=Waiting("Unschedulable", UNBOUND)),
        Reason.UNSCHEDULABLE,
        f"A claim of the pod is not bound: {UNBOUND} The pod mounts data.",
    ),
    "a claim that does not bind, with its Event": (
        pending_pod(node="", claims=("data",), unschedulable=Waiting("Unschedulable", PROVISION)),
        Reason.UNSCHEDULABLE,
        f"A claim of the pod is not bound: {PROVISION}.",
    ),
    "no node with room, of a pod with a claim": (
        pending_pod(
            node="", claims=("data",), unschedulable=Waiting("Unschedulable", "1 Insufficient cpu")
        ),
        Reason.UNSCHEDULABLE,
        "No node fits the pod: 1 Insufficient cpu.",
    ),
    "a sandbox that cannot be made": (
        pending_pod(waiting=Waiting("FailedCreatePodSandBox", "plugin calico failed")),
        Reason.START_FAILED,
        (
            "The container cannot start: FailedCreatePodSandBox: plugin calico failed. The network "
            "plugin or the container runtime of node node-1 is at fault."
        ),
    ),
    "an init container that cannot start": (
        pending_pod(waiting=Waiting("CrashLoopBackOff", "back-off", container="proxy")),
        Reason.START_FAILED,
        "Init container proxy cannot start: CrashLoopBackOff: back-off.",
    ),
    "an init container whose image does not exist": (
        pending_pod(waiting=Waiting("ErrImagePull", "not found", container="proxy")),
        Reason.IMAGE_PULL_FAILED,
        (
            "The image of init container proxy cannot be pulled: ErrImagePull: not found. Correct "
            "the image of container proxy"
        ),
    ),
    "an init container that runs": (
        pending_pod(others=(init(None, running=True, blocks_start=True),)),
        Reason.POD_PENDING,
        "The trainer waits for init container fetch, which is running.",
    ),
}


@pytest.mark.parametrize(("pod", "reason", "text"), WAITS.values(), ids=WAITS.keys())
def test_a_pod_that_waits_names_what_it_waits_for(pod: Pod, reason: Reason, text: str) -> None:
    given = observed(spec(), under_way(attempt()), job(pod))
    ready = plan(given, SETTINGS, NOW).status.condition(ConditionType.READY)
    assert ready is not None
    assert ready.reason == reason
    assert text in ready.message


def test_the_image_of_an_init_container_ends_the_attempt_by_its_name() -> None:
    missing = Waiting("ErrImagePull", "not found", ago(601), container="proxy")
    given = observed(spec(), under_way(attempt()), job(pending_pod(waiting=missing)))
    decided = plan(given, SETTINGS, NOW).status
    assert decided.current_attempt is not None
    assert decided.current_attempt.outcome is not None
    assert "of init container proxy could not be pulled" in decided.current_attempt.outcome.message


LINGERING: dict[str, tuple[tuple[str, ...], str]] = {
    "one": (("istio",), "Container istio beside the trainer is still running 60 s after"),
    "two": (
        ("vault", "istio"),
        "Containers istio, vault beside the trainer are still running 60 s after",
    ),
    "none that is known": ((), "A container beside the trainer is still running 60 s after"),
}


@pytest.mark.parametrize(("names", "text"), LINGERING.values(), ids=LINGERING.keys())
def test_the_containers_that_outlive_the_trainer_are_named(
    names: tuple[str, ...], text: str
) -> None:
    others = tuple(Container(name, running=True) for name in names)
    done = training_attempt(outcome=outcome(0, "Completed", finished_at=ago(61)), last_step=100)
    pod = ended_pod(0, phase=PodPhase.RUNNING, others=others)
    given = observed(spec(), under_way(done, step=100), job(pod, complete=False))
    [deletion] = plan(given, SETTINGS, NOW).actions
    assert isinstance(deletion, DeleteJob)
    assert deletion.why.startswith(text)
