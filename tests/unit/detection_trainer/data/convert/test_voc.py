from pathlib import Path

import numpy as np
import pytest

from detection_trainer.data.convert.voc import read_voc
from detection_trainer.errors import DataInvalidError, NotFoundError
from tests.support.trainer.annotations import draw_image, write_voc

ANNOTATION = (
    "<annotation><object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax>"
    "<ymax>{ymax}</ymax></bndbox></object></annotation>"
)
TREE = ("tree", 4, 5, 14, 13)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_image(tmp_path / "a.png", 40, 20)
    return tmp_path


def test_boxes_and_classes_are_read_unchanged(folder: Path) -> None:
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
    [
        "a.png",
        "C:\\images\\a.png",
        "/somewhere/else/a.png",
        "a.jpg",
        "",
        "other-name.png",
        "a",
        "A.PNG",
        "a.JPG",
        "A",
    ],
    ids=[
        "its own name",
        "a path of Windows",
        "a path on another machine",
        "the name before the image was converted",
        "no name",
        "a name that is not there, but the annotation's own is",
        "a name without suffix",
        "a name in capitals",
        "a name in capitals before the image was converted",
        "a name in capitals without suffix",
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
            "states that a.png is 20 wide and 40 high; it is 40 wide and 20 high",
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


def test_an_empty_folder_and_a_missing_image_are_reported(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="there are none"):
        read_voc(folder)
    write_voc(folder / "gone.xml", [TREE], filename="gone.png")
    with pytest.raises(NotFoundError, match=r"its image 'gone\.png' is not in"):
        read_voc(folder)


def test_a_file_that_is_no_image_is_reported(folder: Path) -> None:
    (folder / "b.png").write_text("not a picture")
    write_voc(folder / "b.xml", [TREE], filename="b.png")
    with pytest.raises(DataInvalidError, match=r"b\.png: expected an image"):
        read_voc(folder)


@pytest.mark.parametrize("filename", ["IMG_1", "IMG_1.jpg", "img_1.jpg", "photos\\IMG_1.jpg"])
def test_suffixes_are_found_in_any_case(tmp_path: Path, filename: str) -> None:
    draw_image(tmp_path / "photos/IMG_1.PNG", 40, 20).rename(tmp_path / "photos/IMG_1.JPG")
    write_voc(tmp_path / "xml/x.xml", [TREE], filename=filename)
    [photograph] = read_voc(tmp_path / "xml", tmp_path / "photos").photographs
    assert photograph.path.name == "IMG_1.JPG"


def test_a_number_behind_a_point_is_no_suffix(folder: Path) -> None:
    draw_image(folder / "plot.png", 40, 20)
    write_voc(folder / "x.xml", [TREE], filename="plot.12")
    with pytest.raises(NotFoundError, match=r"its image 'plot\.12' is not in"):
        read_voc(folder)


def test_an_annotation_may_be_named_by_the_whole_image(folder: Path) -> None:
    write_voc(folder / "a.png.xml", [TREE], filename="")
    assert read_voc(folder).photographs[0].path == folder / "a.png"


def test_two_annotations_that_name_one_image_are_refused_by_name(folder: Path) -> None:
    draw_image(folder / "b.png", 40, 20)
    for name in "ab":
        write_voc(folder / f"{name}.xml", [TREE], filename="a.png")
    with pytest.raises(DataInvalidError, match=r"a\.xml and .*b\.xml both name the image .*a\.png"):
        read_voc(folder)


def test_an_image_named_in_another_case_is_the_same_image(folder: Path) -> None:
    write_voc(folder / "x.xml", [TREE], filename="A.PNG")
    write_voc(folder / "y.xml", [TREE], filename="./a.png")
    with pytest.raises(DataInvalidError, match="both name the image"):
        read_voc(folder)


@pytest.mark.parametrize("images", ["beside", "elsewhere", "devkit"])
def test_annotations_in_subfolders_belong_to_images_in_the_same(
    tmp_path: Path, images: str
) -> None:
    xml, pictures = {
        "beside": ("set", "set"),
        "elsewhere": ("xml", "pictures"),
        "devkit": ("kit/Annotations", "kit/JPEGImages"),
    }[images]
    for part, width in (("one", 40), ("two", 30)):
        draw_image(tmp_path / pictures / part / "a.png", width, 20)
        file = tmp_path / xml / part / "a.XML"
        write_voc(file, [TREE], filename="a.png", size=(width, 20))
    given = tmp_path / pictures if images == "elsewhere" else None
    source = tmp_path / "kit" if images == "devkit" else tmp_path / xml
    found = read_voc(source, given).photographs
    assert [(p.path.parent.name, p.width) for p in found] == [("one", 40), ("two", 30)]


def test_several_devkits_are_read_from_the_folder_above_them(tmp_path: Path) -> None:
    for kit in ("VOC2007", "VOC2012"):
        draw_image(tmp_path / kit / "JPEGImages/a.jpg", 40, 20)
        write_voc(tmp_path / kit / "Annotations/a.xml", [TREE], filename="a.jpg")
    found = read_voc(tmp_path).photographs
    assert [p.path.parts[-3] for p in found] == ["VOC2007", "VOC2012"]


def test_the_folder_in_an_annotation_is_searched(tmp_path: Path) -> None:
    draw_image(tmp_path / "pictures/one/a.png", 40, 20)
    file = write_voc(tmp_path / "xml/a.xml", [TREE], filename="a.png")
    text = file.read_text().replace("<filename>", "<folder>one</folder><filename>")
    file.write_text(text)
    [photograph] = read_voc(tmp_path / "xml", tmp_path / "pictures").photographs
    assert photograph.path.parent.name == "one"


def test_an_annotation_is_chosen_by_name_or_by_path(tmp_path: Path) -> None:
    for part in ("one", "two"):
        draw_image(tmp_path / part / "a.png", 40, 20)
        write_voc(tmp_path / part / "a.xml", [TREE], filename="a.png")
    annotations = read_voc(tmp_path, names=["two/a"])
    assert annotations.photographs[0].path.parent.name == "two"
    assert annotations.findings.left_out == {"annotationsNotNamed": 1}
    with pytest.raises(DataInvalidError, match=r"'a' names one/a\.xml and two/a\.xml"):
        read_voc(tmp_path, names=["a"])


def test_what_is_left_out_is_counted(folder: Path) -> None:
    write_voc(folder / "a.xml", [TREE], filename="a.png")
    draw_image(folder / "b.JPG", 40, 20)
    (folder / "a.png.aux.xml").write_text("<PAMDataset/>")
    (folder / ".hidden").mkdir()
    (folder / ".hidden/x.xml").write_text("<other/>")
    assert read_voc(folder).findings.left_out == {
        "otherXMLFiles": 1,
        "imagesWithoutAnnotation": 1,
    }


def test_all_bad_annotations_are_named_at_once(folder: Path) -> None:
    write_voc(folder / "a.xml", [TREE], filename="a.png")
    write_voc(folder / "b.xml", [TREE], filename="gone.png")
    (folder / "c.xml").write_text("<annotation>")
    with pytest.raises(DataInvalidError, match="2 annotations or their images") as refused:
        read_voc(folder)
    assert "b.xml: its image 'gone.png'" in str(refused.value)
    assert "c.xml: expected Pascal VOC in XML" in str(refused.value)


FRACTION = ("tree", 0.1, 0.25, 0.35, 0.65)


@pytest.mark.parametrize("dropping", [True, False])
def test_boxes_that_seem_to_be_fractions_are_refused_unless_declared(
    folder: Path, *, dropping: bool
) -> None:
    write_voc(folder / "a.xml", [FRACTION], filename="a.png")
    with pytest.raises(DataInvalidError, match="1 boxes lie between 0 and 1") as refused:
        read_voc(folder, drop_bad_boxes=dropping)
    assert "a.xml: box 0 (tree)" in str(refused.value)
    [photograph] = read_voc(folder, box_units="fractions").photographs
    np.testing.assert_allclose(photograph.boxes, [[5, 4, 13, 14]])
    [photograph] = read_voc(folder, box_units="pixels").photographs
    np.testing.assert_allclose(photograph.boxes, [[0.25, 0.1, 0.65, 0.35]])


def test_pixels_are_no_fractions(folder: Path) -> None:
    write_voc(folder / "a.xml", [FRACTION, TREE], filename="a.png")
    with pytest.raises(DataInvalidError, match=r"1 boxes are no fractions(?s:.*)box 1 \(tree\)"):
        read_voc(folder, box_units="fractions")


def test_a_box_that_float32_makes_empty_has_no_area(folder: Path) -> None:
    write_voc(folder / "a.xml", [("tree", 20, 5, 20.0000001, 13)], filename="a.png")
    with pytest.raises(DataInvalidError, match="has no area"):
        read_voc(folder)
