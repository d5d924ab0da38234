"""What each restore mode restores: the OD API's loader and ours, on the same checkpoints.

ResNet50 with an FPN, of three classes, into models of three, one and 90. Where the OD API
restores, ours takes the same variables with the same values; where it fails, ours either can or
refuses before anything is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

from detection_trainer.contract.sources import RestoreMode
from detection_trainer.models import Detector, build_detector
from tests.odapi.restoring import (
    PARTS,
    TABLE,
    Outcome,
    read_weights,
    require_equal,
    restored_by_od_api,
    restored_by_us,
)
from tests.odapi.twins import Twin, configured, run_reference

pytestmark = pytest.mark.timeout(1200)
KIND, THERE = "ssd_resnet50_v1_fpn_keras", 3
VARIABLES = {"backbone": 265, "fpn": 16, "coarse": 10, "tower": 168, "box": 2, "class": 2}
NOTHING = dict.fromkeys(PARTS, 0)
MODEL = Twin(configured(KIND), {"backbone": "resnet50_v1"}).model


@dataclass(frozen=True, slots=True)
class Target:
    """A model that restores the checkpoint, and what the OD API's restored in each mode."""

    num_classes: int
    theirs: dict[RestoreMode, Outcome]
    detector: Detector
    checkpoint: Path

    def ours(self, mode: RestoreMode) -> Outcome:
        """What ours restores of the same checkpoint."""
        return restored_by_us(self.detector, read_weights(self.checkpoint.as_uri(), MODEL), mode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the OD API wrote `ckpt-1`, a detector, and `classifier-1`, a backbone, all random."""
    folder = tmp_path_factory.mktemp("source")
    run_reference("outputs", config_of(THERE, folder), folder, MODEL.image_size, 0)
    run_reference("classifier", config_of(THERE, folder), folder / "classifier")
    return folder


def config_of(num_classes: int, folder: Path) -> Path:
    """Write the configuration of a model of `num_classes`."""
    path = folder / f"{num_classes}.config"
    path.write_text(configured(KIND, classes=num_classes))
    return path


@pytest.fixture(scope="module", params=[THERE, 1, 90], ids="into {} classes".format)
def target(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    yield target_of(request.param, folder / "ckpt-1", tmp_path_factory.mktemp("target"))
    keras.backend.clear_session()


@pytest.fixture(scope="module")
def from_classifier(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    yield target_of(1, folder / "classifier-1", tmp_path_factory.mktemp("target"))
    keras.backend.clear_session()


def target_of(num_classes: int, checkpoint: Path, out: Path) -> Target:
    theirs = restored_by_od_api(config_of(num_classes, out), checkpoint, out, MODEL)
    return Target(num_classes, theirs, build_detector(MODEL, num_classes), checkpoint)


def taken(mode: RestoreMode) -> dict[str, int]:
    """Return the row of `mode` in the table: part -> count of variables."""
    return {part: count if part in TABLE[mode] else 0 for part, count in VARIABLES.items()}


def require_same(target: Target, mode: RestoreMode) -> None:
    theirs, ours = target.theirs[mode], target.ours(mode)
    assert (theirs.error, ours.error) == (None, None)
    assert theirs.written == ours.written == taken(mode)
    require_equal(ours.values, theirs.values)


def test_detection_takes_backbone_and_pyramid_whatever_the_classes(target: Target) -> None:
    require_same(target, RestoreMode.DETECTION)


def test_full_restores_everything_or_is_refused_before_any_write(target: Target) -> None:
    if target.num_classes == THERE:
        require_same(target, RestoreMode.FULL)
        return
    theirs, ours = target.theirs[RestoreMode.FULL], target.ours(RestoreMode.FULL)
    assert theirs.error is not None
    assert theirs.error.startswith("ValueError: ")
    assert theirs.written == {**NOTHING, "tower": 168, "box": 2}, "it stops half way"
    assert ours.error is not None
    assert "class_head/predictor/bias: the source has shape (24,)" in ours.error
    assert "set restore.mode to classification or detection" in ours.error
    assert ours.written == NOTHING


def test_classification_restores_the_backbone_of_a_detector_unlike_the_od_api(
    target: Target,
) -> None:
    theirs, ours = (
        target.theirs[RestoreMode.CLASSIFICATION],
        target.ours(RestoreMode.CLASSIFICATION),
    )
    assert theirs.error is not None
    assert theirs.error.startswith("AssertionError: Found 265 Python objects that were not bound")
    assert theirs.written == NOTHING
    assert ours.error is None
    assert ours.written == taken(RestoreMode.CLASSIFICATION)
    backbone = {p: v for p, v in ours.values.items() if p.startswith("backbone/")}
    require_equal(backbone, read_weights(target.checkpoint.as_uri(), MODEL).read(backbone))


def test_a_classifier_gives_its_backbone(from_classifier: Target) -> None:
    require_same(from_classifier, RestoreMode.CLASSIFICATION)


@pytest.mark.parametrize("mode", [RestoreMode.DETECTION, RestoreMode.FULL])
def test_a_classifier_gives_nothing_else(from_classifier: Target, mode: RestoreMode) -> None:
    theirs, ours = from_classifier.theirs[mode], from_classifier.ours(mode)
    assert theirs.error is not None
    assert theirs.error.startswith("AssertionError: ")
    assert theirs.written == NOTHING
    assert ours.error is not None
    assert "set restore.mode to classification, which this source fits" in ours.error
    assert ours.written == NOTHING
