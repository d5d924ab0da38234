"""`model` of a pipeline.config: `ssd` with an FPN extractor, as `spec.model`."""

import math
from typing import Any

from detection_trainer.contract.model import Backbone
from detection_trainer.contract.odapi import BACKBONES
from detection_trainer.contract.pipeline_config.reading import Node, PipelineConfigError

EXTRACTORS = {extractor: backbone for backbone, extractor in BACKBONES.items()}
SUPPORTED = ", ".join(EXTRACTORS)
RESNET_FPN = {"min_level": 3, "max_level": 7, "additional_layer_depth": 256}
"""The values of the OD API's ResNet extractors, which ignore `fpn`."""
BOX_CODE_SIZE = 4
_NO_SUCH = "this program does not support it"


def map_model(pipeline: Node, notes: list[str]) -> tuple[dict[str, Any], float]:
    """Return `spec.model`, and the weight of the L2 regularisation.

    Raises:
        PipelineConfigError: the model or a value is not available.
    """
    model = pipeline.below("model")
    if not model.has("ssd"):
        others = ", ".join(dict.fromkeys(f.name for f in model.message.fields)) or "nothing"
        raise PipelineConfigError(
            f"model: {others} is not supported; expected ssd with a feature_extractor of type "
            f"{SUPPORTED}"
        )
    ssd = model.below("ssd")
    backbone = _backbone(ssd.below("feature_extractor"))
    size, resizer = _resizer(ssd.below("image_resizer"))
    fpn, extractor_norm, extractor_l2 = _extractor(
        ssd.below("feature_extractor"), backbone, size, notes
    )
    _, predictor = ssd.below("box_predictor").choice(
        ["weight_shared_convolutional_box_predictor"], "box predictor"
    )
    heads, predictor_norm, predictor_l2 = _predictor(predictor)
    _require_same(predictor, "batch_norm", extractor_norm, predictor_norm)
    _require_same(predictor, "regularizer", extractor_l2, predictor_l2)
    _require_rules(ssd)
    fields = {
        "architecture": "retinanet",
        "backbone": backbone.value,
        "imageSize": size,
        "imageResizer": resizer,
        "batchNorm": predictor_norm,
        "fpn": fpn,
        "boxPredictor": heads,
        "anchors": _anchors(ssd, fpn),
        "matcher": _matcher(ssd),
        "loss": _loss(ssd),
        "postProcessing": _post_processing(ssd.below("post_processing")),
    }
    return fields, extractor_l2


def _backbone(extractor: Node) -> Backbone:
    kind = extractor.text("type")
    if kind not in EXTRACTORS:
        raise extractor.error("type", f"{kind!r} is not supported; expected one of {SUPPORTED}")
    return EXTRACTORS[kind]


def _resizer(resizers: Node) -> tuple[int, dict[str, Any]]:
    """Return the side of the square, and `imageResizer`."""
    kinds = ["fixed_shape_resizer", "keep_aspect_ratio_resizer"]
    kind, resizer = resizers.choice(kinds, "image resizer")
    resizer.only("resize_method", "BILINEAR", "other methods are not supported", "BILINEAR")
    resizer.only("convert_to_grayscale", expected=False, why=_NO_SUCH, default=False)
    if kind == "fixed_shape_resizer":
        return _fixed_size(resizer), {"type": "fixedShape"}
    resizer.only(
        "pad_to_max_dimension", expected=True, why="images in a batch are square", default=False
    )
    resizer.absent("per_channel_pad_value", "images are padded with 0 after their preprocessing")
    side, shorter = resizer.integer("max_dimension", 1024), resizer.integer("min_dimension", 600)
    if side % 32 or shorter > side:
        raise resizer.error(
            "max_dimension",
            "expected a multiple of 32 pixels, not below min_dimension; received max_dimension "
            f"{side} and min_dimension {shorter}: give both, such as 640",
        )
    return side, {"type": "keepAspectRatio", "minDimension": shorter}


def _fixed_size(fixed: Node) -> int:
    height, width = fixed.integer("height", 300), fixed.integer("width", 300)
    if height != width or height % 32:
        raise fixed.error(
            "height",
            f"expected a square of a multiple of 32 pixels; received {height}x{width}: give both "
            "the same, such as 640",
        )
    return height


def _extractor(
    extractor: Node, backbone: Backbone, size: int, notes: list[str]
) -> tuple[dict[str, Any], dict[str, float], float]:
    extractor.only("depth_multiplier", 1.0, "only complete backbones are supported", 1.0)
    extractor.only(
        "override_base_feature_extractor_hyperparams",
        expected=True,
        why="batch_norm and regularizer apply to the whole model, including the backbone",
        default=False,
    )
    extractor.only("use_explicit_padding", expected=False, why=_NO_SUCH, default=False)
    for name in ("bifpn", "num_layers", "spaghettinet_arch_name"):
        extractor.absent(name, "it applies to extractors without this FPN")
    multiple = extractor.integer("pad_to_multiple", 1)
    if multiple < 1 or size % multiple:
        raise extractor.error(
            "pad_to_multiple",
            f"expected a divisor of {size}; received {multiple}: images are not padded",
        )
    depthwise = extractor.flag("use_depthwise")
    if depthwise and backbone is not Backbone.MOBILENET_V2:
        raise extractor.error(
            "use_depthwise",
            "expected false; received true: only ssd_mobilenet_v2_fpn_keras has "
            "a separable FPN here",
        )
    norm, l2 = _hyperparams(extractor.below("conv_hyperparams"))
    levels = _levels(extractor.below("fpn"), backbone, notes)
    return {**levels, **({"useDepthwise": True} if depthwise else {})}, norm, l2


def _levels(fpn: Node, backbone: Backbone, notes: list[str]) -> dict[str, Any]:
    fields = {name: fpn.integer(name, default) for name, default in RESNET_FPN.items()}
    if "mobilenet" not in backbone.value:
        notes += [
            f"{fpn.path}.{name}: {fields[name]}: the OD API's ResNet extractors always use "
            f"{value}, and so does this model"
            for name, value in RESNET_FPN.items()
            if fields[name] != value
        ]
        fields = dict(RESNET_FPN)
    return {
        "minLevel": fields["min_level"],
        "maxLevel": fields["max_level"],
        "additionalLayerDepth": fields["additional_layer_depth"],
    }


def _hyperparams(hyperparams: Node) -> tuple[dict[str, float], float]:
    """Return `batchNorm` and the weight of the L2 regularisation."""
    hyperparams.only("activation", "RELU_6", "the model uses ReLU6 everywhere", "RELU")
    hyperparams.only("op", "CONV", _NO_SUCH, "CONV")
    hyperparams.only("force_use_bias", expected=False, why=_NO_SUCH, default=False)
    hyperparams.absent("group_norm", "the model always uses batch normalisation")
    _, norm = hyperparams.choice(["batch_norm", "sync_batch_norm"], "normaliser")
    norm.only("center", expected=True, why="batch normalisation always uses both", default=True)
    norm.only("scale", expected=True, why="batch normalisation always uses both", default=False)
    norm.only("train", expected=True, why="use spec.freeze instead", default=True)
    regularizer = hyperparams.below("regularizer")
    regularizer.absent("l1_regularizer", "only L2 is supported")
    l2 = 0.0
    if regularizer.has("l2_regularizer"):
        l2 = regularizer.below("l2_regularizer").number("weight", 1.0)
    return {"momentum": norm.number("decay", 0.999), "epsilon": norm.number("epsilon", 0.001)}, l2


def _predictor(predictor: Node) -> tuple[dict[str, Any], dict[str, float], float]:
    for name in (
        "apply_conv_hyperparams_to_heads",
        "apply_conv_hyperparams_pointwise",
        "use_dropout",
    ):
        predictor.only(name, expected=False, why=_NO_SUCH, default=False)
    predictor.only("box_code_size", BOX_CODE_SIZE, _NO_SUCH, BOX_CODE_SIZE)
    predictor.only("score_converter", "IDENTITY", _NO_SUCH, "IDENTITY")
    predictor.absent("box_encodings_clip_range", _NO_SUCH)
    norm, l2 = _hyperparams(predictor.below("conv_hyperparams"))
    bias = predictor.number("class_prediction_bias_init", 0.0)
    fields: dict[str, Any] = {
        "depth": predictor.integer("depth", 0),
        "numLayersBeforePredictor": predictor.integer("num_layers_before_predictor", 0),
        "kernelSize": predictor.integer("kernel_size", 3),
        "classPriorProbability": 1.0 / (1.0 + math.exp(-bias)),
    }
    for name, ours in (
        ("use_depthwise", "useDepthwise"),
        ("share_prediction_tower", "sharePredictionTower"),
    ):
        if predictor.flag(name):
            fields[ours] = True
    return fields, norm, l2


def _require_same(predictor: Node, name: str, extractor: object, heads: object) -> None:
    if extractor != heads:
        raise predictor.error(
            "conv_hyperparams",
            f"expected the {name} of feature_extractor.conv_hyperparams, {extractor}; received "
            f"{heads}: one value applies to the whole model",
        )


def _require_rules(ssd: Node) -> None:
    """Require the values that are fixed in this model."""
    _, coder = ssd.below("box_coder").choice(["faster_rcnn_box_coder"], "box coder")
    for name, scale in (
        ("y_scale", 10.0),
        ("x_scale", 10.0),
        ("height_scale", 5.0),
        ("width_scale", 5.0),
    ):
        coder.only(name, scale, "the scales are fixed", scale)
    ssd.below("similarity_calculator").choice(["iou_similarity"], "similarity calculator")
    always = "it is always so here"
    ssd.only("encode_background_as_zeros", expected=True, why=always, default=False)
    ssd.only("normalize_loss_by_num_matches", expected=True, why=always, default=True)
    ssd.only("add_background_class", expected=True, why=always, default=True)
    ssd.only("explicit_background_class", expected=False, why=always, default=False)
    ssd.only("use_confidences_as_targets", expected=False, why=_NO_SUCH, default=False)
    ssd.only(
        "freeze_batchnorm",
        expected=False,
        why="use spec.freeze instead",
        default=False,
    )
    ssd.only("negative_class_weight", 1.0, _NO_SUCH, 1.0)
    ssd.absent("mask_head_config", "masks are not supported")


def _anchors(ssd: Node, fpn: dict[str, Any]) -> dict[str, Any]:
    _, anchors = ssd.below("anchor_generator").choice(
        ["multiscale_anchor_generator"], "anchor generator"
    )
    anchors.only("min_level", fpn["minLevel"], "anchors are on the levels of the FPN", 3)
    anchors.only("max_level", fpn["maxLevel"], "anchors are on the levels of the FPN", 7)
    anchors.only("normalize_coordinates", expected=True, why=_NO_SUCH, default=True)
    ratios = anchors.numbers("aspect_ratios")
    if not ratios:
        raise anchors.error("aspect_ratios", "expected at least one; received none")
    return {
        "anchorScale": anchors.number("anchor_scale", 4.0),
        "aspectRatios": ratios,
        "scalesPerOctave": anchors.integer("scales_per_octave", 2),
    }


def _matcher(ssd: Node) -> dict[str, Any]:
    _, matcher = ssd.below("matcher").choice(["argmax_matcher"], "matcher")
    always = "it is always so here"
    matcher.only("ignore_thresholds", expected=False, why=always, default=False)
    matcher.only("negatives_lower_than_unmatched", expected=True, why=always, default=True)
    matcher.only("force_match_for_each_row", expected=True, why=always, default=False)
    return {
        "matchedThreshold": matcher.number("matched_threshold", 0.5),
        "unmatchedThreshold": matcher.number("unmatched_threshold", 0.5),
    }


def _loss(ssd: Node) -> dict[str, Any]:
    loss = ssd.below("loss")
    for name in ("hard_example_miner", "random_example_sampler", "equalization_loss"):
        loss.absent(name, _NO_SUCH)
    loss.only("expected_loss_weights", "NONE", _NO_SUCH, "NONE")
    _, huber = loss.below("localization_loss").choice(["weighted_smooth_l1"], "localisation loss")
    _, focal = loss.below("classification_loss").choice(
        ["weighted_sigmoid_focal"], "classification loss"
    )
    if not focal.has("alpha"):
        raise focal.error("alpha", "expected a number, such as 0.25; received none")
    # Without the division by the code size, the weight of each box is that many times larger.
    divided = ssd.flag("normalize_loc_loss_by_codesize")
    localization = loss.number("localization_weight", 1.0)
    return {
        "focalAlpha": focal.number("alpha", 0.0),
        "focalGamma": focal.number("gamma", 2.0),
        "huberDelta": huber.number("delta", 1.0),
        "localizationWeight": localization * (1 if divided else BOX_CODE_SIZE),
        "classificationWeight": loss.number("classification_weight", 1.0),
    }


def _post_processing(post: Node) -> dict[str, Any]:
    post.only("score_converter", "SIGMOID", "scores are always sigmoids", "IDENTITY")
    post.only("logit_scale", 1.0, _NO_SUCH, 1.0)
    post.absent("calibration_config", _NO_SUCH)
    suppression = post.below("batch_non_max_suppression")
    for name in ("use_class_agnostic_nms", "use_partitioned_nms"):
        suppression.only(
            name, expected=False, why="boxes are always suppressed class by class", default=False
        )
    suppression.only("soft_nms_sigma", 0.0, _NO_SUCH, 0.0)
    total = suppression.integer("max_total_detections", 100)
    per_class = suppression.integer("max_detections_per_class", 100)
    if per_class > total:
        raise suppression.error(
            "max_detections_per_class",
            f"expected at most max_total_detections, {total}; received {per_class}: lower it",
        )
    return {
        **({} if per_class == total else {"maxDetectionsPerClass": per_class}),
        "scoreThreshold": suppression.number("score_threshold", 0.0),
        "iouThreshold": suppression.number("iou_threshold", 0.6),
        "maxDetections": total,
    }
