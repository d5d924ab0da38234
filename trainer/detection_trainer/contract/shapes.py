"""The shape of every variable of a detector, without TensorFlow.

The operator and the preflight compare a checkpoint's header with it before a model is built. A test
proves it equal to the real models.
"""

from collections.abc import Iterator

from detection_trainer.contract.backbone_shapes import (
    Shape,
    backbone_shapes,
    batch_norm,
    convolution,
    separable,
)
from detection_trainer.contract.model import Backbone, Model


def variable_shapes(model: Model, num_classes: int) -> dict[str, Shape]:
    """Return path -> shape of every variable of the detector for `model` and `num_classes`.

    >>> shapes = variable_shapes(Model(backbone=Backbone.TINY), num_classes=2)
    >>> shapes["backbone/stem/conv/kernel"]
    (3, 3, 3, 16)
    """
    top = min(model.fpn.max_level, 5)
    shapes = {f"backbone/{p}": s for p, s in backbone_shapes(model.backbone, top).items()}
    shapes |= dict(_pyramid(model, top))
    shapes |= dict(_head(model, "box_head", 4))
    shapes |= dict(_head(model, "class_head", 1 + num_classes))
    return shapes


def _pyramid(model: Model, top: int) -> Iterator[tuple[str, Shape]]:
    depth = model.fpn.additional_layer_depth
    for level in range(model.fpn.min_level, top + 1):
        width = level_width(model.backbone, level)
        yield from convolution(f"feature_extractor/lateral_{level}", width, depth, 1, bias=True)
    smoothed = [f"smooth_{level}" for level in range(model.fpn.min_level, top)]
    coarse = [f"coarse_{level}" for level in range(6, model.fpn.max_level + 1)]
    layer = separable if model.fpn.use_depthwise else convolution
    for name in (*smoothed, *coarse):
        path = f"feature_extractor/{name}"
        yield from layer(f"{path}/conv", depth, depth, 3, bias=False)
        yield from batch_norm(f"{path}/batch_norm", depth)


def _head(model: Model, group: str, columns: int) -> Iterator[tuple[str, Shape]]:
    spec, width = model.box_predictor, model.fpn.additional_layer_depth
    layer = separable if spec.use_depthwise else convolution
    has_tower = group == "box_head" or not spec.share_prediction_tower
    for i in range(spec.num_layers_before_predictor):
        path = f"{group}/tower/conv_{i}"
        if has_tower:
            yield from layer(path, width, spec.depth, spec.kernel_size, bias=False)
            for level in range(model.fpn.min_level, model.fpn.max_level + 1):
                yield from batch_norm(f"{group}/tower/level_{level}/batch_norm_{i}", spec.depth)
        width = spec.depth
    filters = model.anchors.per_cell * columns
    yield from layer(f"{group}/predictor", width, filters, spec.kernel_size, bias=True)


def level_width(backbone: Backbone, level: int) -> int:
    """Return the number of channels of C`level`, from the backbone's last convolution."""
    widths = [s[-1] for p, s in backbone_shapes(backbone, level).items() if len(s) == 4]  # noqa: PLR2004 - kernels
    return widths[-1]
