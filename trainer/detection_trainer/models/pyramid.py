"""The feature pyramid, built as the OD API's `KerasFpnTopDownFeatureMaps` and coarse layers.

The top lateral is a 1x1 convolution with bias only, and feeds the coarse levels. Each lower level
adds the nearest upsampling of the *smoothed* level above. Coarse levels are 3x3 convolutions of
stride 2.
"""

from collections.abc import Mapping
from typing import Any

import keras

from detection_trainer.contract.model import FeaturePyramid
from detection_trainer.models.layers import LayerFactory

FINEST_COARSE_LEVEL = 6
"""Lowest level that does not come from the backbone."""
KERNEL_STDDEV = 0.03


def pyramid_features(
    backbone: Mapping[int, Any], make: LayerFactory, spec: FeaturePyramid
) -> dict[int, Any]:
    """Return P`min_level` … P`max_level`, each [B,S/2^l,S/2^l,depth], from C3 … C5."""
    top = min(spec.max_level, FINEST_COARSE_LEVEL - 1)
    features = {top: _lateral(backbone[top], make, top, spec)}
    for level in range(top - 1, spec.min_level - 1, -1):
        upsample = keras.layers.UpSampling2D(
            2, interpolation="nearest", dtype=make.policy, name=f"{make.prefix}.upsample_{level}"
        )
        merged = keras.ops.add(
            _lateral(backbone[level], make, level, spec), upsample(features[level + 1])
        )
        features[level] = _convolved(merged, make.below(f"smooth_{level}"), spec, stride=1)
    for level in range(FINEST_COARSE_LEVEL, spec.max_level + 1):
        coarse = make.below(f"coarse_{level}")
        features[level] = _convolved(features[level - 1], coarse, spec, stride=2)
    return dict(sorted(features.items()))


def _lateral(x: Any, make: LayerFactory, level: int, spec: FeaturePyramid) -> Any:
    depth = spec.additional_layer_depth
    return make.hidden_convolution(
        f"lateral_{level}", depth, 1, keras.initializers.TruncatedNormal, KERNEL_STDDEV
    )(x)


def _convolved(x: Any, make: LayerFactory, spec: FeaturePyramid, stride: int) -> Any:
    convolution = make.hidden_convolution(
        "conv",
        spec.additional_layer_depth,
        3,
        keras.initializers.TruncatedNormal,
        KERNEL_STDDEV,
        separable=bool(spec.use_depthwise),
        strides=stride,
        use_bias=False,
    )
    return make.relu6("relu")(make.batch_norm("batch_norm")(convolution(x)))
