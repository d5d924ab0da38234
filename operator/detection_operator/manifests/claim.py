"""Builds the PersistentVolumeClaim for checkpoints."""

from typing import Any

from detection_operator.core.state import Training
from detection_operator.manifests.owner import object_metadata


def build_claim(training: Training, name: str) -> dict[str, Any]:
    """Return the claim `name` that `checkpoints.storage.volumeClaim.size` requests.

    With `whenDeleted: Retain` it has no owner and outlives the training.

    Raises:
        ValueError: the spec requests no new claim.
    """
    claim = training.spec.checkpoints.storage.volume_claim if training.spec else None
    if claim is None or claim.size is None:
        raise ValueError(
            f"training {training.identity.name!r}: expected checkpoints.storage.volumeClaim.size; "
            "received none, so there is no claim to make"
        )
    metadata = object_metadata(training, name)
    if claim.when_deleted == "Retain":
        del metadata["ownerReferences"]
    spec: dict[str, Any] = {
        "accessModes": list(claim.access_modes),
        "resources": {"requests": {"storage": claim.size}},
    }
    if claim.storage_class_name is not None:
        spec["storageClassName"] = claim.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": spec,
    }
