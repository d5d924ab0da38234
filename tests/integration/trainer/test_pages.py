"""The commands of README and quickstart that need no cluster, run as they are printed."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from detection_trainer.data.samples import fetch_photographs
from tests.support.pages import ROOT, Shell, commands, outputs
from tests.support.trainer.annotations import draw_image, write_coco, write_voc

TIMEOUT_S = 400
LOCAL = "## Without Kubernetes"
SHARED = "/tmp/"  # noqa: S108 - as the page and its example have it


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Give a folder where `detection-trainer` is this checkout's, and pip does nothing."""
    path = f"{ROOT / 'trainer'}:{ROOT / 'operator'}"
    made = Shell(tmp_path / "checkout", environment={"PYTHONPATH": path})
    made.program("detection-trainer", f'exec {sys.executable} -m detection_trainer "$@"')
    made.program("pip", "exit 0")
    return made


@pytest.mark.timeout(TIMEOUT_S)
def test_readme_trains_without_kubernetes(shell: Shell, tmp_path: Path) -> None:
    # A person's photograph, a folder of this test's own, and a training of seconds.
    photograph = next(fetch_photographs().glob("*.png"))
    (shell.folder / "photo.jpg").write_bytes(photograph.read_bytes())
    shell.replaced = {SHARED: f"{tmp_path}/own/"}
    shell.replace(SHARED, f"{tmp_path}/own/")
    shell.shorten(
        steps_300=4, warmupSteps_30=1, everySteps_50=2, everySteps_150=4, keepEverySteps_150=2
    )
    given = commands("README.md", after=LOCAL, before="## Documentation")
    assert [command.split()[0] for command in given] == ["pip", *["detection-trainer"] * 5]
    printed = outputs(shell.run(given, TIMEOUT_S))
    sample = next(text for command, text in printed.items() if "sample-data" in command)
    assert set(yaml.safe_load(sample)["dataset"]) == {"train", "validation", "labelMap"}
    assert (tmp_path / "own" / "models" / "trees" / "saved_model.pb").exists()
    found = next(text for command, text in printed.items() if "predict" in command)
    assert json.loads(found.splitlines()[-1])["step"] == 4


def test_quickstart_converts_data_of_ones_own(shell: Shell, tmp_path: Path) -> None:
    # What a person has: annotations of both kinds. A folder stands for the bucket.
    for name in ("a", "b"):
        draw_image(shell.folder / "annotations" / f"{name}.png", 100, 50)
        file = shell.folder / "annotations" / f"{name}.xml"
        write_voc(file, [("tree", 2, 4, 38, 40)], filename=f"{name}.png")
    draw_image(shell.folder / "photographs" / "a.png", 40, 20)
    write_coco(shell.folder / "instances.json")
    shell.replaced = {"s3://": f"file://{tmp_path}/"}
    given = commands(
        "docs/quickstart.md", after="## 3. The dataset", before="## 4. Apply and watch"
    )
    mine = [command for command in given if "sample-data" not in command]
    assert [command.split()[1] for command in mine] == ["install", "convert", "convert", "inspect"]
    printed = outputs(shell.run(mine, TIMEOUT_S))
    for command, text in printed.items():
        if "convert" in command:
            dataset = yaml.safe_load(text)["dataset"]
            assert {"train", "labelMap"} <= set(dataset)
