import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection_trainer.contract.dataset import Place
from detection_trainer.data.dataset import Dataset, open_dataset
from detection_trainer.evaluation.coco_metrics import GroundTruth, ImageDetections, coco_metrics
from detection_trainer.evaluation.evaluator import ground_truth
from sandbox.samples.datasets import Drawn, write_dataset

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
        **dict.fromkeys(["AR100Small", "AR100Large"], pytest.approx(1.0)),
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
    with pytest.raises(ValueError, match="detections of image 7, which is not in the ground truth"):
        coco_metrics([truth(1, (LARGE, 1))], [found(7, (LARGE, 1, 0.9))], ["a"])


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    coco_metrics([truth(1, (LARGE, 1))], [found(1, (LARGE, 1, 0.9))], ["a"])
    assert capsys.readouterr().out == ""


@dataclass(frozen=True)
class Case:
    """A COCO document of images of many sizes, its detections, and the same as TFRecords."""

    document: dict[str, Any]
    results: list[dict[str, Any]]
    dataset: Dataset
    detections: list[ImageDetections]


def draw_objects(random: Any, height: int, width: int) -> npt.NDArray[Any]:
    """Return boxes [N,4] of whole pixels, x, y, w, h: some tiny, some as large as the image."""
    count = int(random.integers(0, 6))
    sides = np.exp(random.uniform(np.log(6), np.log(min(height, width)), (count, 2))).astype(int)
    corners = (random.uniform(size=(count, 2)) * ([width, height] - sides)).astype(int)
    return np.concatenate([corners, sides], axis=1, dtype=float)


def fractions(boxes: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Return x, y, w, h in pixels as normalised ymin, xmin, ymax, xmax."""
    x, y, w, h = boxes.T
    return np.stack([y / height, x / width, (y + h) / height, (x + w) / width], axis=1)


def random_case(folder: Path, seed: int) -> Case:
    """Return 24 images, every fourth without objects, crowds and difficult ones among them.

    Class 4 has no ground truth and is detected all the same.
    """
    random = np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    records, detections = [], []
    for number in range(24):
        height, width = (int(side) for side in random.integers(60, 400, 2))
        images.append({"id": number, "height": height, "width": width})
        boxes = draw_objects(random, height, width) if number % 4 else np.zeros((0, 4))
        labels = random.integers(1, 4, len(boxes)).tolist()
        crowd, difficult = (random.uniform(size=(2, len(boxes))) < 0.2).astype(int).tolist()
        for box, label, flag in zip(boxes.tolist(), labels, crowd, strict=True):
            what = {"image_id": number, "category_id": label, "iscrowd": flag, "bbox": box}
            annotations.append({"id": len(annotations) + 1, "area": box[2] * box[3], **what})
        places = fractions(boxes, height, width).tolist()
        drawn = Drawn(places, labels, height, width, number, crowd=crowd)
        records.append(drawn.record(image__object__difficult=difficult))
        guesses = np.concatenate([boxes, draw_objects(random, height, width)])
        guesses[:, 2:] *= np.exp(random.normal(0, 0.15, guesses[:, 2:].shape))
        named = [*labels, *random.integers(1, 5, len(guesses) - len(boxes)).tolist()]
        scores = random.uniform(size=len(guesses))
        results += [
            {"image_id": number, "category_id": label, "bbox": box, "score": score}
            for box, label, score in zip(guesses.tolist(), named, scores.tolist(), strict=True)
        ]
        guessed = fractions(guesses, height, width)
        detections.append(ImageDetections(number, guessed, scores, np.array(named)))
    categories = [{"id": i, "name": name} for i, name in enumerate("abcd", start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    write_dataset(folder / "a.tfrecord", records)
    dataset = open_dataset(Place(uri=(folder / "a.tfrecord").as_uri()), list("abcd"), folder)
    return Case(document, results, dataset, detections)


def by_pycocotools(case: Case, folder: Path, **parameters: Any) -> Any:
    """Evaluate as pycocotools' own example does: from a JSON file, through `loadRes`."""
    (folder / "instances.json").write_text(json.dumps(case.document))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(folder / "instances.json")
        evaluation = COCOeval(coco, coco.loadRes(case.results), "bbox")
        for name, value in parameters.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_those_of_pycocotools_in_pixels(tmp_path: Path, seed: int) -> None:
    case = random_case(tmp_path, seed)
    metrics = coco_metrics(ground_truth(case.dataset), case.detections, case.dataset.classes)
    stats = by_pycocotools(case, tmp_path)
    names = ["mAP", "mAP50", "mAP75", "mAPSmall", "mAPMedium", "mAPLarge", "AR1", "AR10", "AR100"]
    names += ["AR100Small", "AR100Medium", "AR100Large"]
    expected = dict(zip(names, stats, strict=True))
    for number, name in enumerate("abc", start=1):
        expected[f"mAP/{name}"] = by_pycocotools(case, tmp_path, catIds=[number])[0]
    assert metrics == pytest.approx(expected, abs=1e-6, rel=0)
    assert len({round(value, 4) for value in metrics.values()}) > 10
    assert all(0.05 < value < 1.0 for value in metrics.values())
