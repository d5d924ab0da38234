"""Builders of the Kubernetes objects that the operator owns: pure functions to plain dicts."""

from dataclasses import dataclass
from typing import Any

from detection_operator.core.actions import EnsureClaim, StartAttempt, StartPreflight
from detection_operator.core.state import PolicySettings, Training
from detection_operator.manifests.claim import build_claim
from detection_operator.manifests.job import build_attempt_job, build_preflight_job
from detection_operator.manifests.service import build_service


@dataclass(frozen=True, slots=True)
class Manifests:
    """Builds what an action creates, with an administrator's settings."""

    settings: PolicySettings

    def claim(self, training: Training, action: EnsureClaim) -> dict[str, Any]:
        """Return the PersistentVolumeClaim for checkpoints."""
        return build_claim(training, action.name)

    def service(
        self, training: Training, action: StartAttempt | StartPreflight
    ) -> dict[str, Any] | None:
        """Return the Service of several workers; None where there is one."""
        several = training.spec is not None and training.spec.workers > 1
        return build_service(training) if several and isinstance(action, StartAttempt) else None

    def job(self, training: Training, action: StartAttempt | StartPreflight) -> dict[str, Any]:
        """Return the Job."""
        if isinstance(action, StartAttempt):
            return build_attempt_job(training, action, self.settings)
        return build_preflight_job(training, action, self.settings)
