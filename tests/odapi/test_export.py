"""A checkpoint written for the OD API: it restores it in every mode, as we do."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from detection_trainer.__main__ import main
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.exports.odapi_config import PLACE
from detection_trainer.models import build_detector
from detection_trainer.weights.sources import open_weights
from tests.odapi.restoring import (
    TABLE,
    read_weights,
    require_equal,
    restored_by_od_api,
    restored_by_us,
)
from tests.odapi.runs import CLASSES, picture_of_shapes, write_records
from tests.odapi.twins import lite
from tests.support.trainer.attempts import RunPlace

pytestmark = pytest.mark.timeout(1800)
STEPS = 20
MODEL = {
    "backbone": "mobilenet_v2",
    "imageSize": 128,
    "batchNorm": {"momentum": 0.9},
    "imageResizer": {"type": "keepAspectRatio"},
    **lite(shared=True),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A run of ours, and what was written of it."""

    place: RunPlace
    folder: Path

    def training(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return a training on the same pictures."""
        file = {"uri": (self.place.root / "train.tfrecord").as_uri()}
        return {
            "model": MODEL,
            "dataset": {"train": file, "validation": file, "classes": list(CLASSES)},
            "steps": STEPS,
            "batchSize": 4,
            "optimizer": {"learningRate": 0.02, "schedule": {"warmupSteps": 5}},
            "exports": ["ODAPI"],
            "checkpoints": {"storage": {"uri": self.place.uri(name)}, "everySteps": STEPS},
            **changes,
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    root = tmp_path_factory.mktemp("export")
    write_records(root / "train.tfrecord", map(picture_of_shapes, range(12)))
    found = Exported(RunPlace(root), root / "run" / "export" / f"odapi-{STEPS:08d}")
    found.place.run("run", **found.training("run"))
    config = found.folder / "pipeline.config"
    text = config.read_text()
    text = text.replace(f"{PLACE}/label_map.pbtxt", str(found.folder / "label_map.pbtxt"))
    config.write_text(text.replace(PLACE, str(root / "train.tfrecord")))
    keras.backend.clear_session()
    return found


def test_what_is_written_is_what_was_trained(exported: Exported) -> None:
    checkpoint = exported.place.newest("run")
    written = read_weights(exported.folder.as_uri(), checkpoint.manifest.model)
    weights, optimizer = checkpoint.load()
    assert written.step == STEPS
    assert written.shapes.keys() == weights.keys()
    for path, value in written.read(weights).items():
        np.testing.assert_array_equal(value, weights[path], err_msg=path)
    slots = written.read_slots("momentum", weights)
    assert len(slots) == sum(path.startswith("optimizer/momentum/") for path in optimizer)
    for path, value in slots.items():
        np.testing.assert_array_equal(value, optimizer[f"optimizer/momentum/{path}"])


def test_the_od_api_restores_it_in_every_mode_with_the_values_that_we_take(
    exported: Exported, tmp_path: Path
) -> None:
    model = exported.place.newest("run").manifest.model
    config, checkpoint = exported.folder / "pipeline.config", exported.folder / "ckpt-1"
    theirs = restored_by_od_api(config, checkpoint, tmp_path, model)
    source = open_weights(checkpoint.as_uri(), {}, model)
    detector = build_detector(model, len(CLASSES))
    for mode in RestoreMode:
        ours = restored_by_us(detector, source, mode)
        assert (theirs[mode].error, ours.error) == (None, None)
        assert {part for part, count in ours.written.items() if count} == TABLE[mode]
        assert theirs[mode].written == ours.written
        require_equal(ours.values, theirs[mode].values)


def test_an_export_reports_its_location(
    exported: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = exported.place.root / "copy"
    arguments = ["export", exported.place.uri("run"), "--to", copy.as_uri(), "--format", "odapi"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["format"], printed["step"]) == ("ODAPI", STEPS)
    assert {path.name for path in copy.iterdir()} == {
        "checkpoint", "ckpt-1.data-00000-of-00001", "ckpt-1.index", "label_map.pbtxt",
        "manifest.json", "pipeline.config",
    }  # fmt: skip
