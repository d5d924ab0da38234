"""One checkpoint, evaluated there and here: the same mAP, whichever program trained it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from detection_trainer.__main__ import main
from sandbox.samples.trainings import training
from tests.odapi.lineage import Lineage
from tests.odapi.twins import read_json, run_reference

pytestmark = [pytest.mark.timeout(1800), pytest.mark.core]
TOLERANCE = 1e-3
NAMES = {
    "mAP": "DetectionBoxes_Precision/mAP",
    "mAP50": "DetectionBoxes_Precision/mAP@.50IOU",
    "mAP75": "DetectionBoxes_Precision/mAP@.75IOU",
    "mAPSmall": "DetectionBoxes_Precision/mAP (small)",
    "mAPMedium": "DetectionBoxes_Precision/mAP (medium)",
    "mAPLarge": "DetectionBoxes_Precision/mAP (large)",
    "AR1": "DetectionBoxes_Recall/AR@1",
    "AR10": "DetectionBoxes_Recall/AR@10",
    "AR100": "DetectionBoxes_Recall/AR@100",
}
NOT_MEASURED = -1.0


@pytest.fixture(scope="module")
def theirs(
    mobilenet_v2: Lineage, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, float]]:
    """The OD API's metrics of our export and of its own checkpoint."""
    out = tmp_path_factory.mktemp("evaluation") / "metrics.json"
    places = {"learned": mobilenet_v2.export, "start": mobilenet_v2.folder / "start"}
    run_reference("evaluate", mobilenet_v2.config_of_ours("start"), out, *places.values())
    return dict(zip(places, read_json(out), strict=True))


def test_the_od_api_finds_by_our_export_what_we_find(
    mobilenet_v2: Lineage, theirs: dict[str, dict[str, float]]
) -> None:
    assert_same(mobilenet_v2.ours.newest("learned").metrics, theirs["learned"])


def test_we_find_by_a_checkpoint_of_the_od_api_what_it_finds(
    mobilenet_v2: Lineage,
    theirs: dict[str, dict[str, float]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The first checkpoint of a run that continued it is that of the OD API.
    file, run = tmp_path / "training.json", mobilenet_v2.ours.uri("constant")
    file.write_text(json.dumps(training(**mobilenet_v2.training())))
    step = str(mobilenet_v2.half)
    assert main(["evaluate", str(file), "--checkpoint-uri", run, "--step", step, "--json"]) == 0
    assert_same(json.loads(capsys.readouterr().out)["metrics"], theirs["start"])


def assert_same(ours: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    assert ours["mAP"] > 0.2, "something is found"
    found = {name: ours.get(name, NOT_MEASURED) for name in NAMES}
    expected = {name: theirs[there] for name, there in NAMES.items()}
    assert found == pytest.approx(expected, abs=TOLERANCE)
