"""Whether another training's weights fit this one, as far as both resources tell.

What only storage knows (label maps, what a checkpoint really holds) is left to the preflight and to
the trainer, which ask the same pure function.
"""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import Spec, Status
from detection_operator.core.case import Standing, clip
from detection_operator.core.phases import MAX_MESSAGE
from detection_trainer.contract.restore_check import RestorePlan, compare_for_restore
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.spec import RestoreMode

UNKNOWN_CLASSES = 1
"""Stands for both sides where one does not know its classes: their heads are then not judged."""


def refuse_misfit(spec: Spec, name: str, source: Spec, status: Status) -> Standing | None:
    """Refuse a source whose variables or classes do not fit; None where they do, or may."""
    mode = spec.restore.mode if spec.restore is not None else RestoreMode.FULL
    comparison = compare_trainings(mode, spec, source, status)
    if not comparison.differences:
        return None
    uri = status.latest_checkpoint.uri if status.latest_checkpoint else "no checkpoint yet"
    message = comparison.refusal(f"training {name!r} ({uri})")
    if spec.restore is None:
        message = f"continueFrom takes everything: {message}"
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
