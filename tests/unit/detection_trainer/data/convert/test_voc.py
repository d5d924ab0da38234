from pathlib import Path

import numpy as np
import pytest

from detection_trainer.data.convert.voc import read_voc
from detection_trainer.errors import DataInvalidError, NotFoundError
from tests.support.annotations import draw_image, write_voc

ANNOTATION = (
    "<annotation><object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax>"
    "<ymax>{ymax}</ymax></bndbox></object></annotation>"
)
TREE = ("tree", 4, 5, 14, 13)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_image(tmp_path / "a.png", 40, 20)
    return tmp_path


def test_boxes_and_classes_are_read_as_they_stand(folder: Path) -> None:
    write_voc(folder / "a.xml", [TREE, ("bush", 0, 0, 40, 20)], filename="a.png", size=(40, 20))
    annotations = read_voc(folder)
    [photograph] = annotations.photographs
    assert (photograph.width, photograph.height) == (40, 20)
    np.testing.assert_array_equal(photograph.boxes, [[5, 4, 13, 14], [0, 0, 20, 40]])
    assert photograph.names == ("tree", "bush")
    assert annotations.classes == ["bush", "tree"]
    assert annotations.findings.clipped == 0


def test_difficult_objects_are_marked(folder: Path) -> None:
    write_voc(folder / "a.xml", [TREE], filename="a.png", difficult=1)
    assert read_voc(folder).photographs[0].difficult == (True,)


def test_an_image_without_objects_is_a_negative(folder: Path) -> None:
    write_voc(folder / "a.xml", [], filename="a.png")
    annotations = read_voc(folder)
    assert annotations.photographs[0].boxes.shape == (0, 4)
    assert annotations.classes == []


@pytest.mark.parametrize(
    "filename",
    ["a.png", "C:\\images\\a.png", "/somewhere/else/a.png", "a.jpg", "", "other-name.png"],
    ids=[
        "its own name",
        "a path of Windows",
        "a path on another machine",
        "the name before the image was converted",
        "no name",
        "a name that is not there, but the annotation's own is",
    ],
)
def test_the_image_is_found_by(folder: Path, filename: str) -> None:
    write_voc(folder / "a.xml", [TREE], filename=filename)
    assert read_voc(folder).photographs[0].path == folder / "a.png"


def test_a_devkit_is_read_as_it_is_laid_out(tmp_path: Path) -> None:
    draw_image(tmp_path / "JPEGImages" / "a.jpg", 40, 20)
    write_voc(tmp_path / "Annotations" / "a.xml", [TREE], filename="a.jpg")
    assert read_voc(tmp_path).photographs[0].path == tmp_path / "JPEGImages" / "a.jpg"


def test_only_the_named_annotations_are_read(folder: Path) -> None:
    draw_image(folder / "b.png", 40, 20)
    for name in "ab":
        write_voc(folder / f"{name}.xml", [TREE], filename=f"{name}.png")
    assert [p.path.stem for p in read_voc(folder, names=["b"]).photographs] == ["b"]
    with pytest.raises(NotFoundError, match=r"no annotation c\.xml"):
        read_voc(folder, names=["c"])


def test_a_box_beyond_the_edge_is_clipped_and_counted(folder: Path) -> None:
    write_voc(folder / "a.xml", [("tree", -2, 5, 41, 13)], filename="a.png")
    annotations = read_voc(folder)
    np.testing.assert_array_equal(annotations.photographs[0].boxes, [[5, 0, 13, 40]])
    assert annotations.findings.clipped == 1


@pytest.mark.parametrize(
    "box",
    [
        ("tree", 50, 5, 60, 13),
        ("tree", 14, 5, 4, 13),
        ("tree", 4, 5, 4, 13),
        ("tree", "nan", 5, 9, 13),
    ],
    ids=["outside the image", "corners the wrong way round", "no width", "not a number"],
)
def test_a_box_without_area_is_refused_or_dropped_by_name(
    folder: Path, box: tuple[str, float, float, float, float]
) -> None:
    write_voc(folder / "a.xml", [TREE, box], filename="a.png")
    with pytest.raises(DataInvalidError, match=r"a\.xml: box 1 \(tree\) has no area") as refused:
        read_voc(folder)
    assert "--drop-bad-boxes" in str(refused.value)
    annotations = read_voc(folder, drop_bad_boxes=True)
    assert annotations.photographs[0].names == ("tree",)
    assert len(annotations.findings.problems) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "expected Pascal VOC in XML"),
        ("<kml/>", "expected <annotation> at the top; received <kml>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "has a document type"),
        ("<annotation><object/></annotation>", "expected a number at object 0, bndbox/ymin"),
        (
            ANNOTATION.format(ymax="x"),
            "bndbox/ymax; received 'x'",
        ),
        (
            ANNOTATION.format(ymax="4"),
            "object 0 has no <name>",
        ),
        (
            "<annotation><size><width>20</width><height>40</height></size></annotation>",
            "says that a.png is 20 wide and 40 high; it is 40 wide and 20 high",
        ),
    ],
    ids=[
        "cut off",
        "another kind of XML",
        "a document type",
        "an object without box",
        "a corner that is no number",
        "an object without class",
        "a size that is not the image's",
    ],
)
def test_an_annotation_is_refused_for(folder: Path, text: str, message: str) -> None:
    (folder / "a.xml").write_text(text)
    with pytest.raises(DataInvalidError) as refused:
        read_voc(folder)
    assert message in str(refused.value)
    assert "a.xml" in str(refused.value)


def test_a_document_type_is_seen_in_utf_16_too(folder: Path) -> None:
    (folder / "a.xml").write_text("<!DOCTYPE a []><annotation/>", encoding="utf-16")
    with pytest.raises(DataInvalidError, match="has a document type"):
        read_voc(folder)


def test_an_empty_folder_and_a_missing_image_are_said(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="there are none"):
        read_voc(folder)
    write_voc(folder / "gone.xml", [TREE], filename="gone.png")
    with pytest.raises(NotFoundError, match=r"its image 'gone\.png' is not in"):
        read_voc(folder)


def test_a_file_that_is_no_image_is_said(folder: Path) -> None:
    (folder / "b.png").write_text("not a picture")
    write_voc(folder / "b.xml", [TREE], filename="b.png")
    with pytest.raises(DataInvalidError, match=r"b\.png: expected an image"):
        read_voc(folder)
