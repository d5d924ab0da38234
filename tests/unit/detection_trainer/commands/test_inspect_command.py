"""What `detection-trainer inspect` prints about a dataset."""

import json
from pathlib import Path

import pytest

from detection_trainer.__main__ import main
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.data import dataset as module
from sandbox.samples.datasets import Drawn, write_dataset

LARGE = Drawn(((0.0, 0.0, 0.96, 0.96), (0.0, 0.0, 0.32, 0.32)), (2, 1), 100, 100, crowd=(0, 1))
GOOD = [Drawn(), LARGE, Drawn((), (), seed=2)]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    label_map = tmp_path / "label_map.pbtxt"
    label_map.write_text("item { id: 1 name: '[tree]' } item { id: 2 name: 'shrub' }")
    return write_dataset(tmp_path / "a.tfrecord", GOOD)


@pytest.mark.parametrize("form", ["file", "pattern", "uri"])
def test_a_dataset_is_counted_with_the_label_map_beside_it(
    good: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    place = {
        "file": str(good),
        "pattern": f"{good.parent}/*.tfrecord",
        "uri": f"{good.parent.as_uri()}/a*",
    }[form]
    assert main(["inspect", place, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images"] == 3
    assert printed["imagesWithoutBoxes"] == 1
    assert printed["boxesPerClass"] == {"[tree]": 2, "shrub": 1}
    assert printed["boxesPerSize"] == {"small": 1, "medium": 1, "large": 1}
    assert printed["crowdBoxes"] == 1
    assert printed["imageHeight"] == [24, 100]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("train-00000-of-00002.tfrecord", "train-*"),
        ("a.tfrecord", "*.tfrecord"),
        ("trees_val.record-00000-of-00010", "trees_val.record-*"),
    ],
)
def test_for_a_folder_of_records_the_command_to_inspect_it_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, pattern: str
) -> None:
    (tmp_path / "label_map.pbtxt").write_text("item { id: 1 name: 'tree' }")
    write_dataset(tmp_path / name, GOOD[:1])
    assert main(["inspect", str(tmp_path)]) == 56
    printed = capsys.readouterr().err
    assert f"is a folder of TFRecords, such as {name}" in printed
    assert f"`detection-trainer inspect '{tmp_path.as_uri()}/{pattern}'`" in printed


def test_a_person_reads_a_table(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(good)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "images 3, 1 without boxes" in lines
    assert "boxes 3: 1 small, 1 medium, 1 large" in lines
    assert "class [tree] 2" in lines
    assert "width x height 32x24 to 100x100" in lines


def test_every_problem_is_named_by_file_and_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is only sampled before a training is looked at whole here.
    monkeypatch.setattr(module, "VERIFIED_BYTES", 0)
    monkeypatch.setattr(module, "DECODED_BYTES", 0)
    outside = Drawn(boxes=((0.5, 0.5, 1.5, 1.0),))
    path = write_dataset(tmp_path / "a.tfrecord", [Drawn(), outside, Drawn(labels=(7,)), Drawn()])
    content = bytearray(path.read_bytes())
    content[-60] ^= 1
    path.write_bytes(content)
    assert main(["inspect", str(path), "--classes", "tree"]) == 52
    printed = capsys.readouterr().out.splitlines()
    problems = [line for line in printed if line.startswith("  file://")]
    assert [line.split(": record ")[1].split()[0] for line in problems] == ["1", "2", "3"]
    assert "checksum" in problems[2]
    assert main(["inspect", str(path), "--classes", "tree", "--json"]) == 52
    assert json.loads(capsys.readouterr().out)["badRecordCount"] == 3


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--classes", "tree,tree"], 50, "expected different names"),
        ([], 56, "label_map.pbtxt"),
        ([], 56, "Name the label map with --label-map, or the classes with --classes a,b"),
        (["--label-map", "nowhere.pbtxt"], 56, "nowhere.pbtxt"),
    ],
)
def test_without_classes_nothing_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, problem: str
) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [Drawn()])
    assert main(["inspect", str(path), *words]) == code
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("[1, 2]", "received a list of 2"),
        ("", "received nothing"),
        (
            "kind: Job\napiVersion: batch/v1\n",
            'received kind "Job" of "batch/v1"',
        ),
        (
            '{"images": [], "annotations": [], "categories": []}',
            "annotations, categories. It seems to be COCO's instances JSON: use `detection-trainer",
        ),
    ],
    ids=["a list", "an empty file", "another kind", "COCO's instances"],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, received: str
) -> None:
    file = tmp_path / "instances.json"
    file.write_text(text)
    assert main(["inspect", str(file)]) == ExitCode.INVALID_CONFIG
    assert received in capsys.readouterr().err
