from copy import copy
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.models import Detector
from detection_trainer.models.losses import detection_loss
from detection_trainer.models.targets import Targets
from tests.support.trainer.detectors import small_detector

ANCHORS = 7


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector(num_classes=3)


def with_loss(detector: Detector, **loss: Any) -> Detector:
    changed = copy(detector)
    spec = detector.spec
    changed.spec = spec.model_copy(update={"loss": spec.loss.model_copy(update=loss)})
    return changed


def batch(seed: int = 0) -> tuple[dict[str, Any], Targets]:
    random = np.random.default_rng(seed)
    classes = random.integers(0, 4, (2, ANCHORS)).astype(np.int32)
    ignored = random.uniform(size=classes.shape) < 0.3
    positive = (classes > 0) & ~ignored
    encodings = random.normal(0, 2, (2, ANCHORS, 4)).astype(np.float32)
    outputs = {
        "box_encodings": tf.constant(random.normal(0, 2, (2, ANCHORS, 4)).astype(np.float32)),
        "class_logits": tf.constant(random.normal(0, 3, (2, ANCHORS, 4)).astype(np.float32)),
    }
    targets = Targets(
        classes=tf.constant(np.where(positive, classes, 0)),
        class_weights=tf.constant((~ignored).astype(np.float32)),
        box_encodings=tf.constant(np.where(positive[..., None], encodings, 0)),
        box_weights=tf.constant(positive.astype(np.float32)),
    )
    return outputs, targets


def expected(outputs: Any, targets: Targets, delta: float, gamma: float) -> tuple[float, float]:
    """Return localisation and classification as losses.py of the OD API defines them, by loops."""
    localization = classification = 0.0
    for i in range(2):
        for a in range(ANCHORS):
            errors = np.abs(outputs["box_encodings"][i, a] - targets.box_encodings[i, a])
            smooth = np.where(errors <= delta, errors**2 / 2, delta * (errors - delta / 2))
            localization += float(targets.box_weights[i, a]) * smooth.sum()
            for column in range(4):
                truth = column > 0 and column == int(targets.classes[i, a])
                p = 1 / (1 + np.exp(-float(outputs["class_logits"][i, a, column])))
                right, alpha = (p, 0.25) if truth else (1 - p, 0.75)
                loss = -alpha * (1 - right) ** gamma * np.log(right)
                classification += float(targets.class_weights[i, a]) * loss
    count = max(float(tf.reduce_sum(targets.box_weights)), 1.0)
    return localization / count / 4, classification / count


@pytest.mark.parametrize(
    ("delta", "gamma"),
    [
        pytest.param(1.0, 2.0, id="the OD API's defaults"),
        pytest.param(0.11, 1.5, id="a narrow Huber and another focus"),
        pytest.param(1.0, 0.0, id="without focus it is balanced cross entropy"),
    ],
)
def test_losses_are_those_of_the_od_api(detector: Detector, delta: float, gamma: float) -> None:
    outputs, targets = batch()
    found = detection_loss(
        with_loss(detector, huber_delta=delta, focal_gamma=gamma), outputs, targets
    )
    localization, classification = expected(outputs, targets, delta, gamma)
    assert float(found["localization"]) == pytest.approx(localization, rel=1e-5)
    assert float(found["classification"]) == pytest.approx(classification, rel=1e-5)
    assert float(found["loss"]) == pytest.approx(localization + classification, rel=1e-5)


def test_weights_multiply_the_two_losses(detector: Detector) -> None:
    outputs, targets = batch()
    plain = detection_loss(detector, outputs, targets)
    weighted = detection_loss(
        with_loss(detector, localization_weight=3.0, classification_weight=0.5), outputs, targets
    )
    assert float(weighted["localization"]) == pytest.approx(3 * float(plain["localization"]))
    assert float(weighted["classification"]) == pytest.approx(float(plain["classification"]) / 2)


def test_a_batch_without_objects_trains_its_negatives(detector: Detector) -> None:
    outputs, targets = batch()
    empty = Targets(
        classes=tf.zeros_like(targets.classes),
        class_weights=tf.ones_like(targets.class_weights),
        box_encodings=tf.zeros_like(targets.box_encodings),
        box_weights=tf.zeros_like(targets.box_weights),
    )
    found = detection_loss(detector, outputs, empty)
    assert float(found["localization"]) == 0.0
    assert float(found["classification"]) > 0.0


def test_losses_of_parts_add_up_when_they_share_the_normalizer(detector: Detector) -> None:
    outputs, targets = batch()
    whole = detection_loss(detector, outputs, targets)
    parts = [
        detection_loss(
            detector,
            {name: value[i : i + 1] for name, value in outputs.items()},
            Targets(*(value[i : i + 1] for value in targets)),
            positives=targets.positives,
        )
        for i in range(2)
    ]
    for name, value in whole.items():
        assert float(value) == pytest.approx(sum(float(part[name]) for part in parts), rel=1e-6)


@pytest.mark.parametrize("logit", [-80.0, 0.0, 80.0])
def test_loss_and_gradients_are_finite_for_certain_outputs(
    detector: Detector, logit: float
) -> None:
    outputs, targets = batch()
    outputs["class_logits"] = tf.fill((2, ANCHORS, 4), logit)
    with tf.GradientTape() as tape:
        tape.watch(outputs["class_logits"])
        loss = detection_loss(detector, outputs, targets)["loss"]
    gradients = tape.gradient(loss, outputs["class_logits"])
    assert np.isfinite(loss)
    assert np.isfinite(gradients).all()
