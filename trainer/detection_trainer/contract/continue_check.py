"""Decides whether a run may continue another run exactly (`continueFrom`): pure.

Called by the operator before it creates a pod, by the preflight, and by the trainer before it
assigns anything. Each describes both runs with what it knows; values that one side does not know
are not compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from detection_trainer.contract.backbone_shapes import Shape
from detection_trainer.contract.base import dump
from detection_trainer.contract.listing import first_few
from detection_trainer.contract.model import Model
from detection_trainer.contract.spec import TrainingSpec

_AVERAGES = "optimizer.movingAverageDecay (use_moving_average of a pipeline.config): averages"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RunTraits:
    """What must be equal in both runs of a continuation; None if unknown."""

    optimizer: str
    averaged: bool
    """Whether moving averages of the weights are kept."""
    classes: Sequence[str] | None = None
    model: Model | None = None
    frozen: frozenset[str] | None = None
    """The groups of `freeze`: their variables have no optimizer state."""
    shapes: Mapping[str, Shape] | None = None
    """The model's variables, for a source whose model is unknown."""

    @classmethod
    def of_spec(
        cls,
        spec: TrainingSpec,
        classes: Sequence[str] | None,
        shapes: Mapping[str, Shape] | None = None,
    ) -> Self:
        """Return the traits of the run that `spec` describes."""
        return cls(
            optimizer=spec.optimizer.name,
            averaged=spec.optimizer.moving_average_decay is not None,
            classes=classes,
            model=spec.model,
            frozen=frozenset(spec.freeze),
            shapes=shapes,
        )


def compare_for_continue(source: RunTraits, target: RunTraits) -> list[str]:
    """Return the differences, one sentence each; empty if `target` can continue `source`.

    >>> compare_for_continue(RunTraits("adam", averaged=False), RunTraits("momentum", False))
    ['optimizer.name: there adam, here momentum']
    """
    return list(_differences(source, target))


def continue_refusal(source: str, differences: Sequence[str]) -> str:
    """Return why the run `source` (a URI, or the name of a training) cannot be continued."""
    return (
        f"continueFrom {source} needs a run with the same classes, model, optimizer and freeze; "
        f"{first_few(differences, _SHOWN)}: {advice(differences)}"
    )


def advice(differences: Sequence[str]) -> str:
    """Return which restore is possible if a run cannot be continued."""
    if all(difference.startswith("optimizer.") for difference in differences):
        return "use restore instead (mode full keeps all weights; step and optimizer start again)"
    return (
        "use restore instead (mode detection keeps backbone and feature extractor; the heads get "
        "fresh values)"
    )


def reached_refusal(source: str, step: int, steps: int) -> str | None:
    """Return why a run to `steps` cannot continue `source` at `step`; None if it can.

    >>> reached_refusal("s3://runs/trees", step=300, steps=400) is None
    True
    """
    if steps > step:
        return None
    return (
        f"steps {steps} is already reached: continueFrom {source} is at step {step}, and steps is "
        f"the absolute total: set steps above {step}"
    )


def _differences(source: RunTraits, target: RunTraits) -> Iterator[str]:
    if source.classes is not None and target.classes is not None:
        yield from _differing("classes", list(source.classes), list(target.classes))
    if source.model is not None and target.model is not None:
        yield from _differing_fields(source.model, target.model)
    yield from _differing("optimizer.name", source.optimizer, target.optimizer)
    if source.averaged != target.averaged:
        yield f"{_AVERAGES} there {_kept(source)}, here {_kept(target)}"
    if source.frozen is not None and target.frozen is not None:
        yield from _differing("freeze", sorted(source.frozen), sorted(target.frozen))
    if source.shapes is not None and target.shapes is not None:
        for path in dict.fromkeys((*target.shapes, *source.shapes)):
            found, expected = source.shapes.get(path), target.shapes.get(path)
            yield from _differing(path, _shown(found), _shown(expected))


def _differing_fields(source: Model, target: Model) -> Iterator[str]:
    there, here = _flat(dump(source), "model"), _flat(dump(target), "model")
    for field in sorted(there.keys() | here.keys()):
        yield from _differing(field, there.get(field), here.get(field))


def _kept(run: RunTraits) -> str:
    return "kept" if run.averaged else "none"


def _differing(what: str, there: Any, here: Any) -> Iterator[str]:
    if there != here:
        yield f"{what}: there {there}, here {here}"


def _shown(shape: Shape | None) -> str:
    return "nothing" if shape is None else str(tuple(shape))


def _flat(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {path: value}
    parts = [_flat(inner, f"{path}.{key}") for key, inner in value.items()]
    return {key: inner for part in parts for key, inner in part.items()}
