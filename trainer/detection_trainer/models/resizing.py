"""Resizes images to the model's square, and computes their position in it.

As the OD API's `resize_image` and `resize_to_range` (object_detection/core/preprocessor.py):
bilinear as in TensorFlow 1, sampling at `i * scale` and not at the pixels' centres. The OD API
resizes after the backbone's preprocessing and pads with 0. Both are affine, so resizing before it
is equivalent, and the padding is the colour that becomes 0.
"""

from typing import Any

import tensorflow as tf

from detection_trainer.contract.model import Model
from detection_trainer.models.backbones import neutral_color


class Resizer:
    """Resizes images for one model."""

    def __init__(self, model: Model) -> None:
        """Create the resizer of `model.image_resizer`."""
        self.side, spec = model.image_size, model.image_resizer
        self._as_tensorflow_1 = spec is not None
        self.keeps_aspect = spec is not None and spec.type == "keepAspectRatio"
        self._shorter_side = (spec and spec.min_dimension) or model.image_size
        self._padding = neutral_color(model.backbone)

    def resized(self, images: Any) -> Any:
        """Return `images` [...,H,W,3] as float32 in the size of the content, without padding."""
        size = self._content(tf.shape(images)[-3:-1])
        if not self._as_tensorflow_1:
            return tf.image.resize(tf.cast(images, tf.float32), size)
        return tf.compat.v1.image.resize(tf.cast(images, tf.float32), size)

    def padded(self, images: Any) -> Any:
        """Return resized `images` [...,h,w,3] as [...,S,S,3], padded right and below."""
        if self.keeps_aspect:
            content = tf.shape(images)[-3:-1]
            edges = [[0, 0]] * (images.shape.rank - 3) + [
                [0, self.side - n] for n in tf.unstack(content)
            ]
            place = tf.stack(tf.meshgrid(*[tf.range(self.side)] * 2, indexing="ij"), axis=-1)
            filled = tf.reduce_all(place < content, axis=-1, keepdims=True)
            images = tf.where(filled, tf.pad(images, [*edges, [0, 0]]), self._padding)
        return tf.ensure_shape(images, [*images.shape[:-3], self.side, self.side, 3])

    def __call__(self, images: Any) -> Any:
        """Return `images` [...,H,W,3] as float32 [...,S,S,3]."""
        return self.padded(self.resized(images))

    def window(self, sizes: Any) -> Any:
        """Return the part of the square [...,4] that images of `sizes` [...,2] cover.

        The result is ymin, xmin, ymax, xmax as fractions; `sizes` are height and width in pixels.
        """
        low = tf.zeros(tf.shape(sizes), tf.float32)
        return tf.concat([low, tf.cast(self._content(sizes), tf.float32) / self.side], axis=-1)

    def _content(self, sizes: Any) -> Any:
        """Return height and width int32 [...,2] of the content for images of `sizes` [...,2]."""
        if not self.keeps_aspect:
            return tf.fill(tf.shape(sizes), self.side)
        # In float32, as in tf.image.resize(preserve_aspect_ratio=True).
        sizes = tf.cast(sizes, tf.float32)
        wide = sizes[..., :1] < sizes[..., 1:]
        limits = tf.constant([self._shorter_side, self.side], tf.float32)
        limits = tf.where(wide, limits, limits[::-1])
        scale = tf.reduce_min(limits / sizes, axis=-1, keepdims=True)
        return tf.cast(tf.round(scale * sizes), tf.int32)
