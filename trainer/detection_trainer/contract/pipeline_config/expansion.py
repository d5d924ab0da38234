"""Completes a spec that has `pipelineConfig` with the fields of the configuration.

The API server fills in defaults. So a value that equals its default counts as not stated, wherever
the spec is read.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from detection_trainer.contract.pipeline_config.mapping import PipelineConfig, apply_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import PipelineConfigSource

FIELD = "pipelineConfig"


def source_of(spec: Mapping[str, Any]) -> PipelineConfigSource | None:
    """Return the location of the configuration of `spec`; None if it has none.

    Raises:
        ValidationError: the field is invalid.
    """
    source = spec.get(FIELD)
    return None if source is None else PipelineConfigSource.model_validate(source)


def expand(
    spec: Mapping[str, Any], config: PipelineConfig, kind: type[BaseModel]
) -> dict[str, Any]:
    """Return the fields of `spec` without `pipelineConfig`, completed by `config`.

    Args:
        spec: the stored fields.
        config: the content of its configuration.
        kind: the model of the spec, for the defaults.

    Raises:
        PipelineConfigError: `model` is stated too, or neither gives a required field.
    """
    if spec.get("model") is not None:
        raise PipelineConfigError(
            "model and pipelineConfig exclude each other: the pipeline.config defines the model"
        )
    return apply_pipeline_config(config, stated_fields(spec, kind))


def stated_fields(spec: Mapping[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Return the stated fields: those that differ from their defaults, at any depth.

    Raises:
        ValidationError: a field that has a default is invalid.
    """
    defaults = {
        field.alias or name: field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
        if not field.is_required()
    }
    found = {name: _stated(value, defaults.get(name)) for name, value in spec.items()}
    return {
        name: value
        for name, value in found.items()
        if name != FIELD and value is not None and value != defaults.get(name)
    }


def _stated(value: Any, default: Any) -> Any:
    if not isinstance(default, BaseModel):
        return value
    dumped = (
        type(default)
        .model_validate(value)
        .model_dump(mode="json", by_alias=True, exclude_defaults=True)
    )
    return dumped or None
