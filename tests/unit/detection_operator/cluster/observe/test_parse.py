"""From Kubernetes objects to what `plan` is given: realistic documents, field by field."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.observe.parse import (
    parse_job,
    parse_status,
    parse_training,
    render_status,
)
from detection_operator.cluster.observe.parse_pod import parse_pod
from detection_operator.core.state import Container, PodPhase, Termination, Waiting
from tests.support.operator.cluster_objects import (
    UID,
    attempt_status,
    container_status,
    job,
    pod,
    stored_training,
)

Object = dict[str, Any]
AT = "2026-11-24T10:05:00Z"
WHEN = datetime(2026, 11, 24, 10, 5, tzinfo=UTC)

PODS: dict[str, tuple[Object, Object]] = {
    "a pod that no node accepts reports why, and since when": (
        {
            "phase": "Pending",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
                    "lastTransitionTime": AT,
                }
            ],
        },
        {
            "unschedulable": Waiting(
                "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", WHEN
            )
        },
    ),
    "an image that cannot be pulled": (
        container_status(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling"}),
        {"waiting": Waiting("ImagePullBackOff", "Back-off pulling")},
    ),
    "a container that is merely being made does not wait for anything": (
        container_status(waiting={"reason": "ContainerCreating"}),
        {"waiting": None},
    ),
    "an init container's trouble counts as the trainer's": (
        {
            **container_status(waiting={"reason": "PodInitializing"}),
            "initContainerStatuses": [
                {"name": "fetch", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}
            ],
        },
        {"waiting": Waiting("ErrImagePull", "no", container="fetch")},
    ),
    "a sidecar that must run first and does not reports how it last ended": (
        {
            **container_status(waiting={"reason": "PodInitializing"}),
            "initContainerStatuses": [
                {
                    "name": "proxy",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                    "lastState": {
                        "terminated": {"exitCode": 3, "reason": "Error", "message": "no route\n"}
                    },
                }
            ],
        },
        {
            "waiting": Waiting(
                "CrashLoopBackOff",
                "back-off 10s Its last run ended: exit code 3 (Error): no route",
                container="proxy",
            )
        },
    ),
    "a trainer that runs waits for no sidecar that starts again": (
        {
            **container_status(running={"startedAt": AT}),
            "initContainerStatuses": [
                {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
            ],
        },
        {"waiting": None, "running_since": WHEN},
    ),
    "an init container that failed": (
        {
            **container_status(waiting={"reason": "PodInitializing"}),
            "phase": "Failed",
            "initContainerStatuses": [
                {"name": "first", "state": {"terminated": {"exitCode": 0}}},
                {
                    "name": "fetch",
                    "state": {
                        "terminated": {"exitCode": 3, "reason": "Error", "message": "no route"}
                    },
                },
            ],
        },
        {
            "waiting": None,
            "others": (
                Container("fetch", is_init=True, termination=Termination(3, "Error", "no route")),
            ),
        },
    ),
    "a container that runs beside an ended trainer": (
        {
            "phase": "Running",
            "containerStatuses": [
                {"name": "trainer", "state": {"terminated": {"exitCode": 0}}},
                {"name": "istio", "state": {"running": {"startedAt": AT}}},
            ],
        },
        {"others": (Container("istio", running=True),)},
    ),
    "a trainer that runs": (
        container_status(running={"startedAt": AT}),
        {"phase": PodPhase.RUNNING, "running_since": WHEN, "termination": None},
    ),
    "a trainer that was killed for its memory": (
        container_status(
            terminated={
                "exitCode": 137,
                "reason": "OOMKilled",
                "startedAt": AT,
                "finishedAt": "2026-11-24T10:06:00Z",
            }
        ),
        {
            "running_since": WHEN,
            "termination": Termination(137, "OOMKilled", "", WHEN.replace(minute=6)),
        },
    ),
    "a trainer that left a termination message": (
        container_status(terminated={"exitCode": 40, "reason": "Error", "message": '{"a": 1}'}),
        {"termination": Termination(40, "Error", '{"a": 1}', None)},
    ),
    "a trainer that runs an image, beside a sidecar that runs another": (
        {
            "phase": "Running",
            "containerStatuses": [
                {"name": "istio", "imageID": "proxy@sha256:00", "state": {}},
                {"name": "trainer", "imageID": "trainer@sha256:11", "state": {}},
            ],
        },
        {"image_id": "trainer@sha256:11"},
    ),
    "a sidecar's state is not the trainer's": (
        {
            "phase": "Running",
            "containerStatuses": [{"name": "istio", "state": {"terminated": {"exitCode": 1}}}],
        },
        {"termination": None},
    ),
    "an eviction for disk space": (
        {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource"},
        {
            "phase": PodPhase.FAILED,
            "pod_reason": "Evicted",
            "pod_message": "The node was low on resource",
        },
    ),
    "a pod that a drain disrupts": (
        {
            "phase": "Running",
            "conditions": [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting",
                    "lastTransitionTime": AT,
                }
            ],
        },
        {"disruption": Waiting("EvictionByEvictionAPI", "Eviction API: evicting", WHEN)},
    ),
    "a pod of which nothing is known yet": (
        {},
        {"phase": PodPhase.PENDING, "waiting": None, "node": "node-1"},
    ),
}


@pytest.mark.parametrize(("status", "expected"), PODS.values(), ids=PODS.keys())
def test_a_pod_is_read(status: Object, expected: Object) -> None:
    parsed = parse_pod(pod(status=status))
    assert {name: getattr(parsed, name) for name in expected} == expected
    assert parsed.job_name == "trees-5f2c8a1b-1"


def test_a_pod_that_is_being_deleted_has_the_end_of_its_grace_period() -> None:
    assert parse_pod(pod(deletionTimestamp=AT)).deleting_since == WHEN


def condition(kind: str, **more: str) -> Object:
    return {
        "conditions": [
            # FailureTarget precedes Failed by milliseconds; False conditions do not count.
            {"type": "Suspended", "status": "False"},
            {"type": kind, "status": "True", "lastTransitionTime": AT, **more},
        ]
    }


JOBS: dict[str, tuple[Object, Object]] = {
    "a Job whose pods run": ({"active": 1}, {"complete": False, "failed": False}),
    "a Job that is complete": (
        condition("Complete"),
        {"complete": True, "failed": False, "finished_at": WHEN},
    ),
    "a Job that failed by an exit code": (
        condition("Failed", reason="PodFailurePolicy", message="exit code 52"),
        {
            "failed": True,
            "failure_reason": "PodFailurePolicy",
            "failure_message": "exit code 52",
            "finished_at": WHEN,
        },
    ),
    "a Job that is about to fail has not": (
        condition("FailureTarget", reason="BackoffLimitExceeded"),
        {"failed": False, "finished_at": None},
    ),
}


@pytest.mark.parametrize(("status", "expected"), JOBS.values(), ids=JOBS.keys())
def test_a_job_is_read(status: Object, expected: Object) -> None:
    parsed = parse_job(job(status=status))
    assert {name: getattr(parsed, name) for name in expected} == expected
    assert parsed.attempt == 1


FORGOTTEN: Object = {"failed": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
"""What a Job controller left behind whose watches broke: the pod is gone, no condition came."""
NOT_FORGOTTEN: dict[str, tuple[Object, Object]] = {
    "its end is being recorded": (condition("FailureTarget", reason="PodFailurePolicy"), {}),
    "a pod is active": ({"active": 1}, {}),
    "a pod is terminating": ({"terminating": 1}, {}),
    "a pod is not counted yet": ({"uncountedTerminatedPods": {"failed": ["uid"]}}, {}),
    "no pod has failed": ({"failed": 0}, {}),
    "its queue holds it back": ({}, {"suspend": True}),
    "it has retries": ({}, {"backoffLimit": 1}),
}


def test_a_job_whose_end_the_job_controller_never_records_has_failed() -> None:
    body = job(status=FORGOTTEN)
    body["spec"]["backoffLimit"] = 0
    parsed = parse_job(body)
    assert parsed.failed
    assert parsed.failure_reason == "BackoffLimitExceeded"
    assert "has not recorded" in parsed.failure_message
    assert parsed.finished_at is None


@pytest.mark.parametrize(("status", "spec"), NOT_FORGOTTEN.values(), ids=NOT_FORGOTTEN)
def test_a_job_with_a_failed_pod_has_not_failed_where(status: Object, spec: Object) -> None:
    body = job(status=FORGOTTEN | status)
    body["spec"] |= {"backoffLimit": 0} | spec
    assert not parse_job(body).failed


def test_a_preflight_job_is_of_no_attempt() -> None:
    assert parse_job(job(attempt=None)).attempt is None


def test_a_queue_suspends_a_job() -> None:
    body = job()
    body["spec"]["suspend"] = True
    assert parse_job(body).suspended
    assert parse_job(job(deletionTimestamp=AT)).deleting


def test_a_training_is_read_with_its_labels() -> None:
    body = stored_training()
    body["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "gpus"}
    parsed = parse_training(body)
    assert parsed.identity.uid == UID
    assert parsed.spec is not None
    assert parsed.spec.steps == 100
    assert parsed.status.observed_generation == -1
    assert parsed.labels == {"kueue.x-k8s.io/queue-name": "gpus"}
    assert not parsed.deleting


def test_an_invalid_spec_is_no_error_and_names_what_is_wrong() -> None:
    parsed = parse_training(stored_training(steps=-1, colour="green"))
    assert parsed.spec is None
    assert "steps: expected at least 1 (received -1)" in parsed.invalid
    assert "colour" in parsed.invalid


@pytest.mark.parametrize(
    "spec",
    [
        {"evaluation": {"everySteps": 10}},
        {"steps": 6, "optimizer": {"schedule": {"warmupSteps": 100}}},
        {"checkpoints": {"storage": {"uri": "s3://a/b"}}},
        {"augmentation": [{"randomAdjustContrast": {"minDelta": 2, "maxDelta": 1}}]},
    ],
    ids=["evaluations without data", "a long warm-up", "a short bucket", "crossed factors"],
)
def test_a_spec_that_would_not_be_started_today_is_read(spec: Object) -> None:
    parsed = parse_training(stored_training(**spec))
    assert parsed.invalid == ""
    assert parsed.spec is not None


def test_a_status_with_a_short_bucket_is_read() -> None:
    found = parse_status(
        {"restored": {"uri": "s3://a/b", "variables": {"restored": 1, "fresh": 0}}}
    )
    assert found.restored is not None
    assert found.restored.uri == "s3://a/b"


def test_a_status_of_a_newer_version_is_read_without_what_is_new() -> None:
    status = attempt_status()
    status["brandNew"] = {"a": 1}
    status["currentAttempt"]["mood"] = "good"
    parsed = parse_status(status)
    assert parsed.current_attempt is not None
    assert parsed.current_attempt.number == 1
    assert "brandNew" in status, "the document itself is left alone"


def test_a_status_with_invalid_known_fields_is_an_error() -> None:
    with pytest.raises(ValidationError, match="step"):
        parse_status({"step": -5, "brandNew": 1})


def test_conditions_with_a_reason_of_a_newer_version_are_left_out() -> None:
    condition: Object = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }
    condition |= {"reason": "BrandNew", "message": "of a newer version", "alsoNew": 1}
    parsed = parse_status(attempt_status() | {"conditions": [condition], "step": 7, "brandNew": 1})
    assert (parsed.conditions, parsed.step) == ([], 7)
    assert parsed.current_attempt is not None
    with pytest.raises(ValidationError, match="step"):
        parse_status({"step": -5, "conditions": [condition]})


def test_a_status_is_written_without_what_is_empty_and_read_back_the_same() -> None:
    status = parse_status(attempt_status())
    rendered = render_status(status)
    assert not {"conditions", "metrics", "progress", "checkpoints"} & rendered.keys()
    assert parse_status(rendered) == status
    assert render_status(Status(step=0))["step"] == 0


SIDECARS: dict[str, tuple[Object, bool]] = {
    "an init container that runs": ({"name": "fetch", "started": True}, True),
    "a sidecar that has started": ({"name": "proxy", "started": True}, False),
    "a sidecar whose startup probe fails": ({"name": "proxy", "started": False}, True),
}


@pytest.mark.parametrize(("sidecar", "blocks_start"), SIDECARS.values(), ids=SIDECARS.keys())
def test_the_trainer_waits_for_init_containers_and_for_the_start_of_sidecars(
    sidecar: Object, *, blocks_start: bool
) -> None:
    running = {**sidecar, "state": {"running": {"startedAt": AT}}}
    body = pod(status={"phase": "Pending", "initContainerStatuses": [running]})
    body["spec"]["initContainers"] = [
        {"name": "fetch"},
        {"name": "proxy", "restartPolicy": "Always"},
    ]
    [other] = parse_pod(body).others
    assert (other.is_init, other.running, other.blocks_start) == (True, True, blocks_start)


def test_the_claims_of_a_pod_are_known_until_it_has_a_node() -> None:
    volumes = [
        {"name": "checkpoints", "persistentVolumeClaim": {"claimName": "trees-checkpoints"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "tmp", "emptyDir": {}},
    ]
    body = pod(name="trees-1-x")
    body["spec"] = {"volumes": volumes}
    assert parse_pod(body).claims == ("trees-checkpoints", "trees-1-x-scratch")
    body["spec"] = {"volumes": volumes, "nodeName": "node-1"}
    assert parse_pod(body).claims == ()
