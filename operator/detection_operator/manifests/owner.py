"""What all objects of a training have in common: owner reference and labels."""

from typing import Any

from detection_operator import names
from detection_operator.api.v1alpha1 import API_VERSION, KIND
from detection_operator.core.state import Identity, Training


def owner_reference(identity: Identity) -> dict[str, Any]:
    """Return the controller reference to a training.

    `blockOwnerDeletion` is left out: it would need a permission for the training's finalizers.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": identity.name,
        "uid": identity.uid,
        "controller": True,
    }


def object_metadata(training: Training, name: str) -> dict[str, Any]:
    """Return the metadata of an object that the training owns.

    It includes the labels of `spec.podTemplate`, so that a policy which requires some can be met.
    The labels of the training itself are left out: GitOps tools identify their objects by such
    labels and would prune objects that they did not apply.
    """
    identity = training.identity
    wanted = training.spec.pod_template.labels if training.spec is not None else {}
    return {
        "name": name,
        "namespace": identity.namespace,
        "labels": {**wanted, **labels(identity)},
        "ownerReferences": [owner_reference(identity)],
    }


def labels(
    identity: Identity, role: str | None = None, attempt: int | None = None
) -> dict[str, str]:
    """Return the labels by which the operator finds its objects."""
    result = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_TRAINING: identity.name,
        names.LABEL_TRAINING_UID: identity.uid,
    }
    if role is not None:
        result[names.LABEL_ROLE] = role
    if attempt is not None:
        result[names.LABEL_ATTEMPT] = str(attempt)
    return result
