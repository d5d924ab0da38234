from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer.data.convert.coco import read_coco
from detection_trainer.errors import DataInvalidError, NotFoundError
from tests.support.annotations import draw_image, write_coco

OBJECT = {"image_id": 7, "category_id": 18, "bbox": [4, 5, 10, 8]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    draw_image(tmp_path / "a.png", 40, 20)
    return tmp_path / "instances.json"


def test_corners_are_made_of_x_y_width_height(file: Path) -> None:
    [photograph] = read_coco(write_coco(file)).photographs
    np.testing.assert_array_equal(photograph.boxes, [[5, 4, 13, 14]])
    assert photograph.names == ("dog",)
    assert photograph.crowd == (False,)


def test_category_ids_with_gaps_are_numbered_anew_in_their_order(file: Path) -> None:
    assert read_coco(write_coco(file)).classes == ["car", "dog"]


def test_crowds_are_kept_as_such_and_images_without_objects_too(file: Path) -> None:
    draw_image(file.parent / "b.png", 10, 10)
    images = [{"id": 9, "file_name": "b.png"}, {"id": 7, "file_name": "a.png"}]
    write_coco(file, images=images, annotations=[{**OBJECT, "iscrowd": 1}])
    first, second = read_coco(file).photographs
    assert first.crowd == (True,)
    assert second.path.name == "b.png"
    assert second.boxes.shape == (0, 4)


def test_images_may_lie_elsewhere(file: Path, tmp_path: Path) -> None:
    draw_image(tmp_path / "pictures" / "sub" / "c.png", 40, 20)
    write_coco(file, images=[{"id": 7, "file_name": "sub/c.png"}])
    [photograph] = read_coco(file, tmp_path / "pictures").photographs
    assert photograph.path == tmp_path / "pictures" / "sub" / "c.png"


def test_degenerate_boxes_are_refused_or_dropped(file: Path) -> None:
    write_coco(file, annotations=[OBJECT, {**OBJECT, "bbox": [4, 5, 0, 8]}])
    with pytest.raises(DataInvalidError, match=r"image 7: box 1 \(dog\) has no area"):
        read_coco(file)
    assert read_coco(file, drop_bad_boxes=True).photographs[0].names == ("dog",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"categories": []}, "categories"),
        ({"annotations": [{"image_id": 7, "category_id": 18}]}, "annotations.0.bbox"),
        ({"annotations": [{**OBJECT, "bbox": [1, 2, 3]}]}, "annotations.0.bbox"),
        ({"annotations": [{**OBJECT, "image_id": 8}]}, "annotations[0] has image_id 8"),
        ({"annotations": [{**OBJECT, "category_id": 1}]}, "annotations[0] has category_id 1"),
        (
            {"categories": [{"id": 18, "name": "dog"}, {"id": 19, "name": "dog"}]},
            "some are given twice",
        ),
        (
            {"images": [{"id": 7, "file_name": "a.png"}, {"id": 7, "file_name": "a.png"}]},
            "some are given twice",
        ),
        (
            {"images": [{"id": 7, "file_name": "a.png", "width": 20, "height": 40}]},
            "is 20 wide and 40 high; it is 40 wide and 20 high",
        ),
        ({"images": [{"id": 7, "file_name": "../../etc/passwd"}]}, "expected a path below"),
    ],
    ids=[
        "no category",
        "an object without box",
        "a box of three numbers",
        "an image that is not there",
        "a category that is not there",
        "two categories of one name",
        "two images of one id",
        "a size that is not the image's",
        "an image outside the folder",
    ],
)
def test_a_file_is_refused_for(file: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataInvalidError) as refused:
        read_coco(write_coco(file, **fields))
    assert message in str(refused.value)
    assert str(file) in str(refused.value)


def test_what_is_no_json_and_what_is_missing_are_told_apart(file: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        read_coco(file)
    file.write_text("{")
    with pytest.raises(DataInvalidError, match="reading it failed"):
        read_coco(file)
    write_coco(file, images=[{"id": 7, "file_name": "gone.png"}])
    with pytest.raises(NotFoundError, match=r"gone\.png: the annotated image does not exist"):
        read_coco(file)
