"""Exports: complete or absent, made once, and equal to the checkpoint without this package.

A separate program loads them, which cannot import this package.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection_trainer.__main__ import main
from detection_trainer.checkpoints.export_manifest import read_export
from detection_trainer.checkpoints.format import Checkpoint, find_checkpoint, write_checkpoint
from detection_trainer.contract.training import InvalidTrainingError
from detection_trainer.errors import SupersededError
from detection_trainer.evaluation.inference import find_objects, load_detector
from detection_trainer.exports.export import (
    export_checkpoint,
    export_folder,
    list_exports,
)
from detection_trainer.storage import Folder, open_folder
from detection_trainer.training.step import build_training_step
from tests.support.trainer.attempts import export_quickly
from tests.support.trainer.detectors import shake
from tests.support.trainer.runs import DyingStore, KilledError, description, parsed

CLASSES = ["tree", "shrub"]
SERVE = """
import json, sys
import numpy as np, tensorflow as tf
assert not any(name.startswith("detection_trainer") for name in sys.modules)
model = tf.saved_model.load(sys.argv[1])
encoded = open(sys.argv[2], "rb").read()
pixels = tf.io.decode_png(encoded, channels=3)[None]
answers = {
    "call": model(pixels),
    "serving_default": model.signatures["serving_default"](input_tensor=pixels),
    "encoded_image_string_tensor": model.signatures["encoded_image_string_tensor"](
        input_tensor=tf.constant([encoded, encoded])
    ),
}
printed = {n: {k: v.numpy().tolist() for k, v in a.items()} for n, a in answers.items()}
printed["label_map"] = open(model.label_map.asset_path.numpy().decode()).read()
print(json.dumps(printed))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def checkpoint(root: Path) -> Checkpoint:
    """A checkpoint of step 7 whose weights find many things."""
    spec = parsed().spec
    update = build_training_step(spec, len(CLASSES))
    shake(update.detector)
    state, shared = update.snapshot(7), description(spec, classes=CLASSES)
    folder = open_folder((root / "run").as_uri())
    return write_checkpoint(folder, state, lambda f, v: shared.manifest(state, f, v), lambda: None)


@pytest.fixture(scope="module")
def exported(root: Path, checkpoint: Checkpoint) -> Folder:
    folder = open_folder((root / "served").as_uri())
    assert main(["export", checkpoint.folder.uri, "--to", folder.uri]) == 0
    return folder


@pytest.fixture
def picture() -> Image.Image:
    random = np.random.default_rng(5)
    return Image.fromarray(random.integers(0, 256, (50, 90, 3), np.uint8))


def served(exported: Folder, picture: Image.Image, folder: Path) -> dict[str, Any]:
    """Load the export as another program would, and return what it answers."""
    picture.save(folder / "picture.png")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    place = exported.local_path("")
    words = [sys.executable, "-I", "-c", SERVE, str(place), str(folder / "picture.png")]
    ended = subprocess.run(
        words, check=True, capture_output=True, timeout=240, env=environment, cwd=folder
    )
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def test_another_program_finds_what_predict_finds(
    exported: Folder, checkpoint: Checkpoint, picture: Image.Image, tmp_path: Path
) -> None:
    findings = find_objects(load_detector(checkpoint), picture, CLASSES, min_score=0.0)
    assert len(findings) > 3
    answers = served(exported, picture, tmp_path)
    assert 'name: "shrub"' in answers.pop("label_map")
    for answer in answers.values():
        count = int(answer["num_detections"][0])
        assert count == len(findings)
        scale = np.array([50, 90, 50, 90])
        boxes = np.array(answer["detection_boxes"][0][:count]) * scale
        np.testing.assert_allclose(boxes, [f.box for f in findings], atol=1e-3)
        scores = answer["detection_scores"][0][:count]
        np.testing.assert_allclose(scores, [f.score for f in findings], atol=1e-5)
        labels = [CLASSES.index(f.class_name) + 1 for f in findings]
        assert answer["detection_classes"][0][:count] == labels
    assert len(answers["encoded_image_string_tensor"]["num_detections"]) == 2


def test_an_export_describes_itself(exported: Folder, checkpoint: Checkpoint) -> None:
    export = read_export(exported)
    assert export is not None
    assert (export.step, export.digest) == (7, checkpoint.manifest.digest)
    files = json.loads(exported.read("manifest.json"))["files"]
    present = {entry.path: entry.size for entry in exported.list() if entry.path != "manifest.json"}
    assert {path: record["size"] for path, record in files.items()} == present
    assert "assets/label_map.pbtxt" in files


@pytest.mark.usefixtures("exported")
def test_export_replaces_only_an_export_and_only_where_asked(
    exported: Folder, checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", checkpoint.folder.uri, "--to"]
    assert main([*words, exported.uri]) == 50
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, checkpoint.folder.uri, "--overwrite"]) == 50
    assert "model.safetensors" in capsys.readouterr().err
    find_checkpoint(checkpoint.folder).verify()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    export_quickly(monkeypatch)


@pytest.mark.usefixtures("quick")
def test_an_export_killed_at_any_moment_is_whole_or_not_there(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    run = open_folder((tmp_path / "run").as_uri())
    place = export_folder(run, 7)
    for moment in range(4):
        dying = Folder(DyingStore(place.store, moment), place.uri, place.key)
        with pytest.raises(KilledError):
            export_checkpoint(checkpoint, dying)
        assert list_exports(run) == []
    made = export_checkpoint(checkpoint, place)
    assert list_exports(run) == [made]


@pytest.mark.usefixtures("quick")
def test_a_superseded_trainer_commits_no_export(checkpoint: Checkpoint, tmp_path: Path) -> None:
    def superseded() -> None:
        raise SupersededError("a later one writes now")

    place = open_folder(tmp_path.as_uri())
    with pytest.raises(SupersededError):
        export_checkpoint(checkpoint, place, superseded)
    assert read_export(place) is None


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param({"backbone": "tiny"}, "has no RetinaNet over model.backbone tiny", id="tiny"),
        pytest.param(
            {"backbone": "resnet50_v1", "fpn": {"maxLevel": 6}},
            "builds ssd_resnet50_v1_fpn_keras with fpn minLevel 3, maxLevel 7",
            id="a pyramid that its ResNets do not have",
        ),
        pytest.param(
            {"backbone": "mobilenet_v1", "fpn": {"useDepthwise": True}},
            "a MobileNetV1 whose last two blocks are thinner",
            id="a MobileNetV1 that is another there",
        ),
    ],
)
def test_an_export_that_the_od_api_cannot_read_is_refused_before_the_run(
    model: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidTrainingError, match=reason):
        parsed(model=model, exports=["ODAPI"])


def test_a_checkpoint_that_the_od_api_cannot_read_is_refused(
    checkpoint: Checkpoint, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = (root / "refused").as_uri()
    assert main(["export", checkpoint.folder.uri, "--to", place, "--format", "odapi"]) != 0
    assert "has no RetinaNet over model.backbone tiny" in capsys.readouterr().err
    assert not (root / "refused" / "manifest.json").exists()
