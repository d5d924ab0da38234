"""A model_dir of the OD API itself is continued in a cluster, past its configured steps."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sandbox.site.kube import condition
from tests.odapi.restoring import read_weights
from tests.odapi.runs import picture_of_shapes, pipeline, write_label_map, write_records
from tests.odapi.twins import MOBILENET_V2, configured, fpn_lite, run_reference
from tests.support.cluster.site import LiveTraining, Workspace

pytestmark = pytest.mark.timeout(1800)

SIZE = 128
REACHED, BATCH = 25, 2
RATE = f"""cosine_decay_learning_rate {{
    learning_rate_base: 0.02 total_steps: {REACHED}
    warmup_learning_rate: 0.005 warmup_steps: 5 }}"""
RUN_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Made:
    """What a person of the OD API has, on a disk here and on S3."""

    folder: Path
    uri: str
    """Of the model_dir."""
    config: str
    """The text of the pipeline.config in it."""

    def training(self, **changes: Any) -> dict[str, Any]:
        """Return the fields of a training that continues it."""
        return {
            "model": None,
            "dataset": None,
            "batchSize": None,
            "augmentation": None,
            "deterministic": None,
            "optimizer": {"schedule": {"onExtend": "Restart"}},
            "pipelineConfig": {"uri": f"{self.uri}/pipeline.config"},
            "continueFrom": {"uri": self.uri},
            "checkpoints": {"everySteps": 5},
            **changes,
        }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train by the OD API; return a folder with its model_dir and the data."""
    root = tmp_path_factory.mktemp("odapi")
    records = write_records(root / "train.tfrecord", map(picture_of_shapes, range(8)))
    folder = root / "model_dir"
    folder.mkdir()
    config = folder / "pipeline.config"
    model = fpn_lite(configured(MOBILENET_V2, SIZE), shared=True)
    config.write_text(pipeline(model, records, write_label_map(root), BATCH, RATE))
    run_reference("train", config, folder, REACHED)
    return root


@pytest.fixture
def made(workspace: Workspace, trained: Path) -> Made:
    """Put it all on S3, the configuration with the addresses there."""
    uri = f"s3://data/odapi/{workspace.namespace}"
    place = workspace.site.store.folder(uri)
    for path in (path for path in trained.rglob("*") if path.is_file()):
        place.write(str(path.relative_to(trained)), path)
    config = (trained / "model_dir/pipeline.config").read_text().replace(f'"{trained}/', f'"{uri}/')
    place.write("model_dir/pipeline.config", config.encode())
    return Made(trained / "model_dir", f"{uri}/model_dir", config)


def test_it_resumes_at_its_step_and_more_steps_train_only_the_remainder(
    workspace: Workspace, made: Made
) -> None:
    training = workspace.train("goes-on", **made.training(steps=REACHED + 10))
    status = training.wait_for_phase("Complete", timeout_s=RUN_TIMEOUT_S)
    require_continued(status, made)
    assert saved_steps(status) == [35, 30, 25]
    assert status["attemptCount"] == 1
    assert status["currentAttempt"]["resumedFromStep"] == REACHED
    assert trained_steps(training) == 10
    require_taken_over(training, made)
    # Its source is not needed any more.
    place = workspace.site.store.folder(made.uri)
    for name in ("pipeline.config", "ckpt-2.index"):
        place.delete(name)
    training.patch(steps=REACHED + 25)
    status = training.wait_for_phase("Complete", timeout_s=RUN_TIMEOUT_S)
    require_continued(status, made)
    assert saved_steps(status) == [50, 45, 40, 35, 30, 25]
    assert status["currentAttempt"]["resumedFromStep"] == REACHED + 10
    assert trained_steps(training) == 15


def test_steps_at_a_rate_of_zero_are_refused(workspace: Workspace, made: Made) -> None:
    training = workspace.train("stale", **made.training(optimizer=None, steps=REACHED + 10))
    message = refusal(training, "InvalidConfig")
    assert f"would train at learning rate 0 from step {REACHED}" in message
    assert "set optimizer.schedule.onExtend to Restart" in message


def test_a_configuration_that_is_not_there_is_refused(workspace: Workspace, made: Made) -> None:
    uri = f"{made.uri}/pipelin.config"
    training = workspace.train("astray", **made.training(steps=50, pipelineConfig={"uri": uri}))
    assert f"{uri} does not exist: check the address" in refusal(training, "NotFound")


def refusal(training: LiveTraining, reason: str) -> str:
    """Return why the training was refused, without a trainer."""
    status = training.wait_for_phase("Refused")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", reason)
    assert status["attemptCount"] == 0
    return str(stalled["message"])


def saved_steps(status: dict[str, Any]) -> list[int]:
    return [checkpoint["step"] for checkpoint in status["checkpoints"]]


def require_continued(status: dict[str, Any], made: Made) -> None:
    """Compare the status of its initial state."""
    restored = status["restored"]
    assert (restored["uri"], restored["step"]) == (f"{made.uri}/ckpt-2", REACHED)
    assert restored["variables"]["fresh"] == 0
    counted = restored["variables"]["restored"]
    reported = condition({"status": status}, "Restored")
    assert (reported["status"], reported["reason"]) == ("True", "ContinuedFromSource")
    assert (
        f"Restored {counted} variables from {made.uri}/ckpt-2; with step and optimizer state"
        in (reported["message"])
    )
    assert status["pipelineConfig"]["text"] == made.config
    assert status["step"] == status["targetSteps"] == status["latestCheckpoint"]["step"]


def require_taken_over(training: LiveTraining, made: Made) -> None:
    """Compare the first checkpoint with the OD API's, weights and momentum."""
    first = training.checkpoint(REACHED)
    theirs = read_weights(made.folder.as_uri(), first.manifest.model)
    weights, optimizer = first.load()
    for path, value in theirs.read(weights).items():
        np.testing.assert_array_equal(weights[path], value, err_msg=path)
    slots = theirs.read_slots("momentum", theirs.shapes)
    assert slots
    for path, value in slots.items():
        np.testing.assert_array_equal(optimizer[f"optimizer/momentum/{path}"], value)


def trained_steps(training: LiveTraining) -> int:
    """Return how many steps the newest pod trained, by its own log."""
    events = [json.loads(line) for line in training.log.splitlines() if line.startswith("{")]
    steps = {line["event"]: int(line["step"]) for line in events if "step" in line}
    return steps["progress"] - steps["started"]
