"""A spec with `pipelineConfig`, made whole: what the configuration says, and what the spec adds.

The API server fills defaults in, so that a value that equals its default counts as not said,
wherever the spec is read.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from detection_trainer.contract.pipeline_config.mapping import PipelineConfig, apply_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import PipelineConfigSource

FIELD = "pipelineConfig"


def source_of(spec: Mapping[str, Any]) -> PipelineConfigSource | None:
    """Return where the configuration of `spec` is; None where it has none.

    Raises:
        ValidationError: the field is invalid.
    """
    said = spec.get(FIELD)
    return None if said is None else PipelineConfigSource.model_validate(said)


def expand(
    spec: Mapping[str, Any], config: PipelineConfig, kind: type[BaseModel]
) -> dict[str, Any]:
    """Return the fields of `spec` without `pipelineConfig`, made whole by `config`.

    Args:
        spec: the fields as they are stored.
        config: what its configuration says.
        kind: the model of the spec, which knows the defaults.

    Raises:
        PipelineConfigError: `model` stands beside it, or something is missing that neither gives.
    """
    if spec.get("model") is not None:
        raise PipelineConfigError(
            "model and pipelineConfig exclude each other: the pipeline.config defines the model"
        )
    return apply_pipeline_config(config, said_fields(spec, kind))


def said_fields(spec: Mapping[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Return the fields that were said: those that differ from their defaults, at any depth.

    Raises:
        ValidationError: a field that has a default is invalid.
    """
    defaults = {
        field.alias or name: field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
        if not field.is_required()
    }
    found = {name: _said(value, defaults.get(name)) for name, value in spec.items()}
    return {
        name: value
        for name, value in found.items()
        if name != FIELD and value is not None and value != defaults.get(name)
    }


def _said(value: Any, default: Any) -> Any:
    if not isinstance(default, BaseModel):
        return value
    dumped = (
        type(default)
        .model_validate(value)
        .model_dump(mode="json", by_alias=True, exclude_defaults=True)
    )
    return dumped or None
