from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.training.optimizer import (
    GOOD_STEPS,
    INITIAL_LOSS_SCALE,
    ITERATION,
    LOSS_SCALE,
    SlotOptimizer,
    is_regularised,
)

KERNEL = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
BIAS = np.array([0.1, -0.2], np.float32)
GRADIENTS = (
    (np.array([[0.1, 0.2], [-0.3, 0.4]], np.float32), np.array([1.0, -1.0], np.float32)),
    (np.array([[0.4, -0.2], [0.1, 0.0]], np.float32), np.array([-0.5, 0.25], np.float32)),
    (np.array([[-0.1, 0.3], [0.3, -0.4]], np.float32), np.array([0.5, 2.0], np.float32)),
)
RATES = (0.1, 0.05, 0.2)


def variables() -> dict[str, tf.Variable]:
    return {"a/kernel": tf.Variable(KERNEL), "a/bias": tf.Variable(BIAS)}


def spec(name: str, **fields: Any) -> Optimizer:
    return Optimizer.model_validate({"name": name, "gradientClipNorm": None, **fields})


def moved(optimizer: SlotOptimizer, scale: float = 1.0) -> list[np.ndarray[Any, Any]]:
    for gradients, rate in zip(GRADIENTS, RATES, strict=True):
        optimizer.apply([tf.constant(g * scale) for g in gradients], tf.constant(rate))
    return [variable.numpy() for variable in optimizer.trainable]


def moved_by_keras(optimizer: keras.optimizers.Optimizer) -> list[np.ndarray[Any, Any]]:
    found = [keras.Variable(KERNEL), keras.Variable(BIAS)]
    optimizer.build(found)
    for gradients, rate in zip(GRADIENTS, RATES, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([tf.constant(g) for g in gradients], found)
    return [variable.numpy() for variable in found]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (spec("momentum", momentum=0.9), keras.optimizers.SGD(momentum=0.9)),
        (spec("adam"), keras.optimizers.Adam()),
        (
            spec("momentum", momentum=0.8, gradientClipNorm=0.5),
            keras.optimizers.SGD(momentum=0.8, global_clipnorm=0.5),
        ),
        (spec("adam", gradientClipNorm=0.5), keras.optimizers.Adam(global_clipnorm=0.5)),
        (spec("adam", epsilon=0.1), keras.optimizers.Adam(epsilon=0.1)),
        (spec("rms_prop"), keras.optimizers.RMSprop(rho=0.9, momentum=0.9, epsilon=1.0)),
        (
            spec("rms_prop", momentum=0.5, decay=0.7, epsilon=0.01),
            keras.optimizers.RMSprop(rho=0.7, momentum=0.5, epsilon=0.01),
        ),
    ],
    ids=[
        "momentum",
        "adam",
        "clipped momentum",
        "clipped adam",
        "adam's epsilon",
        "rms_prop",
        "rms_prop's numbers",
    ],
)
def test_it_moves_as_keras_does(ours: Optimizer, theirs: keras.optimizers.Optimizer) -> None:
    for mine, wanted in zip(
        moved(SlotOptimizer(ours, variables())), moved_by_keras(theirs), strict=True
    ):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=2e-6)


def test_weight_decay_is_decoupled_for_adamw_and_spares_biases() -> None:
    plain = moved(SlotOptimizer(spec("adamw"), variables()))
    decayed = moved(SlotOptimizer(spec("adamw", weightDecay=0.1), variables()))
    theirs = keras.optimizers.AdamW(weight_decay=0.1)
    np.testing.assert_allclose(decayed[0], moved_by_keras(theirs)[0], rtol=1e-5, atol=2e-6)
    np.testing.assert_array_equal(decayed[1], plain[1])


def test_weight_decay_of_momentum_is_the_od_apis_l2() -> None:
    optimizer = SlotOptimizer(spec("momentum", momentum=0.0, weightDecay=0.5), variables())
    zero = [tf.zeros([2, 2]), tf.zeros([2])]
    optimizer.apply(zero, tf.constant(0.1))
    np.testing.assert_allclose(optimizer.trainable[0].numpy(), KERNEL * (1 - 0.1 * 0.5))
    np.testing.assert_array_equal(optimizer.trainable[1].numpy(), BIAS)


def test_every_slot_has_a_stable_path() -> None:
    momentum = SlotOptimizer(spec("momentum"), variables())
    adam = SlotOptimizer(spec("adam"), variables(), scale_loss=True)
    assert list(momentum.variables) == [
        ITERATION,
        "optimizer/momentum/a/kernel",
        "optimizer/momentum/a/bias",
    ]
    rms_prop = SlotOptimizer(spec("rms_prop"), variables())
    assert list(rms_prop.variables) == [
        ITERATION,
        "optimizer/rms/a/kernel",
        "optimizer/rms/a/bias",
        "optimizer/momentum/a/kernel",
        "optimizer/momentum/a/bias",
    ]
    assert adam.variables.keys() == {
        ITERATION,
        "optimizer/m/a/kernel",
        "optimizer/m/a/bias",
        "optimizer/v/a/kernel",
        "optimizer/v/a/bias",
        LOSS_SCALE,
        GOOD_STEPS,
    }


def test_the_norm_returned_is_that_before_clipping() -> None:
    optimizer = SlotOptimizer(spec("momentum", gradientClipNorm=1.0), variables())
    norm = optimizer.apply([tf.fill([2, 2], 3.0), tf.zeros([2])], tf.constant(0.1))
    assert float(norm) == pytest.approx(6.0)


def test_an_overflow_moves_nothing_and_halves_the_scale() -> None:
    optimizer = SlotOptimizer(spec("adam"), variables(), scale_loss=True)
    before = {path: v.numpy() for path, v in optimizer.variables.items()}
    overflow = [tf.constant(KERNEL * np.float32("inf")), tf.constant(BIAS)]
    norm = optimizer.apply(overflow, tf.constant(0.1))
    assert float(norm) == 0.0
    np.testing.assert_array_equal(optimizer.trainable[0].numpy(), KERNEL)
    after = {path: v.numpy() for path, v in optimizer.variables.items()}
    assert after.pop(LOSS_SCALE) == INITIAL_LOSS_SCALE / 2
    before.pop(LOSS_SCALE)
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value)


def test_scaled_gradients_move_as_unscaled_ones_do() -> None:
    plain = moved(SlotOptimizer(spec("momentum", gradientClipNorm=0.5), variables()))
    scaled = SlotOptimizer(spec("momentum", gradientClipNorm=0.5), variables(), scale_loss=True)
    for mine, wanted in zip(moved(scaled, scale=INITIAL_LOSS_SCALE), plain, strict=True):
        np.testing.assert_array_equal(mine, wanted)


def test_the_scale_grows_after_enough_good_steps() -> None:
    optimizer = SlotOptimizer(spec("momentum"), variables(), scale_loss=True)
    optimizer.variables[GOOD_STEPS].assign(1999)
    moved(optimizer)
    assert optimizer.variables[LOSS_SCALE].numpy() == INITIAL_LOSS_SCALE * 2
    assert optimizer.variables[GOOD_STEPS].numpy() == 2


def test_a_variable_without_a_gradient_is_named() -> None:
    optimizer = SlotOptimizer(spec("momentum"), variables())
    with pytest.raises(ValueError, match="'a/bias'"):
        optimizer.apply([tf.zeros([2, 2]), None], tf.constant(0.1))


def test_averages_begin_at_the_weights_and_follow_them() -> None:
    optimizer = SlotOptimizer(spec("momentum", movingAverageDecay=0.3), variables())
    optimizer.start_averages()
    expected = KERNEL.copy()
    for step, (gradients, rate) in enumerate(zip(GRADIENTS, RATES, strict=True), start=1):
        optimizer.apply([tf.constant(g) for g in gradients], tf.constant(rate))
        # The OD API's ExponentialMovingAverage counts the step that it has just made.
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * optimizer.trainable[0].numpy()
    average = optimizer.variables["optimizer/average/a/kernel"]
    np.testing.assert_allclose(average.numpy(), expected, rtol=1e-6)
    assert optimizer.averages["a/kernel"] is average


def test_l2_is_part_of_what_is_clipped() -> None:
    optimizer = SlotOptimizer(
        spec("momentum", momentum=0.0, weightDecay=1.0, gradientClipNorm=0.5), variables()
    )
    norm = optimizer.apply([tf.zeros([2, 2]), tf.zeros([2])], tf.constant(1.0))
    assert float(norm) == pytest.approx(float(np.linalg.norm(KERNEL)), rel=1e-5)
    moved_by = KERNEL - optimizer.trainable[0].numpy()
    assert float(np.linalg.norm(moved_by)) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("path", "shape", "regularised"),
    [
        pytest.param("backbone/conv1/kernel", (3, 3, 3, 8), True, id="a kernel"),
        pytest.param("backbone/conv_dw_1/kernel", (3, 3, 8, 1), True, id="a depthwise layer"),
        pytest.param("box_head/predictor/bias", (4,), False, id="a bias"),
        pytest.param("box_head/predictor/kernel", (3, 3, 8, 4), True, id="a predictor"),
        pytest.param("feature_extractor/smooth_3/conv/depthwise_kernel", (3, 3, 8, 1), True,
                     id="the depthwise part of a separable layer"),
        pytest.param("feature_extractor/smooth_3/conv/pointwise_kernel", (1, 1, 8, 8), False,
                     id="its pointwise part"),
        pytest.param("box_head/predictor/depthwise_kernel", (3, 3, 8, 1), False,
                     id="a separable predictor"),
    ],
)  # fmt: skip
def test_l2_counts_what_the_od_api_counts(
    path: str, shape: tuple[int, ...], *, regularised: bool
) -> None:
    assert is_regularised(path, shape) is regularised
