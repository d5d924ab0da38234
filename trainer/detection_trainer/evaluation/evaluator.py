"""Runs a detector over a validation set and returns its COCO metrics.

It does not change the detector: batch norm uses its moving statistics, and no random state changes.
"""

import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.data.dataset import Dataset
from detection_trainer.data.pipeline import PADDING_ID, explained, validation_batches
from detection_trainer.evaluation.coco_metrics import GroundTruth, ImageDetections, coco_metrics
from detection_trainer.evaluation.drawing import Finding, draw_findings
from detection_trainer.models.detections import detect
from detection_trainer.models.detector import Detector
from detection_trainer.models.resizing import Resizer

SHOWN_SCORE = 0.3
"""Detections with a lower score are not drawn; it is also the default of `predict`."""


class Evaluator:
    """Evaluates one detector on one dataset, any number of times; its graph is traced once."""

    def __init__(self, detector: Detector, dataset: Dataset, spec: TrainingSpec) -> None:
        """Create the evaluator; reads nothing yet."""
        self._detector, self._dataset, self._spec = detector, dataset, spec
        self._resizer = Resizer(detector.spec)
        self._detect = tf.function(self._detections, jit_compile=False)
        self._samples: Sequence[ImageDetections] = ()

    def metrics(self, check: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Return the COCO metrics of the detector's current weights.

        Args:
            check: called before each batch; an exception in it ends the evaluation.
        """
        detections = list(self._run(check))
        count = self._spec.evaluation.sample_images
        spread = max(len(detections) // max(count, 1), 1)
        self._samples = detections[::spread][:count]
        return coco_metrics(ground_truth(self._dataset), detections, self._dataset.classes)

    def pictures(self) -> Iterator[Image.Image]:
        """Yield some of the images of the last evaluation with their detections drawn."""
        for sample in self._samples:
            data = self._dataset.read_image(self._dataset.images[sample.image_id])
            with Image.open(io.BytesIO(data)) as image:
                findings = findings_of(sample, image.size, self._dataset.classes)
                yield draw_findings(image, findings, self._dataset.classes)

    def _run(self, check: Callable[[], None]) -> Iterator[ImageDetections]:
        batches = validation_batches(self._dataset, self._spec)
        for images, ids, sizes in explained(batches, self._dataset):
            check()
            found = {name: value.numpy() for name, value in self._detect(images, sizes).items()}
            for row, image_id in enumerate(ids.numpy()):
                if image_id == PADDING_ID:
                    continue
                valid = slice(0, int(found["valid"][row]))
                yield ImageDetections(
                    image_id=int(image_id),
                    boxes=found["boxes"][row][valid],
                    scores=found["scores"][row][valid],
                    classes=found["classes"][row][valid],
                )

    def _detections(self, images: tf.Tensor, sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = self._detector(images, training=False)
        return detect(self._detector, outputs, self._resizer.window(sizes))


def findings_of(
    detections: ImageDetections, size: tuple[int, int], classes: Sequence[str]
) -> list[Finding]:
    """Return the detections in an image of `size` (width, height) as findings to draw."""
    width, height = size
    boxes = detections.boxes * np.array([height, width, height, width])
    rows = zip(boxes.tolist(), detections.scores.tolist(), detections.classes, strict=True)
    return [
        Finding(classes[label - 1], score, (ymin, xmin, ymax, xmax))
        for (ymin, xmin, ymax, xmax), score, label in rows
        if score >= SHOWN_SCORE
    ]


def ground_truth(dataset: Dataset) -> Sequence[GroundTruth]:
    """Return the annotations of every image of `dataset`, by its index there."""
    return [
        GroundTruth(
            image_id=index,
            height=image.annotations.height,
            width=image.annotations.width,
            boxes=image.annotations.boxes,
            classes=image.annotations.labels,
            crowd=np.asarray(image.annotations.crowd, bool),
        )
        for index, image in enumerate(dataset.images)
    ]
