"""25 steps in the OD API, then 25 more there and here: the same loss at each step, the same end."""

from typing import Any

import numpy as np
import pytest

from tests.odapi.lineage import SCHEDULES, Lineage

pytestmark = pytest.mark.timeout(1800)
TOLERANCE = 1e-4


@pytest.fixture(params=[pytest.param("mobilenet_v2", marks=pytest.mark.core), "resnet50"])
def lineage(request: pytest.FixtureRequest) -> Lineage:
    found: Lineage = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_loss_is_the_od_apis_at_every_step(lineage: Lineage, schedule: str) -> None:
    ours, theirs = lineage.losses(schedule)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_weights_statistics_and_momentum_are_the_od_apis_at_the_end(
    lineage: Lineage, schedule: str
) -> None:
    theirs = lineage.state(schedule)
    assert theirs.step == lineage.whole
    weights, optimizer = lineage.ours.newest(schedule).load()
    for path, value in theirs.read(weights).items():
        assert_close(weights[path], value, path)
    slots = theirs.read_slots("momentum", weights)
    assert len(slots) == sum(path.startswith("optimizer/momentum/") for path in optimizer)
    for path, value in slots.items():
        assert_close(optimizer[f"optimizer/momentum/{path}"], value, path)


def test_the_tolerance_distinguishes_schedules(lineage: Lineage) -> None:
    (constant, _), (cosine, _) = (lineage.losses(schedule) for schedule in SCHEDULES)
    assert np.abs(np.subtract(constant, cosine)).max() > 10 * TOLERANCE


def assert_close(ours: Any, theirs: Any, path: str) -> None:
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE, err_msg=path)
