"""The usual data pipeline for `fit`: files, a shuffle buffer, a parallel map, batches.

The augmentation is the trainer's, so that both sides do the same work on each image.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.data.augmentation import augment_geometry, draw_uniform
from detection_trainer.data.dataset import Dataset, open_dataset
from detection_trainer.evaluation.evaluator import Evaluator
from detection_trainer.models.detector import Detector

PADDED_BOXES = 8
_SHUFFLED = 1000
_BOX = "image/object/bbox/"
_EDGES = ("ymin", "xmin", "ymax", "xmax")
_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/object/class/label": tf.io.VarLenFeature(tf.int64),
    **{_BOX + edge: tf.io.VarLenFeature(tf.float32) for edge in _EDGES},
}


def fit_batches(spec: TrainingSpec) -> tf.data.Dataset:
    """Yield images [B,S,S,3], boxes [B,N,4] and classes [B,N] as the trainer's pipeline does."""
    size = spec.model.image_size

    def prepare(number: tf.Tensor, record: tf.Tensor) -> Any:
        found = tf.io.parse_single_example(record, _FEATURES)
        image = tf.io.decode_jpeg(found["image/encoded"], channels=3)
        boxes = tf.stack([tf.sparse.to_dense(found[_BOX + edge]) for edge in _EDGES], axis=1)
        classes = tf.cast(tf.sparse.to_dense(found["image/object/class/label"]), tf.int32)
        missing = PADDED_BOXES - tf.shape(classes)[0]
        geometry = (image, tf.pad(boxes, [[0, missing], [0, 0]]), tf.pad(classes, [[0, missing]]))
        uniform = draw_uniform(spec.augmentation, spec.seed, number)
        image, boxes, classes = augment_geometry(spec.augmentation, uniform, geometry)
        image = tf.ensure_shape(tf.image.resize(image, [size, size]), [size, size, 3])
        boxes = tf.ensure_shape(boxes, [PADDED_BOXES, 4])
        return image, (boxes, tf.ensure_shape(classes, [PADDED_BOXES]))

    files = tf.io.gfile.glob(spec.dataset.train.uri.removeprefix("file://"))
    records = tf.data.TFRecordDataset(files).shuffle(_SHUFFLED, seed=spec.seed).repeat()
    batches = records.enumerate().map(prepare, tf.data.AUTOTUNE)
    batches = batches.batch(spec.batch_size, drop_remainder=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def open_validation(spec: TrainingSpec) -> Dataset:
    """Open the validation set, which must exist."""
    place = spec.dataset.validation
    if place is None:
        raise ValueError("the measured training needs dataset.validation; received none")
    return open_dataset(
        place, spec.dataset.classes or [], Path(tempfile.gettempdir()), purpose="validation"
    )


def validation_score(detector: Detector, spec: TrainingSpec) -> Callable[[], float]:
    """Return a function that measures the mAP50 of `detector` with the trainer's own evaluation."""
    evaluator = Evaluator(detector, open_validation(spec), spec)
    return lambda: evaluator.metrics().get("mAP50", 0.0)
