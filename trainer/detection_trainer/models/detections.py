"""Turns the network's outputs into boxes: the OD API's `batch_multiclass_non_max_suppression`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from detection_trainer.models.boxes import area, decode
from detection_trainer.models.detector import Detector


def detect(detector: Detector, outputs: Mapping[str, Any], window: Any) -> dict[str, Any]:
    """Return the detections of a batch, highest score first.

    Suppression works on each class separately and on unclipped boxes. Then boxes are clipped to the
    image, and those outside it are dropped.

    Args:
        detector: has the anchors and thresholds.
        outputs: the outputs of the network.
        window: float32 [B,4], the part of the model's square that contains the image.

    Returns:
        boxes: float32 [B,K,4], ymin, xmin, ymax, xmax as fractions of the image.
        scores: float32 [B,K].
        classes: int32 [B,K], 1-based; 0 beyond `valid`.
        valid: int32 [B], the number of detections among K; the others are zeros.
    """
    spec = detector.spec.post_processing
    boxes = decode(outputs["box_encodings"], tf.constant(detector.anchors))
    per_class = spec.max_detections_per_class or spec.max_detections
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None, :],
        tf.sigmoid(outputs["class_logits"][..., 1:]),
        max_output_size_per_class=per_class,
        # Keep more than are returned, because some boxes are dropped below.
        max_total_size=per_class * detector.num_classes,
        iou_threshold=spec.iou_threshold,
        score_threshold=spec.score_threshold,
        clip_boxes=False,
    )
    clipped = _clipped(found.nmsed_boxes, window[:, None])
    number = tf.range(tf.shape(clipped)[1])[None]
    inside = (number < found.valid_detections[:, None]) & (area(clipped) > 0.0)
    return _first(inside, spec.max_detections, {
        "boxes": clipped,
        "scores": found.nmsed_scores,
        "classes": tf.cast(found.nmsed_classes, tf.int32) + 1,
    })  # fmt: skip


def _clipped(boxes: Any, window: Any) -> Any:
    """Return the part of `boxes` [...,4] within `window` [...,4], as fractions of the window."""
    low, high = window[..., :2], window[..., 2:]
    corners = [tf.clip_by_value(corner, low, high) for corner in (boxes[..., :2], boxes[..., 2:])]
    return tf.concat([(corner - low) / (high - low) for corner in corners], axis=-1)


def _first(chosen: Any, count: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first `count` of `found` [B,N,...] with `chosen` [B,N], padded with zeros."""
    short = tf.maximum(count - tf.shape(chosen)[1], 0)
    chosen = tf.pad(chosen, [[0, 0], [0, short]])
    order = tf.argsort(tf.cast(~chosen, tf.int32), stable=True)[:, :count]
    valid = tf.minimum(tf.reduce_sum(tf.cast(chosen, tf.int32), axis=1), count)
    kept = tf.sequence_mask(valid, count)

    def picked(values: Any) -> Any:
        more = [[0, 0]] * (values.shape.rank - 2)
        picked = tf.gather(tf.pad(values, [[0, 0], [0, short], *more]), order, batch_dims=1)
        mask = tf.reshape(kept, [*tf.unstack(tf.shape(kept)), *[1] * len(more)])
        return tf.where(mask, picked, tf.zeros_like(picked))

    return {name: picked(values) for name, values in found.items()} | {"valid": valid}
