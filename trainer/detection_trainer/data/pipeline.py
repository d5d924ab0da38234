"""Batches of images and boxes for training, and of images for evaluation.

Training batch i is a pure function of (dataset, spec, i): sample number s = i · batchSize + row
belongs to epoch s div n, whose order is a permutation by (seed, epoch); (seed, s) decides its
augmentation. There is no iterator state to save, and starting at any step costs the same. The
number of threads does not change the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.data.augmentation import augment_colors, augment_geometry, draw_uniform
from detection_trainer.data.dataset import Dataset
from detection_trainer.errors import DataInvalidError
from detection_trainer.models.resizing import Resizer
from detection_trainer.models.targets import CROWD

_PARALLEL = tf.data.AUTOTUNE
_READ_AHEAD = 2
_CHANNELS = 3
_END_OF_STEPS = 2**31
PADDING_ID = -1
"""Image id of the rows that fill the last evaluation batch."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows of each global batch that this worker computes."""

    worker: int = 0
    workers: int = 1


def training_batches(
    dataset: Dataset, spec: TrainingSpec, start_step: int, shard: Shard | None = None
) -> tf.data.Dataset:
    """Yield batch `start_step` and all later ones, without end.

    Yields:
        Images float32 [B, S, S, 3] in 0..255 RGB; boxes float32 [B, N, 4] as fractions ymin, xmin,
        ymax, xmax; classes int32 [B, N] from 1, 0 for padding, `CROWD` for a box around many
        objects. N depends only on the dataset.
    """
    rows = _rows(spec.batch_size, shard or Shard())
    reader, resizer = _Reader(dataset), Resizer(spec.model)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def read(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        samples = step * spec.batch_size + rows
        positions = shuffled_positions(samples, len(dataset), spec.seed)
        return (samples, *reader.read(positions))

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def prepare(
        sample: tf.Tensor, encoded: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        uniform = draw_uniform(spec.augmentation, spec.seed, sample)
        geometry = (_decode(encoded), boxes, classes)
        image, boxes, classes = augment_geometry(spec.augmentation, uniform, geometry)
        if resizer.keeps_aspect:
            boxes *= tf.tile(resizer.window(tf.shape(image)[:2])[2:], [2])
        image = augment_colors(spec.augmentation, uniform, resizer.resized(image))
        return (resizer.padded(image), *_close_gaps(boxes, classes))

    steps = tf.data.Dataset.range(start_step, _END_OF_STEPS)
    batches = steps.map(read, num_parallel_calls=1).unbatch().map(prepare, _PARALLEL)
    batches = batches.batch(len(rows), drop_remainder=True).prefetch(_READ_AHEAD)
    return batches.with_options(_exact())


def validation_batches(dataset: Dataset, spec: TrainingSpec) -> tf.data.Dataset:
    """Yield all images once, in order; the last batch is padded.

    Yields:
        Images float32 [B, S, S, 3]; ids int64 [B], the index in `dataset.images`, `PADDING_ID`
        for padding; heights and widths int32 [B, 2] of the stored images.
    """
    count, batch = len(dataset), spec.batch_size
    reader, resizer = _Reader(dataset), Resizer(spec.model)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def read(first: tf.Tensor) -> tuple[tf.Tensor, ...]:
        ids = first + tf.range(batch, dtype=tf.int64)
        # Padding reads the last image again; its id marks it as padding.
        encoded, _, _ = reader.read(tf.minimum(ids, count - 1))
        return tf.where(ids < count, ids, PADDING_ID), encoded

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def prepare(identifier: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = _decode(encoded)
        return resizer(image), identifier, tf.shape(image)[:2]

    starts = tf.data.Dataset.range(0, count, batch)
    batches = starts.map(read, num_parallel_calls=1).unbatch().map(prepare, _PARALLEL)
    batches = batches.batch(batch, drop_remainder=True).prefetch(_READ_AHEAD)
    return batches.with_options(_exact())


def explained(batches: tf.data.Dataset, dataset: Dataset) -> Iterator[Any]:
    """Yield `batches` of `dataset`; turns TensorFlow's errors of reading into the trainer's.

    For an error that Python raises inside the pipeline, TensorFlow keeps only the text.

    Raises:
        TrainerError: a file cannot be read; see `Dataset.read_image`.
        DataInvalidError: an image cannot be decoded that the check did not decode.
    """
    try:
        yield from batches
    except tf.errors.ResourceExhaustedError:
        raise  # Out of memory has its own exit code.
    except tf.errors.OpError as error:
        dataset.require_unchanged()
        text = " ".join(error.message.split())[:300]
        msg = (
            f"reading {dataset.files[0].uri} and its neighbouring files failed during the run: "
            f"{text}: find the record with `detection-trainer inspect` and correct it"
        )
        raise DataInvalidError(msg) from error


def shuffled_positions(samples: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """Return the index of the image, below `count`, for each sample number int64 [B].

    Each epoch has every image exactly once. This is the operation behind
    `tf.random.experimental.index_shuffle`, which in TensorFlow 2.21 refuses several seeds at once.
    """
    epochs, places = samples // count, samples % count
    seeds = tf.stack([tf.ones_like(epochs) * seed, epochs, tf.zeros_like(epochs)], axis=1)
    last = tf.constant(count - 1, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=places, seed=seeds, max_index=last, rounds=4)


class _Reader:
    """Reads encoded images from their files; the system's page cache keeps them."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def read(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return encoded images [B], boxes [B, N, 4] and classes [B, N] of the images."""
        kinds = (tf.string, tf.float32, tf.int32)
        encoded, boxes, classes = tf.numpy_function(self._read, [positions], kinds, stateful=False)
        rows, padded = positions.shape[0], self._dataset.padded_boxes
        encoded.set_shape([rows])
        boxes.set_shape([rows, padded, 4])
        classes.set_shape([rows, padded])
        return encoded, boxes, classes

    def _read(self, positions: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], ...]:
        images = [self._dataset.images[position] for position in positions]
        encoded = np.empty(len(images), np.object_)
        encoded[:] = [self._dataset.read_image(image) for image in images]
        padded = self._dataset.padded_boxes
        boxes = np.zeros((len(images), padded, 4), np.float32)
        classes = np.zeros((len(images), padded), np.int32)
        for row, image in enumerate(images):
            about, count = image.annotations, len(image.annotations.boxes)
            order = np.argsort(about.crowd, kind="stable")
            boxes[row, :count] = about.boxes[order]
            classes[row, :count] = np.where(about.crowd, CROWD, about.labels)[order]
        return encoded, boxes, classes


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    """Return the image uint8 [H, W, 3] in RGB."""
    image = tf.io.decode_image(encoded, channels=_CHANNELS, expand_animations=False)
    image.set_shape([None, None, _CHANNELS])
    return image


def _close_gaps(boxes: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Move the padding that replaced dropped boxes to the end."""
    order = tf.argsort(tf.cast(classes == 0, tf.int32), stable=True)
    return tf.gather(boxes, order), tf.gather(classes, order)


def _rows(batch_size: int, shard: Shard) -> npt.NDArray[np.int64]:
    """Return the rows of the global batch that the worker computes."""
    each = batch_size // shard.workers
    return np.arange(shard.worker * each, (shard.worker + 1) * each, dtype=np.int64)


def _exact() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    # Each worker computes its own rows already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
