"""Builders of the Kubernetes objects that the operator owns: pure functions to plain dicts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from detection_operator.core.actions import EnsureClaim, StartAttempt, StartPreflight
from detection_operator.core.state import PolicySettings, Training
from detection_operator.manifests.claim import build_claim
from detection_operator.manifests.job import build_attempt_job, build_preflight_job
from detection_operator.manifests.network_policy import build_network_policy
from detection_operator.manifests.pod_defaults import with_pod_defaults
from detection_operator.manifests.service import build_service


class Network(NamedTuple):
    """The objects by which the workers of a training reach each other."""

    policy: dict[str, Any]
    service: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manifests:
    """Builds what an action creates, with the administrator's settings."""

    settings: PolicySettings
    report_ca: Callable[[], str] = lambda: ""
    """Returns the authorities that new trainers trust for reports, as PEM; they are renewed."""

    def claim(self, training: Training, action: EnsureClaim) -> dict[str, Any]:
        """Return the PersistentVolumeClaim for checkpoints."""
        return build_claim(self._completed(training), action.name)

    def network(self, training: Training, action: StartAttempt | StartPreflight) -> Network | None:
        """Return what several workers need to reach each other; None if there is only one."""
        several = training.spec is not None and training.spec.workers > 1
        if not several or not isinstance(action, StartAttempt):
            return None
        completed = self._completed(training)
        return Network(build_network_policy(completed), build_service(completed))

    def job(self, training: Training, action: StartAttempt | StartPreflight) -> dict[str, Any]:
        """Return the Job."""
        completed = self._completed(training)
        settings = replace(self.settings, report_ca=self.report_ca())
        if isinstance(action, StartAttempt):
            return build_attempt_job(completed, action, settings)
        return build_preflight_job(completed, action, settings)

    def _completed(self, training: Training) -> Training:
        return with_pod_defaults(training, self.settings.pod_defaults)
