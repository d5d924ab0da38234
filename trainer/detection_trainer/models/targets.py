"""Assigns targets to anchors: the OD API's `argmax_matcher` with forced best matches.

Runs inside the training step's `tf.function` and reads no variable.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from detection_trainer.models.boxes import encode, intersection_over_union, share_covered
from detection_trainer.models.detector import Detector

BACKGROUND = -1
IGNORED = -2
CROWD = -1
"""The class of a box around many objects that are not outlined."""
CROWD_COVER = 0.5
"""Share of an anchor inside one crowd from which its background loss is ignored. pycocotools
measures the overlap with a crowd relative to the detection's area, and 0.5 is the lowest of COCO's
thresholds."""
PAIRS_AT_ONCE = 2**24
"""With more box-anchor pairs, images are matched one by one to limit the memory."""


class Targets(NamedTuple):
    """The targets of a batch's anchors."""

    classes: Any
    """int32 [B,A]: 1-based, 0 for background and ignored anchors."""
    class_weights: Any
    """float32 [B,A]: 0 for ignored anchors, and if the matched box has weight 0."""
    box_encodings: Any
    """float32 [B,A,4]: zeros for unmatched anchors."""
    box_weights: Any
    """float32 [B,A]: the matched box's weight, 0 for unmatched anchors."""

    @property
    def positives(self) -> Any:
        """Return the weighted number of matched anchors in the batch: the loss's normaliser."""
        return tf.reduce_sum(self.box_weights)


def assign_targets(
    detector: Detector, boxes: Any, classes: Any, weights: Any | None = None
) -> Targets:
    """Return the targets of the detector's anchors for `boxes`.

    Args:
        detector: has the anchors, the image size and the thresholds.
        boxes: float32 [B,N,4], normalised ymin, xmin, ymax, xmax; padded with zeros.
        classes: integer [B,N], 1-based; 0 is padding. `CROWD` is a region whose anchors are
            ignored in the loss, unless they match a box.
        weights: float32 [B,N], as the OD API's `groundtruth_weights`; anchors that match a box of
            weight 0 are ignored in the loss. By default 1 for every box.
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
        match = self._ignoring_crowds(self.match(boxes, classes > 0), boxes, classes == CROWD)
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
        """Return for each anchor the box to predict [...,A], or BACKGROUND, or IGNORED.

        An anchor takes the box that it overlaps most. Each box also takes the anchor that overlaps
        it most, at any threshold; of several boxes the first wins (as in argmax_matcher.py).
        """
        overlap = intersection_over_union(boxes, self.anchors)
        overlap = tf.where(present[..., None], overlap, 0.0)
        best = tf.reduce_max(overlap, axis=-2)
        found = tf.argmax(overlap, axis=-2, output_type=tf.int32)
        match = tf.where(best >= self.matched_threshold, found, IGNORED)
        match = tf.where(best < self.unmatched_threshold, BACKGROUND, match)
        return self._forced(match, overlap)

    def _ignoring_crowds(self, match: Any, boxes: Any, crowds: Any) -> Any:
        """Return `match` with IGNORED for background anchors inside one of the `crowds` [...,N].

        For a batch without crowds, which is the usual case, nothing is computed.
        """

        def measured() -> Any:
            cover = share_covered(tf.where(crowds[..., None], boxes, 0.0), self.anchors)
            covered = tf.reduce_max(cover, axis=-2) >= CROWD_COVER
            return tf.where((match == BACKGROUND) & covered, IGNORED, match)

        return tf.cond(tf.reduce_any(crowds), measured, lambda: match)

    def _forced(self, match: Any, overlap: Any) -> Any:
        """Return `match` with the forced matches; a box that touches no anchor has none."""
        no_box = tf.shape(overlap)[-2]
        touched = tf.reduce_max(overlap, axis=-1) > 0.0
        choice = tf.argmax(overlap, axis=-1, output_type=tf.int32)
        # A box that touches no anchor claims with an index beyond the boxes, which never wins.
        claim = tf.where(touched, tf.range(no_box), no_box)
        first = self._first_claims(choice, claim, tf.fill(tf.shape(match), no_box))
        return tf.where(first < no_box, first, match)

    def _first_claims(self, anchors: Any, claims: Any, unclaimed: Any) -> Any:
        """Return the smallest of `claims` [...,N] on `anchors` [...,N] for each anchor [...,A]."""
        count = self.anchors.shape[0]
        images = tf.range(tf.size(anchors) // tf.shape(anchors)[-1])
        rows = tf.reshape(anchors, (tf.size(images), -1)) + images[:, None] * count
        lowest = tf.tensor_scatter_nd_min(
            tf.reshape(unclaimed, (-1,)), tf.reshape(rows, (-1, 1)), tf.reshape(claims, (-1,))
        )
        return tf.reshape(lowest, tf.shape(unclaimed))
