"""The network against a second writing of the OD API's SSD-FPN, in plain TensorFlow operations."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.models import Detector
from tests.support.trainer.detectors import shake, small_detector

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
LAYERS_BEFORE_PREDICTOR = 2


@pytest.fixture(scope="module")
def detector() -> Detector:
    heads = {"depth": 8, "numLayersBeforePredictor": LAYERS_BEFORE_PREDICTOR}
    detector = small_detector(boxPredictor=heads)
    shake(detector)
    return detector


class Written:
    """The same network from its variables alone."""

    def __init__(self, detector: Detector) -> None:
        self.values = {path: tf.constant(v.numpy()) for path, v in detector.variables.items()}

    def convolved(self, x: Any, path: str, stride: int = 1) -> Any:
        x = tf.nn.conv2d(x, self.values[f"{path}/kernel"], stride, "SAME")
        bias = self.values.get(f"{path}/bias")
        return x if bias is None else x + bias

    def activated(self, x: Any, path: str) -> Any:
        gamma, beta, mean, variance = (
            self.values[f"{path}/{name}"]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return tf.nn.relu6((x - mean) / tf.sqrt(variance + 1e-3) * gamma + beta)

    def pyramid(self, c3: Any, c4: Any, c5: Any) -> list[Any]:
        p5 = self.convolved(c5, "feature_extractor/lateral_5")
        p4 = self.merged(p5, c4, 4)
        p3 = self.merged(p4, c3, 3)
        p6 = self.coarse(p5, 6)
        return [p3, p4, p5, p6, self.coarse(p6, 7)]

    def merged(self, above: Any, backbone: Any, level: int) -> Any:
        up = tf.repeat(tf.repeat(above, 2, axis=1), 2, axis=2)
        x = self.convolved(backbone, f"feature_extractor/lateral_{level}") + up
        smooth = f"feature_extractor/smooth_{level}"
        return self.activated(self.convolved(x, f"{smooth}/conv"), f"{smooth}/batch_norm")

    def coarse(self, x: Any, level: int) -> Any:
        path = f"feature_extractor/coarse_{level}"
        return self.activated(self.convolved(x, f"{path}/conv", stride=2), f"{path}/batch_norm")

    def head(self, levels: list[Any], group: str, columns: int) -> Any:
        outputs = [self.at_level(x, group, level) for level, x in enumerate(levels, start=3)]
        return tf.concat([tf.reshape(x, (x.shape[0], -1, columns)) for x in outputs], axis=1)

    def at_level(self, x: Any, group: str, level: int) -> Any:
        for i in range(LAYERS_BEFORE_PREDICTOR):
            x = self.convolved(x, f"{group}/tower/conv_{i}")
            x = self.activated(x, f"{group}/tower/level_{level}/batch_norm_{i}")
        return self.convolved(x, f"{group}/predictor")


def test_outputs_are_those_of_the_od_apis_structure(detector: Detector) -> None:
    ends = [f"backbone.stage_{level}.block_0.relu" for level in (3, 4, 5)]
    features = keras.Model(
        detector.network.input, [detector.network.get_layer(name).output for name in ends]
    )(IMAGES, training=False)
    written = Written(detector)
    levels = written.pyramid(*features)
    outputs = detector(IMAGES, training=False)
    for name, expected in (
        ("box_encodings", written.head(levels, "box_head", 4)),
        ("class_logits", written.head(levels, "class_head", 3)),
    ):
        assert np.std(expected) > 0.1
        assert np.allclose(outputs[name], expected, atol=1e-3)


def test_the_pyramid_of_the_od_api_has_26_variables_and_its_towers_168() -> None:
    # odapi.md's table of ssd_resnet50_v1_fpn: FPN 16, coarse 10, towers 168, each head 2
    detector = small_detector(
        boxPredictor={"depth": 8, "numLayersBeforePredictor": 4}, fpn={"additionalLayerDepth": 8}
    )
    paths = list(detector.variables)
    pyramid = [path for path in paths if path.startswith("feature_extractor/")]
    assert sum("coarse" in path for path in pyramid) == 10
    assert len(pyramid) == 26
    assert sum("/tower/" in path for path in paths) == 168
    assert sum("/predictor/" in path for path in paths) == 4
