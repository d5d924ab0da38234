"""Box and class head, as the OD API's `weight_shared_convolutional_box_predictor` builds them.

Each head has its own tower, or both use the box head's. All levels share a tower's convolutions,
but not its batch normalisations. The first column of the class head is the background.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras

from detection_trainer.contract.model import BoxPredictor, Model
from detection_trainer.models.layers import LayerFactory

BOX_CODE_SIZE = 4
KERNEL_STDDEV = 0.01


def predictions(
    features: Mapping[int, Any],
    make_box: LayerFactory,
    make_class: LayerFactory,
    model: Model,
    columns: int,
) -> dict[str, Any]:
    """Return `box_encodings` [B,A,4] and `class_logits` [B,A,columns], level after level.

    `columns` includes the background.
    """
    spec, per_cell = model.box_predictor, model.anchors.per_cell
    prior = spec.class_prior_probability
    bias = keras.initializers.Constant(-math.log((1.0 - prior) / prior))
    box_predictor = _predictor(make_box, spec, per_cell * BOX_CODE_SIZE)
    box_tower = _tower(features, make_box, spec)
    class_predictor = _predictor(make_class, spec, per_cell * columns, bias_initializer=bias)
    class_tower = box_tower if spec.share_prediction_tower else _tower(features, make_class, spec)
    return {
        "box_encodings": _predicted(box_tower, make_box, box_predictor, BOX_CODE_SIZE),
        "class_logits": _predicted(class_tower, make_class, class_predictor, columns),
    }


def _predictor(make: LayerFactory, spec: BoxPredictor, filters: int, **options: Any) -> Any:
    convolution = make.separable_convolution if spec.use_depthwise else make.convolution
    initializer = keras.initializers.RandomNormal
    size = spec.kernel_size
    return convolution("predictor", filters, size, initializer, KERNEL_STDDEV, **options)


def _tower(features: Mapping[int, Any], make: LayerFactory, spec: BoxPredictor) -> dict[int, Any]:
    """Return each level's features [B,H,W,depth] after the tower."""
    convolutions = [
        make.hidden_convolution(
            f"tower/conv_{i}",
            spec.depth,
            spec.kernel_size,
            keras.initializers.RandomNormal,
            KERNEL_STDDEV,
            separable=bool(spec.use_depthwise),
            use_bias=False,
        )
        for i in range(spec.num_layers_before_predictor)
    ]
    outputs: dict[int, Any] = {}
    for level, x in features.items():
        own = make.below(f"tower/level_{level}")
        for i, convolution in enumerate(convolutions):
            normalised = own.batch_norm(f"batch_norm_{i}")(convolution(outputs.get(level, x)))
            outputs[level] = own.relu6(f"relu_{i}")(normalised)
        outputs.setdefault(level, x)
    return outputs


def _predicted(
    tower: Mapping[int, Any], make: LayerFactory, predictor: keras.layers.Layer, size: int
) -> Any:
    """Return [B,A,size] float32 of all levels; each has H * W * per_cell anchors."""

    def flat(level: int, x: Any) -> Any:
        name = f"{make.prefix}/level_{level}/flat".replace("/", ".")
        return keras.layers.Reshape((-1, size), dtype=make.policy, name=name)(predictor(x))

    outputs = [flat(level, x) for level, x in tower.items()]
    joined = outputs[0] if len(outputs) == 1 else keras.ops.concatenate(outputs, axis=1)
    return keras.ops.cast(joined, "float32")
