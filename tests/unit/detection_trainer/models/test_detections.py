from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.models import Detector
from detection_trainer.models.boxes import encode
from detection_trainer.models.detections import detect
from tests.support.trainer.detectors import small_detector

NOTHING = -20.0
KEPT = 5
WHOLE = tf.constant([[0.0, 0.0, 1.0, 1.0]])


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector(postProcessing={"maxDetections": KEPT, "scoreThreshold": 0.1})


def found(
    detector: Detector,
    *objects: tuple[int, list[float], int, float],
    window: list[list[float]] | None = None,
) -> dict[str, Any]:
    """Detect in one image with these outputs of anchors (anchor, box, class, logit)."""
    count = len(detector.anchors)
    encodings = np.zeros((1, count, 4), np.float32)
    logits = np.full((1, count, 3), NOTHING, np.float32)
    for anchor, box, label, logit in objects:
        place = detector.anchors[anchor : anchor + 1]
        encodings[0, anchor] = encode(np.array([box], np.float32), place)[0]
        logits[0, anchor, label] = logit
    outputs = {"box_encodings": tf.constant(encodings), "class_logits": tf.constant(logits)}
    part = WHOLE if window is None else tf.constant(window)
    return {name: value[0].numpy() for name, value in detect(detector, outputs, part).items()}


def test_an_encoded_object_is_found_where_it_was(detector: Detector) -> None:
    box = [0.25, 0.5, 0.5, 0.875]
    image = found(detector, (40, box, 2, 3.0))
    assert image["valid"] == 1
    assert image["classes"].tolist() == [2, 0, 0, 0, 0]
    assert image["boxes"][0] == pytest.approx(box, abs=1e-5)
    assert image["scores"][0] == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert not image["boxes"][1:].any()
    assert not image["scores"][1:].any()


def test_of_overlapping_boxes_of_a_class_the_most_certain_stays(detector: Detector) -> None:
    image = found(
        detector,
        (3, [0.1, 0.1, 0.5, 0.5], 1, 1.0),
        (9, [0.1, 0.1, 0.5, 0.52], 1, 2.0),
        (11, [0.6, 0.6, 0.9, 0.9], 1, 0.0),
    )
    assert image["valid"] == 2
    assert image["boxes"][0] == pytest.approx([0.1, 0.1, 0.5, 0.52], abs=1e-5)
    assert list(image["scores"]) == sorted(image["scores"], reverse=True)


def test_classes_do_not_suppress_each_other(detector: Detector) -> None:
    box = [0.1, 0.1, 0.5, 0.5]
    image = found(detector, (3, box, 1, 1.0), (9, box, 2, 2.0))
    assert image["classes"][:2].tolist() == [2, 1]


@pytest.mark.parametrize(
    "output",
    [
        pytest.param((3, [0.1, 0.1, 0.5, 0.5], 0, 9.0), id="background"),
        pytest.param((3, [0.1, 0.1, 0.5, 0.5], 1, -3.0), id="a score below the threshold"),
        pytest.param((3, [1.2, 1.2, 1.5, 1.5], 1, 9.0), id="a box outside the image"),
    ],
)
def test_not_reported(detector: Detector, output: tuple[int, list[float], int, float]) -> None:
    assert found(detector, output)["valid"] == 0


def test_boxes_are_clipped_to_the_image(detector: Detector) -> None:
    image = found(detector, (3, [-0.2, 0.1, 0.5, 1.4], 1, 3.0))
    assert image["boxes"][0] == pytest.approx([0.0, 0.1, 0.5, 1.0], abs=1e-5)


def test_boxes_are_reported_within_the_part_of_the_square_that_is_the_image(
    detector: Detector,
) -> None:
    outputs = (3, [0.2, 0.1, 0.4, 0.9], 1, 3.0), (9, [0.6, 0.1, 0.9, 0.3], 2, 3.0)
    image = found(detector, *outputs, window=[[0.0, 0.0, 0.5, 0.8]])
    assert image["valid"] == 1, "the other is in the padding"
    assert image["boxes"][0] == pytest.approx([0.4, 0.125, 0.8, 1.0], abs=1e-5)


def test_boxes_outside_the_image_do_not_displace_detections() -> None:
    strict = small_detector(postProcessing={"maxDetections": 2, "scoreThreshold": 0.1})
    outside = [(i, [1.1 + i, 0.1, 1.2 + i, 0.2], 1, 3.0) for i in range(1)]
    inside = [(9 + i, [i / 10, 0.1, i / 10 + 0.05, 0.2], 2, 1.0) for i in range(2)]
    assert found(strict, *outside, *inside)["classes"].tolist() == [2, 2]


def test_a_class_has_a_limit_of_its_own() -> None:
    strict = small_detector(
        postProcessing={"maxDetections": 5, "maxDetectionsPerClass": 2, "scoreThreshold": 0.1}
    )
    grid = [(i, [i / 10, 0.1, i / 10 + 0.05, 0.2], 1 + (i == 7), 1.0 + i / 10) for i in range(8)]
    assert found(strict, *grid)["classes"].tolist() == [2, 1, 1, 0, 0]


def test_no_more_than_the_limit_are_kept(detector: Detector) -> None:
    grid = [(i, [i / 10, 0.1, i / 10 + 0.05, 0.2], 1, 1.0 + i / 10) for i in range(8)]
    image = found(detector, *grid)
    assert image["valid"] == KEPT
    assert image["boxes"][0][0] == pytest.approx(0.7, abs=1e-5)


def test_outputs_beyond_all_numbers_give_no_nan(detector: Detector) -> None:
    count = len(detector.anchors)
    outputs = {
        "box_encodings": tf.fill((1, count, 4), 1e6),
        "class_logits": tf.fill((1, count, 3), 5.0),
    }
    image = detect(detector, outputs, WHOLE)
    assert np.isfinite(image["boxes"]).all()
