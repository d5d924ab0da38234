"""Images that EXIF turns: boxes stay on their objects, or the conversion asks."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from detection_trainer.__main__ import main
from detection_trainer.contract.dataset import Place
from detection_trainer.data.convert.coco import read_coco
from detection_trainer.data.convert.findings import Annotations
from detection_trainer.data.convert.tiles import Tiling
from detection_trainer.data.convert.voc import read_voc
from detection_trainer.data.convert.writer import Plan, convert
from detection_trainer.data.dataset import Dataset, read_dataset
from detection_trainer.data.orientation import orientation_of, without_orientation
from detection_trainer.errors import DataInvalidError
from detection_trainer.storage import open_folder
from sandbox.samples.datasets import Drawn, write_dataset
from tests.support.trainer.annotations import write_coco, write_voc
from tests.support.trainer.image_files import (
    ORIENTATION,
    STORED,
    Pixels,
    draw_scene,
    png_chunk,
    write_turned,
)

HEIGHT, WIDTH = 12, 20
SCENE = draw_scene(HEIGHT, WIDTH)
TURNED = [2, 3, 4, 5, 6, 7, 8]
SIDES_CHANGE = [5, 6, 7, 8]
OBJECT = (3, 2, 9, 6)
"""xmin, ymin, xmax, ymax."""


def annotated(
    folder: Path,
    orientation: int,
    *,
    suffix: str = ".png",
    size: tuple[int, int] | None = None,
    scene: Pixels = SCENE,
    **options: Any,
) -> Annotations:
    """Return a photograph of the scene with one object; `size` is annotated (width, height)."""
    write_turned(folder / f"a{suffix}", scene, orientation)
    write_voc(folder / "a.xml", [("tree", *OBJECT)], filename=f"a{suffix}", size=size)
    return read_voc(folder, **options)


def written(annotations: Annotations, folder: Path, **plan: Any) -> list[tuple[Pixels, Pixels]]:
    """Return image and boxes in pixels of each record, as training reads them."""
    target = open_folder((folder / "dataset").as_uri())
    convert(annotations.photographs, ["tree"], Plan(image_format="png", **plan), target)
    place = Place(uri=target.uri_of("train-*"))
    return contents(read_dataset(place, ["tree"], folder / "cache"))


def contents(dataset: Dataset) -> list[tuple[Pixels, Pixels]]:
    assert not dataset.summary.bad_records
    found = []
    for image in dataset.images:
        encoded = dataset.read_image(image)
        assert orientation_of(Image.open(io.BytesIO(encoded))) == 1
        pixels = tf.io.decode_image(encoded, channels=3).numpy()
        sides = np.array([*pixels.shape[:2]] * 2)
        found.append((pixels, np.rint(image.annotations.boxes * sides).astype(int)))
    return found


def shown(pixels: Pixels, box: Pixels) -> Pixels:
    ymin, xmin, ymax, xmax = box
    return pixels[ymin:ymax, xmin:xmax]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("orientation", TURNED)
def test_applied_boxes_are_on_the_image_as_viewers_show_it(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    annotations = annotated(tmp_path, orientation, suffix=suffix, exif="apply")
    [(pixels, [box])] = written(annotations, tmp_path)
    assert pixels.shape == SCENE.shape
    xmin, ymin, xmax, ymax = OBJECT
    tolerance = 0 if suffix in {".png", ".tif"} else 40  # A small image in JPEG is not exact.
    expected = SCENE[ymin:ymax, xmin:xmax].astype(int)
    np.testing.assert_allclose(shown(pixels, box), expected, atol=tolerance)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_ignored_boxes_are_on_the_pixels_as_they_are_stored(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    annotations = annotated(tmp_path, orientation, suffix=suffix, exif="ignore")
    [(pixels, [box])] = written(annotations, tmp_path)
    stored = STORED[orientation](SCENE)
    np.testing.assert_array_equal(pixels, stored)
    assert box.tolist() == [2, 3, 6, 9]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", SIDES_CHANGE)
@pytest.mark.parametrize("viewer", [True, False], ids=["as viewers show it", "as it is stored"])
def test_the_annotated_size_decides(
    tmp_path: Path, orientation: int, suffix: str, *, viewer: bool
) -> None:
    size = (WIDTH, HEIGHT) if viewer else (HEIGHT, WIDTH)
    annotations = annotated(tmp_path, orientation, suffix=suffix, size=size)
    [photograph] = annotations.photographs
    assert (photograph.width, photograph.height) == size
    assert photograph.upright is viewer
    [(pixels, _)] = written(annotations, tmp_path)
    assert pixels.shape[:2] == size[::-1]


def test_the_size_decides_also_against_the_option_and_in_coco(tmp_path: Path) -> None:
    write_turned(tmp_path / "a.png", SCENE, 6)
    sizes = {"width": HEIGHT, "height": WIDTH}
    file = write_coco(
        tmp_path / "instances.json", images=[{"id": 7, "file_name": "a.png", **sizes}]
    )
    assert not read_coco(file, exif="apply").photographs[0].upright


@pytest.mark.parametrize(
    ("orientation", "size", "scene"),
    [
        (3, (WIDTH, HEIGHT), SCENE),
        (2, None, SCENE),
        (6, None, SCENE),
        (6, (0, 0), SCENE),
        (6, (16, 16), draw_scene(16, 16)),
    ],
    ids=["turned by 180 degrees", "mirrored", "no size", "a size of 0", "a square image"],
)
def test_it_asks_where_the_size_does_not_decide(
    tmp_path: Path, orientation: int, size: tuple[int, int] | None, scene: Pixels
) -> None:
    with pytest.raises(DataInvalidError, match="1 images have an EXIF orientation") as refused:
        annotated(tmp_path, orientation, size=size, scene=scene)
    assert "--exif apply" in str(refused.value)
    assert "--exif ignore" in str(refused.value)
    assert f"a.xml: a.png, orientation {orientation}" in str(refused.value)


def test_an_image_without_boxes_asks_nothing_and_is_written_upright(tmp_path: Path) -> None:
    write_turned(tmp_path / "a.png", SCENE, 6)
    write_voc(tmp_path / "a.xml", [], filename="a.png")
    [(pixels, _)] = written(read_voc(tmp_path), tmp_path)
    np.testing.assert_array_equal(pixels, SCENE)


@pytest.mark.parametrize("orientation", [0, 1, 9, 65535])
def test_an_orientation_that_means_nothing_leaves_the_file_as_it_is(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(SCENE).save(tmp_path / "a.jpg", exif=exif)
    write_voc(tmp_path / "a.xml", [("tree", *OBJECT)], filename="a.jpg")
    target = open_folder((tmp_path / "dataset").as_uri())
    convert(read_voc(tmp_path).photographs, ["tree"], Plan(), target)
    dataset = read_dataset(Place(uri=target.uri_of("train-*")), ["tree"], tmp_path)
    assert dataset.read_image(dataset.images[0]) == (tmp_path / "a.jpg").read_bytes()


def test_damaged_exif_is_no_orientation(tmp_path: Path) -> None:
    Image.fromarray(SCENE).save(tmp_path / "a.jpg", exif=b"Exif\0\0garbage that is no TIFF")
    with Image.open(tmp_path / "a.jpg") as image:
        assert orientation_of(image) == 1


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    write_turned(tmp_path / "a.png", SCENE, 3)
    content = (tmp_path / "a.png").read_bytes()
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    plain, end = without_orientation(content), png_chunk(b"IEND")
    late = png_chunk(b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(plain.removesuffix(end) + late + end)
    write_voc(tmp_path / "a.xml", [("tree", *OBJECT)], filename="a.png")
    [(pixels, _)] = written(read_voc(tmp_path, exif="apply"), tmp_path)
    np.testing.assert_array_equal(pixels, SCENE)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_loses_its_orientation_and_no_pixel(tmp_path: Path, suffix: str) -> None:
    path = write_turned(tmp_path / f"a{suffix}", SCENE, 6)
    plain = without_orientation(path.read_bytes())
    with Image.open(path) as before, Image.open(io.BytesIO(plain)) as after:
        assert (orientation_of(before), orientation_of(after)) == (6, 1)
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before))


def test_an_orientation_in_xmp_counts_as_one_in_exif(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="3"/></x:xmpmeta>'
    Image.fromarray(SCENE).save(tmp_path / "a.jpg", xmp=xmp)
    with Image.open(tmp_path / "a.jpg") as image:
        assert orientation_of(image) == 3
    plain = without_orientation((tmp_path / "a.jpg").read_bytes())
    assert orientation_of(Image.open(io.BytesIO(plain))) == 1


@pytest.mark.parametrize("orientation", TURNED)
def test_tiles_are_cut_from_the_turned_image(tmp_path: Path, orientation: int) -> None:
    annotations = annotated(tmp_path, orientation, exif="apply")
    tiles = written(annotations, tmp_path, tiling=Tiling(side=10))
    np.testing.assert_array_equal(tiles[0][0], SCENE[:10, :10])


@pytest.fixture
def turned_records(tmp_path: Path) -> Path:
    """TFRecords as another converter leaves them: the camera's file, boxes on what it stores."""
    image = write_turned(tmp_path / "a.jpg", draw_scene(24, 32), 3).read_bytes()
    (tmp_path / "label_map.pbtxt").write_text("item { id: 1 name: 'tree' }")
    records: list[bytes | Drawn] = [Drawn(seed=1), Drawn().record(image__encoded=[image])]
    return write_dataset(tmp_path / "in/a.tfrecord", records)


def test_inspect_counts_images_that_viewers_turn(
    turned_records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", str(turned_records), "--classes", "tree"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["turnedImages"] == 1
    assert main(words) == 0
    assert "turned by EXIF    1: viewers rotate these images" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["to-coco", "to-voc"])
def test_written_back_images_are_shown_as_training_reads_them(
    turned_records: Path, tmp_path: Path, layout: str
) -> None:
    words = [str(turned_records), str(tmp_path / "back"), "--classes", "tree"]
    assert main(["convert", layout, *words]) == 0
    images = [*(tmp_path / "back").rglob("*.jpg"), *(tmp_path / "back").rglob("*.png")]
    files = [io.BytesIO(path.read_bytes()) for path in images]
    assert [orientation_of(Image.open(file)) for file in files] == [1, 1]
