"""Builds the NetworkPolicy of several workers: their connection has no authentication.

TensorFlow's gRPC server reads and writes variables, and runs operations that read files, for
whoever reaches its port. So only the workers of the same training may.
"""

from typing import Any

from detection_operator import names
from detection_operator.core.state import Training
from detection_operator.manifests.owner import object_metadata
from detection_operator.manifests.service import PORT
from detection_trainer.contract import runtime


def build_network_policy(training: Training) -> dict[str, Any]:
    """Return the policy; it serves all attempts and goes with the training.

    The metrics' port stays open to Prometheus, wherever that runs. Egress is left alone.
    """
    identity = training.identity
    workers = {
        "matchLabels": {
            names.LABEL_TRAINING_UID: identity.uid,
            names.LABEL_ROLE: names.ROLE_TRAINER,
        }
    }
    metrics = {"port": runtime.DEFAULT_METRICS_PORT, "protocol": "TCP"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": object_metadata(training, names.workers_name(identity.uid)),
        "spec": {
            "podSelector": workers,
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": workers}],
                    "ports": [{"port": PORT, "protocol": "TCP"}],
                },
                {"ports": [metrics]},
            ],
        },
    }
