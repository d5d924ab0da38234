"""The registry of backbones: networks that compute C3, C4 and C5 from images.

Networks of `keras.applications` are built without weights, cut at the highest required level, and
cloned layer by layer. The clone has the dtype policy, the seeds, our batch normalisation, and the
names that keras.applications gives. Its input scaling is left out: the preprocessing of every
backbone is a `ChannelAffine` with the values that its ImageNet weights expect.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from detection_trainer.contract.backbone_shapes import RESIDUAL
from detection_trainer.contract.model import Backbone
from detection_trainer.contract.model import BatchNorm as BatchNormSpec
from detection_trainer.models.efficientnet_lite import efficientnet_lite_features
from detection_trainer.models.layers import (
    BatchNorm,
    ChannelAffine,
    Dropout,
    LayerFactory,
    seed_for,
)
from detection_trainer.models.residual import residual_features

Features = dict[int, Any]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The first layer of a backbone: how it scales RGB in 0..255."""

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    to_bgr: bool = False


CAFFE = Preprocessing((1.0, 1.0, 1.0), (-103.939, -116.779, -123.68), to_bgr=True)
RGB_MEANS = Preprocessing((1.0, 1.0, 1.0), (-123.68, -116.779, -103.939))
SYMMETRIC = Preprocessing((1 / 127.5,) * 3, (-1.0,) * 3)
LITE = Preprocessing((1 / 128,) * 3, (-127 / 128,) * 3)
# mean and deviation of ImageNet in 0..1: (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225)
TORCH = Preprocessing(
    (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
    (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
)


@dataclass(frozen=True, slots=True)
class Application:
    """A network of `keras.applications`, and the layers of its levels."""

    build: Callable[..., keras.Model]
    preprocessing: Preprocessing
    first_layer: str
    """The first layer that is not input scaling."""
    levels: Mapping[int, str]
    """Level -> regular expression for the name of its last layer."""
    edits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Regular expression for names of layers -> changes to their configurations."""


@dataclass(frozen=True, slots=True)
class Residual:
    """A residual network of this package; see residual.py."""

    widths: Sequence[int]
    blocks: Sequence[int]
    preprocessing: Preprocessing = SYMMETRIC


@dataclass(frozen=True, slots=True)
class Lite:
    """EfficientNet-lite0; see efficientnet_lite.py."""

    preprocessing: Preprocessing


def _resnet(build: Callable[..., keras.Model]) -> Application:
    levels = {level: rf"conv{level}_block\d+_out" for level in (3, 4, 5)}
    return Application(build, CAFFE, "conv1_pad", levels)


RESNET_V1_EDITS: Mapping[str, Mapping[str, Any]] = {
    r".*_conv": {"use_bias": False},
    r".*_bn": {"momentum": 0.997, "epsilon": 1e-3},
    r".*_(relu|out)": {"activation": "relu6"},
    "pool1_pad": {"padding": ((0, 0), (0, 0))},
    "pool1_pool": {"padding": "same"},
}
"""How the OD API's models/keras_models/resnet_v1.py changes keras.applications' ResNet."""


def _resnet_v1(build: Callable[..., keras.Model]) -> Application:
    return replace(_resnet(build), preprocessing=RGB_MEANS, edits=RESNET_V1_EDITS)


def _efficientnet(build: Callable[..., keras.Model]) -> Application:
    levels = {3: r"block3._(add|project_bn)", 4: r"block5._(add|project_bn)"}
    levels[5] = r"block7._(add|project_bn)"
    return Application(build, TORCH, "stem_conv_pad", levels)


BACKBONES: Mapping[Backbone, Application | Residual | Lite] = {
    Backbone.TINY: Residual(*RESIDUAL[Backbone.TINY]),
    Backbone.SMALL: Residual(*RESIDUAL[Backbone.SMALL]),
    Backbone.RESNET50: _resnet(keras.applications.ResNet50),
    Backbone.RESNET101: _resnet(keras.applications.ResNet101),
    Backbone.RESNET152: _resnet(keras.applications.ResNet152),
    Backbone.RESNET50_V1: _resnet_v1(keras.applications.ResNet50),
    Backbone.RESNET101_V1: _resnet_v1(keras.applications.ResNet101),
    Backbone.RESNET152_V1: _resnet_v1(keras.applications.ResNet152),
    # The levels of both MobileNets are those that the OD API's feature extractors take.
    Backbone.MOBILENET_V1: Application(
        keras.applications.MobileNet,
        SYMMETRIC,
        "conv1",
        {3: "conv_pw_5_relu", 4: "conv_pw_11_relu", 5: "conv_pw_13_relu"},
    ),
    Backbone.MOBILENET_V2: Application(
        keras.applications.MobileNetV2,
        SYMMETRIC,
        "Conv1",
        {3: "block_5_add", 4: "block_12_add", 5: "out_relu"},
    ),
    Backbone.EFFICIENTNET_B0: _efficientnet(keras.applications.EfficientNetB0),
    Backbone.EFFICIENTNET_B1: _efficientnet(keras.applications.EfficientNetB1),
    Backbone.EFFICIENTNET_B2: _efficientnet(keras.applications.EfficientNetB2),
    Backbone.EFFICIENTNET_B3: _efficientnet(keras.applications.EfficientNetB3),
    Backbone.EFFICIENTNET_B4: _efficientnet(keras.applications.EfficientNetB4),
    Backbone.EFFICIENTNET_LITE0: Lite(LITE),
    Backbone.VGG16: Application(
        keras.applications.VGG16,
        CAFFE,
        "block1_conv1",
        {3: "block4_conv3", 4: "block5_conv3", 5: "block5_pool"},
    ),
}


OURS: Mapping[Any, Any] = {
    keras.layers.BatchNormalization: BatchNorm,
    keras.layers.Dropout: Dropout,
}
"""Keras layers that a clone replaces with ours."""


def backbone_features(
    images: Any,
    make: LayerFactory,
    backbone: Backbone,
    top_level: int,
    batch_norm: BatchNormSpec | None = None,
) -> Features:
    """Return C3 … C`top_level` of `images` [B,S,S,3], RGB in 0..255.

    `batch_norm` replaces the values of keras.applications.
    """
    entry = BACKBONES[backbone]
    images = _preprocessed(images, make, entry.preprocessing)
    match entry:
        case Residual():
            return residual_features(images, make, entry.widths, entry.blocks, top_level)
        case Lite():
            return efficientnet_lite_features(images, make, top_level)
        case Application():
            numbers = {} if batch_norm is None else batch_norm.model_dump()
            cut = _cut(entry, images.shape[1:], top_level)
            network = _clone(cut, make, entry.edits, numbers)
            return dict(zip(range(3, top_level + 1), _as_list(network(images)), strict=True))


def imagenet_network(backbone: Backbone, image_size: int = 224) -> keras.Model:
    """Return the network of `keras.applications` with its ImageNet weights; may download them.

    Raises:
        KeyError: `backbone` has none.
    """
    entry = BACKBONES[backbone]
    if not isinstance(entry, Application):
        raise KeyError(backbone)
    return entry.build(
        include_top=False, weights="imagenet", input_shape=(image_size, image_size, 3)
    )


def neutral_color(backbone: Backbone) -> tuple[float, float, float]:
    """Return the RGB colour in 0..255 that the backbone's preprocessing maps to zeros."""
    spec = BACKBONES[backbone].preprocessing
    channels = [-offset / scale for scale, offset in zip(spec.scale, spec.offset, strict=True)]
    first, second, third = reversed(channels) if spec.to_bgr else channels
    return first, second, third


def _preprocessed(images: Any, make: LayerFactory, spec: Preprocessing) -> Any:
    name = f"{make.prefix}.preprocessing"
    layer = ChannelAffine(spec.scale, spec.offset, to_bgr=spec.to_bgr, name=name, dtype="float32")
    return layer(images)


def _cut(entry: Application, input_shape: Sequence[int], top_level: int) -> keras.Model:
    whole = entry.build(include_top=False, weights=None, input_shape=tuple(input_shape))
    names = [layer.name for layer in whole.layers]
    ends = [_last(names, entry.levels[level]) for level in range(3, top_level + 1)]
    first = whole.get_layer(entry.first_layer).input
    return keras.Model(first, [whole.get_layer(name).output for name in ends])


def _last(names: Sequence[str], pattern: str) -> str:
    return [name for name in names if re.fullmatch(pattern, name)][-1]


def _clone(
    network: keras.Model,
    make: LayerFactory,
    edits: Mapping[str, Mapping[str, Any]],
    batch_norm: Mapping[str, Any],
) -> keras.Model:
    """Copy the structure with fresh weights: Keras cannot change the policy of a built network."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = {**layer.get_config(), "dtype": make.policy}
        for names, changes in edits.items():
            if re.fullmatch(names, layer.name):
                config |= changes
        if isinstance(layer, keras.layers.BatchNormalization):
            config |= batch_norm
        seed = seed_for(make.seed, f"{make.prefix}/{layer.name}")
        for key in ("kernel_initializer", "depthwise_initializer"):
            if config.get(key):
                config[key] = _seeded(config[key], seed)
        if "seed" in config:
            config["seed"] = seed
        ours = OURS.get(type(layer), type(layer))
        return make.register(layer.name, ours.from_config(config))

    return keras.models.clone_model(network, clone_function=clone)


def _seeded(initializer: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {**initializer, "config": {**initializer["config"], "seed": seed}}


def _as_list(features: Any) -> list[Any]:
    return features if isinstance(features, list) else [features]
