"""The detection loss: the OD API's `weighted_sigmoid_focal` and `weighted_smooth_l1`.

Both are summed over the anchors and divided by the number of positives; the localisation loss also
by the code size (`normalize_loc_loss_by_codesize`).
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from detection_trainer.models.detector import Detector
from detection_trainer.models.heads import BOX_CODE_SIZE
from detection_trainer.models.targets import Targets


def detection_loss(
    detector: Detector,
    outputs: Mapping[str, Any],
    targets: Targets,
    positives: Any | None = None,
) -> dict[str, Any]:
    """Return the scalars `loss`, `localization` and `classification`.

    Args:
        detector: has the weights and parameters of the losses.
        outputs: of the network, `box_encodings` [B,A,4] and `class_logits` [B,A,1+C].
        targets: of the same batch.
        positives: the normaliser; by default `targets.positives`. Several replicas pass the sum
            over all of them, so that the sum of their losses is the loss of the whole batch.

        A batch without objects is normalised by 1: its negatives are still trained.
    """
    spec = detector.spec.loss
    normalizer = tf.maximum(targets.positives if positives is None else positives, 1.0)
    boxes = _huber(outputs["box_encodings"] - targets.box_encodings, spec.huber_delta)
    localization = tf.reduce_sum(tf.reduce_sum(boxes, -1) * targets.box_weights)
    localization *= spec.localization_weight / (normalizer * BOX_CODE_SIZE)
    focal = _focal(detector, outputs["class_logits"], targets.classes)
    classification = tf.reduce_sum(tf.reduce_sum(focal, -1) * targets.class_weights)
    classification *= spec.classification_weight / normalizer
    return {
        "loss": localization + classification,
        "localization": localization,
        "classification": classification,
    }


def _huber(error: Any, delta: float) -> Any:
    size = tf.abs(error)
    inside = tf.minimum(size, delta)
    return inside * (size - 0.5 * inside)


def _focal(detector: Detector, logits: Any, classes: Any) -> Any:
    """Return the focal loss [B,A,1+C]; the target of the background column is always 0."""
    spec = detector.spec.loss
    labels = tf.one_hot(tf.where(classes > 0, classes, -1), detector.num_classes + 1)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    probability = tf.sigmoid(logits)
    missed = labels + probability - 2.0 * labels * probability
    balance = labels * spec.focal_alpha + (1.0 - labels) * (1.0 - spec.focal_alpha)
    modulation = tf.ones_like(missed) if spec.focal_gamma == 0 else missed**spec.focal_gamma
    return balance * modulation * cross_entropy
