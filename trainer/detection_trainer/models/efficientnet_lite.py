"""EfficientNet-lite0: its authors' variant of EfficientNet-B0 for small devices.

It has no squeeze-and-excitation, ReLU6 instead of swish, and stem and head of fixed width. Layer
names are those of EfficientNet-B0 in `keras.applications`. Stochastic depth is left out, so that a
detector has no random state.
"""

from functools import partial
from typing import Any

import keras

from detection_trainer.contract.backbone_shapes import LITE_STEM, LiteBlock, lite_blocks
from detection_trainer.models.layers import LayerFactory

FAN_OUT = partial(
    keras.initializers.VarianceScaling, scale=2.0, mode="fan_out", distribution="truncated_normal"
)
"""Prefix of the names of EfficientNet's convolutions."""


def efficientnet_lite_features(images: Any, make: LayerFactory, top_level: int) -> dict[int, Any]:
    """Return C3 … C`top_level` of `images` [B,S,S,3].

    All convolutions use TensorFlow's 'SAME' padding, as in the training of the published weights.
    """
    stem = make.convolution("stem_conv", LITE_STEM, 3, FAN_OUT, strides=2, use_bias=False)
    x = make.relu6("stem_activation")(make.batch_norm("stem_bn")(stem(images)))
    features = {}
    for block in lite_blocks():
        if block.level > max(top_level, 3):
            break
        x = _block(x, make, block)
        features[block.level] = x
    return features


def _block(images: Any, make: LayerFactory, block: LiteBlock) -> Any:
    """Expand, convolve each channel, and project; the projection has no activation."""
    x, name = images, block.name
    if block.expansion > 1:
        wide = make.convolution(f"{name}_expand_conv", block.wide, 1, FAN_OUT, use_bias=False)
        x = make.batch_norm(f"{name}_expand_bn")(wide(x))
        x = make.relu6(f"{name}_expand_activation")(x)
    each = make.depthwise_convolution(
        f"{name}_dwconv", block.kernel, FAN_OUT, strides=block.stride, use_bias=False
    )
    x = make.relu6(f"{name}_activation")(make.batch_norm(f"{name}_bn")(each(x)))
    narrow = make.convolution(f"{name}_project_conv", block.filters, 1, FAN_OUT, use_bias=False)
    x = make.batch_norm(f"{name}_project_bn")(narrow(x))
    return keras.ops.add(x, images) if block.has_skip else x
