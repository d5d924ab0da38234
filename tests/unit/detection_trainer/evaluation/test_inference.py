import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection_trainer.__main__ import main
from detection_trainer.checkpoints.format import checkpoint_name, find_checkpoint, write_checkpoint
from detection_trainer.errors import CheckpointMissingError, DamagedCheckpointError
from detection_trainer.evaluation.inference import find_objects, load_detector
from detection_trainer.storage import Folder, open_folder
from detection_trainer.training.step import build_training_step
from sandbox.samples.datasets import Drawn, write_dataset
from sandbox.samples.trainings import training
from tests.support.trainer.image_files import STORED, draw_scene, write_turned
from tests.support.trainer.runs import commit, description, flip_byte, parsed

CLASSES = ["tree", "shrub"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run's checkpoint of step 7, its training file and a picture."""
    root = tmp_path_factory.mktemp("inference")
    place = {"uri": (root / "a.tfrecord").as_uri()}
    fields: dict[str, Any] = {
        "dataset": {"train": place, "validation": place, "classes": CLASSES},
        "checkpoints": {"storage": {"uri": (root / "run").as_uri()}},
        "batchSize": 2,
    }
    write_dataset(root / "a.tfrecord", [Drawn(seed=i) for i in range(3)])
    (root / "trees.json").write_text(json.dumps(training(**fields)))
    state = build_training_step(parsed(**fields).spec, len(CLASSES)).snapshot(7)
    shared = description(parsed(**fields).spec, classes=CLASSES)
    folder = open_folder((root / "run").as_uri())
    write_checkpoint(folder, state, lambda f, v: shared.manifest(state, f, v), lambda: None)
    Image.new("RGB", (90, 50), (90, 120, 90)).save(root / "picture.png")
    return root


@pytest.fixture
def folder(root: Path) -> Folder:
    return open_folder((root / "run").as_uri())


def test_a_detector_is_built_as_its_checkpoint_describes(folder: Folder) -> None:
    checkpoint = find_checkpoint(folder)
    detector = load_detector(checkpoint)
    weights, _ = checkpoint.load()
    assert detector.num_classes == 2
    for path, variable in detector.variables.items():
        np.testing.assert_array_equal(variable.numpy(), weights[path])
    findings = find_objects(detector, Image.new("RGB", (90, 50)), CLASSES, min_score=0.0)
    assert all(0 <= f.box[0] <= f.box[2] <= 50 and f.box[3] <= 90 for f in findings)


def test_other_variables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissingError, match="other variables"):
        load_detector(commit(open_folder(tmp_path.as_uri()), 1))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    checkpoint = commit(open_folder(tmp_path.as_uri()), 1)
    flip_byte(tmp_path / checkpoint_name(1) / "model.safetensors")
    with pytest.raises(DamagedCheckpointError):
        load_detector(checkpoint)


def test_predict_prints_and_draws(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(root / "picture.png")
    for place in (root / "run", root / "trees.json"):
        words = ["predict", str(place), picture, "--out", str(tmp_path), "--min-score", "0"]
        assert main(words) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["step"] == 7
        assert printed["image"] == (root / "picture.png").as_uri()
    with Image.open(tmp_path / "picture.png") as drawn:
        assert drawn.size == (90, 50)


def test_predict_takes_files_folders_patterns_and_uris(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("many/a 1.png", "many/b.jpg", "many/notes.txt", "other/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / name, "PNG")
    words = ["predict", str(root / "run"), "--out", str(tmp_path / "drawn")]

    def found(*places: str) -> list[str]:
        assert main([*words, *places]) == 0
        lines = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
        return [line.removeprefix(tmp_path.as_uri() + "/") for line in lines]

    folder = tmp_path / "many"
    assert found(str(folder), str(tmp_path / "other/*.png")) == [
        "many/a 1.png", "many/b.jpg", "other/b.png",
    ]  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == [
        "a 1.png", "b-2.png", "b.png",
    ]  # fmt: skip
    assert found(folder.as_uri()) == ["many/a 1.png", "many/b.jpg"]
    assert found(folder.as_uri() + "/a*") == found(folder.as_uri() + "/a%201.png")
    assert main([*words, str(tmp_path / "drawn/*.jpg")]) == 56


def test_predict_reports_only_detections_above_the_threshold(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(root / "run"), str(root / "picture.png"), "--min-score"]
    counts = []
    for score in ("0", "1"):
        assert main([*words, score]) == 0
        counts.append(len(json.loads(capsys.readouterr().out)["objects"]))
    assert counts[0] > counts[1] == 0


@pytest.mark.parametrize(("name", "code"), [("absent.png", 56), ("trees.json", 52)])
def test_predict_refuses_what_is_no_picture(root: Path, name: str, code: int) -> None:
    assert main(["predict", str(root / "run"), str(root / name)]) == code


def test_evaluate_prints_metrics_and_writes_nothing(
    root: Path, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(root / "trees.json"), "--step", "7"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["step"] == 7
    assert "mAP" in printed["metrics"]
    assert not find_checkpoint(folder).is_evaluated


def test_a_person_reads_a_table_with_every_class(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert main(["evaluate", str(root / "trees.json"), "--step", "7"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["METRIC", "STEP", "7"]
    assert [line[0] for line in lines[-1:]] == ["mAP/tree"]
    assert main(["evaluate", str(root / "trees.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 7


def test_evaluate_needs_a_validation_set(tmp_path: Path) -> None:
    path = tmp_path / "trees.json"
    path.write_text(json.dumps(training()))
    assert main(["evaluate", str(path)]) == 50


@pytest.mark.parametrize("orientation", sorted(STORED))
def test_predict_sees_an_image_as_viewers_show_it(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], orientation: int
) -> None:
    scene = draw_scene(24, 40)
    write_turned(tmp_path / "upright.png", scene, 1)
    write_turned(tmp_path / "turned.png", scene, orientation)
    words = ["predict", str(root / "run"), "--min-score", "0", "--out", str(tmp_path / "out")]
    assert main([*words, str(tmp_path / "upright.png"), str(tmp_path / "turned.png")]) == 0
    upright, turned = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert turned["objects"] == upright["objects"]
    with Image.open(tmp_path / "out/turned.png") as drawn:
        assert drawn.size == (40, 24)
