import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection_trainer.evaluate import GroundTruth, ImageDetections, coco_metrics

HEIGHT, WIDTH = 200, 400
LARGE, SMALL = [0.1, 0.1, 0.7, 0.5], [0.8, 0.8, 0.9, 0.85]


def truth(image_id: int, *objects: tuple[list[float], int], crowd: bool = False) -> GroundTruth:
    return GroundTruth(
        image_id=image_id,
        height=HEIGHT,
        width=WIDTH,
        boxes=np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
        classes=np.array([label for _, label in objects], np.int32),
        crowd=np.full(len(objects), crowd),
    )


def found(image_id: int, *objects: tuple[list[float], int, float]) -> ImageDetections:
    return ImageDetections(
        image_id=image_id,
        boxes=np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        scores=np.array([score for _, _, score in objects], np.float32),
        classes=np.array([label for _, label, _ in objects], np.int32),
    )


def test_what_is_found_exactly_scores_1() -> None:
    metrics = coco_metrics(
        [truth(1, (LARGE, 1), (SMALL, 2))], [found(1, (LARGE, 1, 0.9), (SMALL, 2, 0.8))], ["a", "b"]
    )
    assert metrics == {
        **dict.fromkeys(["mAP", "mAP50", "mAP75", "mAPSmall", "mAPLarge"], pytest.approx(1.0)),
        **dict.fromkeys(["AR1", "AR10", "AR100", "mAP/a", "mAP/b"], pytest.approx(1.0)),
    }


def test_nothing_found_scores_0() -> None:
    metrics = coco_metrics([truth(1, (LARGE, 1))], [], ["a"])
    assert metrics["mAP"] == metrics["AR100"] == metrics["mAP/a"] == 0.0


def test_what_nothing_decides_is_left_out() -> None:
    metrics = coco_metrics([truth(1, (LARGE, 1))], [found(1, (LARGE, 1, 0.9))], ["a", "never seen"])
    assert "mAP/never seen" not in metrics
    assert "mAPSmall" not in metrics


@pytest.mark.parametrize(
    "images", [pytest.param([], id="no image"), pytest.param([truth(1)], id="no object in it")]
)
def test_without_ground_truth_there_are_no_metrics(images: list[GroundTruth]) -> None:
    assert coco_metrics(images, [], ["a"]) == {}


def test_a_false_alarm_in_an_empty_image_counts() -> None:
    images = [truth(1, (LARGE, 1)), truth(2)]
    right = found(1, (LARGE, 1, 0.5))
    assert coco_metrics(images, [right], ["a"])["mAP"] == pytest.approx(1.0)
    wrong = found(2, (LARGE, 1, 0.9))
    assert coco_metrics(images, [right, wrong], ["a"])["mAP"] == pytest.approx(0.5)


def test_a_crowd_is_neither_missed_nor_a_false_alarm() -> None:
    images = [truth(1, (LARGE, 1)), truth(2, ([0.0, 0.0, 1.0, 1.0], 1), crowd=True)]
    inside = [found(1, (LARGE, 1, 0.5)), found(2, (SMALL, 1, 0.9), (LARGE, 1, 0.9))]
    assert coco_metrics(images, inside, ["a"])["mAP"] == pytest.approx(1.0)


def test_detections_of_an_unknown_image_are_an_error() -> None:
    with pytest.raises(ValueError, match="detections of image 7, which the ground truth"):
        coco_metrics([truth(1, (LARGE, 1))], [found(7, (LARGE, 1, 0.9))], ["a"])


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    coco_metrics([truth(1, (LARGE, 1))], [found(1, (LARGE, 1, 0.9))], ["a"])
    assert capsys.readouterr().out == ""


def random_case(seed: int) -> tuple[list[GroundTruth], list[ImageDetections]]:
    random = np.random.default_rng(seed)
    images, detections = [], []
    for image_id in range(1, 13):
        low = random.uniform(0, 0.6, (5, 2))
        boxes = np.concatenate([low, low + random.uniform(0.02, 0.4, (5, 2))], axis=1)
        labels = random.integers(1, 4, 5)
        images.append(
            GroundTruth(image_id, HEIGHT, WIDTH, boxes, labels, random.uniform(size=5) < 0.2)
        )
        moved = boxes + random.normal(0, 0.02, boxes.shape)
        guessed = np.where(random.uniform(size=5) < 0.8, labels, random.integers(1, 4, 5))
        detections.append(ImageDetections(image_id, moved, random.uniform(size=5), guessed))
    return images, detections


def by_pycocotools(images: list[GroundTruth], detections: list[ImageDetections]) -> Any:
    """Evaluate as pycocotools' own example does, through `loadRes`."""

    def corner(box: Any) -> list[float]:
        y, x, bottom, right = box * [HEIGHT, WIDTH, HEIGHT, WIDTH]
        return [x, y, right - x, bottom - y]

    with contextlib.redirect_stdout(io.StringIO()):
        annotations: list[dict[str, Any]] = []
        coco = COCO()
        for image in images:
            for box, label, crowd in zip(image.boxes, image.classes, image.crowd, strict=True):
                place = {"id": len(annotations) + 1, "image_id": image.image_id}
                x, y, w, h = corner(box)
                what = {"category_id": int(label), "iscrowd": int(crowd)}
                annotations.append({**place, **what, "bbox": [x, y, w, h], "area": w * h})
        coco.dataset = {
            "images": [{"id": image.image_id} for image in images],
            "categories": [{"id": i} for i in (1, 2, 3)],
            "annotations": annotations,
        }
        coco.createIndex()
        results = [
            {
                "image_id": image.image_id,
                "category_id": int(label),
                "bbox": corner(box),
                "score": float(score),
            }
            for image in detections
            for box, score, label in zip(image.boxes, image.scores, image.classes, strict=True)
        ]
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_pycocotools(seed: int) -> None:
    images, detections = random_case(seed)
    metrics = coco_metrics(images, detections, ["a", "b", "c"])
    stats = by_pycocotools(images, detections)
    names = ["mAP", "mAP50", "mAP75", "mAPSmall", "mAPMedium", "mAPLarge", "AR1", "AR10", "AR100"]
    expected = {name: value for name, value in zip(names, stats, strict=False) if value >= 0}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert 0.1 < metrics["mAP"] < 0.9
    per_class = [metrics[f"mAP/{name}"] for name in "abc"]
    assert np.mean(per_class) == pytest.approx(metrics["mAP"])
