"""Builds the document that a trainer reads: the training itself.

It is an annotation of the trainer's pod, which the pod mounts as a file: no object beside the Job
must be created, found or deleted. The same document runs outside the cluster with
`detection-trainer run`.
"""

import json
from typing import Any

from detection_operator.api.v1alpha1 import API_VERSION, KIND, Spec
from detection_operator.core.actions import RestoreFrom
from detection_operator.core.case import newest_step
from detection_operator.core.state import Training
from detection_trainer.contract.spec import KUBERNETES_FIELDS

FILE = "training.json"
CA_FILE = "report-ca.crt"


def document_text(training: Training, source: RestoreFrom | None) -> str:
    """Return the document: without what only Kubernetes reads, with a URI for a trainingRef.

    Fields at their default are left out: a training keeps the trainer image of its first attempt,
    which may be older than this operator and not know every field.

    Once the training has a checkpoint of its own, its source is left out too: the source may be
    gone, and the trainer resumes.

    Raises:
        ValueError: the training's spec is invalid, or its trainingRef was not resolved.
    """
    if training.spec is None:
        raise ValueError(
            f"training {training.identity.name!r} has no spec that holds: {training.invalid}"
        )
    fields = training.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    spec = {key: value for key, value in fields.items() if key not in KUBERNETES_FIELDS}
    if newest_step(training.status) is not None:
        spec.pop("restore", None)
        spec.pop("continueFrom", None)
    else:
        spec |= _resolved(training.spec, source)
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "namespace": training.identity.namespace,
            "name": training.identity.name,
            "uid": training.identity.uid,
        },
        "spec": spec,
    }
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _resolved(spec: Spec, source: RestoreFrom | None) -> dict[str, Any]:
    """Return `restore` or `continueFrom` with the URI that its trainingRef resolves to."""
    restore, going_on = spec.restore, spec.continue_from
    referred = restore.from_ if restore is not None else going_on
    if referred is None or referred.training_ref is None:
        return {}
    if source is None:
        raise ValueError(
            f"trainingRef {referred.training_ref.name!r} must be resolved to a URI before its "
            "trainer can start; received no source"
        )
    if restore is not None:
        return {"restore": {"mode": restore.mode.value, "from": {"uri": source.uri}}}
    return {"continueFrom": {"uri": source.uri}}
