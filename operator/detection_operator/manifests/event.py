"""Builds the Kubernetes Events that `kubectl describe` shows under a training."""

import hashlib
from datetime import datetime
from typing import Any

from detection_operator import names
from detection_operator.api.v1alpha1 import API_VERSION, KIND
from detection_operator.core.actions import Event
from detection_operator.core.case import clip
from detection_operator.core.state import Training

MAX_NOTE = 1024
"""events.k8s.io/v1 takes no more."""
CONTROLLER = f"{names.MANAGED_BY}"


def build_event(training: Training, event: Event, now: datetime, instance: str) -> dict[str, Any]:
    """Return the Event (events.k8s.io/v1), reported by the replica `instance`.

    Its name is made from what it says, so that one that is sent twice collides (409).
    """
    identity = training.identity
    said = f"{identity.uid}|{event.reason}|{event.message}|{now:%Y-%m-%dT%H:%M:%S}"
    name = f"{identity.name}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": identity.namespace},
        "eventTime": f"{now:%Y-%m-%dT%H:%M:%S.%f}Z",
        "reportingController": CONTROLLER,
        "reportingInstance": clip(instance or CONTROLLER, 128),
        "action": "Reconcile",
        "reason": event.reason.value,
        "type": event.type,
        "note": clip(event.message, MAX_NOTE),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": identity.namespace,
            "name": identity.name,
            "uid": identity.uid,
            "resourceVersion": training.resource_version,
        },
    }
