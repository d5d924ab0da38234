"""The CRD bounds all that a namespace user can write: a spec cannot grow without end."""

from collections.abc import Iterator
from typing import Any

import pytest

from detection_operator.api.crd import INT_OR_STRING, PRESERVE, build_crd, structural
from detection_operator.api.v1alpha1 import Status

Schema = dict[str, Any]


def root() -> Schema:
    """Return the schemas of the spec, as the API server has it, and of the status, as written.

    Only the operator writes a status, so the API server checks its types alone.
    """
    [version] = build_crd()["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    return {
        "spec": properties["spec"],
        "status": structural(Status.model_json_schema(by_alias=True)),
    }


def unbounded(schema: Schema, path: str) -> Iterator[str]:
    """Yield where a value may be of any length, or of any shape and so of any depth."""
    if PRESERVE in schema or (schema.get("type") == "object" and not _shape(schema)):
        yield f"{path}: an object of any shape"
    if schema.get("type") == "array":
        if "maxItems" not in schema:
            yield f"{path}: a list without maxItems"
        yield from unbounded(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        if "maxProperties" not in schema:
            yield f"{path}: a map without maxProperties"
        yield from unbounded(schema["additionalProperties"], f"{path}{{}}")
    if _is_text(schema) and not _is_short(schema):
        yield f"{path}: a text without maxLength"
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, f"{path}.{name}")


def _shape(schema: Schema) -> bool:
    return "properties" in schema or "additionalProperties" in schema


def _is_text(schema: Schema) -> bool:
    return schema.get("type") == "string" or bool(schema.get(INT_OR_STRING))


def _is_short(schema: Schema) -> bool:
    return bool({"maxLength", "enum"} & schema.keys()) or schema.get("format") == "date-time"


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_list_map_and_text_has_a_bound(part: str) -> None:
    assert list(unbounded(root()[part], part)) == []


def test_what_has_no_bound_is_found() -> None:
    schema = {
        "properties": {
            "a": {"type": "array", "items": {"type": "string"}},
            "b": {"type": "object", "additionalProperties": {INT_OR_STRING: True}},
            "c": {"type": "object", PRESERVE: True},
            "d": {"type": "object"},
            "e": {"type": "string", "maxLength": 3},
        }
    }
    assert [line.partition(":")[0] for line in unbounded(schema, "x")] == [
        "x.a", "x.a[]", "x.b", "x.b{}", "x.c", "x.d",
    ]  # fmt: skip
