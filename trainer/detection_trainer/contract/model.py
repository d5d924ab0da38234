"""The model part of a DetectionTraining's spec: what is trained.

Names and defaults are those of the OD API's SSD with an FPN extractor (protos/{ssd,
anchor_generator,box_predictor,losses,post_processing}.proto).
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from detection_trainer.contract.base import Contract
from detection_trainer.contract.rules import cel, is_new_start, require_order, with_rules

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0, le=1e9)]


class Backbone(StrEnum):
    """`keras.applications` networks, EfficientNet-lite0, and tiny residual ones for CPUs and tests.

    `resnet50_v1` and its kin are the OD API's own (slim's) variant of ResNet: convolutions without
    biases, ReLU6, 'same' pooling, means subtracted from RGB. Both MobileNets are the same in both.
    """

    TINY = "tiny"
    SMALL = "small"
    RESNET50 = "resnet50"
    RESNET101 = "resnet101"
    RESNET152 = "resnet152"
    RESNET50_V1 = "resnet50_v1"
    RESNET101_V1 = "resnet101_v1"
    RESNET152_V1 = "resnet152_v1"
    MOBILENET_V1 = "mobilenet_v1"
    MOBILENET_V2 = "mobilenet_v2"
    EFFICIENTNET_B0 = "efficientnet_b0"
    EFFICIENTNET_B1 = "efficientnet_b1"
    EFFICIENTNET_B2 = "efficientnet_b2"
    EFFICIENTNET_B3 = "efficientnet_b3"
    EFFICIENTNET_B4 = "efficientnet_b4"
    EFFICIENTNET_LITE0 = "efficientnet_lite0"
    VGG16 = "vgg16"


class BatchNorm(Contract):
    """`batch_norm` of hyperparams.proto, for every batch normalisation of the model.

    Absent: those of a `keras.applications` backbone keep the numbers they have there; the others
    have momentum 0.997 (0.9 with the tiny backbones) and epsilon 0.001.
    """

    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.997
    """Weight of the old moving mean and variance at each step."""
    epsilon: Annotated[float, Field(gt=0.0, le=1.0)] = 0.001
    """Added to the variance before the square root."""


class ImageResizer(Contract):
    """`image_resizer` of image_resizer.proto: bilinear as in TensorFlow 1, whose corners coincide.

    Absent: the image is stretched to the square, bilinear with pixels' centres where they are.
    """

    model_config = with_rules(
        cel(
            "self.type == 'keepAspectRatio' || !has(self.minDimension)",
            "minDimension is only valid with type keepAspectRatio",
        ),
    )

    type: Literal["fixedShape", "keepAspectRatio"]
    """`keepAspectRatio` pads to the square, right and below, as `pad_to_max_dimension` does."""
    min_dimension: Annotated[int, Field(ge=1, le=2048)] | None = None
    """The shorter side becomes that long unless the longer one would pass `imageSize`; absent:
    the longer side becomes `imageSize`."""

    @model_validator(mode="after")
    def _minimum_where_aspect_is_kept(self) -> Self:
        if self.type == "fixedShape" and self.min_dimension is not None:
            msg = (
                "minDimension is only valid with type keepAspectRatio: remove it, or change the "
                "type"
            )
            raise ValueError(msg)
        return self


class FeaturePyramid(Contract):
    """The FPN: `fpn` of ssd.proto. Levels above 5 are the coarse ones (stride-2 convolutions)."""

    model_config = with_rules(
        cel("self.minLevel <= self.maxLevel", "minLevel must not be above maxLevel"),
    )

    min_level: Annotated[int, Field(ge=3, le=5)] = 3
    """Finest level; level L has a stride of 2**L pixels (`fpn.min_level`)."""
    max_level: Annotated[int, Field(ge=3, le=7)] = 7
    """Coarsest level (`fpn.max_level`)."""
    additional_layer_depth: Annotated[int, Field(ge=8, le=1024)] = 256
    """Channels of each level (`fpn.additional_layer_depth`)."""
    use_depthwise: bool | None = None
    """Separable 3x3 convolutions (FPNLite); absent means false."""

    @model_validator(mode="after")
    def _levels_in_order(self, info: ValidationInfo) -> Self:
        if is_new_start(info):
            require_order("fpn", minLevel=self.min_level, maxLevel=self.max_level)
        return self


class BoxPredictor(Contract):
    """The heads: `weight_shared_convolutional_box_predictor` of box_predictor.proto."""

    depth: Annotated[int, Field(ge=8, le=1024)] = 256
    """Channels of the convolutions of each head."""
    num_layers_before_predictor: Annotated[int, Field(ge=0, le=8)] = 4
    """Convolutions of each head before its prediction."""
    kernel_size: Literal[1, 3, 5] = 3
    """Side of these convolutions' kernels, in cells."""
    class_prior_probability: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01
    """Score of each class that an untrained model gives; sets the bias of the class head
    (`class_prediction_bias_init`).
    """
    use_depthwise: bool | None = None
    """Separable convolutions (FPNLite); absent means false."""
    share_prediction_tower: bool | None = None
    """One tower for both heads, kept with the box head; absent means one each."""


class AnchorGenerator(Contract):
    """`multiscale_anchor_generator`: ratio outer, scale inner, at every cell of every level."""

    anchor_scale: PositiveFloat = 4.0
    """Side of the base anchor as a multiple of its level's stride."""
    aspect_ratios: Annotated[list[PositiveFloat], Field(min_length=1, max_length=16)] = [
        1.0, 2.0, 0.5,
    ]  # fmt: skip
    """Width divided by height, an anchor for each."""
    scales_per_octave: Annotated[int, Field(ge=1, le=8)] = 2
    """Anchor sizes between one level and the next, an anchor for each."""

    @property
    def per_cell(self) -> int:
        """Anchors at one cell of one level."""
        return len(self.aspect_ratios) * self.scales_per_octave


class Matcher(Contract):
    """`argmax_matcher`: IoU above which an anchor is an object, below which it is background."""

    model_config = with_rules(
        cel(
            "self.unmatchedThreshold <= self.matchedThreshold",
            "unmatchedThreshold must not be above matchedThreshold",
        ),
    )

    matched_threshold: Fraction = 0.5
    """IoU with an object from which an anchor learns that object."""
    unmatched_threshold: Fraction = 0.5
    """IoU below which an anchor learns the background; between the two thresholds it learns
    nothing.
    """

    @model_validator(mode="after")
    def _thresholds_in_order(self, info: ValidationInfo) -> Self:
        if is_new_start(info):
            require_order(
                "matcher",
                unmatchedThreshold=self.unmatched_threshold,
                matchedThreshold=self.matched_threshold,
            )
        return self


class Loss(Contract):
    """`sigmoid_focal` and `weighted_smooth_l1` of losses.proto."""

    focal_alpha: Fraction = 0.25
    """Weight of positive anchors in the focal loss, 1 - focalAlpha of negative ones."""
    focal_gamma: Annotated[float, Field(ge=0.0, le=10.0)] = 2.0
    """Exponent by which the focal loss plays down what is classified well; 0 is cross-entropy."""
    huber_delta: PositiveFloat = 1.0
    """Where the smooth L1 loss of boxes turns from square to linear."""
    localization_weight: PositiveFloat = 1.0
    """Weight of the box loss in the total loss."""
    classification_weight: PositiveFloat = 1.0
    """Weight of the class loss in the total loss."""


class PostProcessing(Contract):
    """`batch_non_max_suppression` of post_processing.proto."""

    model_config = with_rules(
        cel(
            "!has(self.maxDetectionsPerClass) || self.maxDetectionsPerClass <= self.maxDetections",
            "maxDetectionsPerClass must not be above maxDetections",
        ),
    )

    score_threshold: Fraction = 0.01
    """Detections with a lower score are dropped before non-maximum suppression."""
    iou_threshold: Fraction = 0.6
    """A detection that overlaps a better one of its class by more than this IoU is dropped."""
    max_detections: Annotated[int, Field(ge=1, le=1000)] = 100
    """`max_total_detections`: of one image."""
    max_detections_per_class: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Absent: as many as `maxDetections`."""

    @model_validator(mode="after")
    def _class_within_image(self) -> Self:
        if (self.max_detections_per_class or 0) > self.max_detections:
            msg = (
                f"maxDetectionsPerClass {self.max_detections_per_class} must not be above "
                f"maxDetections {self.max_detections}"
            )
            raise ValueError(msg)
        return self


class Model(Contract):
    """What is trained: `ssd` of model.proto with an FPN extractor."""

    model_config = with_rules(
        cel(
            "!has(self.imageResizer) || !has(self.imageResizer.minDimension) || "
            "self.imageResizer.minDimension <= self.imageSize",
            "imageResizer.minDimension must not be above imageSize",
        ),
    )

    architecture: Literal["retinanet"] = "retinanet"
    """The detector: `retinanet` is the OD API's SSD with an FPN, focal loss and shared heads."""
    backbone: Backbone
    """The classification network that the feature extractor is built on: a name of
    keras.applications, `efficientnet_lite0`, the OD API's own ResNets (`resnet50_v1` and its kin:
    ReLU6, 'same' padding, channel means subtracted), or `tiny` and `small` for CPUs and tests.
    """
    image_size: Annotated[int, Field(ge=64, le=2048, multiple_of=32)] = 640
    """Side of the square, in pixels, to which each image is resized; a multiple of 32."""
    image_resizer: ImageResizer | None = None
    """How images are resized to that square; absent: they are stretched to it, bilinear, with the
    centres of pixels in their places.
    """
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras' mixed precision policy: `mixed_float16` for GPUs with Tensor Cores, `mixed_bfloat16`
    for newer ones and TPUs.
    """
    batch_norm: BatchNorm | None = None
    """Momentum and epsilon of every batch normalisation; absent: the backbone's own."""
    fpn: FeaturePyramid = FeaturePyramid()
    """The feature pyramid between backbone and heads."""
    box_predictor: BoxPredictor = BoxPredictor()
    """The heads that predict boxes and classes."""
    anchors: AnchorGenerator = AnchorGenerator()
    """The boxes that predictions are relative to."""
    matcher: Matcher = Matcher()
    """Which anchors learn which objects."""
    loss: Loss = Loss()
    """The losses and their weights."""
    post_processing: PostProcessing = PostProcessing()
    """Non-maximum suppression of detections, in evaluations and exports."""

    @model_validator(mode="after")
    def _shorter_side_within_the_square(self) -> Self:
        shorter = self.image_resizer and self.image_resizer.min_dimension
        if (shorter or 0) > self.image_size:
            msg = f"imageResizer.minDimension {shorter} must not be above imageSize"
            raise ValueError(msg)
        return self
