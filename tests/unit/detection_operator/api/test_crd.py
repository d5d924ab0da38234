"""`kubectl explain` describes each field of a spec and its default."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from detection_operator.api.crd import build_crd, structural
from detection_operator.api.v1alpha1 import Spec
from detection_trainer.contract.rules import CEL_KEY

Schema = dict[str, Any]


def fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        yield from fields(field.get("items", {}), f"{path}.{name}[]")


ROOT = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = dict(fields(ROOT["properties"]["spec"], "spec"))
STATUS = dict(fields(ROOT["properties"]["status"], "status"))
DEFAULTS = {
    path: field["default"]
    for path, field in fields(structural(Spec.model_json_schema(by_alias=True)), "spec")
    if not isinstance(field.get("default", {}), dict | list)
}


def test_every_field_of_the_spec_is_described() -> None:
    assert len(SPEC) > 150
    assert [path for path, field in SPEC.items() if not field.get("description")] == []


@pytest.mark.parametrize(("path", "default"), DEFAULTS.items())
def test_a_default_is_described(path: str, default: Any) -> None:
    assert f"Default: {json.dumps(default)}." in SPEC[path]["description"]


def test_a_spec_is_stored_as_it_was_written() -> None:
    """Items of lists are the exception, because rules compare lists as a whole."""
    assert [path for path, f in SPEC.items() if "default" in f and "[]" not in path] == []


def test_the_api_server_checks_only_types_in_the_status() -> None:
    checks = {"pattern", "maxLength", "minimum", "maximum", "maxItems", "format", CEL_KEY}
    assert [path for path, field in STATUS.items() if checks & field.keys()] == []


def test_only_the_observed_generation_of_a_status_has_a_default() -> None:
    assert {p: f["default"] for p, f in STATUS.items() if "default" in f} == {
        "status.observedGeneration": -1
    }


@pytest.mark.parametrize(
    "word", ["classification", "detection", "full", "backbone", "heads", "continueFrom"]
)
def test_the_restore_modes_are_explained_where_they_are_set(word: str) -> None:
    assert word in SPEC["spec.restore.mode"]["description"]


def test_no_reference_has_a_namespace() -> None:
    """Affinity terms choose among pods that are there; they read nothing of their namespaces."""
    named = [path for path in SPEC if path.rpartition(".")[2].startswith("namespace")]
    assert [path for path in named if ".affinity." not in path] == []
