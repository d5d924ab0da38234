"""Whether another training's weights fit this one, as far as both resources tell.

What only storage knows (label maps, what a checkpoint really holds) is left to the preflight and to
the trainer, which ask the same pure function.
"""

from collections.abc import Iterator
from typing import Any

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import Spec, Status
from detection_operator.core.case import Standing, clip
from detection_operator.core.phases import MAX_MESSAGE
from detection_operator.core.state import UnreadSpec
from detection_trainer.contract.base import dump
from detection_trainer.contract.restore_check import RestorePlan, compare_for_restore
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.spec import RestoreMode

UNKNOWN_CLASSES = 1
"""Stands for both sides where one does not know its classes: their heads are then not judged."""


def refuse_unfit_source(spec: Spec, name: str, source: Spec, status: Status) -> Standing | None:
    """Refuse a source whose variables or classes do not fit; None where they do, or may."""
    if isinstance(spec, UnreadSpec) or isinstance(source, UnreadSpec):
        return None
    if spec.restore is None:
        return _refuse_continuation(spec, name, source, status)
    comparison = compare_trainings(spec.restore.mode, spec, source, status)
    if not comparison.differences:
        return None
    uri = status.latest_checkpoint.uri if status.latest_checkpoint else "no checkpoint yet"
    return _refused(comparison.refusal(f"training {name!r} ({uri})"))


def refuse_reached_steps(spec: Spec, name: str, step: int) -> Standing | None:
    """Refuse to continue a run that stands at the target already."""
    if spec.continue_from is None or spec.steps > step:
        return None
    message = (
        f"steps {spec.steps} is reached already: training {name!r}, which continueFrom names, "
        f"stands at step {step}. steps is the absolute total, so give more than {step}."
    )
    return Standing(Phase.REFUSED, Reason.INVALID_CONFIG, message)


def _refuse_continuation(spec: Spec, name: str, source: Spec, status: Status) -> Standing | None:
    differences = list(_continuation_differences(spec, source, status))
    if not differences:
        return None
    return _refused(
        f"continueFrom training {name!r} takes a run with the same classes, model and optimizer; "
        f"{'; '.join(differences)}. Use restore instead: mode detection keeps backbone and feature "
        "extractor, and the heads begin fresh."
    )


def _continuation_differences(spec: Spec, source: Spec, status: Status) -> Iterator[str]:
    mine, theirs = spec.dataset.classes, source.dataset.classes or status.classes
    if mine is not None and theirs and list(mine) != list(theirs):
        yield f"classes: there {list(theirs)}, here {list(mine)}"
    there, here = _flat(dump(source.model), "model"), _flat(dump(spec.model), "model")
    for field in sorted(there.keys() | here.keys()):
        if there.get(field) != here.get(field):
            yield f"{field}: there {there.get(field)}, here {here.get(field)}"
    if source.optimizer.name != spec.optimizer.name:
        yield f"optimizer.name: there {source.optimizer.name}, here {spec.optimizer.name}"


def _flat(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {
        name: leaf
        for key, below in value.items()
        for name, leaf in _flat(below, f"{path}.{key}").items()
    }


def _refused(message: str) -> Standing:
    return Standing(Phase.REFUSED, Reason.RESTORE_REFUSED, clip(message, MAX_MESSAGE))


def compare_trainings(mode: RestoreMode, spec: Spec, source: Spec, status: Status) -> RestorePlan:
    """Compare the variables of two trainings by their specs alone."""
    mine, theirs = spec.dataset.classes, source.dataset.classes or status.classes or None
    known = mine is not None and theirs is not None
    return compare_for_restore(
        mode,
        variable_shapes(source.model, len(theirs) if known and theirs else UNKNOWN_CLASSES),
        variable_shapes(spec.model, len(mine) if known and mine else UNKNOWN_CLASSES),
        theirs,
        mine,
        source_model=source.model,
        target_model=spec.model,
    )
