"""The settings of the environment, and what is given of one that is wrong."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from detection_operator.__main__ import explain_settings
from detection_operator.settings import Settings

REQUIRED = {
    "DETECTION_OPERATOR_TRAINER_IMAGE": "trainer:1",
    "DETECTION_OPERATOR_REPORT_URL": "http://operator",
}


def pod_defaults(value: Any) -> dict[str, str]:
    return {"DETECTION_OPERATOR_POD_DEFAULTS": json.dumps(value)}


def refusal(given: dict[str, str]) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings.from_environment({**REQUIRED, **given})
    return explain_settings(caught.value)


def test_pod_defaults_are_read_from_json() -> None:
    given = pod_defaults({"podLabels": {"team": "ml"}, "priorityClassName": ""})
    found = Settings.from_environment({**REQUIRED, **given}).pod_defaults
    assert found.pod_labels == {"team": "ml"}
    empty = Settings.from_environment({**REQUIRED, "DETECTION_OPERATOR_POD_DEFAULTS": ""})
    assert empty.pod_defaults.env == []


NAME = "DETECTION_OPERATOR_POD_DEFAULTS"
REFUSED: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no JSON": ({NAME: "{"}, (NAME, "expected a JSON object")),
    "a list": (pod_defaults([]), (NAME, "received []")),
    "an unknown field": (pod_defaults({"colour": 1}), (f"{NAME}: colour:", "received 1")),
    "a label's key": (
        pod_defaults({"podLabels": {"a b": "c"}}),
        ("podLabels.a b", "expected a key such as `team`", "'a b'"),
    ),
    "a label's value": (
        pod_defaults({"podLabels": {"a": "b c"}}),
        ("podLabels.a:", "expected a label's value", "'b c'"),
    ),
    "a number as a label's value": (
        pod_defaults({"podLabels": {"a": 1}}),
        ("podLabels.a:", "expected text", "received 1"),
    ),
    "a label of the operator": (
        pod_defaults({"podLabels": {"detectiontraining.dev/role": "x"}}),
        ("detectiontraining.dev/ are the operator's own", "remove it"),
    ),
    "an annotation of the operator": (
        pod_defaults({"podAnnotations": {"detectiontraining.dev/document": "x"}}),
        ("detectiontraining.dev/ are the operator's own", "remove it"),
    ),
    "a Secret's name": (
        pod_defaults({"imagePullSecrets": [{"name": "A_B"}]}),
        ("imagePullSecrets.0.name:", "RFC 1123", "'A_B'"),
    ),
    "a Secret without a name": (
        pod_defaults({"imagePullSecrets": [{}]}),
        ("imagePullSecrets.0.name:", "expected a value"),
    ),
    "a class's name": (pod_defaults({"priorityClassName": "A"}), ("priorityClassName:", "'A'")),
    "a toleration's effect": (
        pod_defaults({"tolerations": [{"key": "a", "effect": "No"}]}),
        ("tolerations.0.effect:", "NoSchedule", "'No'"),
    ),
    "a toleration of everything and one value": (
        pod_defaults({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
        ("tolerations.0:", "operator Exists takes no value", "'b'"),
    ),
    "a toleration of nothing": (
        pod_defaults({"tolerations": [{"value": "b"}]}),
        ("tolerations.0:", "expected a key, or operator Exists"),
    ),
    "seconds of a toleration that evicts nobody": (
        pod_defaults({"tolerations": [{"key": "a", "tolerationSeconds": 5}]}),
        ("tolerations.0:", "requires effect NoExecute"),
    ),
    "a variable's name": (
        pod_defaults({"env": [{"name": "a b"}]}),
        ("env.0:", "expected a variable's name", "'a b'"),
    ),
    "a variable of the contract": (
        pod_defaults({"env": [{"name": "DETECTION_TRAINER_ATTEMPT", "value": "1"}]}),
        ("env.0:", "the operator sets DETECTION_TRAINER_ATTEMPT itself: remove it"),
    ),
    "a variable of several workers": (
        pod_defaults({"env": [{"name": "TF_CONFIG", "value": "1"}]}),
        ("env.0:", "the operator sets TF_CONFIG itself"),
    ),
    "a variable with two values": (
        pod_defaults(
            {"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "b"}}}]}
        ),
        ("env.0:", "expected one of value and valueFrom for A"),
    ),
    "another setting": (
        {"DETECTION_OPERATOR_WORKERS": "300"},
        ("DETECTION_OPERATOR_WORKERS: ", "expected at most 256", "received '300'"),
    ),
}


@pytest.mark.parametrize(("given", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_setting_is_refused_by_its_name(
    given: dict[str, str], parts: tuple[str, ...]
) -> None:
    text = refusal(given)
    for part in parts:
        assert part in text
