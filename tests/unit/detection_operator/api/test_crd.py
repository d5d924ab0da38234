"""`kubectl explain` describes each field of a spec and its default."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from detection_operator.api.crd import build_crd

Schema = dict[str, Any]


def fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        yield from fields(field.get("items", {}), f"{path}.{name}[]")


ROOT = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = dict(fields(ROOT["properties"]["spec"], "spec"))


def test_every_field_of_the_spec_is_described() -> None:
    assert len(SPEC) > 150
    assert [path for path, field in SPEC.items() if not field.get("description")] == []


@pytest.mark.parametrize(
    "path", [p for p, f in SPEC.items() if not isinstance(f.get("default", {}), dict | list)]
)
def test_a_default_is_described(path: str) -> None:
    assert f"Default: {json.dumps(SPEC[path]['default'])}." in SPEC[path]["description"]


@pytest.mark.parametrize(
    "word", ["classification", "detection", "full", "backbone", "heads", "continueFrom"]
)
def test_the_restore_modes_are_explained_where_they_are_set(word: str) -> None:
    assert word in SPEC["spec.restore.mode"]["description"]


def test_no_reference_has_a_namespace() -> None:
    """Affinity terms choose among pods that are there; they read nothing of their namespaces."""
    named = [path for path in SPEC if path.rpartition(".")[2].startswith("namespace")]
    assert [path for path in named if ".affinity." not in path] == []
