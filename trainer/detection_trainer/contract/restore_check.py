"""Decides from names and shapes whether a source's variables fit a model, by mode.

Called by the operator before it creates a pod, by the preflight, and by the trainer before it
assigns anything. The modes are the OD API's `fine_tune_checkpoint_type` (train.proto).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from detection_trainer.contract.backbone_shapes import RANDOM_STATE, Shape, backbone_shapes
from detection_trainer.contract.listing import first_few
from detection_trainer.contract.model import Model
from detection_trainer.contract.sources import RestoreMode

_NAMES_SHOWN = 10
_DIFFERENCES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """The effect of a restore; nothing may be assigned unless `differences` is empty."""

    mode: RestoreMode
    assign: list[str]
    """Paths to restore from the source, in the model's order."""
    fresh: list[str]
    """Paths that keep their initial values."""
    differences: list[str]
    """One sentence for each variable that differs, with both shapes."""
    fitting: list[RestoreMode]
    """The modes in which the source could be restored."""

    @property
    def reasons(self) -> dict[str, str]:
        """Path of each fresh variable -> why it is not restored."""
        taken = restored_groups(self.mode)
        return {
            path: "a random state that the source does not have"
            if _group(path) in taken
            else f"mode {self.mode} does not restore {_group(path)}"
            for path in self.fresh
        }

    @property
    def advice(self) -> str:
        """What to do after a refusal."""
        match self.fitting:
            case []:
                return "no restore mode fits: choose another source or another model"
            case [*modes]:
                return f"set restore.mode to {' or '.join(modes)}, which this source fits"

    def refusal(self, uri: str) -> str:
        """Return why the source at `uri` is refused, and which mode fits."""
        return (
            f"restore mode {self.mode} does not fit {uri}, and no variable was assigned: "
            f"{first_few(self.differences, _DIFFERENCES_SHOWN)}. To fix this: {self.advice}"
        )


def restored_groups(mode: RestoreMode) -> tuple[str, ...]:
    """Return the groups that `mode` restores.

    >>> restored_groups(RestoreMode.CLASSIFICATION)
    ('backbone',)
    """
    match mode:
        case RestoreMode.CLASSIFICATION:
            return ("backbone",)
        case RestoreMode.DETECTION:
            return ("backbone", "feature_extractor")
        case RestoreMode.FULL:
            return ("backbone", "feature_extractor", "box_head", "class_head")
        case _:
            assert_never(mode)


def compare_for_restore(  # noqa: PLR0913 - both sides of a comparison, and the mode
    mode: RestoreMode,
    source_shapes: Mapping[str, Shape],
    target_shapes: Mapping[str, Shape],
    source_classes: Sequence[str] | None,
    target_classes: Sequence[str] | None,
    *,
    source_model: Model | None = None,
    target_model: Model | None = None,
) -> RestorePlan:
    """Compare every variable that `mode` restores; assigns nothing.

    Classes and models are compared if both sides know them: `full` needs the same classes in the
    same order and the same anchors, every mode the same backbone. A dropout layer's random state
    is restored if the source has it.

    >>> source, target = {"backbone/a": (3,)}, {"backbone/a": (3,), "box_head/b": (1,)}
    >>> plan = compare_for_restore(RestoreMode.CLASSIFICATION, source, target, None, None)
    >>> plan.assign, plan.fresh, plan.differences
    (['backbone/a'], ['box_head/b'], [])
    """
    source = _Side(source_shapes, source_classes, source_model)
    target = _Side(target_shapes, target_classes, target_model)
    groups = restored_groups(mode)
    wanted = [path for path in target.shapes if _group(path) in groups]
    assign = [path for path in wanted if path in source.shapes or not _may_lack(path)]
    taken = set(assign)
    return RestorePlan(
        mode=mode,
        assign=assign,
        fresh=[path for path in target.shapes if path not in taken],
        differences=list(_differences(mode, source, target)),
        fitting=[m for m in RestoreMode if next(_differences(m, source, target), None) is None],
    )


@dataclass(frozen=True, slots=True)
class _Side:
    shapes: Mapping[str, Shape]
    classes: Sequence[str] | None
    model: Model | None


def _differences(mode: RestoreMode, source: _Side, target: _Side) -> Iterator[str]:
    yield from _model_differences(mode, source, target)
    groups = restored_groups(mode)
    for path in dict.fromkeys((*target.shapes, *source.shapes)):
        if _group(path) not in groups:
            continue
        found, expected = source.shapes.get(path), target.shapes.get(path)
        if found is None and expected is not None:
            if not _may_lack(path):
                yield f"{path}: missing in the source, the model expects shape {expected}"
        elif expected is None:
            if not _is_higher_level(path, source, target):
                yield f"{path}: the source has shape {found}, the model has no such variable"
        elif found is not None and tuple(found) != tuple(expected):
            yield f"{path}: the source has shape {tuple(found)}, the model expects {expected}"


def _model_differences(mode: RestoreMode, source: _Side, target: _Side) -> Iterator[str]:
    full = mode == RestoreMode.FULL
    if full and source.classes is not None and target.classes is not None:
        mine, theirs = list(target.classes), list(source.classes)
        if mine != theirs:
            yield f"classes: the source has {_names(theirs)}, the model {_names(mine)}"
    if source.model is None or target.model is None:
        return
    if source.model.backbone != target.model.backbone:
        theirs, mine = [source.model.backbone], [target.model.backbone]
        yield f"backbone: the source has {_names(theirs)}, the model {_names(mine)}"
    if full and source.model.anchors != target.model.anchors:
        yield (
            f"anchors: the source has {source.model.anchors!r}, the model {target.model.anchors!r}"
        )


def _is_higher_level(path: str, source: _Side, target: _Side) -> bool:
    """Return whether a stage of the same backbone that the model does not use has the variable."""
    if _group(path) != "backbone" or source.model is None or target.model is None:
        return False
    backbone = source.model.backbone
    lower = target.model.fpn.max_level < source.model.fpn.max_level
    of_it = path.partition("/")[2] in backbone_shapes(backbone, 5)
    return backbone == target.model.backbone and lower and of_it


def _may_lack(path: str) -> bool:
    return path.endswith(f"/{RANDOM_STATE}")


def _group(path: str) -> str:
    return path.partition("/")[0]


def _names(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:_NAMES_SHOWN])
    more = f", … ({len(classes)} in all)" if len(classes) > _NAMES_SHOWN else ""
    return f"[{shown}{more}]"
