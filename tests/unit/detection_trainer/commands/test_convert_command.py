import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from detection_trainer.__main__ import main
from detection_trainer.commands.pipeline_file import load_training
from detection_trainer.contract.exit_codes import ExitCode
from tests.support.trainer.annotations import draw_image, write_coco, write_voc

EXAMPLES = Path(__file__).parents[4] / "examples"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name in ("a", "b"):
        draw_image(folder / f"{name}.png", 40, 20)
        write_voc(folder / f"{name}.xml", [("tree", 2, 4, 8, 10)], filename=f"{name}.png")
    return folder


def convert(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["convert", *map(str, words), "--json"]) == ExitCode.COMPLETED
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_pascal_voc_becomes_what_a_training_names(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    printed = convert(capsys, "voc", source, target, "--tile", 20, "--holdout", 0.5)
    assert printed["train"]["uri"] == f"{target.as_uri()}/train-*.tfrecord"
    assert printed["validation"]["images"] == 2
    assert printed["labelMap"] == f"{target.as_uri()}/label_map.pbtxt"
    assert (target / "label_map.pbtxt").read_text() == 'item {\n  id: 1\n  name: "tree"\n}\n'
    assert printed["droppedBoxes"] == []


def test_coco_likewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_image(tmp_path / "a.png", 40, 20)
    file = write_coco(tmp_path / "instances.json")
    printed = convert(capsys, "coco", file, tmp_path / "out", "--images", tmp_path)
    assert printed["train"]["boxesPerClass"] == {"car": 0, "dog": 1}


@pytest.mark.parametrize("name", ["out", "50% of: #1 'été'", 'a "b" \\c'])
def test_what_is_printed_can_be_pasted_into_a_training(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words = ["voc", source, tmp_path / name, "--tile", 20, "--holdout", 0.5]
    assert main(["convert", *map(str, words)]) == ExitCode.COMPLETED
    printed = capsys.readouterr()
    assert printed.err == ""
    text = (EXAMPLES / "trees-local.yaml").read_text()
    start, end = text.index("  dataset:"), text.index("  steps:")
    pasted = tmp_path / "training.yaml"
    pasted.write_text(text[:start] + printed.out + text[end:])
    training = load_training(pasted, {})
    dataset = training.spec.dataset
    assert dataset is not None
    assert dataset.label_map is not None
    assert dataset.validation is not None
    label_map = str(tmp_path / name / "label_map.pbtxt")
    assert main(["inspect", dataset.train.uri, "--label-map", label_map]) == ExitCode.COMPLETED
    assert "  # 2 images, 2 boxes\n" in printed.out
    assert printed.out.endswith("  # tree\n")


def test_standard_error_reports_what_is_not_converted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_image(source / "c.png", 40, 20)
    write_voc(source / "a.xml", [("tree", 2, 4, 2, 10)], filename="a.png")
    write_voc(source / "b.xml", [("tree", 2, 4, 48, 10)], filename="b.png")
    words = ["voc", source, tmp_path / "out", "--drop-bad-boxes"]
    assert main(["convert", *map(str, words)]) == ExitCode.COMPLETED
    printed = capsys.readouterr()
    assert set(yaml.safe_load(printed.out)) == {"dataset"}
    clipped, dropped, problem, left_out = printed.err.splitlines()
    assert clipped == "boxes clipped at the edge of their image: 1"
    assert dropped == "invalid boxes, left out: 1"
    assert "a.xml" in problem
    assert left_out == "not converted: images without annotation: 1"


@pytest.mark.parametrize("option", ["--classes", "--label-map"])
def test_the_order_of_classes_can_be_given(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    label_map = tmp_path / "given.pbtxt"
    label_map.write_text("item { id: 1 name: 'bush' } item { id: 2 name: 'tree' }")
    value = {"--classes": "bush, tree", "--label-map": label_map}[option]
    printed = convert(capsys, "voc", source, tmp_path / "out", option, value)
    assert printed["classes"] == ["bush", "tree"]


def test_names_are_read_as_voc_lists_them(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text("b  1\n\n")
    printed = convert(capsys, "voc", source, tmp_path / "out", "--names", tmp_path / "train.txt")
    assert printed["train"]["images"] == 1


def test_dropped_boxes_are_reported(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_voc(source / "a.xml", [("tree", 2, 4, 2, 10)], filename="a.png")
    printed = convert(capsys, "voc", source, tmp_path / "out", "--drop-bad-boxes")
    assert len(printed["droppedBoxes"]) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--names", "gone.txt"], ExitCode.NOT_FOUND),
        (["--overlap", "1"], ExitCode.INVALID_CONFIG),
        (["--classes", "bush"], ExitCode.DATA_INVALID),
        (["--holdout-names", "z"], ExitCode.INVALID_CONFIG),
    ],
    ids=["a missing list", "tiles that do not advance", "an unknown class", "an unknown image"],
)
def test_refusals_have_the_contract_s_codes(
    source: Path, tmp_path: Path, words: list[str], code: ExitCode
) -> None:
    assert main(["convert", "voc", str(source), str(tmp_path / "out"), *words]) == code


def test_without_any_box_the_classes_must_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_image(tmp_path / "a.png", 40, 20)
    write_voc(tmp_path / "a.xml", [], filename="a.png")
    assert main(["convert", "voc", str(tmp_path), str(tmp_path / "o")]) == ExitCode.DATA_INVALID
    assert "name the classes with --classes" in capsys.readouterr().err


def test_what_is_left_out_is_reported(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_image(source / "c.png", 40, 20)
    printed = convert(capsys, "voc", source, tmp_path / "out")
    assert printed["leftOut"] == {"imagesWithoutAnnotation": 1}


def test_boxes_in_fractions_can_be_declared(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        write_voc(source / f"{name}.xml", [("tree", 0.1, 0.1, 0.5, 0.5)], filename=f"{name}.png")
    words = ["voc", source, tmp_path / "out"]
    assert main(["convert", *map(str, words)]) == ExitCode.DATA_INVALID
    assert "--box-units fractions" in capsys.readouterr().err
    assert convert(capsys, *words, "--box-units", "fractions")["train"]["boxes"] == 2


def test_categories_with_one_name_become_one_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_image(tmp_path / "a.png", 40, 20)
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "dog"}]
    file = write_coco(tmp_path / "instances.json", categories=categories)
    assert main(["convert", "coco", str(file), str(tmp_path / "out")]) == ExitCode.DATA_INVALID
    printed = convert(capsys, "coco", file, tmp_path / "out", "--classes", "dog")
    assert printed["classes"] == ["dog"]


@pytest.mark.parametrize("name", ["100%", "50%20", "a b", "[x]", "#1?"])
def test_the_printed_uris_can_be_given_to_inspect(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    printed = convert(capsys, "voc", source, tmp_path / name / "out%20")
    assert main(["inspect", printed["train"]["uri"], "--label-map", printed["labelMap"]]) == 0
