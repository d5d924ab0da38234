"""Which of our models the OD API also has: pure, used before anything runs."""

from collections.abc import Mapping

from detection_trainer.contract.model import Backbone, FeaturePyramid, Model

BACKBONES: Mapping[Backbone, str] = {
    Backbone.RESNET50_V1: "ssd_resnet50_v1_fpn_keras",
    Backbone.RESNET101_V1: "ssd_resnet101_v1_fpn_keras",
    Backbone.RESNET152_V1: "ssd_resnet152_v1_fpn_keras",
    Backbone.MOBILENET_V1: "ssd_mobilenet_v1_fpn_keras",
    Backbone.MOBILENET_V2: "ssd_mobilenet_v2_fpn_keras",
}
"""Backbone -> the OD API's `feature_extractor.type`, for the backbones that both have."""


def reason_without_twin(model: Model) -> str | None:
    """Return why no configuration of the OD API describes `model`; None if one does."""
    extractor = BACKBONES.get(model.backbone)
    if extractor is None:
        return (
            "the TensorFlow Object Detection API has no RetinaNet over model.backbone "
            f"{model.backbone}: expected one of {', '.join(BACKBONES)}"
        )
    if model.fpn.use_depthwise and model.backbone is Backbone.MOBILENET_V1:
        return (
            "the TensorFlow Object Detection API builds ssd_mobilenet_v1_fpn_keras with "
            "use_depthwise over a MobileNetV1 whose last two blocks are thinner: set "
            "model.fpn.useDepthwise to false, or model.backbone to mobilenet_v2"
        )
    usual = FeaturePyramid(use_depthwise=model.fpn.use_depthwise)
    if extractor.startswith("ssd_resnet") and model.fpn != usual:
        return (
            f"the TensorFlow Object Detection API builds {extractor} with fpn minLevel 3, maxLevel "
            f"7 and additionalLayerDepth 256, for any configuration; received {model.fpn}"
        )
    return None
