"""Pictures become the model's square; exactness against the OD API is tests/odapi's to prove."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from detection_trainer.models.resizing import Resizer
from tests.support.trainer.detectors import small_model


def resizer(**resizer: Any) -> Resizer:
    return Resizer(small_model(imageResizer=resizer or None))


def content(height: int, width: int, **spec: Any) -> list[int]:
    made = resizer(type="keepAspectRatio", **spec)
    window = made.window(tf.constant([[height, width]]))[0].numpy() * 64
    assert window[:2].tolist() == [0.0, 0.0]
    image = tf.fill((height, width, 3), 200.0)
    assert made.resized(image).shape[:2].as_list() == window[2:].tolist()
    return [int(side) for side in window[2:]]


@pytest.mark.parametrize(
    ("height", "width", "spec", "expected"),
    [
        pytest.param(100, 200, {}, [32, 64], id="a wide one fills the width"),
        pytest.param(200, 100, {}, [64, 32], id="a high one fills the height"),
        pytest.param(20, 20, {}, [64, 64], id="a small one grows"),
        pytest.param(100, 110, {"minDimension": 40}, [40, 44], id="the shorter side is reached"),
        pytest.param(50, 200, {"minDimension": 40}, [16, 64], id="the longer side would be passed"),
        pytest.param(30, 30, {"minDimension": 40}, [40, 40], id="a square has no longer side"),
    ],
)
def test_the_aspect_is_kept(
    height: int, width: int, spec: dict[str, Any], expected: list[int]
) -> None:
    assert content(height, width, **spec) == expected


def test_padding_is_right_and_below_and_zero_for_the_backbone() -> None:
    image = resizer(type="keepAspectRatio")(tf.fill((100, 200, 3), 200)).numpy()
    assert image.shape == (64, 64, 3)
    assert (image[:32] == 200.0).all()
    assert image[32:] == pytest.approx(np.full((32, 64, 3), 127.5)), "which scales to 0"


def test_tensorflow_1_samples_at_the_corners_and_the_default_at_the_centres() -> None:
    ramp = tf.reshape(tf.range(128.0), (1, 128, 1)) * tf.ones((128, 1, 3))
    first = resizer(type="fixedShape")(ramp)[0, :, 0].numpy()
    assert first.tolist() == [2.0 * x for x in range(64)]
    assert resizer()(ramp)[0, :, 0].numpy().tolist() == [2.0 * x + 0.5 for x in range(64)]


def test_a_shorter_side_belongs_to_a_kept_aspect() -> None:
    with pytest.raises(
        ValidationError, match="minDimension is only valid with type keepAspectRatio"
    ):
        resizer(type="fixedShape", minDimension=40)
