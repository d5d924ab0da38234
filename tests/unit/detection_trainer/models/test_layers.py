import keras
import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.contract.model import BatchNorm as BatchNormSpec
from detection_trainer.models.backbones import CAFFE, SYMMETRIC, TORCH, Preprocessing
from detection_trainer.models.layers import BatchNorm, ChannelAffine, LayerFactory, seed_for

IMAGES = np.random.default_rng(0).normal(2.0, 3.0, (2, 3, 3, 5)).astype(np.float32)


def factory(**changes: object) -> LayerFactory:
    policy = keras.DTypePolicy("float32")
    settings = {"policy": policy, "seed": 0, "batch_norm_spec": BatchNormSpec()}
    return LayerFactory(prefix="group", **(settings | changes))


def test_batch_norm_infers_as_keras_does() -> None:
    ours, theirs = BatchNorm(), keras.layers.BatchNormalization()
    values = [np.abs(np.random.default_rng(i).normal(1, 0.3, 5)) for i in range(4)]
    for layer in (ours, theirs):
        layer.build(IMAGES.shape)
        layer.set_weights(values)
    assert np.allclose(ours(IMAGES), theirs(IMAGES), atol=1e-5)


def test_batch_norm_trains_as_keras_does_but_moves_the_unbiased_variance() -> None:
    ours, theirs = BatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    assert np.allclose(ours(IMAGES, training=True), theirs(IMAGES, training=True), atol=1e-5)
    assert np.allclose(ours.moving_mean, theirs.moving_mean, atol=1e-6)
    count = IMAGES[..., 0].size
    unbiased = IMAGES.reshape(-1, 5).var(axis=0) * count / (count - 1)
    assert np.allclose(ours.moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-5)


def test_batch_norm_of_a_single_value_is_finite() -> None:
    layer = BatchNorm()
    assert np.isfinite(layer(IMAGES[:1, :1, :1], training=True)).all()
    assert np.isfinite(layer.moving_variance).all()


def test_frozen_batch_norm_neither_moves_nor_looks_at_the_batch() -> None:
    layer = BatchNorm()
    layer.trainable = False
    assert np.allclose(layer(IMAGES, training=True), IMAGES / np.sqrt(1.001), atol=1e-5)
    assert not np.any(layer.moving_mean)


def test_batch_norm_refuses_a_mask() -> None:
    with pytest.raises(ValueError, match="takes no mask"):
        BatchNorm()(IMAGES, mask=np.ones((2, 3, 3), bool))


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_batch_norm_keeps_its_statistics_in_float32(precision: str) -> None:
    layer = BatchNorm(dtype=precision)
    outputs = layer(IMAGES, training=True)
    assert outputs.dtype == precision.removeprefix("mixed_")
    assert layer.moving_mean.dtype == "float32"
    assert np.allclose(layer.moving_mean, 0.01 * IMAGES.mean(axis=(0, 1, 2)), rtol=0.02)


@pytest.mark.parametrize(
    ("preprocessing", "mode"),
    [
        pytest.param(CAFFE, "caffe", id="ResNet and VGG: BGR minus the mean"),
        pytest.param(SYMMETRIC, "tf", id="MobileNet: -1 to 1"),
        pytest.param(TORCH, "torch", id="EfficientNet: mean 0, deviation 1"),
    ],
)
def test_preprocessing_is_that_of_keras_applications(
    preprocessing: Preprocessing, mode: str
) -> None:
    images = np.random.default_rng(1).uniform(0, 255, (1, 4, 4, 3)).astype(np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    layer = ChannelAffine(preprocessing.scale, preprocessing.offset, to_bgr=preprocessing.to_bgr)
    assert np.allclose(layer(images), expected, atol=1e-4)


def test_a_path_names_one_layer() -> None:
    make = factory()
    make.batch_norm("batch_norm")
    with pytest.raises(ValueError, match="two layers at the path 'group/batch_norm'"):
        make.batch_norm("batch_norm")


def test_first_values_depend_on_seed_and_path_only() -> None:
    def kernel(name: str, seed: int) -> object:
        layer = factory(seed=seed).convolution(name, 4, 3, keras.initializers.HeNormal)
        layer.build((None, 8, 8, 2))
        return layer.kernel.numpy().tolist()

    tf.random.set_seed(1)
    first = kernel("a", 0)
    tf.random.set_seed(2)
    assert kernel("a", 0) == first
    assert kernel("b", 0) != first
    assert kernel("a", 1) != first
    assert seed_for(0, "a") == seed_for(0, "a") < 2**31
