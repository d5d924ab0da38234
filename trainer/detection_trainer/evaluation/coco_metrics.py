"""COCO metrics, computed by pycocotools, so that mAP has its usual definition.

As in the OD API's `coco_detection_metrics`, an object marked difficult (Pascal VOC) counts like
any other, and an object's area is that of its box.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SUMMARY = {
    "mAP": 0, "mAP50": 1, "mAP75": 2, "mAPSmall": 3, "mAPMedium": 4, "mAPLarge": 5,
    "AR1": 6, "AR10": 7, "AR100": 8, "AR100Small": 9, "AR100Medium": 10, "AR100Large": 11,
}  # fmt: skip
"""Index of each metric in `COCOeval.stats`."""

Boxes = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The annotated objects of one image."""

    image_id: int
    height: int
    width: int
    """Pixels of the original image: they decide what is small, medium and large."""
    boxes: Boxes
    """[N,4], normalised ymin, xmin, ymax, xmax."""
    classes: Integers
    """[N], 1-based."""
    crowd: npt.NDArray[np.bool_]
    """[N]; a crowd is neither found nor missed, and detections in it are ignored."""


@dataclass(frozen=True, slots=True)
class ImageDetections:
    """The detections in one image."""

    image_id: int
    boxes: Boxes
    """[K,4], normalised ymin, xmin, ymax, xmax."""
    scores: npt.NDArray[np.floating[Any]]
    """[K]."""
    classes: Integers
    """[K], 1-based."""


def coco_metrics(
    ground_truth: Sequence[GroundTruth],
    detections: Iterable[ImageDetections],
    classes: Sequence[str],
) -> dict[str, float]:
    """Return the COCO metrics, and `mAP/<class>` for each class.

    A metric without data (no objects of that size, no such class in the images) is left out;
    without any ground truth the result is empty.

    Args:
        ground_truth: every evaluated image, including those without objects.
        detections: at most one entry per image; images without an entry have none.
        classes: names in the order of their 1-based numbers.

    Raises:
        ValueError: a detection belongs to an image that is not in `ground_truth`.
    """
    if not any(len(image.boxes) for image in ground_truth):
        return {}
    sizes = {image.image_id: (image.height, image.width) for image in ground_truth}
    evaluation = _evaluated(
        _coco(_images(sizes), classes, _truth_annotations(ground_truth)),
        _coco(_images(sizes), classes, _detected_annotations(detections, sizes)),
    )
    found = {name: float(evaluation.stats[place]) for name, place in SUMMARY.items()}
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for number, name in enumerate(classes):
        known = precision[:, :, number][precision[:, :, number] > -1]
        found[f"mAP/{name}"] = float(known.mean()) if known.size else -1.0
    # pycocotools returns -1 for a metric without data.
    return {name: value for name, value in found.items() if np.isfinite(value) and value >= 0.0}


def _evaluated(truth: COCO, detected: COCO) -> COCOeval:
    # Hide the progress and the summary that pycocotools prints.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, detected, iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _coco(
    images: list[dict[str, Any]], classes: Sequence[str], annotations: list[dict[str, Any]]
) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": images,
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _images(sizes: dict[int, tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"id": i, "height": height, "width": width} for i, (height, width) in sizes.items()]


def _truth_annotations(ground_truth: Sequence[GroundTruth]) -> list[dict[str, Any]]:
    return [
        {**annotation, "id": number, "iscrowd": int(crowd)}
        for number, (annotation, crowd) in enumerate(
            (
                (_annotation(image.image_id, box, label, image.height, image.width), crowd)
                for image in ground_truth
                for box, label, crowd in zip(image.boxes, image.classes, image.crowd, strict=True)
            ),
            start=1,
        )
    ]


def _detected_annotations(
    detections: Iterable[ImageDetections], sizes: dict[int, tuple[int, int]]
) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    for image in detections:
        if image.image_id not in sizes:
            msg = f"detections of image {image.image_id}, which is not in the ground truth"
            raise ValueError(msg)
        height, width = sizes[image.image_id]
        for box, score, label in zip(image.boxes, image.scores, image.classes, strict=True):
            annotation = _annotation(image.image_id, box, label, height, width)
            number = len(annotations) + 1
            annotations.append({**annotation, "id": number, "iscrowd": 0, "score": float(score)})
    return annotations


def _annotation(image_id: int, box: Boxes, label: Any, height: int, width: int) -> dict[str, Any]:
    ymin, xmin, ymax, xmax = (float(side) for side in box)
    x, y = xmin * width, ymin * height
    w, h = (xmax - xmin) * width, (ymax - ymin) * height
    return {
        "image_id": image_id,
        "category_id": int(label),
        "bbox": [x, y, w, h],
        "area": w * h,
    }
