"""Box and class head, as the OD API's `weight_shared_convolutional_box_predictor` builds them.

Each head has a tower of its own, whose convolutions are shared by all levels and whose batch
normalisations are not. The class head has a background column, the first one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from detection_trainer.contract.model import BoxPredictor
from detection_trainer.models.layers import LayerFactory

BOX_CODE_SIZE = 4
KERNEL_STDDEV = 0.01


def box_encodings(
    features: Mapping[int, Any], make: LayerFactory, spec: BoxPredictor, per_cell: int
) -> Any:
    """Return the encodings [B,A,4] of all anchors, level after level."""
    predictor = make.convolution(
        "predictor",
        per_cell * BOX_CODE_SIZE,
        spec.kernel_size,
        keras.initializers.RandomNormal,
        KERNEL_STDDEV,
    )
    return _over_levels(features, make, spec, predictor, BOX_CODE_SIZE)


def class_logits(
    features: Mapping[int, Any], make: LayerFactory, spec: BoxPredictor, per_cell: int, columns: int
) -> Any:
    """Return the logits [B,A,columns] of all anchors; `columns` counts the background."""
    prior = spec.class_prior_probability
    predictor = make.convolution(
        "predictor",
        per_cell * columns,
        spec.kernel_size,
        keras.initializers.RandomNormal,
        KERNEL_STDDEV,
        bias_initializer=keras.initializers.Constant(-math.log((1.0 - prior) / prior)),
    )
    return _over_levels(features, make, spec, predictor, columns)


def _over_levels(
    features: Mapping[int, Any], make: LayerFactory, spec: BoxPredictor, predictor: Any, size: int
) -> Any:
    tower = [
        make.hidden_convolution(
            f"tower/conv_{i}",
            spec.depth,
            spec.kernel_size,
            keras.initializers.RandomNormal,
            KERNEL_STDDEV,
            use_bias=False,
        )
        for i in range(spec.num_layers_before_predictor)
    ]
    outputs = [
        _at_level(x, tower, predictor, make.below(f"tower/level_{level}"), size)
        for level, x in features.items()
    ]
    joined = outputs[0] if len(outputs) == 1 else keras.ops.concatenate(outputs, axis=1)
    return keras.ops.cast(joined, "float32")


def _at_level(x: Any, tower: Sequence[Any], predictor: Any, own: LayerFactory, size: int) -> Any:
    """[B,H,W,depth] -> [B,H * W * per_cell,size]."""
    for i, convolution in enumerate(tower):
        x = own.relu6(f"relu_{i}")(own.batch_norm(f"batch_norm_{i}")(convolution(x)))
    name = f"{own.prefix}/flat".replace("/", ".")
    return keras.layers.Reshape((-1, size), dtype=own.policy, name=name)(predictor(x))
