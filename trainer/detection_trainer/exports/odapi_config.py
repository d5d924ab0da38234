"""The `pipeline.config` of a model, with which the OD API builds, restores and trains it.

Pure. Placeholders mark what only the user knows, paths and the learning rate, as in the
configurations of the model zoo.
"""

import math

from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.contract.model import BatchNorm, Loss, Matcher, Model, PostProcessing
from detection_trainer.contract.odapi import BACKBONES

PLACE = "PATH_TO_BE_CONFIGURED"


def format_pipeline_config(manifest: Manifest) -> str:
    """Return the text of the configuration."""
    classes = len(manifest.classes)
    return (
        f"# Written from step {manifest.step} of {manifest.identity.namespace}/"
        f"{manifest.identity.name}. Fill in {PLACE} and the optimizer's numbers.\n"
        f"{_model(manifest.model, classes)}\n{_training(manifest)}"
    )


def _model(model: Model, classes: int) -> str:
    return f"""model {{
  ssd {{
    num_classes: {classes}
    image_resizer {{ {_resizer(model)} }}
    {_feature_extractor(model)}
    box_coder {{
      faster_rcnn_box_coder {{ y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 }}
    }}
    matcher {{ argmax_matcher {{ {_matcher(model.matcher)} }} }}
    similarity_calculator {{ iou_similarity {{ }} }}
    {_predictor(model)}
    {_anchors(model)}
    {_post_processing(model.post_processing)}
    normalize_loss_by_num_matches: true
    normalize_loc_loss_by_codesize: true
    {_loss(model.loss)}
    encode_background_as_zeros: true
    inplace_batchnorm_update: true
    freeze_batchnorm: false
  }}
}}"""


def _feature_extractor(model: Model) -> str:
    return f"""feature_extractor {{
      type: "{BACKBONES[model.backbone]}"
      depth_multiplier: 1.0
      min_depth: 16
      use_depthwise: {_bool(model.fpn.use_depthwise)}
      override_base_feature_extractor_hyperparams: true
      {_hyperparams(model, "truncated_normal_initializer { mean: 0.0 stddev: 0.03 }")}
      fpn {{
        min_level: {model.fpn.min_level}
        max_level: {model.fpn.max_level}
        additional_layer_depth: {model.fpn.additional_layer_depth}
      }}
    }}"""


def _post_processing(spec: PostProcessing) -> str:
    return f"""post_processing {{
      batch_non_max_suppression {{
        score_threshold: {spec.score_threshold:.9g}
        iou_threshold: {spec.iou_threshold:.9g}
        max_detections_per_class: {spec.max_detections_per_class or spec.max_detections}
        max_total_detections: {spec.max_detections}
      }}
      score_converter: SIGMOID
    }}"""


def _loss(loss: Loss) -> str:
    return f"""loss {{
      localization_loss {{ weighted_smooth_l1 {{ delta: {loss.huber_delta:.9g} }} }}
      classification_loss {{
        weighted_sigmoid_focal {{ gamma: {loss.focal_gamma:.9g} alpha: {loss.focal_alpha:.9g} }}
      }}
      classification_weight: {loss.classification_weight:.9g}
      localization_weight: {loss.localization_weight:.9g}
    }}"""


def _resizer(model: Model) -> str:
    spec, side = model.image_resizer, model.image_size
    if spec is None or spec.type == "fixedShape":
        return f"fixed_shape_resizer {{ height: {side} width: {side} }}"
    return (
        f"keep_aspect_ratio_resizer {{ min_dimension: {spec.min_dimension or side} "
        f"max_dimension: {side} pad_to_max_dimension: true }}"
    )


def _hyperparams(model: Model, initializer: str) -> str:
    numbers = model.batch_norm or BatchNorm()
    return f"""conv_hyperparams {{
        regularizer {{ l2_regularizer {{ weight: 0.0 }} }}
        initializer {{ {initializer} }}
        activation: RELU_6
        batch_norm {{ decay: {numbers.momentum:.9g} scale: true epsilon: {numbers.epsilon:.9g} }}
      }}"""


def _matcher(matcher: Matcher) -> str:
    return (
        f"matched_threshold: {matcher.matched_threshold:.9g} "
        f"unmatched_threshold: {matcher.unmatched_threshold:.9g} ignore_thresholds: false "
        "negatives_lower_than_unmatched: true force_match_for_each_row: true "
        "use_matmul_gather: true"
    )


def _predictor(model: Model) -> str:
    spec = model.box_predictor
    prior = spec.class_prior_probability
    return f"""box_predictor {{
      weight_shared_convolutional_box_predictor {{
        depth: {spec.depth}
        num_layers_before_predictor: {spec.num_layers_before_predictor}
        kernel_size: {spec.kernel_size}
        use_depthwise: {_bool(spec.use_depthwise)}
        share_prediction_tower: {_bool(spec.share_prediction_tower)}
        class_prediction_bias_init: {math.log(prior / (1.0 - prior)):.9g}
        {_hyperparams(model, "random_normal_initializer { mean: 0.0 stddev: 0.01 }")}
      }}
    }}"""


def _anchors(model: Model) -> str:
    spec = model.anchors
    ratios = " ".join(f"aspect_ratios: {ratio:.9g}" for ratio in spec.aspect_ratios)
    return f"""anchor_generator {{
      multiscale_anchor_generator {{
        min_level: {model.fpn.min_level}
        max_level: {model.fpn.max_level}
        anchor_scale: {spec.anchor_scale:.9g}
        {ratios}
        scales_per_octave: {spec.scales_per_octave}
      }}
    }}"""


def _training(manifest: Manifest) -> str:
    reader = (
        f'label_map_path: "{PLACE}/label_map.pbtxt" '
        f'tf_record_input_reader {{ input_path: "{PLACE}" }}'
    )
    return f"""train_config {{
  batch_size: {manifest.data.batch_size}
  optimizer {{
    momentum_optimizer {{
      learning_rate {{ constant_learning_rate {{ learning_rate: 0.001 }} }}
      momentum_optimizer_value: 0.9
    }}
    use_moving_average: false
  }}
  fine_tune_checkpoint_version: V2
  unpad_groundtruth_tensors: false
  max_number_of_boxes: 100
}}
train_input_reader {{ {reader} }}
eval_config {{ metrics_set: "coco_detection_metrics" use_moving_averages: false batch_size: 1 }}
eval_input_reader {{ {reader} shuffle: false num_epochs: 1 }}
"""


def _bool(value: bool | None) -> str:  # noqa: FBT001 - a field's value
    return "true" if value else "false"
