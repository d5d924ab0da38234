"""Configurations of the OD API, and the models of ours that they are."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection_trainer.contract.model import Model
from sandbox.processes.environments import locked_python

HERE = Path(__file__).parent
RESNET = (HERE / "configs/ssd_resnet50_v1_fpn.config").read_text()


@dataclass(frozen=True, slots=True)
class Twin:
    """A configuration of the OD API, and the model of ours that it is."""

    config: str
    document: dict[str, Any]
    num_classes: int = 3
    size: int = 160

    @property
    def fields(self) -> dict[str, Any]:
        """`spec.model` of our model."""
        return self.model.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def model(self) -> Model:
        """Our model, with the OD API's resizer and thresholds."""
        exact = {
            "imageSize": self.size,
            "batchNorm": {},
            "imageResizer": {"type": "fixedShape"},
            "postProcessing": {"scoreThreshold": 1e-8},
        }
        return Model.model_validate({**exact, **self.document})


def configured(extractor: str, size: int = 160, classes: int = 3) -> str:
    """Return the ResNet's configuration with another extractor, size, and count of classes."""
    text = RESNET.replace("ssd_resnet50_v1_fpn_keras", extractor)
    text = text.replace("height: 160 width: 160", f"height: {size} width: {size}")
    return text.replace("num_classes: 3", f"num_classes: {classes}")


def fpn_lite(text: str, *, shared: bool) -> str:
    """Return a configuration with separable convolutions of depth 128."""
    fpn = "fpn { min_level: 3 max_level: 7"
    tower = "share_prediction_tower: true " if shared else ""
    text = text.replace(fpn, f"use_depthwise: true {fpn} additional_layer_depth: 128")
    return text.replace(
        "depth: 256 num_layers", f"depth: 128 use_depthwise: true {tower}num_layers"
    )


def keeping_aspect(text: str, size: int, min_dimension: int) -> str:
    """Return a configuration that resizes within bounds, and pads."""
    return text.replace(
        f"fixed_shape_resizer {{ height: {size} width: {size} }}",
        f"keep_aspect_ratio_resizer {{ min_dimension: {min_dimension} max_dimension: {size} "
        "pad_to_max_dimension: true }",
    )


def lite(*, shared: bool) -> dict[str, Any]:
    """Return the model of `fpn_lite`."""
    return {
        "fpn": {"useDepthwise": True, "additionalLayerDepth": 128},
        "boxPredictor": {"useDepthwise": True, "depth": 128, "sharePredictionTower": shared},
    }


MOBILENET_V2 = "ssd_mobilenet_v2_fpn_keras"
TWINS = {
    "resnet50": Twin(configured("ssd_resnet50_v1_fpn_keras"), {"backbone": "resnet50_v1"}),
    "resnet50, 1 class, 256 px": Twin(
        configured("ssd_resnet50_v1_fpn_keras", 256, 1), {"backbone": "resnet50_v1"}, 1, 256
    ),
    "resnet50, 90 classes": Twin(
        configured("ssd_resnet50_v1_fpn_keras", classes=90), {"backbone": "resnet50_v1"}, 90
    ),
    "resnet101": Twin(configured("ssd_resnet101_v1_fpn_keras"), {"backbone": "resnet101_v1"}),
    "resnet152": Twin(configured("ssd_resnet152_v1_fpn_keras"), {"backbone": "resnet152_v1"}),
    "mobilenet v1, aspect kept": Twin(
        keeping_aspect(configured("ssd_mobilenet_v1_fpn_keras"), 160, 100),
        {
            "backbone": "mobilenet_v1",
            "imageResizer": {"type": "keepAspectRatio", "minDimension": 100},
        },
    ),
    "mobilenet v2, other losses and thresholds": Twin(
        configured(MOBILENET_V2)
        .replace("weighted_smooth_l1 { }", "weighted_smooth_l1 { delta: 0.11 }")
        .replace("gamma: 2.0 alpha: 0.25", "gamma: 1.5 alpha: 0.4")
        .replace("localization_weight: 1.0", "localization_weight: 2.5")
        .replace("classification_weight: 1.0", "classification_weight: 0.5")
        .replace(" matched_threshold: 0.5", " matched_threshold: 0.6")
        .replace("unmatched_threshold: 0.5", "unmatched_threshold: 0.3")
        .replace("iou_threshold: 0.6", "iou_threshold: 0.4")
        .replace("score_threshold: 1e-8", "score_threshold: 0.02")
        .replace("max_detections_per_class: 100", "max_detections_per_class: 7"),
        {
            "backbone": "mobilenet_v2",
            "loss": {
                "huberDelta": 0.11,
                "focalGamma": 1.5,
                "focalAlpha": 0.4,
                "localizationWeight": 2.5,
                "classificationWeight": 0.5,
            },
            "matcher": {"matchedThreshold": 0.6, "unmatchedThreshold": 0.3},
            "postProcessing": {
                "iouThreshold": 0.4,
                "scoreThreshold": 0.02,
                "maxDetectionsPerClass": 7,
            },
        },
    ),
    "mobilenet v2, FPNLite, 1 class, 320 px": Twin(
        fpn_lite(configured(MOBILENET_V2, 320, 1), shared=True),
        {"backbone": "mobilenet_v2", **lite(shared=True)},
        1,
        320,
    ),
    "mobilenet v2, FPNLite with two towers, 90 classes, aspect kept": Twin(
        keeping_aspect(fpn_lite(configured(MOBILENET_V2, classes=90), shared=False), 160, 160),
        {
            "backbone": "mobilenet_v2",
            "imageResizer": {"type": "keepAspectRatio"},
            **lite(shared=False),
        },
        90,
    ),
}

LITE = Twin(
    keeping_aspect(fpn_lite(configured(MOBILENET_V2, 128), shared=True), 128, 128),
    {
        "backbone": "mobilenet_v2",
        "imageResizer": {"type": "keepAspectRatio"},
        **lite(shared=True),
    },
    size=128,
)
"""For whole runs: the smallest that there is."""


def run_reference(*words: object) -> None:
    """Run reference.py with `words` in the OD API's environment."""
    # The requirements of its package conflict; those that it needs are in the lock.
    python = locked_python("odapi", ["odapi.lock"], alone=["odapi-package.lock"])
    command: Sequence[str] = [str(word) for word in (python, HERE / "reference.py", *words)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def read_json(path: Path) -> Any:
    """Return what the reference wrote."""
    return json.loads(path.read_text())
