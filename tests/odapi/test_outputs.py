"""Our RetinaNet is the OD API's SSD with an FPN: part by part, from the picture to what is found.

`make test-odapi`: runs the OD API itself, in an environment of its own. Each part takes what the
OD API's part before it gave, so that a difference shows where it arises.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.models import Detector, build_detector
from detection_trainer.models.detections import detect
from detection_trainer.models.losses import detection_loss
from detection_trainer.models.resizing import Resizer
from detection_trainer.models.targets import Targets, assign_targets
from detection_trainer.training.optimizer import is_regularised
from tests.odapi.restoring import read_weights
from tests.odapi.twins import TWINS, Twin, run_reference

pytestmark = pytest.mark.timeout(900)
L2 = 0.0004


@dataclass(frozen=True, slots=True)
class Pair:
    """What the OD API's model gave, and ours with its weights."""

    twin: Twin
    theirs: dict[str, Any]
    detector: Detector


CORE = {
    "resnet50",
    "resnet50, 1 class, 256 px",
    "mobilenet v2, FPNLite with two towers, 90 classes, aspect kept",
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.core if name in CORE else ()) for name in TWINS],
)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    twin, folder = TWINS[request.param], tmp_path_factory.mktemp("twin")
    (folder / "pipeline.config").write_text(twin.config)
    run_reference("outputs", folder / "pipeline.config", folder, twin.size, 0)
    with np.load(folder / "out.npz") as outputs:
        theirs = dict(outputs)
    yield Pair(twin, theirs, read_detector(twin, folder, theirs))
    keras.backend.clear_session()


def read_detector(twin: Twin, folder: Path, theirs: dict[str, Any]) -> Detector:
    weights = read_weights(f"{folder.as_uri()}/ckpt-1", twin.model)
    detector = build_detector(twin.model, twin.num_classes)
    assert len(detector.variables) == len(weights.shapes) == theirs["variables"]
    for path, value in weights.read(detector.variables).items():
        detector.variables[path].assign(value)
    (folder / "ckpt-1.data-00000-of-00001").unlink()
    return detector


def test_a_picture_is_resized_and_scaled_alike(pair: Pair) -> None:
    resizer = Resizer(pair.twin.model)
    photo = pair.theirs["photo"]
    preprocessing = pair.detector.network.get_layer("backbone.preprocessing")
    ours = preprocessing(resizer(tf.constant(photo)))
    assert np.ptp(pair.theirs["resized"]) > 1.0
    np.testing.assert_allclose(ours, pair.theirs["resized"], atol=2e-4)
    filled = resizer.window(tf.constant([photo.shape[1:3]]))[:, 2:] * pair.twin.size
    np.testing.assert_allclose(filled, pair.theirs["resized_shape"][:, :2], atol=1e-4)


def test_raw_outputs_are_equal(pair: Pair) -> None:
    images = Resizer(pair.twin.model)(tf.constant(pair.theirs["images"]))
    ours = pair.detector(images, training=False)
    for output in ("box_encodings", "class_logits"):
        assert ours[output].shape == pair.theirs[output].shape
        assert np.abs(pair.theirs[output]).max() > 0.1, "the outputs are not trivial"
        np.testing.assert_allclose(ours[output], pair.theirs[output], atol=1e-4)


def test_anchors_are_equal(pair: Pair) -> None:
    np.testing.assert_array_equal(pair.detector.anchors, pair.theirs["anchors"])


def test_targets_are_equal(pair: Pair) -> None:
    ours, theirs = targets(pair), pair.theirs
    assert theirs["box_weights"].sum() > 0, "something is matched"
    one_hot = tf.one_hot(tf.where(ours.classes > 0, ours.classes, -1), pair.twin.num_classes + 1)
    np.testing.assert_array_equal(one_hot, theirs["class_targets"])
    np.testing.assert_array_equal(ours.class_weights, theirs["class_weights"])
    np.testing.assert_array_equal(ours.box_weights, theirs["box_weights"])
    matched = theirs["box_weights"] > 0
    np.testing.assert_allclose(
        ours.box_encodings.numpy()[matched], theirs["box_targets"][matched], atol=1e-4
    )


def test_losses_are_equal(pair: Pair) -> None:
    theirs = pair.theirs
    ours = detection_loss(pair.detector, raw_outputs(theirs), targets(pair))
    for loss in ("localization", "classification"):
        assert theirs[loss] > 0.0
        np.testing.assert_allclose(ours[loss], theirs[loss], rtol=1e-5)


def test_regularisation_is_half_the_weight_over_the_same_kernels(pair: Pair) -> None:
    trainable = pair.detector.trainable_by_path
    kernels = [v for path, v in trainable.items() if is_regularised(path, v.shape)]
    ours = sum(0.5 * L2 * float(tf.reduce_sum(tf.square(v.value))) for v in kernels)
    np.testing.assert_allclose(ours, pair.theirs["regularization"], rtol=1e-5)


def test_the_same_is_found(pair: Pair) -> None:
    theirs, size = pair.theirs, pair.twin.size
    window = np.concatenate([np.zeros((2, 2)), theirs["true_shapes"][:, :2] / size], -1)
    detections = detect(pair.detector, raw_outputs(theirs), tf.constant(window, tf.float32))
    ours = {name: value.numpy() for name, value in detections.items()}
    np.testing.assert_array_equal(ours["valid"], theirs["num_detections"])
    assert theirs["num_detections"].min() > 2
    np.testing.assert_allclose(ours["scores"], theirs["detection_scores"], atol=1e-5)
    for image, count in enumerate(theirs["num_detections"].astype(int)):
        # Random weights give many scores that are alike to the last bits, whose order is open.
        found = [
            np.abs(ours["boxes"][image, :count] - box).max(-1)
            + (ours["classes"][image, :count] != label + 1)
            for box, label in zip(
                theirs["detection_boxes"][image, :count],
                theirs["detection_classes"][image, :count],
                strict=True,
            )
        ]
        missed = sum(float(distance.min()) > 1e-4 for distance in found)
        assert missed <= count // 20, f"{missed} of {count} are not found alike"


def targets(pair: Pair) -> Targets:
    return assign_targets(
        pair.detector, tf.constant(pair.theirs["boxes"]), tf.constant(pair.theirs["classes"])
    )


def raw_outputs(theirs: dict[str, Any]) -> dict[str, Any]:
    return {name: tf.constant(theirs[name]) for name in ("box_encodings", "class_logits")}
