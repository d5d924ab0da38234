"""Whether a spec was edited since an attempt's pods were created, so that other pods are needed."""

from detection_operator.api.v1alpha1 import AttemptStatus, Spec
from detection_operator.core.case import Case
from detection_trainer.contract.base import Digest, canonical_digest

IMMEDIATE_FIELDS = frozenset({
    "steps", "suspend", "retryPolicy", "activeDeadlineSeconds", "ttlSecondsAfterFinished",
    "preflight", "preflightResources",
})  # fmt: skip
"""Spec fields that apply without new pods, and steps, which are compared separately."""


def spec_digest(spec: Spec) -> Digest:
    """Return the digest of what an attempt's pods are created from.

    Fields at their default are left out, so that a field of a later version changes no digest.
    """
    fields = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return canonical_digest({k: v for k, v in fields.items() if k not in IMMEDIATE_FIELDS})


def spec_changed_since(case: Case, attempt: AttemptStatus) -> bool:
    """Return whether `attempt` has pods that the current spec would not create."""
    if attempt.generation == case.generation:
        return False
    return attempt.spec_digest not in {None, spec_digest(case.spec)}
