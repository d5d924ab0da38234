"""Generates the CustomResourceDefinition from the models: `python -m detection_operator.api.crd`.

Pydantic's JSON schema becomes a structural schema (apiextensions/v1): references are resolved and
null alternatives are dropped. The API server stores an object as its author wrote it: readers apply
the defaults, which the descriptions state. `make generate` writes the schema to crds/ and into the
chart; `make verify` fails if they differ.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from detection_operator.api import v1alpha1
from detection_operator.api.absent import Schema, reading_defaults
from detection_operator.api.transitions import root_rules
from detection_operator.api.v1alpha1 import Spec, Status
from detection_trainer.contract.rules import CEL_KEY

DROPPED = frozenset({"title", "propertyNames", "$defs", "description"})
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"

STATUS_KEYS = frozenset(
    {"type", "enum", "description", "properties", "items", "additionalProperties", "required"}
    | {PRESERVE, INT_OR_STRING}
)
"""What the schema of the status keeps of the models: what `kubectl explain` shows."""
GIVEN_BY_PIPELINE_CONFIG = frozenset({"model", "dataset", "steps"})
COLUMNS = (
    ("Phase", "string", ".status.phase", "What happens now"),
    ("Step", "integer", ".status.step", "Steps trained"),
    ("Of", "integer", ".spec.steps", "Requested steps"),
    ("Loss", "string", ".status.progress.loss", "Loss as last reported"),
    ("mAP", "string", ".status.metrics.mAP", "COCO mAP of the last evaluation"),
    ("Checkpoint", "integer", ".status.latestCheckpoint.step", "Step of the newest checkpoint"),
    ("Age", "date", ".metadata.creationTimestamp", ""),
)


def build_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of DetectionTraining."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{v1alpha1.PLURAL}.{v1alpha1.GROUP}"},
        "spec": {
            "group": v1alpha1.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": v1alpha1.KIND,
                "listKind": f"{v1alpha1.KIND}List",
                "plural": v1alpha1.PLURAL,
                "singular": v1alpha1.SINGULAR,
                "shortNames": [v1alpha1.SHORT_NAME],
                # Not `all`: `kubectl delete all --all` must not delete trainings.
                "categories": ["training"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": v1alpha1.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
        "schema": {"openAPIV3Schema": _root_schema()},
    }


def _column(name: str, kind: str, path: str, description: str) -> dict[str, str]:
    column = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "description": description} if description else column


def _root_schema() -> Schema:
    spec = spec_schema()
    return {
        "description": "Trains an object detector; see the project's documentation.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _without_defaults(spec),
            "status": _status_schema(),
        },
        CEL_KEY: root_rules(spec),
    }


def spec_schema() -> Schema:
    """Return the schema of the spec; CEL rules require what a pipelineConfig may set instead."""
    spec = structural(Spec.model_json_schema(by_alias=True))
    spec["required"] = [name for name in spec["required"] if name not in GIVEN_BY_PIPELINE_CONFIG]
    return spec


def _without_defaults(schema: Schema) -> Schema:
    """Return the schema without defaults; its rules read them for absent fields.

    The items of lists keep theirs, because rules compare whole lists: an item that is stored with
    its defaults and the same item as its author wrote it must be equal.
    """
    result = {key: value for key, value in schema.items() if key != "default"}
    if CEL_KEY in schema:
        result[CEL_KEY] = [
            {**rule, "rule": reading_defaults(rule["rule"], schema)} for rule in schema[CEL_KEY]
        ]
    if "properties" in schema:
        inner = schema["properties"].items()
        result["properties"] = {name: _without_defaults(value) for name, value in inner}
    return result


def _status_schema() -> Schema:
    """Return the schema of the status: types only, because only the operator writes it.

    Each object below the status is atomic, which keeps the managed fields small.
    """
    status = _types_only(structural(Status.model_json_schema(by_alias=True)))
    del status["x-kubernetes-map-type"]
    # With these defaults kstatus never reports a resource as Current that the operator has not
    # seen.
    status["properties"]["observedGeneration"]["default"] = -1
    status["default"] = {"observedGeneration": -1}
    return status


def _types_only(schema: Schema) -> Schema:
    result = {key: value for key, value in schema.items() if key in STATUS_KEYS}
    if "properties" in schema:
        result["x-kubernetes-map-type"] = "atomic"
        inner = schema["properties"].items()
        result["properties"] = {name: _types_only(value) for name, value in inner}
    for key in ("items", "additionalProperties"):
        if key in schema:
            result[key] = _types_only(schema[key])
    return result


def structural(schema: Schema) -> Schema:
    """Return a pydantic JSON schema as a structural one, with the defaults."""
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    source = _resolved(schema, definitions)
    result = {key: value for key, value in source.items() if key not in DROPPED}
    if text := source.get("description"):
        result = {"description": f"{' '.join(text.split())}{_default_of(source)}", **result}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "exclusiveMinimum" in result:
        result |= {"minimum": result["exclusiveMinimum"], "exclusiveMinimum": True}
    if "exclusiveMaximum" in result:
        result |= {"maximum": result["exclusiveMaximum"], "exclusiveMaximum": True}
    if result.get("default", 0) is None:
        result.pop("default", None)
    if "items" in result:
        result["items"] = _convert(result["items"], definitions)
    if result.get("type") == "object":
        _convert_object(result, definitions)
    return result


def _default_of(source: Schema) -> str:
    """Return the sentence that states a field's default; empty if it has none of its own."""
    default = source.get("default")
    if default is None or default in ({}, []) or "$defs" in source or isinstance(default, dict):
        return ""
    return f" Default: {json.dumps(default)}."


def _convert_object(result: Schema, definitions: dict[str, Schema]) -> None:
    if "properties" in result:
        properties = result["properties"].items()
        result["properties"] = {name: _convert(value, definitions) for name, value in properties}
        result.pop("additionalProperties", None)
        if "default" in result:
            result["default"] = _without_null(result["default"])
    elif result.get("additionalProperties") is True:
        result.pop("additionalProperties")
        result[PRESERVE] = True
    else:
        values = result["additionalProperties"]
        result["additionalProperties"] = _convert(values, definitions)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return value


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return `schema` with `$ref` resolved, no null alternative, and int-or-string marked."""
    result = dict(schema)
    if "$ref" in result:
        name = result.pop("$ref").rsplit("/", 1)[-1]
        return _resolved({**definitions[name], **result}, definitions)
    if "anyOf" not in result:
        return result
    choices = [choice for choice in result.pop("anyOf") if choice.get("type") != "null"]
    if len(choices) == 1:
        return _resolved({**choices[0], **result}, definitions)
    if sorted(choice.get("type", "") for choice in choices) == ["integer", "string"]:
        text = next(choice for choice in choices if choice["type"] == "string")
        limits = {key: text[key] for key in ("maxLength", "pattern") if key in text}
        return {**result, **limits, INT_OR_STRING: True}
    msg = f"no structural schema for the alternatives {choices}"
    raise TypeError(msg)


def render() -> str:
    """Return the CustomResourceDefinition as YAML."""
    header = "# Generated from the models by `make generate`; do not edit.\n"
    return header + yaml.safe_dump(build_crd(), sort_keys=False, width=100, allow_unicode=True)


def main() -> None:
    """Write the CustomResourceDefinition to each path on the command line."""
    for path in sys.argv[1:]:
        Path(path).write_text(render())


if __name__ == "__main__":
    main()
