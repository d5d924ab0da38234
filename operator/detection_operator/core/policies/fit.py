"""Whether a training's own weights fit what is taken over, as far as the operator can see."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import Spec, Status
from detection_operator.core.case import Standing
from detection_trainer.contract.spec import RestoreMode


def refuse_misfit(spec: Spec, name: str, source: Spec, status: Status) -> Standing | None:
    """Refuse a source whose classes differ where all weights are taken over."""
    mode = spec.restore.mode if spec.restore is not None else None
    if mode not in {None, RestoreMode.FULL}:
        return None
    own, theirs = spec.dataset.classes, source.dataset.classes or status.classes
    if own is None or not theirs or list(own) == list(theirs):
        return None
    message = (
        f"Training {name!r} has the classes {theirs}, this one {own}: heads of other classes do "
        "not fit. Use restore.mode: detection."
    )
    return Standing(Phase.REFUSED, Reason.RESTORE_REFUSED, message)
