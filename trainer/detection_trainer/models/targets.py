"""What each anchor should predict: the OD API's `argmax_matcher` with forced best matches.

Runs inside the training step's `tf.function`; nothing here reads a variable.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from detection_trainer.models.boxes import encode, intersection_over_union, share_covered
from detection_trainer.models.detector import Detector

BACKGROUND = -1
IGNORED = -2
CROWD = -1
"""The class of a box under which are many objects, none of them outlined."""
CROWD_COVER = 0.5
"""From this share of an anchor under one crowd on, what the anchor finds there is not judged:
pycocotools measures a crowd's overlap by the detection's own area, and the loosest of COCO's
thresholds is 0.5."""
PAIRS_AT_ONCE = 2**24
"""Above this many box-anchor pairs a batch is matched image by image, to bound the memory."""


class Targets(NamedTuple):
    """The targets of a batch's anchors."""

    classes: Any
    """int32 [B,A]: 1-based, 0 for background and ignored anchors."""
    class_weights: Any
    """float32 [B,A]: 0 for ignored anchors, and where the matched box weighs nothing."""
    box_encodings: Any
    """float32 [B,A,4]: zeros where nothing is matched."""
    box_weights: Any
    """float32 [B,A]: the matched box's weight, 0 where nothing is matched."""

    @property
    def positives(self) -> Any:
        """Return the weighted count of matched anchors in the batch: the loss's normaliser."""
        return tf.reduce_sum(self.box_weights)


def assign_targets(
    detector: Detector, boxes: Any, classes: Any, weights: Any | None = None
) -> Targets:
    """Match `boxes` to the detector's anchors.

    Args:
        detector: gives the anchors, the image size and the thresholds.
        boxes: float32 [B,N,4], normalised ymin, xmin, ymax, xmax; padded with zeros.
        classes: integer [B,N], 1-based; 0 is padding, and `CROWD` a region that takes the anchors
            in it out of the loss, unless they match a box.
        weights: float32 [B,N], as the OD API's `groundtruth_weights`; a box of weight 0 takes the
            anchors that match it out of the loss. 1 for every box if absent.
    """
    classes = tf.cast(classes, tf.int32)
    if weights is None:
        weights = tf.ones_like(boxes[..., 0])
    matcher = _Matcher(detector)
    pairs = boxes.shape.num_elements()
    if pairs is not None and pairs // 4 * len(detector.anchors) <= PAIRS_AT_ONCE:
        return matcher.targets(boxes, classes, weights)
    signature = Targets(
        classes=tf.TensorSpec(None, tf.int32),
        class_weights=tf.TensorSpec(None, tf.float32),
        box_encodings=tf.TensorSpec(None, tf.float32),
        box_weights=tf.TensorSpec(None, tf.float32),
    )
    found: Targets = tf.map_fn(
        lambda image: matcher.targets(*image), (boxes, classes, weights), signature
    )
    return found


class _Matcher:
    """Matches the boxes of one image, or of a batch of images."""

    def __init__(self, detector: Detector) -> None:
        self.anchors = tf.constant(detector.anchors)
        self.matched_threshold = detector.spec.matcher.matched_threshold
        self.unmatched_threshold = detector.spec.matcher.unmatched_threshold

    def targets(self, boxes: Any, classes: Any, weights: Any) -> Targets:
        """Return the targets of `boxes` [...,N,4] with `classes` and `weights` [...,N]."""
        match = self._passing_over_crowds(self.match(boxes, classes > 0), boxes, classes == CROWD)
        matched = match >= 0
        index = tf.maximum(match, 0)
        batch_dims = index.shape.rank - 1

        def of_matched(values: Any) -> Any:
            return tf.gather(values, index, batch_dims=batch_dims)

        box_weights = tf.where(matched, of_matched(weights), 0.0)
        encodings = encode(of_matched(boxes), self.anchors)
        return Targets(
            classes=tf.where(matched, of_matched(classes), 0),
            class_weights=tf.where(match == BACKGROUND, 1.0, box_weights),
            box_encodings=tf.where(matched[..., None], encodings, 0.0),
            box_weights=box_weights,
        )

    def match(self, boxes: Any, present: Any) -> Any:
        """Return for each anchor the box it is to find [...,A], or BACKGROUND, or IGNORED.

        An anchor takes the box it overlaps most; and each box, whatever the thresholds, the anchor
        that overlaps it most (the first of several boxes wins an anchor, as in argmax_matcher.py).
        """
        overlap = intersection_over_union(boxes, self.anchors)
        overlap = tf.where(present[..., None], overlap, 0.0)
        best = tf.reduce_max(overlap, axis=-2)
        found = tf.argmax(overlap, axis=-2, output_type=tf.int32)
        match = tf.where(best >= self.matched_threshold, found, IGNORED)
        match = tf.where(best < self.unmatched_threshold, BACKGROUND, match)
        return self._forced(match, overlap)

    def _passing_over_crowds(self, match: Any, boxes: Any, crowds: Any) -> Any:
        """Return `match` with IGNORED for background that lies in one of the `crowds` [...,N].

        Of a batch without any, which is most of them, nothing is measured.
        """

        def measured() -> Any:
            cover = share_covered(tf.where(crowds[..., None], boxes, 0.0), self.anchors)
            covered = tf.reduce_max(cover, axis=-2) >= CROWD_COVER
            return tf.where((match == BACKGROUND) & covered, IGNORED, match)

        return tf.cond(tf.reduce_any(crowds), measured, lambda: match)

    def _forced(self, match: Any, overlap: Any) -> Any:
        """A box that touches no anchor at all is left out: there is nothing to learn from it."""
        nobody = tf.shape(overlap)[-2]
        touched = tf.reduce_max(overlap, axis=-1) > 0.0
        choice = tf.argmax(overlap, axis=-1, output_type=tf.int32)
        claim = tf.where(touched, tf.range(nobody), nobody)
        first = self._first_claims(choice, claim, tf.fill(tf.shape(match), nobody))
        return tf.where(first < nobody, first, match)

    def _first_claims(self, anchors: Any, claims: Any, unclaimed: Any) -> Any:
        """Return the smallest of `claims` [...,N] on `anchors` [...,N] for each anchor [...,A]."""
        count = self.anchors.shape[0]
        images = tf.range(tf.size(anchors) // tf.shape(anchors)[-1])
        rows = tf.reshape(anchors, (tf.size(images), -1)) + images[:, None] * count
        lowest = tf.tensor_scatter_nd_min(
            tf.reshape(unclaimed, (-1,)), tf.reshape(rows, (-1, 1)), tf.reshape(claims, (-1,))
        )
        return tf.reshape(lowest, tf.shape(unclaimed))
