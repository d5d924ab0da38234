"""From TFRecords to COCO and Pascal VOC, and from there to the same TFRecords again."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from detection_trainer.__main__ import main
from detection_trainer.contract.dataset import Place
from detection_trainer.data.dataset import Dataset, read_dataset
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset

PIXELS = [(3, 5, 20, 30), (0, 0, 24, 32), (7.25, 1.5, 8.75, 2.5)]
"""ymin, xmin, ymax, xmax on images of 24x32."""
BOXES = [[y / 24, x / 32, bottom / 24, right / 32] for y, x, bottom, right in PIXELS]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Three images: many boxes, none, and names that files cannot have."""
    many = Drawn(BOXES, (1, 2, 1), crowd=(0, 1, 0)).record(image__object__difficult=[1, 0, 0])
    nameless = Drawn(BOXES[:1], (2,), seed=2, image_format="JPEG")
    awkward = nameless.record(image__source_id=[b"../a:b/image-0.png"])
    twice = Drawn((), (), seed=3).record(image__source_id=[b"image-0"])
    (tmp_path / "in").mkdir()
    (tmp_path / "in/label_map.pbtxt").write_text(
        "item { id: 1 name: 'tree' } item { id: 2 name: 'shrub' }"
    )
    return write_dataset(tmp_path / "in/a.tfrecord", [many, twice, awkward])


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    counts = ["--json"] if words[0] in {"coco", "voc"} else []
    assert main(["convert", *map(str, words), *counts]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def read(path: Path) -> Dataset:
    return read_dataset(Place(uri=path.as_uri()), CLASSES, path.parent)


def contents(dataset: Dataset) -> list[tuple[Any, ...]]:
    found = []
    for image in dataset.images:
        about = image.annotations
        rows = zip(
            about.boxes.tolist(), about.labels.tolist(), about.crowd.tolist(),
            about.difficult.tolist(), strict=True,
        )  # fmt: skip
        found.append((dataset.read_image(image), about.height, about.width, list(rows)))
    return sorted(found)


def test_coco_and_back_is_the_same_dataset(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(capsys, "to-coco", records, tmp_path / "coco")
    assert (printed["images"], printed["boxes"]) == (3, 4)
    run(capsys, "coco", tmp_path / "coco/instances.json", tmp_path / "again")
    again = read(tmp_path / "again/train-00000-of-00001.tfrecord")
    assert contents(again) == contents(read(records))
    assert again.classes == read(records).classes


def test_pycocotools_reads_the_coco_file(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "to-coco", records, tmp_path / "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(tmp_path / "coco/instances.json")
    first, crowd, tiny = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([5.0, 3.0, 25.0, 17.0], 425.0, 0)
    assert crowd["iscrowd"] == 1
    assert tiny["bbox"] == [1.5, 7.25, 1.0, 1.5]
    assert coco.loadCats([1, 2])[1]["name"] == "shrub"


def test_voc_and_back_is_the_same_dataset_but_for_crowds(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(capsys, "to-voc", records, tmp_path / "voc")
    assert (printed["boxes"], printed["crowdsLeftOut"]) == (3, 1)
    words = ("voc", tmp_path / "voc", tmp_path / "again", "--classes", "tree,shrub")
    run(capsys, *words)
    again = contents(read(tmp_path / "again/train-00000-of-00001.tfrecord"))
    expected = [
        (*image, [row for row in rows if not row[2]]) for *image, rows in contents(read(records))
    ]
    assert again == expected
    text = next(
        text
        for path in (tmp_path / "voc/Annotations").iterdir()
        if "<difficult>1<" in (text := path.read_text())
    )
    assert "<xmin>5</xmin>" in text


def test_file_names_are_safe_and_distinct(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "to-coco", records, tmp_path / "coco")
    names = sorted(path.name for path in (tmp_path / "coco/images").iterdir())
    assert names == ["_a_b_image-0.jpg", "image-0-2.png", "image-0.png"]


@pytest.mark.parametrize("layout", ["to-coco", "to-voc"])
def test_a_folder_with_files_is_not_touched(records: Path, layout: str) -> None:
    assert main(["convert", layout, str(records), str(records.parent)]) == 50


@pytest.mark.parametrize("layout", ["to-coco", "to-voc"])
def test_bad_records_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    outside = Drawn(boxes=((0.5, 0.5, 1.5, 1.0),))
    path = write_dataset(tmp_path / "in/a.tfrecord", [Drawn(), outside])
    words = ["convert", layout, str(path), str(tmp_path / "out"), "--classes", "tree"]
    assert main(words) == 52
    assert "record 1 at byte" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
