import math

import numpy as np
import pytest

from detection_trainer.contract.model import AnchorGenerator, FeaturePyramid
from detection_trainer.models.anchors import anchor_boxes
from tests.support.trainer.detectors import small_model


def test_one_level_is_as_in_the_od_apis_own_test() -> None:
    # multiscale_grid_anchor_generator_test.py, test_construct_single_anchor
    model = small_model(
        fpn={"minLevel": 5, "maxLevel": 5},
        anchors={"anchorScale": 4.0, "aspectRatios": [1.0], "scalesPerOctave": 1},
    )
    assert anchor_boxes(model).tolist() == [
        [-48.0, -48.0, 80.0, 80.0],
        [-48.0, -16.0, 80.0, 112.0],
        [-16.0, -48.0, 112.0, 80.0],
        [-16.0, -16.0, 112.0, 112.0],
    ]


def test_a_cell_has_its_ratios_outside_and_its_scales_inside() -> None:
    model = small_model(fpn={"minLevel": 5, "maxLevel": 5}).model_copy(
        update={"anchors": AnchorGenerator()}
    )
    cell = anchor_boxes(model)[:6]
    sizes = [(ymax - ymin, xmax - xmin) for ymin, xmin, ymax, xmax in cell.tolist()]
    expected = [
        (side / math.sqrt(ratio), side * math.sqrt(ratio))
        for ratio in (1.0, 2.0, 0.5)
        for side in (128.0, 128.0 * math.sqrt(2.0))
    ]
    assert np.allclose(sizes, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("image_size", "first"),
    [
        pytest.param(128, 64.0, id="cells that tile the image are centred"),
        pytest.param(96, 0.0, id="cells that do not tile it begin at its corner"),
    ],
)
def test_offset(image_size: int, first: float) -> None:
    model = small_model(imageSize=image_size, fpn={"minLevel": 5, "maxLevel": 7})
    boxes = anchor_boxes(model)
    coarsest = boxes[-model.anchors.per_cell * math.ceil(image_size / 128) ** 2]
    assert (coarsest[0] + coarsest[2]) / 2 == first


def test_levels_come_finest_first_and_fill_all_cells() -> None:
    boxes = anchor_boxes(small_model())
    per_level = [2 * math.ceil(64 / 2**level) ** 2 for level in range(3, 8)]
    assert len(boxes) == sum(per_level)
    assert boxes.dtype == np.float32
    assert (boxes[:2, 2] - boxes[:2, 0]).tolist() == pytest.approx([16.0, 16.0 * math.sqrt(2)])


def test_a_pyramid_of_one_level_is_enough() -> None:
    model = small_model().model_copy(update={"fpn": FeaturePyramid(min_level=4, max_level=4)})
    assert len(anchor_boxes(model)) == 2 * 4 * 4
