"""Random changes of an image and its boxes, each a pure function of (seed, sample number).

Names and definitions are those of the OD API (object_detection/core/preprocessor.py). Geometry is
applied to the stored image, colours after it was resized, each in the order of the list. All
randomness of a sample is drawn at once, a row of uniform numbers for each step, so that no step
depends on the draws of another one.
"""

from collections.abc import Callable, Sequence
from functools import partial

import tensorflow as tf

from detection_trainer.contract.augmentation import (
    Augmentation,
    CropWindow,
    RandomAdjustBrightness,
    RandomAdjustContrast,
    RandomAdjustHue,
    RandomAdjustSaturation,
    RandomDistortColor,
    RandomHorizontalFlip,
    RandomRotation90,
    RandomScaleCrop,
    RandomVerticalFlip,
    SsdRandomCrop,
)
from detection_trainer.models.boxes import area

_DRAWS = 4
_ATTEMPTS = 100
_GREY = (0.299, 0.587, 0.114)

Geometry = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Image uint8 [H, W, 3]; boxes [N, 4]; classes [N], 0 for padding and below 0 for a crowd."""


def draw_uniform(steps: Sequence[Augmentation], seed: int, sample: tf.Tensor) -> tf.Tensor:
    """Return the random numbers [steps, 4] in 0..1 of one sample (int64 scalar)."""
    pair = tf.stack([tf.constant(seed, tf.int64), sample])
    return tf.random.stateless_uniform([max(len(steps), 1), _DRAWS], pair, alg="philox")


def augment_geometry(
    steps: Sequence[Augmentation], uniform: tf.Tensor, geometry: Geometry
) -> Geometry:
    """Apply flips, quarter turns and crops; dropped boxes become padding in their place."""
    for index, step in enumerate(steps):
        draws = uniform[index]
        match _chosen(step):
            case RandomHorizontalFlip(probability=probability):
                geometry = _perhaps(draws[0] < probability, _flip_horizontally, geometry)
            case RandomVerticalFlip(probability=probability):
                geometry = _perhaps(draws[0] < probability, _flip_vertically, geometry)
            case RandomRotation90(probability=probability):
                geometry = _perhaps(draws[0] < probability, _rotate, geometry)
            case RandomScaleCrop(min_scale=min_scale):
                geometry = _crop(min_scale, draws, geometry)
            case CropWindow() as window:
                geometry = _cut_perhaps(window, draws, geometry)
            case SsdRandomCrop(operations=windows):
                geometry = _cut_by_one(windows, draws, geometry)
            case _:
                continue
    return geometry


def augment_colors(
    steps: Sequence[Augmentation], uniform: tf.Tensor, image: tf.Tensor
) -> tf.Tensor:
    """Change the colours of `image` float32 [S, S, 3] in 0..255."""
    for index, step in enumerate(steps):
        image = _recolored(_chosen(step), uniform[index], image)
    return image


def _recolored(step: object, draws: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    match step:
        case RandomDistortColor():
            return _distort(step, draws, image)
        case RandomAdjustBrightness(max_delta=delta):
            image = tf.image.adjust_brightness(image / 255.0, _between(-delta, delta, draws))
        case RandomAdjustContrast(min_delta=low, max_delta=high):
            image = tf.image.adjust_contrast(image / 255.0, _between(low, high, draws))
        case RandomAdjustSaturation(min_delta=low, max_delta=high):
            image = tf.image.adjust_saturation(image / 255.0, _between(low, high, draws))
        case RandomAdjustHue(max_delta=delta):
            image = tf.image.adjust_hue(image / 255.0, _between(-delta, delta, draws))
        case _:
            return image
    return tf.clip_by_value(image * 255.0, 0.0, 255.0)


def _between(low: float, high: float, draws: tf.Tensor) -> tf.Tensor:
    return low + (high - low) * draws[0]


def _chosen(step: Augmentation) -> object:
    return next(value for _, value in step if value is not None)


def _perhaps(
    chosen: tf.Tensor, change: Callable[[Geometry], Geometry], geometry: Geometry
) -> Geometry:
    result: Geometry = tf.cond(chosen, lambda: change(geometry), lambda: geometry)
    return result


def _flip_horizontally(geometry: Geometry) -> Geometry:
    image, boxes, classes = geometry
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    return tf.reverse(image, [1]), _stack(classes, ymin, 1.0 - xmax, ymax, 1.0 - xmin), classes


def _flip_vertically(geometry: Geometry) -> Geometry:
    image, boxes, classes = geometry
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    return tf.reverse(image, [0]), _stack(classes, 1.0 - ymax, xmin, 1.0 - ymin, xmax), classes


def _rotate(geometry: Geometry) -> Geometry:
    """Turn by 90 degrees counter-clockwise, as the OD API does."""
    image, boxes, classes = geometry
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    turned = tf.reverse(tf.transpose(image, [1, 0, 2]), [0])
    return turned, _stack(classes, 1.0 - xmax, ymin, 1.0 - xmin, ymax), classes


def _crop(min_scale: float, draws: tf.Tensor, geometry: Geometry) -> Geometry:
    """Crop a window with the image's aspect ratio; its side is a fraction of min_scale..1.

    A box is kept, clipped to the window, if its centre is inside. Of a crowd every part is kept,
    because it contains objects that are not outlined.
    """
    image, boxes, classes = geometry
    size = tf.shape(image)[:2]
    scale = min_scale + (1.0 - min_scale) * draws[0]
    window = tf.clip_by_value(
        tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1, size
    )
    room = tf.cast(size - window + 1, tf.float32)
    start = tf.minimum(tf.cast(draws[1:3] * room, tf.int32), size - window)
    cropped = tf.slice(image, tf.concat([start, [0]], 0), tf.concat([window, [3]], 0))
    # In pixels, then in fractions of the window.
    height_width = tf.cast(tf.tile(size, [2]), tf.float32)
    corner, side = (
        tf.cast(tf.tile(start, [2]), tf.float32),
        tf.cast(tf.tile(window, [2]), tf.float32),
    )
    moved = (boxes * height_width - corner) / side
    centre = (moved[:, :2] + moved[:, 2:]) / 2
    clipped = tf.clip_by_value(moved, 0.0, 1.0)
    inside = tf.reduce_all((centre >= 0.0) & (centre < 1.0), axis=1) | (classes < 0)
    inside &= tf.reduce_all(clipped[:, 2:] > clipped[:, :2], axis=1)
    kept = tf.where(inside, classes, 0)
    return cropped, _stack(kept, *tf.unstack(clipped, axis=1)), kept


def _cut_by_one(windows: Sequence[CropWindow], draws: tf.Tensor, geometry: Geometry) -> Geometry:
    chosen = tf.cast(draws[1] * len(windows), tf.int32)
    cuts = [partial(_cut_perhaps, window, draws, geometry) for window in windows]
    result: Geometry = tf.switch_case(chosen, cuts)
    return result


def _cut_perhaps(window: CropWindow, draws: tf.Tensor, geometry: Geometry) -> Geometry:
    return _perhaps(draws[0] >= window.keep_probability, partial(_cut, window, draws), geometry)


def _cut(window: CropWindow, draws: tf.Tensor, geometry: Geometry) -> Geometry:
    """Crop a window as the OD API does: by the operation that samples one near the boxes.

    A box is kept, clipped to the window, if enough of it is inside; of a crowd every part is kept.
    """
    image, boxes, classes = geometry
    size = tf.shape(image)
    # The op needs an integer seed for each sample; a float32 draw has 2 ** 24 distinct values.
    seed = tf.cast(draws[2:4] * 2.0**24, tf.int32)
    start, extent, edges = tf.image.stateless_sample_distorted_bounding_box(
        size,
        tf.clip_by_value(tf.boolean_mask(boxes, classes > 0), 0.0, 1.0)[None],
        seed,
        min_object_covered=window.min_object_covered,
        aspect_ratio_range=(window.min_aspect_ratio, window.max_aspect_ratio),
        area_range=(window.min_area, window.max_area),
        max_attempts=_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    cropped = tf.slice(image, start, extent)
    cropped.set_shape([None, None, 3])
    corner = tf.tile(edges[0, 0, :2], [2])
    side = tf.tile(edges[0, 0, 2:], [2]) - corner
    moved = (boxes - corner) / side
    clipped = tf.clip_by_value(moved, 0.0, 1.0)
    inside = tf.math.divide_no_nan(area(clipped), area(moved))
    kept = (area(clipped) > 0.0) & ((inside >= window.overlap_threshold) | (classes < 0))
    labels = tf.where(kept, classes, 0)
    return cropped, _stack(labels, *tf.unstack(clipped, axis=1)), labels


def _stack(classes: tf.Tensor, *edges: tf.Tensor) -> tf.Tensor:
    """Return boxes [N, 4] of four edges [N]; padding stays zero."""
    return tf.where((classes != 0)[:, None], tf.stack(edges, axis=1), 0.0)


def _distort(change: RandomDistortColor, draws: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Shift brightness, then scale contrast about the mean and saturation about grey."""
    centred = draws * 2.0 - 1.0
    image += 255.0 * change.brightness * centred[0]
    mean = tf.reduce_mean(image, axis=(0, 1), keepdims=True)
    image = mean + (image - mean) * (1.0 + change.contrast * centred[1])
    grey = tf.reduce_sum(image * tf.constant(_GREY), axis=2, keepdims=True)
    image = grey + (image - grey) * (1.0 + change.saturation * centred[2])
    return tf.clip_by_value(image, 0.0, 255.0)
