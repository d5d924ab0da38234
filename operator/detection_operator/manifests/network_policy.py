"""Builds the NetworkPolicy that lets only the workers of one training reach each other.

TensorFlow's gRPC port runs whatever it receives, with access to the pod's files, and without
authentication. The protection is that no other pod can connect to it.
"""

from typing import Any

from detection_operator import names
from detection_operator.core.state import Training
from detection_operator.manifests.owner import object_metadata
from detection_trainer.contract import runtime


def build_network_policy(training: Training) -> dict[str, Any]:
    """Return the policy; it serves all attempts and is deleted with the training.

    The workers may use every port among themselves: NCCL takes ports that the system chooses. Their
    metrics stay open to all, and outgoing connections are not restricted. A port's protocol is set
    although it is the default, so that what the API server returns equals what is built here.
    """
    identity = training.identity
    workers = {
        "podSelector": {
            "matchLabels": {
                names.LABEL_TRAINING_UID: identity.uid,
                names.LABEL_ROLE: names.ROLE_TRAINER,
            }
        }
    }
    metrics = {"protocol": "TCP", "port": runtime.DEFAULT_METRICS_PORT}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": object_metadata(training, names.workers_name(identity.uid)),
        "spec": {
            **workers,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [workers]}, {"ports": [metrics]}],
        },
    }
