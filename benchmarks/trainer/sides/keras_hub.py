"""KerasHub's RetinaNet by its own `fit`, on the same files, batches and optimizer.

Its pyramid and heads are 256 wide whatever is requested, and a residual backbone begins with 64.
Runs in its own environment, see `keras_hub_environment`.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_hub
import tensorflow as tf

from benchmarks.trainer.sides.fit import Rates, Stretches, keras_optimizer
from benchmarks.trainer.sides.gate import Gate
from benchmarks.trainer.sides.pipeline import fit_batches, open_validation
from detection_trainer.contract.model import Backbone, Model
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.contract.training import read_training
from detection_trainer.data.pipeline import PADDING_ID, validation_batches
from detection_trainer.evaluation.coco_metrics import ImageDetections, coco_metrics
from detection_trainer.evaluation.evaluator import ground_truth

FORMAT = "yxyx"
"""Unit of boxes: its anchors do not support fractions."""
_RESIDUAL = {
    Backbone.TINY: ("basic_block", [64, 64, 96, 128], [1, 1, 1, 1], 64, 3),
    Backbone.RESNET50: ("bottleneck_block", [64, 128, 256, 512], [3, 4, 6, 3], 64, 7),
}
"""Block, filters and blocks of each stage, filters and side of the first convolution."""


def build(model: Model, num_classes: int) -> keras.Model:
    """Return KerasHub's RetinaNet of the same backbone family, levels and anchors."""
    block, filters, blocks, stem, kernel = _RESIDUAL[model.backbone]
    shape = (model.image_size, model.image_size, 3)
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=keras_hub.models.ResNetBackbone(
            input_conv_filters=[stem],
            input_conv_kernel_sizes=[kernel],
            stackwise_num_filters=filters,
            stackwise_num_blocks=blocks,
            stackwise_num_strides=[1, 2, 2, 2],
            block_type=block,
            image_shape=shape,
        ),
        min_level=model.fpn.min_level,
        max_level=model.fpn.max_level,
        use_p5=False,
        image_shape=shape,
    )
    anchors = keras_hub.layers.AnchorGenerator(
        FORMAT,
        min_level=model.fpn.min_level,
        max_level=model.fpn.max_level,
        num_scales=model.anchors.scales_per_octave,
        aspect_ratios=model.anchors.aspect_ratios,
        anchor_size=model.anchors.anchor_scale,
    )
    return keras_hub.models.RetinaNetObjectDetector(
        backbone,
        num_classes=num_classes,
        bounding_box_format=FORMAT,
        anchor_generator=anchors,
        pre_logits_num_conv_layers=model.box_predictor.num_layers_before_predictor,
    )


def batches(spec: TrainingSpec) -> Any:
    """Yield images in -1..1 and KerasHub's labels: they begin at 0, and -1 means no box."""
    size = float(spec.model.image_size)

    def rename(images: Any, truth: Any) -> Any:
        boxes, classes = truth
        return images / 127.5 - 1.0, {"boxes": boxes * size, "labels": classes - 1}

    return fit_batches(spec).map(rename)


def score(model: keras.Model, spec: TrainingSpec) -> Callable[[], float]:
    """Return a function that measures the mAP50 of `model`, with KerasHub's own decoding."""
    dataset, size = open_validation(spec), float(spec.model.image_size)
    model.prediction_decoder = keras_hub.layers.NonMaxSuppression(
        bounding_box_format=FORMAT,
        from_logits=True,
        iou_threshold=spec.model.post_processing.iou_threshold,
        confidence_threshold=spec.model.post_processing.score_threshold,
        max_detections=spec.model.post_processing.max_detections,
    )

    @tf.function  # type: ignore[untyped-decorator]
    def detect(images: Any) -> Any:
        return model.decode_predictions(model(images, training=False), images)

    def detections() -> Iterator[ImageDetections]:
        for images, ids, _ in validation_batches(dataset, spec):
            found = {k: v.numpy() for k, v in detect(images / 127.5 - 1.0).items()}
            for row, image_id in enumerate(ids.numpy()):
                if image_id == PADDING_ID:
                    continue
                valid = slice(0, int(found["num_detections"][row]))
                yield ImageDetections(
                    image_id=int(image_id),
                    boxes=found["boxes"][row][valid] / size,
                    scores=found["confidence"][row][valid],
                    classes=found["labels"][row][valid] + 1,
                )

    def measure() -> float:
        return coco_metrics(ground_truth(dataset), detections(), dataset.classes).get("mAP50", 0.0)

    return measure


def main(file: str) -> None:
    """Train the document in `file` until standard input ends."""
    gate, spec = Gate(), read_training(Path(file)).spec
    keras.utils.set_random_seed(spec.seed)
    model = build(spec.model, len(spec.dataset.classes or []))
    model.compile(optimizer=keras_optimizer(spec.optimizer, Rates(spec)))
    gate.evaluate = score(model, spec)
    callbacks = [Stretches(gate)]
    model.fit(
        batches(spec), steps_per_epoch=spec.steps, verbose=0, shuffle=False, callbacks=callbacks
    )


if __name__ == "__main__":
    main(sys.argv[1])
