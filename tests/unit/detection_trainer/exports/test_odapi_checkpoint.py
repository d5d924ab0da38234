"""What is written for the OD API is a source here too, by whichever of its names."""

from pathlib import Path

import numpy as np
import pytest

from detection_trainer.checkpoints.format import Checkpoint, write_checkpoint
from detection_trainer.contract.base import dump
from detection_trainer.errors import RestoreRefusedError
from detection_trainer.exports.export import export_checkpoint, export_folder
from detection_trainer.storage import Folder, open_folder
from detection_trainer.training.step import build_training_step
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights
from detection_trainer.weights.sources import find_run, open_weights
from tests.support.trainer.attempts import export_quickly
from tests.support.trainer.detectors import shake, small_model
from tests.support.trainer.runs import description, parsed

CLASSES = ["tree", "shrub"]
MODEL = small_model(backbone="mobilenet_v2", fpn={"additionalLayerDepth": 8})
STEP = 7


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return open_folder(tmp_path_factory.mktemp("run").as_uri())


@pytest.fixture(scope="module")
def checkpoint(run: Folder) -> Checkpoint:
    """A run's checkpoint, every number of its state random."""
    spec = parsed(model=dump(MODEL)).spec
    update = build_training_step(spec, len(CLASSES))
    shake(update.detector)
    state, shared = update.snapshot(STEP), description(spec, classes=CLASSES)
    return write_checkpoint(run, state, lambda f, v: shared.manifest(state, f, v), lambda: None)


@pytest.fixture(scope="module")
def exported(run: Folder, checkpoint: Checkpoint) -> str:
    place = export_folder(run, STEP, "ODAPI")
    return export_checkpoint(checkpoint, place, form="ODAPI").uri.rstrip("/")


@pytest.mark.parametrize("end", ["", "/", "/ckpt-1", "/ckpt-1.index"])
def test_an_export_is_a_source_by_each_of_its_names(
    exported: str, checkpoint: Checkpoint, end: str
) -> None:
    source = open_weights(f"{exported}{end}", {}, MODEL)
    assert (source.uri, source.step) == (f"{exported}/ckpt-1", STEP)
    weights = checkpoint.read_weights()
    read = source.read(weights)
    assert read.keys() == weights.keys() == source.shapes.keys()
    for path, value in read.items():
        np.testing.assert_array_equal(value, weights[path], err_msg=path)
    found = find_run(f"{exported}{end}", {}, MODEL)
    assert isinstance(found, ODAPIWeights)
    assert found.step == STEP


def test_an_export_for_serving_is_no_source_and_its_checkpoint_is_named(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_quickly(monkeypatch)
    place = open_folder(tmp_path.as_uri())
    export_checkpoint(checkpoint, place)
    for find in (open_weights, find_run):
        with pytest.raises(RestoreRefusedError, match="format SavedModel, which other") as e:
            find(place.uri, {}, MODEL)
        assert f"step-{STEP:08d} in the run's folder" in str(e.value)
