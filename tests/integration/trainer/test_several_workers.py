"""Two workers as processes: they equal one, they end together, and they go on exactly."""

import signal
from typing import Any

import numpy as np
import pytest

from tests.support.attempts import RunPlace, make_place
from tests.support.workers import two_workers

STEPS: dict[str, Any] = {"steps": 20, "optimizer": {"learningRate": 0.01}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> RunPlace:
    return make_place(tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def control(place: RunPlace) -> str:
    """Return the digest of two workers that nobody disturbed."""
    with two_workers(place, "control", **STEPS) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), chief.output.read_text()
    return place.newest("control").manifest.digest


@pytest.mark.timeout(600)
def test_two_workers_train_as_one_does(place: RunPlace, control: str) -> None:
    place.run("alone", **STEPS)
    together, alone = place.newest("control"), place.newest("alone")
    assert together.manifest.digest == control
    assert together.manifest.environment.world_size == 2
    found, wanted = together.load()[0], alone.load()[0]
    for path, array in wanted.items():
        np.testing.assert_allclose(found[path], array, rtol=1e-5, atol=1e-5, err_msg=path)


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
    (begun,) = follower.said("started")
    assert begun["step"] >= 4
    assert place.steps("story")[-1] >= 10
    with two_workers(place, "story", **STEPS) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), chief.output.read_text()
    assert place.newest("story").manifest.digest == control


def test_a_run_that_has_ended_ends_for_all(place: RunPlace, control: str) -> None:
    with two_workers(place, "control", **STEPS) as (chief, follower):
        assert (chief.wait(), follower.wait()) == (0, 0), follower.output.read_text()
    (ended,) = follower.said("ended")
    assert "nothing is left to do" in ended["message"]
    assert place.newest("control").manifest.digest == control
