import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from detection_trainer.contract.dataset import Place
from detection_trainer.data.convert.tiles import Tiling
from detection_trainer.data.convert.voc import read_voc
from detection_trainer.data.convert.writer import ConversionSummary, Plan, convert
from detection_trainer.data.dataset import open_dataset
from detection_trainer.data.label_map import parse_label_map
from detection_trainer.errors import DataInvalidError, InvalidConfigError, StorageFullError
from detection_trainer.storage import Folder, open_folder
from tests.support.trainer.annotations import draw_image, write_voc

CLASSES = ["tree", "shrub"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    draw_image(folder / "a.png", 60, 20)
    write_voc(folder / "a.xml", [("tree", 2, 4, 8, 10), ("shrub", 45, 0, 58, 20)], filename="a.png")
    draw_image(folder / "b.jpg", 30, 20)
    write_voc(folder / "b.xml", [("tree", 0, 0, 30, 20)], filename="b.jpg", difficult=1)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Folder:
    return open_folder((tmp_path / "dataset").as_uri())


def written(source: Path, target: Folder, **plan: Any) -> ConversionSummary:
    return convert(read_voc(source).photographs, CLASSES, Plan(**plan), target)


def read_with_tensorflow(folder: Folder, pattern: str) -> list[dict[str, Any]]:
    """Return the records' features as TensorFlow reads them."""
    directory = folder.local_path("")
    assert directory is not None
    paths = sorted(str(path) for path in directory.glob(pattern))
    found = []
    for record in tf.data.TFRecordDataset(paths):
        example = tf.train.Example.FromString(record.numpy())
        features = {}
        for name, feature in example.features.feature.items():
            features[name] = list(getattr(feature, feature.WhichOneof("kind")).value)
        found.append(features)
    return found


def test_tensorflow_reads_what_was_written(source: Path, target: Folder) -> None:
    written(source, target)
    first, second = read_with_tensorflow(target, "train-*")
    assert first["image/encoded"] == [(source / "a.png").read_bytes()]
    assert first["image/format"] == [b"png"]
    assert (first["image/width"], first["image/height"]) == ([60], [20])
    assert first["image/source_id"] == [b"a"]
    assert first["image/filename"] == [b"a.png"]
    assert first["image/object/class/label"] == [1, 2]
    assert first["image/object/class/text"] == [b"tree", b"shrub"]
    np.testing.assert_allclose(first["image/object/bbox/xmin"], [2 / 60, 45 / 60])
    np.testing.assert_allclose(first["image/object/bbox/ymax"], [10 / 20, 1.0])
    assert second["image/format"] == [b"jpeg"]
    assert second["image/encoded"] == [(source / "b.jpg").read_bytes()]
    assert second["image/object/difficult"] == [1]


def test_the_trainer_opens_what_was_written(source: Path, target: Folder, tmp_path: Path) -> None:
    summary = written(source, target, tiling=Tiling(side=20), holdout=0.4)
    assert parse_label_map(target.read("label_map.pbtxt"), "label map") == CLASSES
    assert summary.validation is not None
    for part in (summary.train, summary.validation):
        dataset = open_dataset(Place(uri=part.uri), CLASSES, cache_dir=tmp_path)
        assert dataset.summary.images == part.images
        assert dataset.summary.images_without_boxes == part.images_without_boxes
        assert dataset.summary.boxes_per_class == part.boxes_per_class


def test_no_pixel_is_in_both_sets(source: Path, target: Folder) -> None:
    """The red of a pixel is its column: see `draw_image`."""
    written(source, target, tiling=Tiling(side=20, overlap=0.25), holdout=0.3, image_format="png")

    def columns(pattern: str) -> set[int]:
        records = read_with_tensorflow(target, pattern)
        images = [
            np.asarray(Image.open(io.BytesIO(record["image/encoded"][0])))
            for record in records
            if record["image/filename"] == [b"a.png"]
        ]
        return {int(value) for image in images for value in np.unique(image[..., 0])}

    train, validation = columns("train-*"), columns("validation-*")
    assert train == set(range(40))
    assert validation == set(range(40, 60))


def test_a_tile_shows_its_window_and_is_named_by_it(source: Path, target: Folder) -> None:
    written(source, target, tiling=Tiling(side=20), image_format="png")
    records = read_with_tensorflow(target, "train-*")
    [tile] = [r for r in records if r["image/source_id"] == [b"a@40,0"]]
    pixels = np.asarray(Image.open(io.BytesIO(tile["image/encoded"][0])))
    assert pixels.shape == (20, 20, 3)
    assert pixels[3, 5].tolist() == [45, 3, 7]
    np.testing.assert_allclose(tile["image/object/bbox/xmin"], [0.25])


def test_tiles_are_jpeg_unless_asked_otherwise(source: Path, target: Folder) -> None:
    written(source, target, tiling=Tiling(side=20))
    assert {r["image/format"][0] for r in read_with_tensorflow(target, "train-*")} == {b"jpeg"}


def test_whole_images_are_kept_apart_by_name(source: Path, target: Folder) -> None:
    summary = written(source, target, holdout_names=frozenset({"b"}))
    assert summary.train.images == 1
    assert summary.validation is not None
    assert summary.validation.boxes_per_class == {"tree": 1, "shrub": 0}
    with pytest.raises(InvalidConfigError, match="'c', but no image has that name"):
        written(source, target, holdout_names=frozenset({"c"}))


def test_shards_are_numbered_and_never_empty(source: Path, target: Folder) -> None:
    written(source, target, shards=5)
    assert [entry.path for entry in target.list()] == [
        "label_map.pbtxt",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]


def test_a_dataset_is_replaced_only_if_asked_and_then_as_a_whole(
    source: Path, target: Folder
) -> None:
    target.write("notes.txt", b"mine")
    written(source, target, shards=2)
    with pytest.raises(InvalidConfigError, match="already has a dataset"):
        written(source, target)
    written(source, target, overwrite=True)
    assert [entry.path for entry in target.list()] == [
        "label_map.pbtxt",
        "notes.txt",
        "train-00000-of-00001.tfrecord",
    ]


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "1"])
def test_images_that_tensorflow_reads_differently_are_rewritten(
    tmp_path: Path, target: Folder, mode: str
) -> None:
    draw_image(tmp_path / "a.tif", 8, 8, mode)
    write_voc(tmp_path / "a.xml", [("tree", 1, 1, 4, 4)], filename="a.tif")
    written(tmp_path, target, image_format="png")
    [record] = read_with_tensorflow(target, "train-*")
    expected = Image.open(tmp_path / "a.tif").convert("RGB")
    decoded = tf.io.decode_image(record["image/encoded"][0], channels=3)
    np.testing.assert_array_equal(decoded, np.asarray(expected))


def test_more_than_eight_bits_are_refused(tmp_path: Path, target: Folder) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a.png")
    write_voc(tmp_path / "a.xml", [("tree", 1, 1, 4, 4)], filename="a.png")
    with pytest.raises(DataInvalidError, match="pixels of mode I;16: expected 8 bits"):
        written(tmp_path, target)
    assert target.list() == []


def test_an_image_that_is_cut_off_is_refused(source: Path, target: Folder) -> None:
    path = source / "b.jpg"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataInvalidError, match=r"b\.jpg: decoding the image failed"):
        written(source, target)


def contents(folder: Folder) -> dict[str, bytes]:
    return {entry.path: folder.read(entry.path) for entry in folder.list()}


def test_a_dataset_stays_whole_where_the_one_to_replace_it_is_refused(
    source: Path, target: Folder
) -> None:
    written(source, target)
    before = contents(target)
    path = source / "b.jpg"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataInvalidError):
        written(source, target, overwrite=True)
    assert contents(target) == before


def test_all_bad_images_are_named_at_once(source: Path, target: Folder) -> None:
    for name in ("a.png", "b.jpg"):
        path = source / name
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataInvalidError, match="2 images cannot be used") as refused:
        written(source, target, holdout=0.4)
    for name in ("a.png", "b.jpg"):
        assert str(refused.value).count(f"{source / name}: ") == 1


def test_there_is_no_label_map_before_all_records_are_replaced(
    source: Path, target: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(source, target)
    write = Folder.write

    def fail(folder: Folder, path: str, *rest: Any, **options: Any) -> None:
        if path.startswith("validation"):
            raise StorageFullError("full")
        write(folder, path, *rest, **options)

    monkeypatch.setattr(Folder, "write", fail)
    with pytest.raises(StorageFullError):
        written(source, target, overwrite=True, holdout=0.4)
    assert not target.exists("label_map.pbtxt")


def without_end(path: Path) -> None:
    content = path.read_bytes()
    assert content[-8:-4] == b"IEND"
    path.write_bytes(content[:-12])


def too_wide(path: Path) -> None:
    Image.new("L", (17000, 20)).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(without_end, "is cut off or damaged"), (too_wide, "expected at most 16384 a side; tile it")],
)
def test_what_the_trainer_would_not_read_is_not_written(
    source: Path, target: Folder, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(source / "a.png")
    with pytest.raises(DataInvalidError, match=rf"a\.png: .*{message}"):
        written(source, target)
    assert contents(target) == {}


def test_an_image_beyond_pillow_s_limit_is_cut_into_tiles(
    source: Path, target: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_image(source / "a.png", 60, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 620)
    with pytest.raises(DataInvalidError, match=r"a\.png: is 60x40, 2400 pixels.*--tile"):
        written(source, target)
    assert written(source, target, tiling=Tiling(side=20)).train.images == 8
    assert Image.MAX_IMAGE_PIXELS == 620


def test_one_image_in_two_photographs_is_refused(source: Path, target: Folder) -> None:
    photographs = read_voc(source).photographs
    with pytest.raises(DataInvalidError, match="both name the image"):
        convert([*photographs, photographs[0]], CLASSES, Plan(), target)


def test_crowds_are_counted(source: Path, target: Folder) -> None:
    photographs = [replace(p, crowd=(True,) * len(p.names)) for p in read_voc(source).photographs]
    assert convert(photographs, CLASSES, Plan(), target).train.crowd_boxes == 3


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (["tree"], DataInvalidError, "boxes of 'shrub' are not among the classes 'tree'"),
        (["tree", "shrub", "tree"], InvalidConfigError, "expected class names that differ"),
        ([], InvalidConfigError, "at least one"),
    ],
)
def test_classes_are_refused(
    source: Path, target: Folder, classes: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert(read_voc(source).photographs, classes, Plan(), target)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"holdout": 1.0}, "holdout takes a fraction from 0 to below 1; received 1.0"),
        ({"holdout": float("nan")}, "received nan"),
        ({"shards": 0}, "shards takes at least 1; received 0"),
    ],
)
def test_a_plan_that_makes_no_dataset_is_refused(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        Plan(**plan)


def test_a_set_without_training_images_is_refused(source: Path, target: Folder) -> None:
    with pytest.raises(DataInvalidError, match="no image is left to train on"):
        written(source, target, holdout_names=frozenset({"a", "b"}))
