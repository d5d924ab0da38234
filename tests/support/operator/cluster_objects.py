"""Kubernetes objects as a cluster answers them, for tests of the operator's cluster layer."""

from typing import Any

from detection_operator import names
from detection_operator.cluster.observe.ownership import Ref
from sandbox.samples.trainings import training

Object = dict[str, Any]
UID = "5f2c8a1b-0000-4000-8000-000000000001"
NAMESPACE = "vision"
JOB = "trees-5f2c8a1b-1"
JOB_UID = "uid-job-1"
POD_UID = "uid-pod-1"
REF = Ref(NAMESPACE, UID)
CREATED = "2026-11-24T10:00:00Z"


def stored_training(
    name: str = "trees", uid: str = UID, status: Object | None = None, **spec: Any
) -> Object:
    """Return a DetectionTraining as the API keeps it."""
    body = training(name, **spec)
    body["metadata"] |= {
        "namespace": NAMESPACE,
        "uid": uid,
        "generation": 1,
        "resourceVersion": "10",
        "creationTimestamp": CREATED,
        "managedFields": [{"manager": "kubectl"}],
    }
    body["status"] = status if status is not None else {"observedGeneration": -1}
    return body


def attempt_status(number: int = 1, **more: Any) -> Object:
    """Return a status with a current attempt."""
    attempt = {
        "number": number,
        "jobName": f"trees-5f2c8a1b-{number}",
        "image": "trainer:1",
        "createdAt": CREATED,
        "targetSteps": 100,
        "generation": 1,
        **more,
    }
    return {
        "observedGeneration": 1,
        "phase": "Running",
        "attemptCount": number,
        "currentAttempt": attempt,
    }


def labels(uid: str = UID, attempt: int | None = 1, training_name: str = "trees") -> Object:
    made = {
        names.LABEL_TRAINING: training_name,
        names.LABEL_TRAINING_UID: uid,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
    }
    return made if attempt is None else {**made, names.LABEL_ATTEMPT: str(attempt)}


def job(
    *,
    name: str = JOB,
    uid: str = JOB_UID,
    owner_uid: str = UID,
    attempt: int | None = 1,
    status: Object | None = None,
    **metadata: Any,
) -> Object:
    """Return a Job of a training."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid,
            "resourceVersion": "20",
            "creationTimestamp": CREATED,
            "labels": labels(owner_uid, attempt),
            "ownerReferences": [
                {
                    "apiVersion": "detectiontraining.dev/v1alpha1",
                    "kind": "DetectionTraining",
                    "name": "trees",
                    "uid": owner_uid,
                    "controller": True,
                }
            ],
            **metadata,
        },
        "spec": {"backoffLimit": 0, "suspend": False},
        "status": status or {},
    }


def pod(  # noqa: PLR0913 - what tests vary
    *,
    name: str = "trees-5f2c8a1b-1-x7k2p",
    uid: str = POD_UID,
    job_uid: str = JOB_UID,
    job_name: str = JOB,
    owner_uid: str = UID,
    attempt: int | None = 1,
    status: Object | None = None,
    **metadata: Any,
) -> Object:
    """Return a pod of a Job."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid,
            "resourceVersion": "30",
            "creationTimestamp": CREATED,
            "labels": labels(owner_uid, attempt),
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": job_name,
                    "uid": job_uid,
                    "controller": True,
                }
            ],
            **metadata,
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Pending"} if status is None else status,
    }


def container_status(**state: Any) -> Object:
    """Return the status of a pod whose trainer's container is in `state`."""
    return {
        "phase": "Running",
        "containerStatuses": [{"name": "trainer", "state": state}],
    }


def newer(body: Object, version: int = 1) -> Object:
    """Return the object at a later resourceVersion."""
    metadata = body["metadata"]
    later = str(int(metadata["resourceVersion"]) + version)
    return {**body, "metadata": {**metadata, "resourceVersion": later}}
