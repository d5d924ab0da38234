"""Builds how workers of a training find each other: a headless Service, and TF_CONFIG.

The Job controller gives pod i of an Indexed Job the host name `<job>-<i>`; with the Service as its
subdomain this is an address. It is published before the pod is ready, because no worker is ready
before all have met.
"""

import json
from typing import Any

from detection_operator import names
from detection_operator.core.state import Identity, Training
from detection_operator.manifests.owner import object_metadata

PORT = 2222
"""The port of TensorFlow's own examples."""
INDEX_VARIABLE = "WORKER_INDEX"


def build_service(training: Training) -> dict[str, Any]:
    """Return the Service; it serves all attempts and is deleted with the training."""
    identity = training.identity
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": object_metadata(training, names.workers_name(identity.uid)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {
                names.LABEL_TRAINING_UID: identity.uid,
                names.LABEL_ROLE: names.ROLE_TRAINER,
            },
            "ports": [{"name": "workers", "port": PORT}],
        },
    }


def worker_environment(identity: Identity, job_name: str, workers: int) -> list[dict[str, Any]]:
    """Return the variables from which a pod of `job_name` knows the other workers and its index."""
    service = names.workers_name(identity.uid)
    hosts = [f"{job_name}-{i}.{service}.{identity.namespace}.svc:{PORT}" for i in range(workers)]
    # The kubelet inserts the index: a variable may refer to one defined before it.
    task = f'{{"type": "worker", "index": $({INDEX_VARIABLE})}}'
    config = f'{{"cluster": {{"worker": {json.dumps(hosts)}}}, "task": {task}}}'
    index = {"fieldRef": {"fieldPath": f"metadata.labels['{names.LABEL_INDEX}']"}}
    return [
        {"name": INDEX_VARIABLE, "valueFrom": index},
        {"name": "TF_CONFIG", "value": config},
    ]
