"""Small detectors for unit tests: a second to build, a few thousand numbers to compare."""

from typing import Any

import numpy as np

from detection_trainer.contract.model import Model
from detection_trainer.models import Detector, build_detector


def small_model(**changes: Any) -> Model:
    """Return a thin model of 64 px; `changes` are in the document's words."""
    document = {
        "backbone": "tiny",
        "imageSize": 64,
        "fpn": {"additionalLayerDepth": 16},
        "boxPredictor": {"depth": 8, "numLayersBeforePredictor": 1},
        "anchors": {"anchorScale": 2.0, "aspectRatios": [1.0], "scalesPerOctave": 2},
    }
    return Model.model_validate(document | changes)


def small_detector(num_classes: int = 2, **changes: Any) -> Detector:
    """Return the detector of `small_model`."""
    return build_detector(small_model(**changes), num_classes)


def shake(detector: Detector, seed: int = 0) -> None:
    """Give every floating variable random values, variances positive ones."""
    random = np.random.default_rng(seed)
    for path, variable in detector.variables.items():
        if "float" not in variable.dtype:
            continue
        values = random.normal(0.0, 0.3, tuple(variable.shape))
        if path.endswith("moving_variance"):
            values = np.abs(values) + 0.5
        variable.assign(values.astype(variable.dtype))
