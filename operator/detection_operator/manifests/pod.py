"""Builds the pod template of trainers and preflights: restricted, read-only, no API access.

A pod's labels, volumes and environment are the operator's plus those of `spec.podTemplate`: maps
are merged and the operator's keys win, lists are appended.
"""

import json
from dataclasses import dataclass
from typing import Any

from detection_operator import names
from detection_operator.api.v1alpha1 import PodTemplate, Spec
from detection_operator.core.actions import RestoreFrom
from detection_operator.core.case import checkpoint_claim
from detection_operator.core.state import PolicySettings, Training
from detection_operator.manifests.document import CA_FILE, FILE
from detection_operator.manifests.service import PORT, worker_environment
from detection_trainer.contract import runtime
from detection_trainer.contract.base import dump, text_digest

Object = dict[str, Any]

CONFIG_MOUNT = "/etc/detection-training"
TOKEN_MOUNT = "/var/run/secrets/detectiontraining.dev"  # noqa: S105 - a path
CREDENTIALS_MOUNT = "/var/run/secrets/credentials"
TERMINATION_LOG = "/dev/termination-log"
TOKEN_SECONDS = 600
"""The shortest lifetime that the kubelet allows; it renews the file in time."""
USER_ID = 65532
"""As in the image: not root, and no entry in the passwd file needed."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one Job runs, and how it differs from other Jobs of the training."""

    verb: str
    """The command of `detection-trainer`."""
    name: str
    """The name of the Job."""
    image: str
    role: str
    labels: dict[str, str]
    resources: Object
    environment: dict[str, str]
    document: str
    """The document that its trainer reads."""
    source: RestoreFrom | None
    has_claim: bool
    """Whether checkpoints are on the claim; else an empty folder replaces a claim not created yet.
    """
    reports: bool
    workers: int = 1
    """The number of its pods that run at once."""


def build_pod(training: Training, spec: Spec, run: Run, settings: PolicySettings) -> Object:
    """Return the pod template of a Job."""
    template = spec.pod_template
    endpoint = _endpoint(training, run, settings)
    volumes, mounts = _volumes(training, spec, run, endpoint)
    pod: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.termination_grace_s,
        "securityContext": {**_pod_security(), **dump(template.security_context)},
        "containers": [_container(training, spec, run, endpoint, mounts)],
        "volumes": [*volumes, *map(dump, template.volumes)],
        **_scheduling(template),
    }
    if run.workers > 1:
        pod["subdomain"] = names.workers_name(training.identity.uid)
    annotations = {**template.annotations, names.ANNOTATION_DOCUMENT: run.document}
    if endpoint is not None and endpoint.ca:
        annotations[names.ANNOTATION_REPORT_CA] = endpoint.ca
    metadata = {"labels": {**template.labels, **run.labels}, "annotations": annotations}
    return {"metadata": metadata, "spec": pod}


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where a trainer reports, and the authorities that it trusts there (PEM; empty: none)."""

    url: str
    ca: str


def _endpoint(training: Training, run: Run, settings: PolicySettings) -> _Endpoint | None:
    """Return where `run` reports; None if it does not.

    A trainer of another image than the default may be of a release that trusts only the authorities
    of its system. If the administrator keeps plain HTTP open for these, it gets that address.
    """
    if not run.reports:
        return None
    image = training.status.image or run.image
    is_plain = bool(settings.plain_report_url) and image != settings.default_image
    base = settings.plain_report_url if is_plain else settings.report_url
    path = runtime.REPORT_PATH.format(
        namespace=training.identity.namespace, name=training.identity.name
    )
    ca = settings.report_ca if base.startswith("https://") else ""
    return _Endpoint(base.rstrip("/") + path, ca)


def _pod_security() -> Object:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _scheduling(template: PodTemplate) -> Object:
    fields: Object = {
        "nodeSelector": template.node_selector,
        "tolerations": [*map(dump, template.tolerations)],
        "affinity": dump(template.affinity),
        "serviceAccountName": template.service_account_name,
        "imagePullSecrets": [*map(dump, template.image_pull_secrets)],
        "priorityClassName": template.priority_class_name,
        "runtimeClassName": template.runtime_class_name,
        "schedulerName": template.scheduler_name,
    }
    return {key: value for key, value in fields.items() if value}


def _container(
    training: Training, spec: Spec, run: Run, endpoint: _Endpoint | None, mounts: list[Object]
) -> Object:
    template = spec.pod_template
    container: Object = {
        "name": names.CONTAINER,
        "image": run.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["detection-trainer", run.verb, f"{CONFIG_MOUNT}/{FILE}"],
        "env": _environment(training, spec, run, endpoint),
        "resources": run.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [*mounts, *map(dump, template.volume_mounts)],
    }
    if run.reports:
        container["ports"] = [{"name": "metrics", "containerPort": runtime.DEFAULT_METRICS_PORT}]
    if run.workers > 1:
        container["ports"].append({"name": "workers", "containerPort": PORT})
    if template.env_from:
        container["envFrom"] = [*map(dump, template.env_from)]
    return container


def _environment(
    training: Training, spec: Spec, run: Run, endpoint: _Endpoint | None
) -> list[Object]:
    """Return the variables of user and operator: HOME may change, the contract's may not."""
    contract = {
        runtime.CONFIG_DIGEST: text_digest(run.document),
        runtime.TERMINATION_LOG: TERMINATION_LOG,
        **run.environment,
    }
    if endpoint is not None:
        contract[runtime.REPORT_URL] = endpoint.url
        if endpoint.ca:
            contract[runtime.REPORT_CA_FILE] = f"{CONFIG_MOUNT}/{CA_FILE}"
        contract[runtime.REPORT_TOKEN_FILE] = f"{TOKEN_MOUNT}/token"
        contract[runtime.METRICS_PORT] = str(runtime.DEFAULT_METRICS_PORT)
    if spec.checkpoints.storage.volume_claim is not None:
        contract[runtime.CHECKPOINT_URI] = f"file://{names.CHECKPOINTS_MOUNT}"
    if spec.credentials:
        places = {c.uri_prefix: _credentials_path(n) for n, c in enumerate(spec.credentials)}
        contract[runtime.CREDENTIALS] = json.dumps(places, sort_keys=True)
    ours: list[Object] = [{"name": name, "value": contract[name]} for name in sorted(contract)]
    if run.workers > 1:
        ours += worker_environment(training.identity, run.name, run.workers)
    taken = {entry["name"] for entry in ours}
    custom = [dump(entry) for entry in spec.pod_template.env if entry.name not in taken]
    if all(entry["name"] != "HOME" for entry in custom):
        ours.insert(0, {"name": "HOME", "value": "/tmp"})  # noqa: S108 - the pod's own emptyDir
    return [*custom, *ours]


def _credentials_path(position: int) -> str:
    return f"{CREDENTIALS_MOUNT}/{position}"


def _volumes(
    training: Training, spec: Spec, run: Run, endpoint: _Endpoint | None
) -> tuple[list[Object], list[Object]]:
    """Return volumes and their mounts; a prefix keeps their names apart from the user's."""
    files = {FILE: names.ANNOTATION_DOCUMENT}
    if endpoint is not None and endpoint.ca:
        files[CA_FILE] = names.ANNOTATION_REPORT_CA
    pairs = [
        _volume("config", CONFIG_MOUNT, _annotations(files), read_only=True),
        _volume("tmp", "/tmp", {"emptyDir": {}}),  # noqa: S108 - the pod's own emptyDir
        _volume("shm", "/dev/shm", {"emptyDir": {"medium": "Memory"}}),  # noqa: S108 - likewise
    ]
    if run.reports:
        pairs.append(_volume("token", TOKEN_MOUNT, _token(), read_only=True))
    claim = checkpoint_claim(training.identity.name, spec)
    if claim is not None:
        content = _claimed(claim) if run.has_claim else {"emptyDir": {}}
        pairs.append(_volume("checkpoints", names.CHECKPOINTS_MOUNT, content))
    if run.source is not None and run.source.claim_name is not None:
        pairs.append(_source_volume(spec, run.source.claim_name))
    for position, credentials in enumerate(spec.credentials):
        secret = {"secret": {"secretName": credentials.secret_ref.name, "defaultMode": 0o440}}
        path = _credentials_path(position)
        pairs.append(_volume(f"credentials-{position}", path, secret, read_only=True))
    return [volume for volume, _ in pairs], [mount for _, mount in pairs]


def _source_volume(spec: Spec, claim: str) -> tuple[Object, Object]:
    restore, going_on = spec.restore, spec.continue_from
    referred = restore.from_ if restore is not None else going_on
    reference = referred.training_ref if referred is not None else None
    name = reference.name if reference is not None else claim
    path = f"{names.SOURCES_MOUNT}/{name}"
    return _volume("source", path, _claimed(claim, read_only=True), read_only=True)


def _claimed(claim: str, *, read_only: bool = False) -> Object:
    content: Object = {"claimName": claim}
    if read_only:
        content["readOnly"] = True
    return {"persistentVolumeClaim": content}


def _annotations(files: dict[str, str]) -> Object:
    """Return a volume with the pod's annotations, one file per name."""
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        for path, annotation in files.items()
    ]
    return {"downwardAPI": {"items": items}}


def _token() -> Object:
    token = {
        "audience": runtime.REPORT_AUDIENCE,
        "expirationSeconds": TOKEN_SECONDS,
        "path": "token",
    }
    return {"projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 0o440}}


def _volume(
    name: str, path: str, content: Object, *, read_only: bool = False
) -> tuple[Object, Object]:
    full_name = f"detection-{name}"
    mount: Object = {"name": full_name, "mountPath": path}
    if read_only:
        mount["readOnly"] = True
    return {"name": full_name, **content}, mount
