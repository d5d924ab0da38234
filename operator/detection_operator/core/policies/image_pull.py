"""How long to wait for an image that cannot be pulled: a Job never fails because of it.

A registry that is down, slow or overloaded may recover, so the operator waits without a limit. Only
an image that does not exist, or that may not be pulled, ends the attempt.
"""

import re
from datetime import datetime

from detection_operator.core.state import Pod, PolicySettings, Waiting

PULL_REASONS = frozenset({
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
    "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed",
})  # fmt: skip
ADVICE = "Correct spec.image or spec.podTemplate.imagePullSecrets."
HOPELESS_REASONS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_DEFINITE = re.compile(
    r"not found|manifest unknown|name unknown|repository does not exist|unauthori[sz]ed|forbidden"
    r"|access denied|authorization failed|authentication required|no match for platform",
    re.IGNORECASE,
)
"""Errors of registries and runtimes for an image that stays unavailable (OCI distribution errors).
"""


def pull_problem(pod: Pod) -> Waiting | None:
    """Return why the pod's image cannot be pulled; None if the pod does not wait for it."""
    waiting = pod.waiting
    return waiting if waiting is not None and waiting.reason in PULL_REASONS else None


def is_definite(problem: Waiting) -> bool:
    """Return whether waiting does not make the image available."""
    hopeless = problem.reason in HOPELESS_REASONS or problem.reason == "SignatureValidationFailed"
    return hopeless or _DEFINITE.search(problem.message) is not None


def advice(problem: Waiting) -> str:
    """Return what a person can do; for an init container the trainer's image is not the cause."""
    if not problem.container:
        return ADVICE
    return (
        f"Correct the image of container {problem.container} where it is defined, or "
        "spec.podTemplate.imagePullSecrets."
    )


def seconds_left(pod: Pod, settings: PolicySettings, now: datetime) -> float | None:
    """Return how long the operator still waits for the image; None: without a limit."""
    waiting = pull_problem(pod)
    if waiting is None or not is_definite(waiting):
        return None
    if waiting.reason in HOPELESS_REASONS:
        return 0.0
    waited = (now - waiting.since).total_seconds() if waiting.since else 0.0
    return max(settings.image_pull_timeout_s - waited, 0.0)


def give_up(pod: Pod, image: str, settings: PolicySettings, now: datetime) -> str | None:
    """Return why the operator gives up the pod; None while it may still start."""
    waiting, left = pull_problem(pod), seconds_left(pod, settings, now)
    if waiting is None or left is None or left > 0:
        return None
    if waiting.container:
        error = f"{waiting.reason}: {waiting.message}"
        whose = f"of init container {waiting.container}"
        return f"The image {whose} could not be pulled: {error} {advice(waiting)}"
    remedy = ADVICE
    if "@" in image:
        remedy += " If its registry no longer has this digest, name another tag in spec.image."
    return f"The image {image} could not be pulled: {waiting.reason}: {waiting.message} {remedy}"
