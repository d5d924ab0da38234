from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.models import Detector, targets
from detection_trainer.models.boxes import encode
from detection_trainer.models.targets import CROWD, Targets, assign_targets
from tests.support.trainer.detectors import small_detector


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector(matcher={"matchedThreshold": 0.5, "unmatchedThreshold": 0.4})


def arrays(found: Targets) -> list[Any]:
    return [value.numpy() for value in found]


def overlap(box: Any, anchor: Any) -> float:
    height = min(box[2], anchor[2]) - max(box[0], anchor[0])
    width = min(box[3], anchor[3]) - max(box[1], anchor[1])
    common = max(height, 0.0) * max(width, 0.0)
    both = (box[2] - box[0]) * (box[3] - box[1]) + (anchor[2] - anchor[0]) * (anchor[3] - anchor[1])
    return float(common / (both - common))


def reference(detector: Detector, boxes: Any, classes: Any) -> tuple[Any, Any]:
    """Match as argmax_matcher.py does, in plain loops: (box of each anchor, its class weight)."""
    anchors, matcher = detector.anchors, detector.spec.matcher
    real = [i for i in range(len(boxes)) if classes[i] > 0]
    table = np.array([[overlap(boxes[i], anchor) for anchor in anchors] for i in real])
    match, weight = np.full(len(anchors), -1), np.ones(len(anchors))
    for a in range(len(anchors)):
        best = table[:, a].max() if real else 0.0
        if best >= matcher.matched_threshold:
            match[a] = real[int(table[:, a].argmax())]
        elif best >= matcher.unmatched_threshold:
            weight[a] = 0.0
    for row in reversed(range(len(real))):
        match[table[row].argmax()] = real[row]
        weight[table[row].argmax()] = 1.0
    return match, weight


def random_batch(seed: int, images: int = 4, boxes: int = 6) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    low = random.uniform(0.0, 0.7, (images, boxes, 2))
    size = random.uniform(0.05, 0.3, (images, boxes, 2))
    classes = random.integers(0, 3, (images, boxes))
    corners = np.concatenate([low, low + size], axis=-1).astype(np.float32)
    return np.where(classes[..., None] > 0, corners, 0.0), classes


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_that_of_the_od_api(detector: Detector, seed: int) -> None:
    boxes, classes = random_batch(seed)
    found = assign_targets(detector, tf.constant(boxes), tf.constant(classes))
    for i in range(len(boxes)):
        match, weight = reference(detector, boxes[i], classes[i])
        matched = match >= 0
        assert matched.any()
        expected = np.where(matched, classes[i][np.maximum(match, 0)], 0)
        assert found.classes[i].numpy().tolist() == expected.tolist()
        assert found.class_weights[i].numpy().tolist() == weight.tolist()
        assert found.box_weights[i].numpy().tolist() == matched.astype(float).tolist()
        encodings = encode(boxes[i][np.maximum(match, 0)], detector.anchors).numpy()
        wanted = np.where(matched[:, None], encodings, 0.0)
        assert np.allclose(found.box_encodings[i], wanted, atol=1e-5)


def test_image_by_image_gives_the_same_as_the_batch_at_once(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes, classes = random_batch(7)
    at_once = arrays(assign_targets(detector, tf.constant(boxes), tf.constant(classes)))
    monkeypatch.setattr(targets, "PAIRS_AT_ONCE", 0)
    one_by_one = arrays(assign_targets(detector, tf.constant(boxes), tf.constant(classes)))
    for a, b in zip(at_once, one_by_one, strict=True):
        assert np.array_equal(a, b)


def test_a_batch_of_unknown_size_is_traced_once(detector: Detector) -> None:
    boxes, classes = random_batch(8)
    signature = [tf.TensorSpec([None, 6, 4], tf.float32), tf.TensorSpec([None, 6], tf.int64)]
    traced = tf.function(lambda b, c: tuple(assign_targets(detector, b, c)), signature)
    expected = arrays(assign_targets(detector, tf.constant(boxes), tf.constant(classes)))
    for a, b in zip(expected, traced(boxes, classes), strict=True):
        # Traced, a division by what does not change becomes a multiplication.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def one_image(detector: Detector, boxes: list[list[float]], **more: Any) -> Targets:
    classes = more.pop("classes", [1] * len(boxes))
    weights = tf.constant([more["weights"]]) if "weights" in more else None
    return assign_targets(detector, tf.constant([boxes]), tf.constant([classes]), weights)


def test_without_any_object_every_anchor_is_background(detector: Detector) -> None:
    found = one_image(detector, [[0.0] * 4] * 2, classes=[0, 0])
    assert found.positives == 0.0
    assert tf.reduce_all(found.class_weights == 1.0)
    assert tf.reduce_all(found.classes == 0)
    assert tf.reduce_all(found.box_encodings == 0.0)


def test_an_object_below_the_threshold_still_has_its_best_anchor(detector: Detector) -> None:
    found = one_image(detector, [[0.5, 0.5, 0.52, 0.9]])
    assert found.positives == 1.0


def test_of_two_equal_objects_the_first_takes_the_anchor(detector: Detector) -> None:
    box = [0.5, 0.5, 0.52, 0.52]
    found = one_image(detector, [box, box], classes=[2, 1])
    assert found.positives == 1.0
    assert tf.reduce_max(found.classes) == 2


def test_a_box_without_weight_takes_its_anchors_out_of_the_loss(detector: Detector) -> None:
    box = [0.25, 0.25, 0.5, 0.5]
    counted = one_image(detector, [box])
    weightless = one_image(detector, [box], weights=[0.0])
    assert counted.positives > 0.0
    assert weightless.positives == 0.0
    assert tf.reduce_all(weightless.class_weights[counted.box_weights > 0.0] == 0.0)


CROWDED = [0.1, 0.2, 0.8, 0.7]


def covered(detector: Detector, box: list[float]) -> Any:
    """Return the anchors with half of their area or more in `box`, in plain numpy."""
    low, high = np.split(np.array(box, np.float32), 2)
    anchors = detector.anchors
    inside = np.minimum(anchors[:, 2:], high) - np.maximum(anchors[:, :2], low)
    own = (anchors[:, 2:] - anchors[:, :2]).prod(axis=1)
    return np.maximum(inside, 0.0).prod(axis=1) / own >= 0.5


def test_anchors_in_a_crowd_are_no_background(detector: Detector) -> None:
    found = one_image(detector, [CROWDED, [0.0] * 4], classes=[CROWD, 0])
    inside = covered(detector, CROWDED)
    assert 0 < inside.sum() < len(inside)
    assert found.class_weights[0].numpy().tolist() == (~inside).astype(float).tolist()
    assert found.positives == 0.0
    assert tf.reduce_all(found.classes == 0)
    assert tf.reduce_all(found.box_encodings == 0.0)


def test_an_object_in_a_crowd_is_learned_as_ever(detector: Detector) -> None:
    box = [0.25, 0.25, 0.5, 0.5]
    alone = one_image(detector, [box, [0.0] * 4], classes=[1, 0])
    both = one_image(detector, [box, CROWDED], classes=[1, CROWD])
    for name in ("classes", "box_encodings", "box_weights"):
        assert np.array_equal(getattr(alone, name), getattr(both, name))
    out = covered(detector, CROWDED) & (alone.box_weights[0].numpy() == 0.0)
    assert both.class_weights[0].numpy().tolist() == (
        np.where(out, 0.0, alone.class_weights[0].numpy()).tolist()
    )


def test_a_crowd_touches_its_own_image_alone(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes, classes = random_batch(9)
    plain = arrays(assign_targets(detector, tf.constant(boxes), tf.constant(classes)))
    boxes[1, -1], classes[1, -1] = CROWDED, CROWD
    classes[1, :-1] = 0
    for limit in (targets.PAIRS_AT_ONCE, 0):
        monkeypatch.setattr(targets, "PAIRS_AT_ONCE", limit)
        found = arrays(assign_targets(detector, tf.constant(boxes), tf.constant(classes)))
        for image in (0, 2, 3):
            for before, after in zip(plain, found, strict=True):
                assert np.array_equal(before[image], after[image])
        assert found[1][1].tolist() == (~covered(detector, CROWDED)).astype(float).tolist()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([0.5, 0.5, 0.5, 0.5], id="a point"),
        pytest.param([9.0, 9.0, 9.5, 9.5], id="a box far outside"),
    ],
)
def test_a_box_that_touches_no_anchor_trains_nothing(detector: Detector, box: list[float]) -> None:
    found = one_image(detector, [box])
    assert found.positives == 0.0
    assert np.isfinite(found.box_encodings).all()
