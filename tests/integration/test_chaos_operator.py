"""The storm, scaled down: nearly every fault once, over a few trainings, and no promise broken."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos.operator.__main__ import SETTINGS, Plan, storm_over, violations
from local_cluster import lifecycle
from sandbox.simulation.surroundings import surroundings, sweep

OTHERS_USE_IT = frozenset({"restart the API server", "restart etcd"})
SMALL = Plan(trainings=6, seconds=12.0, seed=1, pace=0.1, spared=OTHERS_USE_IT)


async def test_a_small_storm_settles_and_breaks_no_promise(
    kubeconfig: Path | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kubeconfig is None:
        pytest.skip("it needs the local cluster's own signing key")
    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    cluster = lifecycle.load_up(kubeconfig.parent.name).cluster
    async with surroundings(cluster, tmp_path, SMALL.trainings, SETTINGS) as here:
        try:
            await storm_over(here, tmp_path, SMALL)
        finally:
            sweep(here)
    printed = capsys.readouterr().out
    assert "cut the leader's traffic" in printed
    assert "jump a replica's clock" in printed
    assert violations(cluster, since) == []
