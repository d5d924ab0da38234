"""The time that each promise may take, and the run that interrupted ones are compared with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.site import CONTROL_STEPS, Result, Site, Workspace
from tests.support.cluster.site_fixtures import opened_workspace

TIMEOUT_S = 1500


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test the time that the first one needs: it starts a cluster and builds images."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def control(site: Site, opened: list[Workspace]) -> Iterator[Result]:
    """Train without an interruption, once: what every interrupted run is compared with."""
    with opened_workspace(site, opened) as workspace:
        training = workspace.train("control", steps=CONTROL_STEPS)
        status = training.wait_for_phase("Complete")
        assert status["attemptCount"] == 1
        assert status.get("interruptions", []) == []
        yield Result.of(status)
