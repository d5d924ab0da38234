"""Our RetinaNet is the OD API's SSD with an FPN: every variable, every output, every anchor.

`make test-odapi`: runs the OD API itself, in an environment of its own.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer.contract.model import Model
from detection_trainer.models import build_detector
from detection_trainer.odapi.checkpoint import ODAPIWeights, find_bundle
from sandbox.environments import locked_python

HERE = Path(__file__).parent
RESNET = (HERE / "configs/ssd_resnet50_v1_fpn.config").read_text()


@dataclass(frozen=True, slots=True)
class Twin:
    """A configuration of the OD API, and the model of ours that it is."""

    config: str
    model: dict[str, Any]
    num_classes: int = 3
    size: int = 160


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


def lite(*, shared: bool) -> dict[str, Any]:
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
    "mobilenet v1": Twin(configured("ssd_mobilenet_v1_fpn_keras"), {"backbone": "mobilenet_v1"}),
    "mobilenet v2": Twin(configured(MOBILENET_V2), {"backbone": "mobilenet_v2"}),
    "mobilenet v2, FPNLite, 1 class, 320 px": Twin(
        fpn_lite(configured(MOBILENET_V2, 320, 1), shared=True),
        {"backbone": "mobilenet_v2", **lite(shared=True)},
        1,
        320,
    ),
    "mobilenet v2, FPNLite with two towers, 90 classes": Twin(
        fpn_lite(configured(MOBILENET_V2, classes=90), shared=False),
        {"backbone": "mobilenet_v2", **lite(shared=False)},
        90,
    ),
}


def run_reference(twin: Twin, folder: Path) -> dict[str, Any]:
    """Let the OD API build and run the model; return what came out."""
    config = folder / "pipeline.config"
    config.write_text(twin.config)
    # What its package asks for cannot be had together; what it needs is in the lock.
    python = locked_python("odapi", ["odapi.lock"], alone=["odapi-package.lock"])
    words = [python, HERE / "reference.py", config, folder, twin.size, 0]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    done = subprocess.run(
        [str(word) for word in words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(folder / "out.npz") as outputs:
        return dict(outputs)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TWINS)
def test_raw_outputs_and_anchors_are_the_od_apis(name: str, tmp_path: Path) -> None:
    twin = TWINS[name]
    theirs = run_reference(twin, tmp_path)
    model = Model.model_validate({"imageSize": twin.size, "batchNorm": {}, **twin.model})
    bundle = find_bundle(f"{tmp_path.as_uri()}/ckpt-1", {})
    assert bundle is not None
    weights = ODAPIWeights(bundle, model)
    detector = build_detector(model, twin.num_classes)
    assert len(detector.variables) == len(weights.shapes) == theirs["variables"]
    for path, value in weights.read(detector.variables).items():
        detector.variables[path].assign(value)
    ours = detector(theirs["images"], training=False)
    for output in ("box_encodings", "class_logits"):
        assert ours[output].shape == theirs[output].shape
        assert np.abs(theirs[output]).max() > 0.1, "the outputs say something"
        np.testing.assert_allclose(ours[output], theirs[output], atol=1e-4)
    np.testing.assert_allclose(detector.anchors / twin.size, theirs["anchors"], atol=1e-6)
