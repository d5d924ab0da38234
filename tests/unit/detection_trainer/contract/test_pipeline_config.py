"""pipeline.configs as they are written, mapped on a spec or refused."""

import re
from typing import Any

import pytest

from detection_trainer.contract.model import Backbone
from detection_trainer.contract.pipeline_config.ignored import UNKNOWN
from detection_trainer.contract.pipeline_config.mapping import (
    PipelineConfig,
    apply_pipeline_config,
    read_pipeline_config,
)
from detection_trainer.contract.pipeline_config.model import EXTRACTORS
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.schedule import first_cycles, learning_rate
from detection_trainer.contract.spec import TrainingSpec
from tests.support.trainer.pipeline_configs import FOLDER, TREES, config_text

SUPPORTED = sorted(path.stem for path in FOLDER.glob("supported/*.config"))
UNSUPPORTED = {
    "centernet_hourglass": "model: center_net is not supported; expected ssd",
    "extremenet": "model: experimental_model is not supported; expected ssd",
    "faster_rcnn_resnet50": "model: faster_rcnn is not supported; expected ssd",
    "mask_rcnn_inception_resnet": "model: faster_rcnn is not supported; expected ssd",
    "efficientdet_d0": "'ssd_efficientnet-b0_bifpn_keras' is not supported; expected one of",
    "ssd_inception_v2": "'ssd_inception_v2' is not supported; expected one of",
    "ssd_mobilenet_v2_without_fpn": "'ssd_mobilenet_v2_keras' is not supported; expected one of",
    "keep_aspect_ratio_unpadded": (
        "pad_to_max_dimension: expected true; received false (its default): images in a batch "
        "are square"
    ),
}
STORAGE = {"checkpoints": {"storage": {"uri": "s3://runs/a"}}}
FROM_ZOO = {"mode": "classification", "from": {"uri": "s3://zoo/ckpt-0"}}
DATASET = {"train": {"uri": "s3://data/*"}, "classes": ["tree"]}
ZOO = "ssd_resnet50_v1_fpn_640x640"


def read(name: str) -> PipelineConfig:
    return read_pipeline_config(config_text(name))


def spec(name: str, **fields: Any) -> TrainingSpec:
    completed = apply_pipeline_config(read(name), {**STORAGE, **fields})
    return TrainingSpec.model_validate(completed)


def filled(name: str) -> TrainingSpec:
    """Give what the configuration lacks."""
    missing = read(name).missing
    fields: dict[str, Any] = {"dataset": DATASET} if "dataset" in missing else {}
    if "restore" in missing:
        fields["restore"] = FROM_ZOO
    return spec(name, **fields)


def test_there_are_ten() -> None:
    assert len(SUPPORTED) == 10


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_supported_one_is_a_training(name: str) -> None:
    found = filled(name)
    assert found.model.backbone in EXTRACTORS.values()
    assert all(note.endswith(UNKNOWN) == ("our_own_option" in note) for note in read(name).notes)


@pytest.mark.parametrize(("name", "message"), UNSUPPORTED.items(), ids=UNSUPPORTED.keys())
def test_every_unsupported_one_is_refused_with_one_sentence(name: str, message: str) -> None:
    with pytest.raises(PipelineConfigError) as refused:
        read(name)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_zoos_resnet_is_the_model_that_it_names() -> None:
    found = filled(ZOO)
    assert found.model.backbone is Backbone.RESNET50_V1
    assert found.model.image_size == 640
    assert found.model.batch_norm is not None
    assert (found.model.batch_norm.momentum, found.model.batch_norm.epsilon) == (0.997, 0.001)
    assert found.model.box_predictor.class_prior_probability == pytest.approx(0.00995, abs=1e-5)
    assert found.model.post_processing.score_threshold == 1e-8
    assert (found.steps, found.batch_size) == (25000, 64)
    assert found.optimizer.weight_decay == 0.0004
    assert found.optimizer.moving_average_decay is None
    crop = found.augmentation[1].random_crop_image
    assert crop is not None
    assert (crop.min_object_covered, crop.max_aspect_ratio, crop.min_area) == (0.0, 3.0, 0.75)


def test_the_zoos_own_notation_has_the_same_meaning() -> None:
    """Commas and semicolons behind values, a list in brackets, a colon before a message."""
    written = config_text(ZOO)
    for ours, zoos in (
        ("RELU_6", "RELU_6,"),
        ("epsilon: 0.001", "epsilon: 0.001,"),
        ("scale: true", "scale: true,"),
        ("train_config {", "train_config: {"),
        ("batch_size: 64", "batch_size: 64;"),
        ("learning_rate_base: 0.04", "learning_rate_base: .04"),
        ('"ssd_resnet50_v1_fpn_keras"', "'ssd_resnet50_v1_fpn_keras'"),
    ):
        assert ours in written
        written = written.replace(ours, zoos)
    written, lists = re.subn(
        r"(aspect_ratios: \S+\s+){3}", "aspect_ratios: [1.0, 2.0, 0.5] ", written
    )
    assert lists == 1
    assert read_pipeline_config(written).fields == read(ZOO).fields


def resized(resizer: str) -> TrainingSpec:
    fixed = config_text(ZOO)[config_text(ZOO).index("fixed_shape_resizer") :]
    config = config_text(ZOO).replace(fixed[: fixed.index("}") + 1], resizer)
    given = {**STORAGE, "dataset": DATASET, "restore": FROM_ZOO}
    return TrainingSpec.model_validate(apply_pipeline_config(read_pipeline_config(config), given))


def test_images_are_resized_as_there() -> None:
    stretched = filled(ZOO).model.image_resizer
    assert stretched is not None
    assert stretched.type == "fixedShape"
    model = resized(
        "keep_aspect_ratio_resizer "
        "{ min_dimension: 480 max_dimension: 800 pad_to_max_dimension: true }"
    ).model
    assert model.image_size == 800
    assert model.image_resizer is not None
    assert (model.image_resizer.type, model.image_resizer.min_dimension) == ("keepAspectRatio", 480)


@pytest.mark.parametrize("sides", [(480, 801), (832, 800)], ids=["no multiple", "turned round"])
def test_a_square_that_cannot_be_is_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(PipelineConfigError, match="expected a multiple of 32 pixels, not below"):
        resized(
            f"keep_aspect_ratio_resizer {{ min_dimension: {sides[0]} max_dimension: {sides[1]} "
            "pad_to_max_dimension: true }"
        )


def test_a_class_may_have_fewer_detections_than_the_image() -> None:
    config = config_text(ZOO).replace("max_total_detections: 100", "max_total_detections: 300")
    given = {**STORAGE, "dataset": DATASET, "restore": FROM_ZOO}
    fields = apply_pipeline_config(read_pipeline_config(config), given)
    post = TrainingSpec.model_validate(fields).model.post_processing
    assert (post.max_detections, post.max_detections_per_class) == (300, 100)
    with pytest.raises(PipelineConfigError, match="at most max_total_detections, 50; received 100"):
        read_pipeline_config(
            config_text(ZOO).replace("total_detections: 100", "total_detections: 50")
        )


def test_fpn_lite_is_separable_with_one_tower() -> None:
    model = filled("ssd_mobilenet_v2_fpnlite_320x320").model
    assert (model.fpn.use_depthwise, model.fpn.additional_layer_depth) == (True, 128)
    assert (model.box_predictor.use_depthwise, model.box_predictor.depth) == (True, 128)
    assert model.box_predictor.share_prediction_tower


def test_a_loss_that_is_not_divided_by_the_code_size_weighs_four_times_as_much() -> None:
    assert filled("parts_mobilenet_v1_hold").model.loss.localization_weight == 6.0


def test_places_become_uris() -> None:
    found = spec(TREES)
    assert found.dataset.train.uri == "gs://forest/tfrecord/train-*-of-00010.tfrecord"
    assert found.dataset.validation is not None
    assert found.restore is not None
    assert (found.restore.mode, found.restore.from_.uri) == (
        "detection",
        "s3://zoo/ssd_resnet50/checkpoint/ckpt-0",
    )
    local = spec("trees_mobilenet_v2_rms_prop_manual")
    assert local.dataset.train.uri == "file:///data/trees/train.record"
    assert local.restore is not None
    assert local.restore.from_.uri == "file:///models/trees/ckpt-26"


@pytest.mark.parametrize(("name", "count"), [(TREES, 2), ("parts_mobilenet_v1_hold", 5)])
def test_the_label_map_is_to_have_as_many_classes_as_the_model(name: str, count: int) -> None:
    assert spec(name).dataset.num_classes == count
    assert spec(name, dataset=DATASET).dataset.num_classes is None, "another dataset, other classes"


def test_a_model_that_does_not_count_its_classes_takes_those_of_the_label_map() -> None:
    config = read_pipeline_config(config_text(TREES).replace("num_classes: 2", ""))
    assert "numClasses" not in config.fields["dataset"]


RATES = {
    "parts_mobilenet_v1_hold": {0: 0.002, 250: 0.011, 500: 0.02, 2000: 0.02, 11000: 0.01},
    TREES: {0: 4e-4, 4999: 4e-4, 5000: 2.8e-4},
    "trees_mobilenet_v2_rms_prop_manual": {3999: 0.004, 4000: 0.0004, 8000: 0.00004},
    "ships_resnet101_warm_steps": {0: 0.001, 500: 0.0055, 1000: 0.01, 40000: 0.001, 50000: 1e-4},
}


@pytest.mark.parametrize(("name", "rates"), RATES.items(), ids=RATES.keys())
def test_the_rate_is_that_of_the_configuration(name: str, rates: dict[int, float]) -> None:
    found = filled(name)
    cycles = first_cycles(found.optimizer.schedule, found.steps)
    rate = {step: learning_rate(found.optimizer, cycles, step) for step in rates}
    assert rate == pytest.approx(rates, rel=1e-6)


def test_a_moving_average_is_the_default() -> None:
    assert spec(TREES).optimizer.moving_average_decay == 0.9999
    assert filled("ships_resnet101_warm_steps").optimizer.moving_average_decay == 0.999


def test_fields_missing_in_the_configuration_must_be_set_in_the_spec() -> None:
    with pytest.raises(PipelineConfigError, match=r"input_path.*not filled in.*set spec\.dataset"):
        spec(ZOO)
    with pytest.raises(PipelineConfigError, match=r"fine_tune_checkpoint.*set spec\.restore"):
        spec(ZOO, dataset=DATASET)
    continued = spec(ZOO, dataset=DATASET, continueFrom={"uri": "s3://runs/model_dir"})
    assert continued.restore is None


def test_fields_of_the_spec_win_value_by_value() -> None:
    found = spec(
        TREES,
        steps=30000,
        batchSize=4,
        dataset=DATASET,
        restore={"mode": "full", "from": {"uri": "s3://other/ckpt-1"}},
        optimizer={"schedule": {"factor": 0.5}},
    )
    assert (found.steps, found.batch_size) == (30000, 4)
    assert found.dataset.label_map is None
    assert found.restore is not None
    assert found.restore.mode == "full"
    assert found.optimizer.schedule.factor == 0.5
    assert found.optimizer.schedule.decay_steps == 5000
    assert found.optimizer.name == "adam"


def test_what_is_passed_over_is_listed_with_its_line_and_reason() -> None:
    notes = read("ships_resnet101_warm_steps").notes
    frozen = next(note for note in notes if "freeze_variables" in note)
    assert frozen.startswith("line 166: train_config.freeze_variables: .*FeatureExtractor.*: ")
    assert "spec.freeze" in frozen
    unknown = [note for note in read("parts_mobilenet_v1_hold").notes if UNKNOWN in note]
    assert unknown == [f"line 157: train_config.our_own_option: 7: {UNKNOWN}"]


def test_steps_beyond_the_schedule_are_reported() -> None:
    longer = config_text(ZOO).replace("num_steps: 25000", "num_steps: 50000")
    notes = [note for note in read_pipeline_config(longer).notes if "total_steps 25000" in note]
    assert len(notes) == 1
    assert "this program refuses the run" in notes[0]


def test_a_rate_out_of_range_is_refused_by_the_spec() -> None:
    longer = config_text(ZOO).replace("num_steps: 25000", "num_steps: 50000")
    wrong = re.sub(r"learning_rate_base: \S+", "learning_rate_base: 20.0", longer)
    assert wrong != longer
    assert not any("total_steps" in note for note in read_pipeline_config(wrong).notes)


CHANGES = {
    "an L1 regulariser": ("l2_regularizer", "l1_regularizer", "only L2 is supported"),
    "another batch norm in the heads": (
        "decay: 0.997",
        "decay: 0.9",
        "one value applies to the whole model",
    ),
    "another activation": ("RELU_6", "RELU", "expected RELU_6; received RELU"),
    "no scale": ("scale: true", "", r"scale: expected true; received false \(its default\)"),
    "a backbone with hyperparameters of its own": (
        "override_base_feature_extractor_hyperparams: true",
        "",
        "including the backbone",
    ),
    "a rectangle": ("width: 640", "width: 320", "received 640x320"),
    "softmax": ("weighted_sigmoid_focal", "weighted_softmax", "weighted_softmax is not supported"),
    "other scales of the box coder": ("y_scale: 10.0", "y_scale: 5.0", "expected 10.0; received 5"),
    "frozen batch norm": ("freeze_batchnorm: false", "freeze_batchnorm: true", r"spec\.freeze"),
    "anchors on other levels": (
        "multiscale_anchor_generator {\n        min_level: 3",
        "multiscale_anchor_generator {\n        min_level: 4",
        "anchors are on the levels",
    ),
    "augmentation that does not exist": (
        "random_horizontal_flip {\n    }",
        "random_jitter_boxes { }",
        "random_jitter_boxes is not supported; expected one of random_horizontal_flip",
    ),
    "a checkpoint of TensorFlow 1": (
        "fine_tune_checkpoint_version: V2",
        "",
        r"received V1 \(its default\)",
    ),
    "a mode that does not exist": (
        '"classification"',
        '"fine_tune"',
        "expected one of classification, detection, full",
    ),
    "a value of the wrong kind": ("batch_size: 64", "batch_size: many", "expected a number"),
    "a number that is none": ("batch_size: 64", "batch_size: nan", "expected a finite number"),
    "a part of a step": ("batch_size: 64", "batch_size: 6.5", "expected a whole number"),
    "a field given twice": (
        "batch_size: 64",
        "batch_size: 64\n  batch_size: 32",
        "set twice, first on line 131",
    ),
    "a warm-up as long as the schedule": (
        "warmup_steps: 2000",
        "warmup_steps: 25000",
        "expected more than warmup_steps",
    ),
    "no text format": ("model {", "model ?", "expected a pipeline.config in protobuf's text"),
}


@pytest.mark.parametrize(("old", "new", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_what_would_change_the_result_is_refused(old: str, new: str, message: str) -> None:
    assert old in config_text(ZOO)
    with pytest.raises(PipelineConfigError, match=message):
        read_pipeline_config(config_text(ZOO).replace(old, new, 2 if "decay" not in old else 1))
