"""An administrator's defaults for trainers' pods, and the podTemplate that has precedence."""

from dataclasses import replace
from typing import Any

import pytest

from detection_operator.api.pod_defaults import PodDefaults
from detection_operator.api.v1alpha1 import PodTemplate
from detection_operator.core.actions import EnsureClaim, StartAttempt, StartPreflight
from detection_operator.manifests import Manifests
from detection_operator.manifests.pod_defaults import merge_pod_defaults
from detection_trainer.contract.base import dump
from tests.support.operator.observations import CHECK, JOB, SETTINGS, spec, training

Object = dict[str, Any]
SPOT = {"key": "spot", "operator": "Exists"}
GPU = {"key": "gpu", "operator": "Equal", "value": "a100", "effect": "NoSchedule"}
ATTEMPT = StartAttempt(1, JOB, "trainer:1")
CHECKING = StartPreflight(CHECK, "trainer:1")

MERGES: dict[str, tuple[Object, Object, Object]] = {
    "a training that says nothing gets the defaults": (
        {
            "podLabels": {"team": "ml"},
            "podAnnotations": {"note": "x"},
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [SPOT],
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "batch",
            "runtimeClassName": "nvidia",
            "env": [{"name": "TZ", "value": "UTC"}],
        },
        {},
        {
            "labels": {"team": "ml"},
            "annotations": {"note": "x"},
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [SPOT],
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "batch",
            "runtimeClassName": "nvidia",
            "env": [{"name": "TZ", "value": "UTC"}],
        },
    ),
    "maps are merged by key": (
        {"podLabels": {"team": "ml", "cost": "1"}, "nodeSelector": {"pool": "gpu", "zone": "a"}},
        {"labels": {"team": "vision"}, "nodeSelector": {"zone": "b"}},
        {
            "labels": {"team": "vision", "cost": "1"},
            "nodeSelector": {"pool": "gpu", "zone": "b"},
        },
    ),
    "an annotation of the training has precedence": (
        {"podAnnotations": {"note": "x"}},
        {"annotations": {"note": "y"}},
        {"annotations": {"note": "y"}},
    ),
    "tolerations of both apply": (
        {"tolerations": [SPOT]},
        {"tolerations": [GPU]},
        {"tolerations": [SPOT, GPU]},
    ),
    "a toleration of both is there once": (
        {"tolerations": [SPOT, GPU]},
        {"tolerations": [SPOT]},
        {"tolerations": [SPOT, GPU]},
    ),
    "Secrets for the registry of both are used, each once": (
        {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]},
        {"imagePullSecrets": [{"name": "b"}, {"name": "c"}]},
        {"imagePullSecrets": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
    ),
    "a variable of the training replaces that of the same name": (
        {"env": [{"name": "TZ", "value": "UTC"}, {"name": "A", "value": "1"}]},
        {"env": [{"name": "TZ", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        {
            "env": [
                {"name": "A", "value": "1"},
                {"name": "TZ", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ]
        },
    ),
    "a class of the training has precedence": (
        {"priorityClassName": "batch", "runtimeClassName": "nvidia"},
        {"priorityClassName": "urgent", "runtimeClassName": "gvisor"},
        {"priorityClassName": "urgent", "runtimeClassName": "gvisor"},
    ),
}


@pytest.mark.parametrize(("defaults", "given", "wanted"), MERGES.values(), ids=MERGES.keys())
def test_defaults_are_merged(defaults: Object, given: Object, wanted: Object) -> None:
    merged = merge_pod_defaults(
        PodDefaults.model_validate(defaults), PodTemplate.model_validate(given)
    )
    merged_fields = {key: value for key, value in dump(merged).items() if value}
    assert merged_fields == wanted


def test_no_defaults_change_nothing() -> None:
    template = PodTemplate.model_validate({"labels": {"a": "b"}, "tolerations": [SPOT]})
    assert merge_pod_defaults(PodDefaults(), template) == template


def with_defaults(**defaults: Any) -> Manifests:
    return Manifests(replace(SETTINGS, pod_defaults=PodDefaults.model_validate(defaults)))


@pytest.mark.parametrize("action", [ATTEMPT, CHECKING], ids=["an attempt", "a preflight"])
def test_pods_get_the_defaults(action: StartAttempt | StartPreflight) -> None:
    manifests = with_defaults(
        podLabels={"team": "ml"},
        podAnnotations={"note": "x"},
        nodeSelector={"pool": "gpu"},
        tolerations=[SPOT],
        imagePullSecrets=[{"name": "registry"}],
        priorityClassName="batch",
        runtimeClassName="nvidia",
        env=[{"name": "TZ", "value": "UTC"}],
    )
    job = manifests.job(training(spec()), action)
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == job["metadata"]["labels"]["team"] == "ml"
    assert pod["metadata"]["annotations"]["note"] == "x"
    assert pod["spec"]["nodeSelector"] == {"pool": "gpu"}
    assert pod["spec"]["tolerations"] == [SPOT]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["priorityClassName"] == "batch"
    assert pod["spec"]["runtimeClassName"] == "nvidia"
    assert {"name": "TZ", "value": "UTC"} in pod["spec"]["containers"][0]["env"]


def test_labels_by_default_are_on_all_that_is_made() -> None:
    manifests = with_defaults(podLabels={"team": "ml"})
    claim = {"storage": {"volumeClaim": {"size": "1Gi"}}}
    several = training(spec(workers=2, batchSize=8, checkpoints=claim))
    network = manifests.network(several, ATTEMPT)
    assert network is not None
    made = (*network, manifests.claim(several, EnsureClaim("trees-checkpoints")))
    assert [body["metadata"]["labels"]["team"] for body in made] == ["ml"] * 3


def test_defaults_are_not_in_the_document_that_a_trainer_reads() -> None:
    def document(manifests: Manifests) -> str:
        job = manifests.job(training(spec()), ATTEMPT)
        annotations = job["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["detectiontraining.dev/document"])

    assert document(with_defaults(env=[{"name": "TZ", "value": "UTC"}])) == document(
        with_defaults()
    )


def test_an_invalid_training_stays_invalid() -> None:
    with pytest.raises(ValueError, match="has no spec"):
        with_defaults(podLabels={"team": "ml"}).job(
            training(None, invalid="steps: must be above 0"), ATTEMPT
        )
