"""From the network's outputs to boxes: `batch_multiclass_non_max_suppression` of the OD API."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from detection_trainer.models.boxes import area, decode
from detection_trainer.models.detector import Detector


def detect(detector: Detector, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detections of a batch, the most certain first.

    Suppression is class by class; `max_detections` limits each class and the image.

    Returns:
        boxes: float32 [B,K,4], normalised ymin, xmin, ymax, xmax, clipped to the image.
        scores: float32 [B,K].
        classes: int32 [B,K], 1-based; 0 beyond `valid`.
        valid: int32 [B], how many of K are detections; the others are zeros.
    """
    spec, size = detector.spec.post_processing, float(detector.spec.image_size)
    boxes = decode(outputs["box_encodings"], tf.constant(detector.anchors)) / size
    inside = area(tf.clip_by_value(boxes, 0.0, 1.0)) > 0.0
    scores = tf.sigmoid(outputs["class_logits"][..., 1:])
    scores = tf.where(inside[..., None], scores, 0.0)
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None, :],
        scores,
        max_output_size_per_class=spec.max_detections,
        max_total_size=spec.max_detections,
        iou_threshold=spec.iou_threshold,
        score_threshold=spec.score_threshold,
        clip_boxes=True,
    )
    kept = tf.sequence_mask(found.valid_detections, spec.max_detections)
    return {
        "boxes": found.nmsed_boxes,
        "scores": found.nmsed_scores,
        "classes": tf.where(kept, tf.cast(found.nmsed_classes, tf.int32) + 1, 0),
        "valid": found.valid_detections,
    }
