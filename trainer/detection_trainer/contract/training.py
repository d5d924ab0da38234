"""The document a trainer reads: a DetectionTraining, as `kubectl apply` takes it.

YAML is read as kubectl does: the core schema's booleans and numbers, so that `1e-4` is a number;
a YAML 1.1 `no` stays what kubectl makes of it.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from detection_trainer.contract.base import Contract
from detection_trainer.contract.pipeline_config.expansion import expand, source_of
from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import KUBERNETES_FIELDS, TrainingSpec

API_VERSION = "detectiontraining.dev/v1alpha1"
KIND = "DetectionTraining"


class InvalidTrainingError(ValueError):
    """The document is not a DetectionTraining that can run; the message names each field."""


class Identity(Contract):
    """Whose run it is; written into the checkpoint folder as its owner."""

    namespace: Annotated[str, Field(max_length=63)] = "default"
    name: Annotated[str, Field(min_length=1, max_length=40)]


class Training(Contract):
    """A DetectionTraining as the trainer sees it."""

    identity: Identity
    spec: TrainingSpec
    uid: str = ""
    """The resource's uid; none by hand. Attempts are numbered within it."""
    set_aside: list[str] = []
    """Spec fields that only Kubernetes reads."""
    notes: tuple[str, ...] = ()
    """What its `pipelineConfig` says and is passed over, or done in another way."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with kubectl's idea of a float (`1e-4` needs no dot)."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def load_yaml(text: str) -> Any:
    """Read one YAML document (JSON is YAML) as kubectl does."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - derives from SafeLoader


def read_training(path: Path) -> Training:
    """Read the DetectionTraining in the file at `path`.

    Raises:
        InvalidTrainingError: the file is no YAML, another kind, or its spec does not hold.
    """
    try:
        document = load_yaml(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{path}: expected a DetectionTraining in YAML or JSON; reading it failed: {error}"
        raise InvalidTrainingError(msg) from error
    return parse_training(document, source=str(path))


def parse_training(document: Any, source: str = "the document") -> Training:
    """Validate one DetectionTraining document.

    Raises:
        InvalidTrainingError: it is another kind, or its spec does not hold.
    """
    kind = document.get("kind") if isinstance(document, dict) else type(document).__name__
    if kind != KIND or document.get("apiVersion") != API_VERSION:
        msg = f"{source}: expected kind {KIND} of {API_VERSION}; received {kind!r}"
        raise InvalidTrainingError(msg)
    metadata = document.get("metadata") or {}
    spec = dict(document.get("spec") or {})
    set_aside = sorted(KUBERNETES_FIELDS & spec.keys())
    identity = {key: metadata[key] for key in ("namespace", "name") if metadata.get(key)}
    try:
        whole, notes = _whole({k: v for k, v in spec.items() if k not in set_aside})
        return Training(
            identity=Identity.model_validate(identity),
            uid=metadata.get("uid") or "",
            spec=TrainingSpec.model_validate(whole),
            set_aside=set_aside,
            notes=notes,
        )
    except ValidationError as error:
        raise InvalidTrainingError(f"{source}: {explain(error)}") from error
    except PipelineConfigError as error:
        raise InvalidTrainingError(f"{source}: pipelineConfig: {error}") from error


def _whole(spec: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the spec with what its pipelineConfig says, and what is passed over there."""
    place = source_of(spec)
    if place is None:
        return spec, ()
    if place.inline is None:
        raise PipelineConfigError(
            "configMapKeyRef is read by the operator, in a cluster; by hand give inline, or "
            "`detection-trainer run --pipeline-config FILE`"
        )
    config = read_pipeline_config(place.inline)
    return expand(spec, config, TrainingSpec), config.notes


def explain(error: ValidationError) -> str:
    """Return what is wrong, field by field: what was expected and what was received."""
    lines = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"]) or "spec"
        received = json.dumps(problem["input"], default=str)
        if len(received) > 200:  # noqa: PLR2004 - enough to recognise the value
            received = received[:200] + "…"
        lines.append(f"{field}: {problem['msg']} (received {received})")
    return "; ".join(lines)
