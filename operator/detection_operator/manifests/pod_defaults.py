"""Merges an administrator's defaults for trainers' pods into the `podTemplate` of a training."""

from collections.abc import Sequence
from dataclasses import replace

from detection_operator.api.pod_defaults import PodDefaults
from detection_operator.api.pod_template import EnvVariable, LocalReference
from detection_operator.api.v1alpha1 import PodTemplate
from detection_operator.core.state import Training
from detection_trainer.contract.base import dump

Named = EnvVariable | LocalReference


def with_pod_defaults(training: Training, defaults: PodDefaults) -> Training:
    """Return `training` with the defaults in its `podTemplate`, for what is built next.

    The spec itself does not change, so that new defaults are no edit of a training that runs.
    """
    if training.spec is None:
        return training
    template = merge_pod_defaults(defaults, training.spec.pod_template)
    return replace(training, spec=training.spec.model_copy(update={"pod_template": template}))


def merge_pod_defaults(defaults: PodDefaults, template: PodTemplate) -> PodTemplate:
    """Return `template` with what it leaves to `defaults`.

    Maps are merged by key, environment variables and Secrets by name, and the template has
    precedence. Tolerations of both apply.

    >>> merge_pod_defaults(PodDefaults(pod_labels={"team": "ml"}), PodTemplate()).labels
    {'team': 'ml'}
    """
    known = [dump(toleration) for toleration in defaults.tolerations]
    more = [toleration for toleration in template.tolerations if dump(toleration) not in known]
    merged = {
        "labels": {**defaults.pod_labels, **template.labels},
        "annotations": {**defaults.pod_annotations, **template.annotations},
        "node_selector": {**defaults.node_selector, **template.node_selector},
        "tolerations": [*defaults.tolerations, *more],
        "image_pull_secrets": _by_name(defaults.image_pull_secrets, template.image_pull_secrets),
        "priority_class_name": template.priority_class_name or defaults.priority_class_name or None,
        "runtime_class_name": template.runtime_class_name or defaults.runtime_class_name or None,
        "env": _by_name(defaults.env, template.env),
    }
    return template.model_copy(update=merged)


def _by_name(defaults: Sequence[Named], given: Sequence[Named]) -> list[Named]:
    taken = {one.name for one in given}
    return [*(one for one in defaults if one.name not in taken), *given]
