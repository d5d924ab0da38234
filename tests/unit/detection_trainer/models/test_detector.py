from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.contract.model import Model
from detection_trainer.models import GROUPS, Detector, build_detector
from detection_trainer.models.layers import BatchNorm
from detection_trainer.weights.restore import weights_digest
from tests.support.trainer.detectors import small_detector, small_model

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)


def digest(detector: Detector) -> str:
    return weights_digest({path: v.numpy() for path, v in detector.variables.items()})


def test_two_detectors_of_one_process_have_the_same_paths_and_values() -> None:
    first = small_detector()
    keras.layers.Dense(1)(np.zeros((1, 1)))  # moves Keras' counters and random state
    second = small_detector()
    assert list(first.variables) == list(second.variables)
    assert digest(first) == digest(second)
    assert digest(build_detector(small_model(), 2, seed=1)) != digest(first)


def test_every_variable_has_one_path_that_begins_with_its_group() -> None:
    detector = small_detector()
    assert len(detector.variables) == len(detector.network.variables)
    assert {detector.group_of(path) for path in detector.variables} == set(GROUPS)
    assert {id(v) for v in detector.variables.values()} == {
        id(v) for v in detector.network.variables
    }


def test_a_variable_without_a_path_is_an_error() -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="lost")])
    with pytest.raises(ValueError, match=r"2 variables; received 0 paths.*lost/kernel"):
        Detector(small_model(), 1, network, {})


def test_random_state_of_dropout_is_among_the_variables() -> None:
    detector = small_detector(backbone="efficientnet_b0", fpn={"additionalLayerDepth": 8})
    states = [path for path in detector.variables if path.endswith("seed_generator_state")]
    assert len(states) == 9
    assert all(not detector.variables[path].trainable for path in states)


def test_outputs_are_those_of_the_anchors() -> None:
    detector = small_detector(num_classes=3)
    outputs = detector(IMAGES, training=False)
    assert outputs["box_encodings"].shape == (2, len(detector.anchors), 4)
    assert outputs["class_logits"].shape == (2, len(detector.anchors), 4)


def test_fresh_scores_are_the_class_prior() -> None:
    scores = tf.sigmoid(small_detector()(IMAGES, training=True)["class_logits"])
    assert float(np.median(scores)) == pytest.approx(0.01, rel=0.2)


def test_trainable_is_all_but_statistics() -> None:
    detector = small_detector()
    apart = detector.variables.keys() - detector.trainable_by_path.keys()
    assert all(path.rpartition("/")[2] in {"moving_mean", "moving_variance"} for path in apart)
    assert len(detector.trainable) == len(detector.trainable_by_path)


def moved_by_training(detector: Detector) -> set[str]:
    """Return the groups that an update with all gradients moves."""
    before = {path: v.numpy() for path, v in detector.variables.items()}
    with tf.GradientTape() as tape:
        outputs = detector(IMAGES, training=True)
        loss = sum(tf.reduce_sum(tf.square(value)) for value in outputs.values())
    gradients = tape.gradient(loss, detector.trainable)
    for variable, gradient in zip(detector.trainable, gradients, strict=True):
        assert gradient is not None
        variable.assign_sub(1e-3 * gradient)
    after = {path: v.numpy() for path, v in detector.variables.items()}
    return {Detector.group_of(p) for p in before if not np.array_equal(before[p], after[p])}


@pytest.mark.parametrize(
    ("freeze", "moved"),
    [
        pytest.param([], set(GROUPS), id="nothing frozen: all groups move"),
        pytest.param(["backbone"], set(GROUPS) - {"backbone"}, id="a frozen backbone stays"),
        pytest.param(
            ["backbone", "feature_extractor"],
            {"box_head", "class_head"},
            id="a frozen feature extractor stays as well",
        ),
    ],
)
def test_freezing(freeze: list[str], moved: set[str]) -> None:
    assert moved_by_training(build_detector(small_model(), 2, freeze=freeze)) == moved


@pytest.mark.parametrize("backbone", ["efficientnet_b0", "efficientnet_lite0"])
def test_a_frozen_backbone_runs_as_at_inference(backbone: str) -> None:
    frozen = ["backbone", "feature_extractor", "box_head", "class_head"]
    model = small_model(backbone=backbone, fpn={"additionalLayerDepth": 8})
    detector = build_detector(model, 2, freeze=frozen)
    trained, inferred = (detector(IMAGES, training=t) for t in (True, False))
    for name in trained:
        assert np.array_equal(trained[name], inferred[name])
    assert detector.trainable == []


def test_training_uses_the_batchs_statistics() -> None:
    detector = small_detector()
    trained, inferred = (detector(IMAGES, training=t)["class_logits"] for t in (True, False))
    assert not np.array_equal(trained, inferred)


@pytest.mark.parametrize("backbone", ["tiny", "mobilenet_v2", "efficientnet_lite0"])
def test_mixed_precision_affects_only_this_detector(backbone: str) -> None:
    before = keras.config.dtype_policy().name
    detector = small_detector(backbone=backbone, precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == before
    outputs = detector(IMAGES, training=False)
    assert {value.dtype for value in outputs.values()} == {tf.float32}
    assert {v.dtype for v in detector.variables.values()} == {"float32"}
    layers = [layer for layer in detector.network._flatten_layers() if layer.variables]
    assert {layer.dtype_policy.name for layer in layers if not isinstance(layer, keras.Model)} == {
        "mixed_bfloat16"
    }


@pytest.mark.parametrize(
    ("backbone", "momentum"),
    [
        pytest.param("tiny", 0.9, id="short runs of small networks want fast statistics"),
        pytest.param("vgg16", 0.997, id="others take the OD API's"),
    ],
)
def test_batch_norm_momentum_of_the_heads(backbone: str, momentum: float) -> None:
    detector = small_detector(backbone=backbone)
    norms = [layer for layer in detector.network.layers if isinstance(layer, BatchNorm)]
    heads = [layer for layer in norms if layer.name.startswith("box_head")]
    assert {layer.momentum for layer in heads} == {momentum}
    assert {layer.epsilon for layer in heads} == {1e-3}


@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 4), (5, 5), (3, 4), (4, 6)])
def test_any_range_of_levels_builds(low: int, high: int) -> None:
    fpn: dict[str, Any] = {"minLevel": low, "maxLevel": high, "additionalLayerDepth": 8}
    detector = small_detector(fpn=fpn)
    outputs = detector(IMAGES, training=False)
    assert outputs["box_encodings"].shape[1] == len(detector.anchors)


def test_a_retinanet_is_the_only_architecture() -> None:
    assert Model.model_fields["architecture"].default == "retinanet"
