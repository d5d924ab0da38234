"""The table of names against those that the OD API's own models had (tests/data/odapi)."""

from pathlib import Path
from typing import Any

import pytest

from detection_trainer.contract.model import Model
from detection_trainer.contract.odapi import BACKBONES
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.weights.odapi.names import object_paths

DATA = Path(__file__).parents[4] / "data" / "odapi"
FPN_LITE = {
    "fpn": {"useDepthwise": True, "additionalLayerDepth": 128},
    "boxPredictor": {"useDepthwise": True, "sharePredictionTower": True, "depth": 128},
}


def real_variables(extractor: str) -> dict[str, tuple[int, ...]]:
    """Return object path -> shape, as a checkpoint of the OD API listed them (three classes)."""
    found = {}
    for line in (DATA / f"{extractor}.txt").read_text().splitlines():
        path, _, shape = line.partition(" ")
        found[path] = tuple(int(size) for size in shape.strip("[]").split(",") if size)
    return found


@pytest.mark.parametrize(
    ("backbone", "changes"),
    [
        pytest.param("resnet50_v1", {}, id="ssd_resnet50_v1_fpn_keras"),
        pytest.param("mobilenet_v1", {}, id="ssd_mobilenet_v1_fpn_keras"),
        pytest.param("mobilenet_v2", FPN_LITE, id="ssd_mobilenet_v2_fpn_keras, FPNLite"),
    ],
)
def test_every_variable_has_its_twin_of_the_same_shape(
    backbone: str, changes: dict[str, Any]
) -> None:
    model = Model.model_validate({"backbone": backbone, **changes})
    paths, shapes = object_paths(model, 3), variable_shapes(model, 3)
    ours = {paths[path]: shape for path, shape in shapes.items()}
    assert ours == real_variables(BACKBONES[model.backbone])
    assert len(set(paths.values())) == len(shapes)


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_each_backbone_of_the_od_api_has_one_place_a_variable(backbone: str) -> None:
    model = Model.model_validate({"backbone": backbone})
    assert len(set(object_paths(model, 1).values())) == len(variable_shapes(model, 1))


def test_a_backbone_that_the_od_api_lacks_has_no_names() -> None:
    with pytest.raises(KeyError):
        object_paths(Model.model_validate({"backbone": "vgg16"}), 1)
