from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer.data.convert.coco import read_coco
from detection_trainer.errors import DataInvalidError, NotFoundError
from tests.support.trainer.annotations import draw_image, write_coco

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


def test_category_ids_with_gaps_are_renumbered_in_their_order(file: Path) -> None:
    assert read_coco(write_coco(file)).classes == ["car", "dog"]


def test_crowds_are_kept_as_such_and_images_without_objects_too(file: Path) -> None:
    draw_image(file.parent / "b.png", 10, 10)
    images = [{"id": 9, "file_name": "b.png"}, {"id": 7, "file_name": "a.png"}]
    write_coco(file, images=images, annotations=[{**OBJECT, "iscrowd": 1}])
    first, second = read_coco(file).photographs
    assert first.crowd == (True,)
    assert second.path.name == "b.png"
    assert second.boxes.shape == (0, 4)


def test_images_may_be_in_another_folder(file: Path, tmp_path: Path) -> None:
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
            "the categories 18, 19 all have the name 'dog'",
        ),
        (
            {"categories": [{"id": 18, "name": "dog"}, {"id": 18, "name": "car"}]},
            "each category needs an id of its own; given more than once: 18",
        ),
        (
            {"images": [{"id": 7, "file_name": "a.png"}, {"id": 7, "file_name": "a.png"}]},
            "each image needs an id of its own; given more than once: 7",
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
        "two categories of one id",
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


@pytest.mark.parametrize(
    ("text", "received"),
    [("[1, 2, 3]", "a list of 3"), ("null", "nothing"), ('"x"', "the text 'x'"), ("1", "value 1")],
)
def test_a_document_that_is_no_object_is_refused_in_words_of_json(
    file: Path, text: str, received: str
) -> None:
    file.write_text(text)
    with pytest.raises(DataInvalidError) as refused:
        read_coco(file)
    message = str(refused.value)
    assert "expected a JSON object with images, annotations and categories; received" in message
    assert received in message


def test_an_entry_that_is_no_object_is_refused_without_names_of_classes(file: Path) -> None:
    with pytest.raises(DataInvalidError, match=r"annotations\.0: expected an object") as refused:
        read_coco(write_coco(file, annotations=[[1, 2]]))
    assert "_Object" not in str(refused.value)


def test_invalid_json_is_distinguished_from_a_missing_file(file: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        read_coco(file)
    file.write_text("{")
    with pytest.raises(DataInvalidError, match="reading it failed"):
        read_coco(file)
    write_coco(file, images=[{"id": 7, "file_name": "gone.png"}])
    with pytest.raises(NotFoundError, match=r"gone\.png: the annotated image does not exist"):
        read_coco(file)


@pytest.mark.parametrize(
    "file_name",
    ["sub\\c d.png", "sub/c%20d.png", "SUB/C D.PNG", "./sub/c d.png", "sub/../sub/c d.png"],
    ids=["of Windows", "as in a URL", "in capitals", "with a dot", "with a way back"],
)
def test_an_image_is_found_by_a_name(file: Path, tmp_path: Path, file_name: str) -> None:
    draw_image(tmp_path / "sub/c d.png", 40, 20)
    write_coco(file, images=[{"id": 7, "file_name": file_name}])
    [photograph] = read_coco(file).photographs
    assert photograph.path == tmp_path / "sub/c d.png"


def test_a_name_of_windows_stays_below_the_folder(file: Path) -> None:
    write_coco(file, images=[{"id": 7, "file_name": "..\\..\\a.png"}])
    with pytest.raises(DataInvalidError, match="expected a path below"):
        read_coco(file)


def test_a_file_whose_name_contains_a_backslash_takes_precedence(
    file: Path, tmp_path: Path
) -> None:
    draw_image(tmp_path / "sub\\c.png", 40, 20)
    draw_image(tmp_path / "sub/c.png", 30, 20)
    write_coco(file, images=[{"id": 7, "file_name": "sub\\c.png"}])
    assert read_coco(file).photographs[0].width == 40


@pytest.mark.parametrize("second", ["a.png", "./a.png", "A.PNG"])
def test_two_entries_that_name_one_image_are_refused_by_name(file: Path, second: str) -> None:
    images = [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": second}]
    with pytest.raises(DataInvalidError, match=r"image 7 and .*image 9 both name the image"):
        read_coco(write_coco(file, images=images))


ROOT = {"id": 0, "name": "animals", "supercategory": "none"}
BELOW = [{"id": i, "name": n, "supercategory": "animals"} for i, n in ((3, "car"), (18, "dog"))]


def test_the_root_category_of_roboflow_is_left_out(file: Path) -> None:
    annotations = read_coco(write_coco(file, categories=[ROOT, *BELOW]))
    assert annotations.classes == ["car", "dog"]
    assert annotations.findings.left_out["rootCategories"] == ["animals"]


def test_a_root_category_may_have_the_name_of_one_below_it(file: Path) -> None:
    root = {"id": 0, "name": "dog", "supercategory": "none"}
    dog = {"id": 18, "name": "dog", "supercategory": "dog"}
    assert read_coco(write_coco(file, categories=[root, dog])).classes == ["dog"]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"categories": [{**ROOT, "id": 1}, *BELOW]}, {}),
        ({"categories": [ROOT, *BELOW, {"id": 19, "name": "cat"}]}, {}),
        ({"categories": [ROOT]}, {}),
        (
            {"categories": [ROOT, *BELOW], "annotations": [OBJECT, {**OBJECT, "category_id": 0}]},
            {},
        ),
        ({"categories": [ROOT, *BELOW]}, {"classes": ["animals", "dog", "car"]}),
    ],
    ids=[
        "another id",
        "a category that is not below it",
        "nothing below it",
        "a box of its own",
        "its name among the wanted classes",
    ],
)
def test_a_category_stays_with(file: Path, fields: dict[str, Any], options: Any) -> None:
    fields = {"annotations": [], **fields}
    assert "animals" in read_coco(write_coco(file, **fields), **options).classes


def test_categories_with_one_name_are_one_class_where_classes_are_given(file: Path) -> None:
    categories = [{"id": 18, "name": "dog"}, {"id": 19, "name": "dog"}]
    objects = [OBJECT, {**OBJECT, "category_id": 19}]
    write_coco(file, categories=categories, annotations=objects)
    with pytest.raises(DataInvalidError, match="--classes"):
        read_coco(file)
    assert read_coco(file, classes=["dog"]).photographs[0].names == ("dog", "dog")


def test_boxes_that_seem_to_be_fractions_are_refused_unless_declared(file: Path) -> None:
    write_coco(file, annotations=[{**OBJECT, "bbox": [0.1, 0.25, 0.25, 0.4]}])
    with pytest.raises(DataInvalidError, match="1 boxes lie between 0 and 1"):
        read_coco(file)
    [photograph] = read_coco(file, box_units="fractions").photographs
    np.testing.assert_allclose(photograph.boxes, [[5, 4, 13, 14]])


def test_all_bad_images_are_named_at_once_and_others_are_counted(file: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.png"} for i in (7, 8, 9)]
    with pytest.raises(NotFoundError, match="3 annotations or their images") as refused:
        read_coco(write_coco(file, images=images))
    assert all(f"{i}.png: the annotated image does not exist" in str(refused.value) for i in (7, 9))
    draw_image(file.parent / "other.png", 4, 4)
    assert read_coco(write_coco(file)).findings.left_out == {"imagesWithoutEntry": 1}
