"""The residual backbones of this package, for CPUs and tests: `tiny` and `small`.

They use plain 3x3 convolutions: depthwise ones have fewer parameters but are slow on a CPU.
"""

from collections.abc import Sequence
from typing import Any

import keras

from detection_trainer.models.layers import HE_NORMAL, LayerFactory


def residual_features(
    images: Any, make: LayerFactory, widths: Sequence[int], blocks: Sequence[int], top_level: int
) -> dict[int, Any]:
    """Return C3 … C`top_level` of `images` [B,S,S,3].

    `widths` are those of the stem (stride 2) and of the stages with stride 4, 8, 16 and 32;
    `blocks` are the numbers of residual blocks of the stages.
    """
    x = _normalised(images, make.below("stem"), widths[0], stride=2, kernel_size=3)
    x = make.below("stem").relu6("relu")(x)
    features = {}
    for level, (width, count) in enumerate(zip(widths[1:], blocks, strict=True), start=2):
        if level > top_level:
            break
        for i in range(count):
            x = _block(x, make.below(f"stage_{level}/block_{i}"), width, stride=1 + (i == 0))
        features[level] = x
    return {level: x for level, x in features.items() if level >= 3}  # noqa: PLR2004 - C3


def _block(x: Any, make: LayerFactory, width: int, stride: int) -> Any:
    first, second = make.below("conv_0"), make.below("conv_1")
    shortcut = x
    if stride > 1:
        shortcut = _normalised(x, make.below("shortcut"), width, stride, kernel_size=1)
    x = first.relu6("relu")(_normalised(x, first, width, stride, kernel_size=3))
    x = _normalised(x, second, width, stride=1, kernel_size=3)
    return make.relu6("relu")(keras.ops.add(x, shortcut))


def _normalised(x: Any, make: LayerFactory, width: int, stride: int, kernel_size: int) -> Any:
    convolution = make.convolution(
        "conv", width, kernel_size, HE_NORMAL, strides=stride, use_bias=False
    )
    return make.batch_norm("batch_norm")(convolution(x))
