"""Builds the Jobs of attempts and preflights: no pod restarts, and failures are distinguished.

`backoffLimit: 0` and `podReplacementPolicy: Failed`: only the operator decides on another pod. The
first of several workers that fails ends the Job for all.
"""

from typing import Any

from detection_operator import names
from detection_operator.api.v1alpha1 import Spec
from detection_operator.core.actions import StartAttempt, StartPreflight
from detection_operator.core.case import newest_step
from detection_operator.core.state import PolicySettings, Training
from detection_operator.manifests.document import document_text
from detection_operator.manifests.owner import labels, object_metadata
from detection_operator.manifests.pod import Run, build_pod
from detection_trainer.contract import runtime
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import PERMANENT_CODES, RETRYABLE_CODES, ExitCode

Object = dict[str, Any]

PREFLIGHT_RESOURCES: Object = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}


def build_attempt_job(training: Training, action: StartAttempt, settings: PolicySettings) -> Object:
    """Return the Job of one attempt.

    Raises:
        ValueError: the training's spec is invalid.
    """
    spec = _spec_of(training)
    environment = {runtime.ATTEMPT: str(action.number)}
    if (recorded := newest_step(training.status)) is not None:
        environment[runtime.RECORDED_STEP] = str(recorded)
    elif (pinned := _pinned_dataset(training)) is not None:
        environment[runtime.DATASET_DIGEST] = pinned
    run = Run(
        verb="run",
        name=action.job_name,
        image=action.image,
        role=names.ROLE_TRAINER,
        labels=labels(training.identity, names.ROLE_TRAINER, action.number),
        resources=dump(spec.resources),
        environment=environment,
        document=document_text(training, action.source),
        source=action.source,
        has_claim=True,
        reports=True,
        workers=spec.workers,
    )
    job = _job(training, run, build_pod(training, spec, run, settings))
    if (queue := training.labels.get(names.QUEUE_LABEL)) is not None:
        job["metadata"]["labels"][names.QUEUE_LABEL] = queue
        # From here on the queue owns the field: it resumes the Job once there is room.
        job["spec"]["suspend"] = True
    return job


def build_preflight_job(
    training: Training, action: StartPreflight, settings: PolicySettings
) -> Object:
    """Return the Job that checks one generation of the spec: CPU only.

    A claim that does not exist yet is not mounted: a volume bound where this pod runs might be
    unreachable where the GPU is. An empty folder replaces it; the claim would be empty too.

    Raises:
        ValueError: the training's spec is invalid.
    """
    spec = _spec_of(training)
    claim = spec.checkpoints.storage.volume_claim
    run = Run(
        verb="preflight",
        name=action.job_name,
        image=action.image,
        role=names.ROLE_PREFLIGHT,
        labels=labels(training.identity, names.ROLE_PREFLIGHT),
        resources=_preflight_resources(spec),
        environment={},
        document=document_text(training, action.source),
        source=action.source,
        has_claim=claim is not None and claim.claim_name is not None,
        reports=False,
    )
    return _job(training, run, build_pod(training, spec, run, settings))


def _preflight_resources(spec: Spec) -> Object:
    wanted = spec.preflight_resources
    return PREFLIGHT_RESOURCES if wanted is None else dump(wanted)


def _pinned_dataset(training: Training) -> str | None:
    """Return what the preflight of this spec pinned of the training set.

    Once there is a checkpoint, its manifest has the digest of the records.
    """
    check = training.status.preflight
    if check is None or check.generation != training.generation or check.outcome is None:
        return None
    return check.outcome.dataset.digest if check.outcome.dataset is not None else None


def _spec_of(training: Training) -> Spec:
    if training.spec is None:
        raise ValueError(
            f"training {training.identity.name!r} has no spec that holds: {training.invalid}"
        )
    return training.spec


def _job(training: Training, run: Run, pod: Object) -> Object:
    metadata = object_metadata(training, run.name)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "labels": {**metadata["labels"], **run.labels}},
        "spec": {
            "completions": run.workers,
            "parallelism": run.workers,
            "completionMode": "Indexed" if run.workers > 1 else "NonIndexed",
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": pod,
        },
    }


def _failure_rules() -> list[Object]:
    """Return rules that all fail the Job, so that its condition quotes how a lost pod ended.

    The condition quotes the first match: a trainer's own failure comes before a disruption, and a
    disruption before SAVED, which does not show who requested the stop.
    """
    disrupted = {
        "action": "FailJob",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    return [
        _exit_rule(list(PERMANENT_CODES)),
        _exit_rule(list(RETRYABLE_CODES)),
        disrupted,
        _exit_rule([ExitCode.SAVED.value]),
    ]


def _exit_rule(codes: list[int]) -> Object:
    return {
        "action": "FailJob",
        "onExitCodes": {"containerName": names.CONTAINER, "operator": "In", "values": codes},
    }
