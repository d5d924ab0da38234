"""Maps a whole pipeline.config to fields of a DetectionTraining's spec."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.contract.pipeline_config.augmentation import map_augmentation
from detection_trainer.contract.pipeline_config.ignored import reason_of
from detection_trainer.contract.pipeline_config.model import map_model
from detection_trainer.contract.pipeline_config.optimizer import map_optimizer
from detection_trainer.contract.pipeline_config.places import map_places
from detection_trainer.contract.pipeline_config.reading import Node, PipelineConfigError
from detection_trainer.contract.protobuf_text import Field, Message, TextFormatError, parse
from detection_trainer.contract.schedule import first_cycles, zero_rate_from

_SHOWN = 60
SECTIONS = ("dataset", "restore", "continueFrom")
"""Fields of the spec that replace those of the configuration as a whole."""


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """The content of a configuration."""

    fields: Mapping[str, Any]
    """Fields of the spec of a DetectionTraining."""
    missing: Mapping[str, str]
    """Required field of the spec -> why the configuration does not give it."""
    notes: tuple[str, ...]
    """What is ignored or done differently, each with the reason."""


def read_pipeline_config(text: str, working_folder: str | None = None) -> PipelineConfig:
    """Return the configuration that `text` contains, mapped to the spec.

    Args:
        text: the configuration in protobuf's text format.
        working_folder: the absolute base of relative paths; None refuses them.

    Raises:
        PipelineConfigError: it is invalid, or requires something that changes the result and is
            not available.
    """
    try:
        pipeline = Node("", parse(text))
    except TextFormatError as error:
        raise PipelineConfigError(
            f"expected a pipeline.config in protobuf's text: {error}"
        ) from error
    notes: list[str] = []
    model, l2 = map_model(pipeline, notes)
    train = pipeline.below("train_config")
    train.only(
        "merge_multiple_label_boxes",
        expected=False,
        why="a box has exactly one class",
        default=False,
    )
    train.only(
        "use_multiclass_scores", expected=False, why="a box has exactly one class", default=False
    )
    fields: dict[str, Any] = {
        "model": model,
        "batchSize": _positive(train, "batch_size", 32),
        "optimizer": map_optimizer(train, l2, notes),
        "augmentation": map_augmentation(train),
    }
    places = map_places(pipeline, notes, working_folder)
    fields |= places.fields
    steps = train.integer("num_steps", 0)
    if steps < 0:
        raise train.error("num_steps", f"expected a number above 0; received {steps}")
    if steps:
        fields["steps"] = steps
        notes += _zero_rate(fields["optimizer"], steps)
    else:
        places.missing["steps"] = "train_config.num_steps: expected a number above 0; received none"
    pipeline.below("eval_config")
    notes += [_note(path, entry) for path, entry in pipeline.unread()]
    return PipelineConfig(fields, places.missing, tuple(notes))


def apply_pipeline_config(config: PipelineConfig, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a spec with `config`; the spec's own fields `stated` win.

    `dataset`, `restore` and `continueFrom` win as a whole, of the other fields each stated value.

    Raises:
        PipelineConfigError: neither gives a required field.
    """
    given = dict(config.fields)
    if stated.get("restore") or stated.get("continueFrom"):
        given.pop("restore", None)
    result = {
        **given,
        **{name: _merged(name, given.get(name), value) for name, value in stated.items()},
    }
    beginning = stated.get("restore") or stated.get("continueFrom")
    for name, why in config.missing.items():
        if not stated.get(name) and not (name == "restore" and beginning):
            raise PipelineConfigError(f"{why}: correct it, or set spec.{name}")
    return result


def _positive(node: Node, name: str, default: int) -> int:
    value = node.integer(name, default)
    if value < 1:
        raise node.error(name, f"expected a number above 0; received {value}")
    return value


def _zero_rate(optimizer: Mapping[str, Any], steps: int) -> Iterator[str]:
    try:
        given = Optimizer.model_validate(optimizer)
    except ValidationError:  # Reported with its field when the spec is validated.
        return
    start = zero_rate_from(given, first_cycles(given.schedule, steps), steps)
    if start is not None:
        yield (
            f"train_config.num_steps: {steps}: beyond total_steps {start} the learning rate is 0. "
            "The OD API would train on without effect; this program refuses the run: set "
            "optimizer.schedule.onExtend to Restart, finalFraction above 0, or decaySteps to "
            "steps"
        )


def _merged(name: str, given: Any, stated: Any) -> Any:
    if name in SECTIONS or not isinstance(given, dict) or not isinstance(stated, dict):
        return stated
    return {**given, **{key: _merged("", given.get(key), value) for key, value in stated.items()}}


def _note(path: str, entry: Field) -> str:
    value = "{ … }" if isinstance(entry.value, Message) else entry.value
    shown = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
    return f"line {entry.line}: {path}: {shown}: {reason_of(path)}"
