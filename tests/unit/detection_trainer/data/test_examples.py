"""Records as images with boxes: what is read, and each way in which a record is invalid."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection_trainer.data.examples import AnnotatedImage, InvalidExampleError, read_example
from detection_trainer.data.label_map import parse_label_map
from detection_trainer.data.wire import Values
from sandbox.samples.datasets import CLASSES, Drawn

TWO_BOXES = Drawn(boxes=((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)), labels=(1, 2))


def read(record: bytes, *, decode: bool = True) -> AnnotatedImage:
    return read_example(memoryview(record), CLASSES, decode=decode)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_a_whole_record(image_format: str) -> None:
    drawn = Drawn(image_format=image_format, crowd=[1], seed=3)
    record = drawn.record(image__object__difficult=[1])
    image = read(record)
    assert (image.name, image.height, image.width) == ("image-3", 24, 32)
    assert image.boxes.tolist() == [[0.25, 0.25, 0.5, 0.75]]
    assert image.boxes.dtype == np.float32
    assert image.labels.tolist() == [1]
    assert (image.crowd.tolist(), image.difficult.tolist()) == ([True], [True])
    span = slice(image.image_start, image.image_start + image.image_length)
    assert record[span] == drawn.encoded()


def test_a_group_is_a_crowd() -> None:
    boxes = ((0.0, 0.0, 0.5, 0.5),) * 3
    record = Drawn(boxes=boxes, labels=[1, 1, 2], crowd=[1, 0, 0]).record(
        image__object__group_of=[0, 1, 0]
    )
    assert read(record).crowd.tolist() == [True, True, False]


def test_an_image_without_boxes_is_one() -> None:
    image = read(Drawn(boxes=(), labels=()).record())
    assert image.boxes.shape == (0, 4)
    assert image.labels.shape == image.crowd.shape == image.difficult.shape == (0,)


def test_names_of_classes_serve_where_numbers_are_missing() -> None:
    record = TWO_BOXES.record(
        image__object__class__label=[], image__object__class__text=[b"shrub", b"tree"]
    )
    assert read(record).labels.tolist() == [2, 1]


def test_weights_of_1_change_nothing() -> None:
    plain, weighted = read(TWO_BOXES.record()), TWO_BOXES.record(image__object__weight=[1.0, 1.0])
    assert read(weighted).boxes.tolist() == plain.boxes.tolist()


LABEL_MAP = parse_label_map(
    b'item { id: 1 name: "/m/1" display_name: "Tree" } item { id: 3 name: "/m/3" }', "labels"
)


@pytest.mark.parametrize("text", [b"/m/1", b"Tree"])
@pytest.mark.parametrize("label", [[1], []])
def test_text_is_found_in_name_or_display_name(text: bytes, label: list[int]) -> None:
    record = Drawn().record(image__object__class__text=[text], image__object__class__label=label)
    assert read_example(memoryview(record), LABEL_MAP, decode=False).labels.tolist() == [1]


def test_a_label_that_the_label_map_leaves_out_is_refused() -> None:
    record = memoryview(Drawn(labels=(2,)).record())
    with pytest.raises(InvalidExampleError, match="label 2, for which the label map has no item"):
        read_example(record, LABEL_MAP, decode=False)


def test_the_file_name_serves_where_there_is_no_source_id() -> None:
    record = Drawn().record(image__source_id=[], image__filename=[b"a.png"])
    assert read(record).name == "a.png"


def test_a_box_beyond_the_edge_by_rounding_is_clipped() -> None:
    image = read(Drawn(boxes=((-0.00005, 0.0, 1.00005, 0.5),)).record())
    assert image.boxes.tolist() == [[0.0, 0.0, 1.0, 0.5]]


def test_a_jpeg_with_bytes_behind_its_end_is_whole() -> None:
    encoded = Drawn(image_format="JPEG").encoded() + b"camera"
    assert read(Drawn().record(image__encoded=[encoded])).image_length == len(encoded)


def gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (32, 24)).save(buffer, "GIF")
    return buffer.getvalue()


PNG, JPEG = Drawn().encoded(), Drawn(image_format="JPEG", height=240, width=320).encoded()
FLIPPED = PNG[:200] + bytes([PNG[200] ^ 1]) + PNG[201:]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"image__encoded": []}, "expected one image in image/encoded", id="no image"),
        pytest.param(
            {"image__encoded": [b""]}, "received an empty one (features:", id="an empty image"
        ),
        pytest.param({"image__encoded": [PNG, PNG]}, "received 2 (features:", id="two images"),
        pytest.param(
            {"image__object__is_crowd": [1.0]},
            "image/object/is_crowd: expected int64 values, as the OD API reads them; received "
            "float values",
            id="crowds as floats",
        ),
        pytest.param(
            {"image__object__difficult": [b"1"]},
            "image/object/difficult: expected int64 values",
            id="difficult as text",
        ),
        pytest.param(
            {f"image__object__bbox__{edge}": [1] for edge in ("ymin", "xmin", "ymax", "xmax")},
            "image/object/bbox/ymin: expected float values",
            id="boxes as whole numbers",
        ),
        pytest.param(
            {"image__object__class__label": [1.0]},
            "image/object/class/label: expected int64 values",
            id="labels as floats",
        ),
        pytest.param(
            {"image__object__class__text": [1]},
            "image/object/class/text: expected bytes values",
            id="names as numbers",
        ),
        pytest.param({"image__height": [24.0]}, "image/height: expected int64", id="float height"),
        pytest.param(
            {"image__object__weight": [0.0]},
            "image/object/weight: box 0 has the weight 0; expected 1",
            id="a weight of 0",
        ),
        pytest.param(
            {"image__object__weight": [1]},
            "image/object/weight: expected float values",
            id="weights as whole numbers",
        ),
        pytest.param(
            {"image__object__weight": [1.0, 1.0]}, "weight for each of 1 boxes", id="many weights"
        ),
        pytest.param(
            {"image__encoded": [b"not an image"]},
            "neither JPEG nor PNG: its 12 bytes begin with 6e 6f 74",
            id="no image file",
        ),
        pytest.param({"image__encoded": [gif()]}, "neither JPEG nor PNG", id="a GIF"),
        pytest.param({"image__encoded": [PNG[:500]]}, "does not decode", id="a truncated PNG"),
        pytest.param({"image__encoded": [FLIPPED]}, "does not decode", id="a damaged PNG"),
        pytest.param({"image__encoded": [JPEG[:9000]]}, "does not decode", id="a truncated JPEG"),
        pytest.param({"image__height": [25]}, "image/height is 25", id="another height"),
        pytest.param({"image__width": [24]}, "image/width is 24", id="another width"),
        pytest.param(
            {"image__object__class__label": [3]},
            "label 3, outside the label map, whose ids are 1 to 2",
            id="a label outside the label map",
        ),
        pytest.param({"image__object__class__label": [0]}, "label 0, outside", id="background"),
        pytest.param(
            {"image__object__class__label": [1, 2]},
            "expected a class for each of 1 boxes; received 2",
            id="more labels than boxes",
        ),
        pytest.param(
            {"image__object__class__label": []}, "each of 1 boxes; received 0", id="no labels"
        ),
        pytest.param(
            {"image__object__class__text": [b"shrub"]},
            "label 1, which is 'shrub' here and 'tree' in the label map",
            id="a label of another label map",
        ),
        pytest.param(
            {"image__object__class__label": [], "image__object__class__text": [b"bush"]},
            "the class 'bush' is not in the label map, which has tree, shrub",
            id="an unknown name",
        ),
        pytest.param({"image__object__bbox__xmax": []}, "four edges", id="an edge is missing"),
        pytest.param(
            {"image__object__bbox__xmax": [1.2]},
            "box 0 of 1 lies outside the image",
            id="a box outside the image",
        ),
        pytest.param({"image__object__bbox__ymin": [-0.1]}, "outside the image", id="above it"),
        pytest.param({"image__object__bbox__ymax": [120.0]}, "expected fractions", id="pixels"),
        pytest.param({"image__object__bbox__ymax": [float("nan")]}, "outside", id="NaN"),
        pytest.param({"image__object__bbox__ymax": [0.25]}, "has no area", id="no height"),
        pytest.param({"image__object__bbox__xmax": [0.1]}, "has no area", id="edges swapped"),
        pytest.param({"image__object__is_crowd": [0, 1]}, "is_crowd for each", id="many crowds"),
    ],
)
def test_an_invalid_field_is_named(changes: dict[str, Values], expected: str) -> None:
    with pytest.raises(InvalidExampleError) as caught:
        read(Drawn().record(**changes))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(PNG[:500], id="a truncated PNG"),
        pytest.param(FLIPPED, id="a damaged PNG"),
        pytest.param(JPEG[:9000], id="a truncated JPEG"),
        pytest.param(PNG[:-12], id="a PNG without its end"),
    ],
)
def test_most_damage_is_found_without_decoding(encoded: bytes) -> None:
    changes: dict[str, Any] = {
        "image__encoded": [encoded], "image__height": [], "image__width": []
    }  # fmt: skip
    with pytest.raises(InvalidExampleError, match="cut off or damaged"):
        read(Drawn().record(**changes), decode=False)


def test_bytes_that_are_no_example_are_refused() -> None:
    with pytest.raises(InvalidExampleError, match=r"expected a serialised tf\.train\.Example"):
        read(b"\x0a\x05ab")


def test_an_image_too_large_to_decode_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("1", (16385, 1)).save(buffer, "PNG")
    with pytest.raises(InvalidExampleError, match="at most 16384 a side; tile it"):
        read(Drawn().record(image__encoded=[buffer.getvalue()]), decode=False)
