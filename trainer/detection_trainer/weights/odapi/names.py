"""The object paths of a RetinaNet's variables in a TF2 checkpoint of the OD API.

A pure table from our paths (`backbone/conv2_block1_1_conv/kernel`) to the object paths that
`tf.train.Checkpoint` creates for the OD API's SSD with an FPN, below the root of the model.
"""

import re
from collections.abc import Iterator, Mapping

from detection_trainer.contract.backbone_shapes import RESNET_V1_BLOCKS
from detection_trainer.contract.model import Model
from detection_trainer.contract.odapi import BACKBONES
from detection_trainer.contract.shapes import variable_shapes

EXTRACTOR = "_feature_extractor"
CLASSIFICATION_BACKBONE = f"{EXTRACTOR}/classification_backbone"
PREDICTOR = "_box_predictor"
_HEADS = {
    "box_head": (
        f"{PREDICTOR}/_box_prediction_head/_box_encoder_layers/0",
        "BoxPredictionTower",
        "box_encodings",
    ),
    "class_head": (
        f"{PREDICTOR}/_prediction_heads/class_predictions_with_background/_class_predictor_layers/0",
        "ClassPredictionTower",
        "class_predictions_with_background",
    ),
}
"""Group -> place of its predictor, name of its tower, name of its batch normalisations."""
_LAYERS_A_CONVOLUTION = 3
"""Convolution, batch normalisation and activation: the OD API numbers all three in a tower."""


def object_paths(model: Model, num_classes: int) -> dict[str, str]:
    """Return our path -> the OD API's object path for every variable of the detector.

    Raises:
        KeyError: the OD API has no RetinaNet with this backbone.
    """
    if model.backbone not in BACKBONES:
        raise KeyError(model.backbone)
    shapes = variable_shapes(model, num_classes)
    numbers = _layer_numbers(model, shapes)
    return {path: _object_path(path, model, numbers) for path in shapes}


def _object_path(path: str, model: Model, numbers: Mapping[str, int]) -> str:
    group, _, rest = path.partition("/")
    layer, _, variable = rest.rpartition("/")
    match group:
        case "backbone":
            if "conv_dw_" in layer or layer.endswith("_depthwise"):
                variable = variable.replace("kernel", "depthwise_kernel")
            return f"{CLASSIFICATION_BACKBONE}/layer_with_weights-{numbers[layer]}/{variable}"
        case "feature_extractor":
            return f"{EXTRACTOR}/{_pyramid_layer(layer, model)}/{variable}"
        case _:
            return f"{_head_layer(group, layer, model)}/{variable}"


def _layer_numbers(model: Model, shapes: Mapping[str, object]) -> dict[str, int]:
    """Return the number of each backbone layer among those with weights."""
    layers = list(
        dict.fromkeys(
            path.removeprefix("backbone/").rpartition("/")[0]
            for path in shapes
            if path.startswith("backbone/")
        )
    )
    if model.backbone in RESNET_V1_BLOCKS:
        layers = list(_as_resnet_numbers(layers))
    return {layer: number for number, layer in enumerate(layers)}


def _as_resnet_numbers(layers: list[str]) -> Iterator[str]:
    """Yield layers in the order of Keras, by depth: a shortcut is beside the end of its block."""
    blocks: dict[str, list[str]] = {}
    for layer in layers:
        match = re.match(r"conv\d_block\d+_", layer)
        blocks.setdefault(match[0] if match else layer, []).append(layer)
    for block, inside in blocks.items():
        if f"{block}0_conv" not in inside:
            yield from inside
            continue
        order = ("1_conv", "1_bn", "2_conv", "2_bn", "0_conv", "3_conv", "0_bn", "3_bn")
        yield from (block + name for name in order)


def _pyramid_layer(layer: str, model: Model) -> str:
    top = min(model.fpn.max_level, 5)
    name, _, part = layer.partition("/")
    kind, _, level = name.partition("_")
    place = {"conv": 0, "batch_norm": 1}.get(part, 0)
    match kind:
        case "lateral" if int(level) == top:
            return "_fpn_features_generator/top_layers/0"
        case "lateral":
            return f"_fpn_features_generator/residual_blocks/{top - 1 - int(level)}/0"
        case "smooth":
            return f"_fpn_features_generator/conv_layers/{top - 1 - int(level)}/{place}"
        case _:
            return f"_coarse_feature_layers/{int(level) - top - 1}/{place}"


def _head_layer(group: str, layer: str, model: Model) -> str:
    predictor, tower, norms = _HEADS[group]
    if layer == "predictor":
        return predictor
    if model.box_predictor.share_prediction_tower:
        tower = "PredictionTower"
    convolution = re.fullmatch(r"tower/conv_(\d+)", layer)
    if convolution:
        return f"{PREDICTOR}/_head_scope_conv_layers/{tower}/{convolution[1]}"
    norm = re.fullmatch(r"tower/level_(\d+)/batch_norm_(\d+)", layer)
    if norm is None:
        raise LookupError(f"{group}/{layer} has no place in the OD API's predictor")
    level = int(norm[1]) - model.fpn.min_level
    place = int(norm[2]) * _LAYERS_A_CONVOLUTION + 1
    return f"{PREDICTOR}/_base_tower_layers_for_heads/{norms}/{level}/{place}"
