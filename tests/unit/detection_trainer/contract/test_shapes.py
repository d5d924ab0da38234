import subprocess
import sys
from typing import Any

import pytest

from detection_trainer.contract.model import Backbone
from detection_trainer.contract.shapes import level_width, variable_shapes
from detection_trainer.models import build_detector
from tests.support.trainer.detectors import small_model


def require_equal(num_classes: int, **changes: Any) -> None:
    model = small_model(**changes)
    detector = build_detector(model, num_classes)
    real = {path: tuple(variable.shape) for path, variable in detector.variables.items()}
    assert variable_shapes(model, num_classes) == real


@pytest.mark.parametrize("backbone", list(Backbone))
def test_shapes_are_those_of_the_real_model(backbone: Backbone) -> None:
    require_equal(3, backbone=backbone, fpn={"additionalLayerDepth": 8})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"fpn": {"maxLevel": 3}}, id="one level alone needs the first stages"),
        pytest.param({"fpn": {"minLevel": 4, "maxLevel": 4}}, id="no fifth stage"),
        pytest.param({"fpn": {"minLevel": 5, "maxLevel": 6}}, id="no smoothing"),
        pytest.param({"boxPredictor": {"numLayersBeforePredictor": 0}}, id="no towers"),
        pytest.param({"boxPredictor": {"kernelSize": 1, "depth": 24}}, id="flat, wide towers"),
        pytest.param({"fpn": {"useDepthwise": True}}, id="a separable pyramid"),
        pytest.param({"boxPredictor": {"useDepthwise": True}}, id="separable heads"),
        pytest.param({"boxPredictor": {"sharePredictionTower": True}}, id="one tower for both"),
        pytest.param({"anchors": {"aspectRatios": [1.0, 2.0, 0.5]}}, id="six anchors a cell"),
        pytest.param(
            {"backbone": "mobilenet_v2", "fpn": {"maxLevel": 4}}, id="a shorter mobilenet"
        ),
        pytest.param(
            {"backbone": "efficientnet_lite0", "fpn": {"maxLevel": 3}}, id="a shorter lite0"
        ),
        pytest.param({"backbone": "vgg16", "fpn": {"maxLevel": 3}}, id="a shorter vgg"),
    ],
)
def test_shapes_follow_the_sizes(changes: dict[str, Any]) -> None:
    require_equal(1, **changes)


@pytest.mark.parametrize(
    ("backbone", "widths"),
    [
        (Backbone.TINY, [64, 96, 128]),
        (Backbone.RESNET152, [512, 1024, 2048]),
        (Backbone.MOBILENET_V2, [32, 96, 1280]),
        (Backbone.EFFICIENTNET_B0, [40, 112, 320]),
        (Backbone.EFFICIENTNET_LITE0, [40, 112, 320]),
        (Backbone.VGG16, [512, 512, 512]),
    ],
)
def test_widths_of_the_levels(backbone: Backbone, widths: list[int]) -> None:
    assert [level_width(backbone, level) for level in (3, 4, 5)] == widths


def test_a_source_is_compared_without_importing_tensorflow() -> None:
    code = (
        "import sys\n"
        "from detection_trainer.weights.keras import imagenet\n"
        "from detection_trainer.contract import restore_check, shapes\n"
        "loaded = {'tensorflow', 'keras'} & sys.modules.keys()\n"
        "sys.exit(f'imported {loaded}' if loaded else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
