"""The names, labels, annotation keys and mount paths of the objects that the operator creates."""

import re

from detection_operator.api.v1alpha1 import GROUP

LABEL_TRAINING = f"{GROUP}/training"
LABEL_TRAINING_UID = f"{GROUP}/training-uid"
ANNOTATION_DOCUMENT = f"{GROUP}/document"
"""On pods: the document that their trainer reads."""
ANNOTATION_REPORT_CA = f"{GROUP}/report-ca"
"""On pods: the authorities that their trainer trusts for reports, as PEM."""
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_INDEX = "batch.kubernetes.io/job-completion-index"
"""Set by the Job controller on the pods of several workers."""
LABEL_ROLE = f"{GROUP}/role"
ROLE_TRAINER = "trainer"
ROLE_PREFLIGHT = "preflight"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "detection-operator"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
CONTAINER = "trainer"
CHECKPOINTS_MOUNT = "/checkpoints"
SOURCES_MOUNT = "/sources"
"""Claims of other trainings, read-only, one folder each."""

_PREFLIGHT = re.compile(r"-check-\d+$")
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
MAX_NAME = 253


def is_namespace(text: str) -> bool:
    """Return whether Kubernetes accepts `text` as the name of a namespace (an RFC 1123 label)."""
    return _NAMESPACE.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Return whether Kubernetes accepts `text` as a resource's name (an RFC 1123 subdomain)."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def short_uid(uid: str) -> str:
    """Return the first eight characters of a resource's uid, which distinguish equal names."""
    return uid[:8]


def attempt_name(training: str, uid: str, attempt: int) -> str:
    """Return the name of the Job of one attempt: at most 63 characters, and a DNS label.

    The host names of several workers are made from it and must not have a dot.
    """
    return f"{training.replace('.', '-')}-{short_uid(uid)}-{attempt}"


def workers_name(uid: str) -> str:
    """Return the name of the Service and the NetworkPolicy of a training's workers.

    A Service's name is a DNS label that begins with a letter; a training's name may begin
    otherwise.
    """
    return f"workers-{uid}"


def preflight_name(training: str, uid: str, generation: int) -> str:
    """Return the name of the Job that checks the spec of one generation."""
    return f"{training}-{short_uid(uid)}-check-{generation}"


def is_preflight(job_name: str) -> bool:
    """Return whether a Job of a training has a name from `preflight_name`."""
    return _PREFLIGHT.search(job_name) is not None


def claim_name(training: str) -> str:
    """Return the name of the claim for checkpoints.

    It lacks the uid, so that a new resource of the same name (a cluster rebuilt from Git) finds the
    old checkpoints.
    """
    return f"{training}-checkpoints"
