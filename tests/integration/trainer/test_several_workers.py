"""Two workers as processes: they equal one, they end together, and they resume exactly."""

import signal
from typing import Any

import numpy as np
import pytest

from detection_trainer.checkpoints.format import Arrays
from detection_trainer.checkpoints.manifest import AVERAGE
from detection_trainer.contract.exit_codes import EARLY_STOPPED
from sandbox.samples.trainings import TINY_MODEL
from tests.support.trainer.attempts import RunPlace, make_place
from tests.support.trainer.workers import two_workers

STEPS: dict[str, Any] = {"steps": 20, "optimizer": {"learningRate": 0.01}}
NO_BATCH_NORM: dict[str, Any] = {
    "model": {
        **TINY_MODEL,
        "fpn": {"minLevel": 5, "maxLevel": 5, "additionalLayerDepth": 16},
        "boxPredictor": {"depth": 16, "numLayersBeforePredictor": 0},
    },
    "freeze": ["backbone"],
}
"""The frozen backbone's statistics do not change, and the trained part has none."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> RunPlace:
    return make_place(tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def control(place: RunPlace) -> str:
    """Return the digest of two workers without a disturbance."""
    with two_workers(place, "control", **STEPS) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), chief.output.read_text()
    return place.newest("control").manifest.digest


@pytest.mark.timeout(600)
def test_two_workers_train_as_one_does(place: RunPlace, control: str) -> None:
    place.run("alone", **STEPS)
    together, alone = place.newest("control"), place.newest("alone")
    assert together.manifest.digest == control
    assert together.manifest.environment.world_size == 2
    require_close(together.load()[0], alone.load()[0])
    assert any("moving_variance" in path for path in alone.load()[0])


def require_close(found: Arrays, wanted: Arrays) -> None:
    assert found.keys() == wanted.keys()
    for path, array in wanted.items():
        np.testing.assert_allclose(found[path], array, rtol=1e-5, atol=1e-5, err_msg=path)


@pytest.mark.timeout(600)
def test_two_workers_train_as_one_does_without_batch_normalisation(place: RunPlace) -> None:
    kept = {"storage": {"uri": place.uri("plain-alone")}, "everySteps": 20}
    changes = {**STEPS, **NO_BATCH_NORM}
    with two_workers(place, "plain", **changes) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), chief.output.read_text()
    place.run("plain-alone", **changes, checkpoints=kept)
    together, alone = place.newest("plain").load(), place.newest("plain-alone").load()
    for found, wanted in zip(together, alone, strict=True):
        require_close(found, wanted)
    begun = place.at("plain-alone", 0).load()[0]
    moved = {path for path in begun if not np.array_equal(begun[path], alone[0][path])}
    assert "box_head/predictor/kernel" in moved
    assert not any("batch_norm" in path for path in moved)


@pytest.mark.timeout(600)
def test_two_workers_stop_early_together_with_the_averages_of_one(place: RunPlace) -> None:
    changes: dict[str, Any] = {
        "steps": 20,
        "dataset": place.dataset("tree", "shrub", validation=True),
        "optimizer": {"learningRate": 0.01, "movingAverageDecay": 0.9},
        "evaluation": {"everySteps": 2},
        "earlyStopping": {"patience": 2},
    }
    with two_workers(place, "early", **changes) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), chief.output.read_text()
    report = place.run("early-alone", **changes)
    assert report.outcome is not None
    assert report.outcome.reason == EARLY_STOPPED
    together, alone = place.newest("early"), place.newest("early-alone")
    assert together.step == alone.step < 20
    assert together.manifest.patience == alone.manifest.patience
    averages = [path for path in alone.load()[1] if path.startswith(AVERAGE)]
    assert averages
    for found, wanted in zip(together.load(), alone.load(), strict=True):
        require_close(found, wanted)


@pytest.mark.timeout(600)
def test_what_one_worker_meets_ends_the_attempt_of_all_and_nothing_is_lost(
    place: RunPlace, control: str
) -> None:
    with two_workers(place, "story", **STEPS) as (chief, follower):
        chief.wait_for("progress", 5)
        follower.process.send_signal(signal.SIGKILL)
        assert chief.wait() == 76, chief.output.read_text()
    with two_workers(place, "story", **STEPS) as (chief, follower):
        chief.wait_for("progress", 10)
        follower.process.send_signal(signal.SIGTERM)
        assert (chief.wait(), follower.wait()) == (40, 40), follower.output.read_text()
    (begun,) = follower.logged("started")
    assert begun["step"] >= 4
    assert place.steps("story")[-1] >= 10
    with two_workers(place, "story", **STEPS) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), chief.output.read_text()
    assert place.newest("story").manifest.digest == control


def test_a_run_that_has_ended_ends_for_all(place: RunPlace, control: str) -> None:
    with two_workers(place, "control", **STEPS) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), follower.output.read_text()
    (ended,) = follower.logged("ended")
    assert "there is nothing to do" in ended["message"]
    assert place.newest("control").manifest.digest == control
