"""Whether another training's weights fit this one, as far as both resources show.

What only the storage knows (label maps, the content of a checkpoint) is left to the preflight and
the trainer, which call the same pure function.
"""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import Spec, Status
from detection_operator.core.case import Standing, clip
from detection_operator.core.phases import MAX_MESSAGE
from detection_operator.core.state import UnreadSpec
from detection_trainer.contract.continue_check import (
    RunTraits,
    compare_for_continue,
    continue_refusal,
    reached_refusal,
)
from detection_trainer.contract.restore_check import RestorePlan, compare_for_restore
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.sources import RestoreMode

UNKNOWN_CLASSES = 1
"""The classes of both sides if one side does not know its classes: heads are not compared then."""


def refuse_unfit_source(spec: Spec, name: str, source: Spec, status: Status) -> Standing | None:
    """Refuse a source whose variables or classes do not fit; None if they do, or may."""
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
    """Refuse to continue a run that has already reached the target."""
    if spec.continue_from is None:
        return None
    refusal = reached_refusal(f"training {name!r}", step, spec.steps)
    if refusal is None:
        return None
    return Standing(Phase.REFUSED, Reason.INVALID_CONFIG, clip(f"{refusal}.", MAX_MESSAGE))


def _refuse_continuation(spec: Spec, name: str, source: Spec, status: Status) -> Standing | None:
    theirs = source.dataset.classes or status.classes or None
    differences = compare_for_continue(
        RunTraits.of_spec(source, theirs), RunTraits.of_spec(spec, spec.dataset.classes)
    )
    if not differences:
        return None
    return _refused(f"{continue_refusal(f'training {name!r}', differences)}.")


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
