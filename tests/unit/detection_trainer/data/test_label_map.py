"""Label maps in protobuf text."""

from pathlib import Path

import pytest

from detection_trainer.contract.dataset import Dataset
from detection_trainer.data.label_map import (
    class_gaps,
    class_ids,
    format_label_map,
    load_classes,
    parse_label_map,
)
from detection_trainer.errors import DataInvalidError, NotFoundError

PLACE = "s3://b/labels.pbtxt"


def parsed(text: str) -> list[str]:
    return parse_label_map(text.encode(), PLACE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('item { id: 1 name: "tree" }', ["tree"], id="one item"),
        pytest.param(
            "item {\n  name: 'b'\n  id: 2\n}\nitem{id:1,name:'a';}", ["a", "b"], id="any order"
        ),
        pytest.param(
            '# all\nitem: < id: 1 display_name: "tree" >  # one', ["tree"], id="display name only"
        ),
        pytest.param(
            'item { name: "/m/07j7r" id: 1 display_name: "Tree" }',
            ["/m/07j7r"],
            id="the name before the display name, as in records",
        ),
        pytest.param(
            'item { id: 1 name: "a" keypoints { id: 7 label: "nose" } }', ["a"], id="keypoints"
        ),
        pytest.param('item { id: 1 name: "ar" "bre" }', ["arbre"], id="adjacent strings"),
        pytest.param(r'item { id: 1 name: "H\303\274tte \"1\"" }', ['Hütte "1"'], id="escapes"),
        pytest.param(
            r'item { id: 1 name: "\303" "\274" }', ["ü"], id="a character in adjacent strings"
        ),
        pytest.param("item { id: 1 name: tree }", ["tree"], id="a name without quotes"),
        pytest.param(
            'item { id: 1 name: "a" };item { id: 2 name: "b" }', ["a", "b"], id="; between"
        ),
    ],
)
def test_what_people_write(text: str, expected: list[str]) -> None:
    assert parsed(text) == expected


def test_what_is_formatted_is_read_back() -> None:
    classes = ["tree", 'a "quoted" one', "back\\slash", "Hütte", "two\nlines"]
    assert parsed(format_label_map(classes)) == classes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "there is none", id="an empty file"),
        pytest.param(
            'item { id: 0 name: "x" }', "id 0 is 'x'; expected 'background'", id="id 0 as a class"
        ),
        pytest.param('item { id: 0 name: "background" }', "there is none", id="background alone"),
        pytest.param(
            'item { id: 1 name: "a" } item { id: 1001 name: "b" }',
            "received the id 1001; at most 1000",
            id="an id far away",
        ),
        pytest.param(
            'item { id: 1 name: "2" } item { id: 3 name: "b" }',
            "the ids 1, 2 have the name '2'",
            id="a name that is the number of a gap",
        ),
        pytest.param(
            f'item {{ id: 1 name: "{"x" * 129}" }}', "at most 128 characters", id="a long name"
        ),
        pytest.param(
            'item { id: 1 name: "a" }\nitem { id: 1 name: "b" }',
            "line 2: id 1 has two items, 'b' and 'a': keep the one",
            id="an id twice",
        ),
        pytest.param(
            'item { id: 1 name: "a" } item { id: 2 name: "a" }',
            "the ids 1, 2 have the name 'a'",
            id="a name twice",
        ),
        pytest.param("item { id: 1 }", "expected an item with id and name", id="no name"),
        pytest.param('item { name: "a" }', "received name: 'a'", id="no id"),
        pytest.param('item { id: -1 name: "a" }', "received id: '-1'", id="a negative id"),
        pytest.param('item { id: 1 name: "a"', "no closing brace", id="cut off"),
        pytest.param("item id: 1", "expected `:` or `{` behind item", id="no brace"),
        pytest.param("item", "expected `:` or `{` behind item", id="nothing behind item"),
        pytest.param(
            "tree\nshrub",
            "line 1: expected `:` or `{` behind tree; received 'shrub'",
            id="plain lines",
        ),
        pytest.param('\n["tree"]', "line 2: expected a field's name; received '['", id="JSON"),
        pytest.param('item { id: 1 name: "a }', "expected protobuf text", id="an open string"),
        pytest.param(
            "".join(f'item {{ id: {i} name: "{i}" }}' for i in range(1, 1002)),
            "1001 classes; at most 1000",
            id="too many",
        ),
    ],
)
def test_an_invalid_field_is_named(text: str, expected: str) -> None:
    with pytest.raises(DataInvalidError) as caught:
        parsed(text)
    assert PLACE in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        (r"\u677e", "松"),
        (r"\U0001F333", "🌳"),
        (r"\ud83c\udf33", "🌳"),
        (r"\x41\X4a\x4", "AJ\x04"),
        (r"\101\60\0", "A0\0"),
        (r"\346\235\276", "松"),
        (r"\a\b\f\n\r\t\v", "\a\b\f\n\r\t\v"),
        (r"\?\'\"\\", "?'\"\\"),
        (r"\\u677e", r"\u677e"),
    ],
)
def test_escapes_are_those_of_protobuf(string: str, expected: str) -> None:
    assert parsed(f'item {{ id: 1 name: "{string}" }}') == [expected]


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        (r"C:\data\x", r"line 1: unknown escape \d in a string"),
        (r"\é", r"unknown escape \é"),
        (r"\x", r"unknown escape \x"),
        (r"\u12", r"unknown escape \u"),
        (r"\U0011000", r"unknown escape \U"),
        (r"\U00110000", r"\U00110000 is not a character"),
        (r"\777", r"\777 is not a byte"),
        (r"\xff", "expected UTF-8 in the string of name"),
        (r"\ud83c", "expected UTF-8 in the string of name"),
    ],
)
def test_escapes_that_protobuf_does_not_know_are_refused(string: str, expected: str) -> None:
    with pytest.raises(DataInvalidError) as caught:
        parsed(f'item {{ id: 1 name: "{string}" }}')
    assert expected in str(caught.value)


def test_ids_with_gaps_keep_their_places() -> None:
    """As the label map of COCO, whose 80 classes have ids up to 90."""
    text = 'item { id: 4 name: "d" } item { id: 1 name: "a" } item { id: 0 name: "background" }'
    assert parsed(text) == ["a", "2", "3", "d"]


def test_a_class_is_found_by_its_name_or_its_display_name() -> None:
    classes = parsed(
        'item { id: 1 name: "/m/1" display_name: "Tree" }'
        'item { id: 3 name: "/m/3" display_name: "Shrub" }'
        'item { id: 4 name: "Shrub" }'
        'item { id: 5 name: "/m/5" display_name: "Bush" }'
        'item { id: 6 name: "/m/6" display_name: "Bush" }'
    )
    assert class_ids(classes) == {"/m/1": 1, "Tree": 1, "/m/3": 3, "Shrub": 4, "/m/5": 5, "/m/6": 6}
    assert class_gaps(classes) == {2}


def test_other_encodings_are_refused() -> None:
    with pytest.raises(DataInvalidError, match="UTF-8"):
        parse_label_map("item { id: 1 name: 'é' }".encode("latin-1"), PLACE)


def dataset(**classes: object) -> Dataset:
    return Dataset.model_validate({"train": {"uri": "file:///d/*.tfrecord"}, **classes})


def test_classes_come_from_the_training_or_from_the_map(tmp_path: Path) -> None:
    assert load_classes(dataset(classes=["a", "b"])) == ["a", "b"]
    file = tmp_path / "my labels.pbtxt"
    file.write_text(format_label_map(["tree"]))
    assert load_classes(dataset(labelMap={"uri": file.as_uri()})) == ["tree"]


def test_a_missing_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"labels\.pbtxt"):
        load_classes(dataset(labelMap={"uri": (tmp_path / "labels.pbtxt").as_uri()}))


def counted(number: int, **classes: object) -> Dataset:
    return Dataset.model_validate(
        {"train": {"uri": "s3://bucket/a"}, "numClasses": number, **classes}
    )


def test_a_label_map_has_the_classes_that_are_expected(tmp_path: Path) -> None:
    (tmp_path / "labels.pbtxt").write_text(format_label_map(["tree", "shrub"]))
    place = {"labelMap": {"uri": f"{tmp_path.as_uri()}/labels.pbtxt"}}
    assert load_classes(counted(2, **place)) == ["tree", "shrub"]
    with pytest.raises(DataInvalidError) as refused:
        load_classes(counted(90, **place))
    assert str(refused.value) == (
        f"{tmp_path.as_uri()}/labels.pbtxt: expected 90 classes, the value of dataset.numClasses "
        "(num_classes of a pipeline.config); received 2: tree, shrub. Correct the number, or "
        "name the label map with all classes"
    )


def test_a_list_of_classes_has_as_many_too() -> None:
    assert load_classes(counted(1, classes=["tree"])) == ["tree"]
    with pytest.raises(ValueError, match=r"dataset\.classes: expected 2 classes.*received 1: tree"):
        counted(2, classes=["tree"])
