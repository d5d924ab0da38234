"""Detection models by architecture; each one is a `Detector`."""

from collections.abc import Sequence

from detection_trainer.contract.model import Model
from detection_trainer.models.detector import GROUPS, Detector
from detection_trainer.models.retinanet import build_retinanet

__all__ = ["GROUPS", "Detector", "build_detector"]


def build_detector(
    model: Model, num_classes: int, *, freeze: Sequence[str] = (), seed: int = 0
) -> Detector:
    """Return the detector that `model` describes; `seed` decides its fresh weights.

    Args:
        model: its architecture, backbone and sizes.
        num_classes: without the background.
        freeze: groups that training does not change; their batch norm is in inference mode.
        seed: the same seed gives the same weights in every process.
    """
    match model.architecture:
        case "retinanet":
            return build_retinanet(model, num_classes, freeze, seed)
