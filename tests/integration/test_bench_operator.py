"""The benchmark of the operator, scaled down to seconds: every part gives its figures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.operator.parts import PARTS, Scale
from local_cluster import lifecycle
from sandbox.simulation.surroundings import Surroundings, surroundings, sweep

SMALL = Scale(trainings=10, rounds=1, seconds=1.0, lives=2)


class OneCluster:
    """Every part's stage: a cluster that there is."""

    def __init__(self, here: Surroundings) -> None:
        self.here = here

    @asynccontextmanager
    async def open(self, *, audited: bool = False) -> AsyncIterator[Surroundings]:
        del audited  # it keeps a log anyway
        yield self.here


async def test_every_part_gives_figures(kubeconfig: Path | None, tmp_path: Path) -> None:
    if kubeconfig is None:
        pytest.skip("it needs the local cluster's own signing key")
    cluster = lifecycle.load_up(kubeconfig.parent.name).cluster
    async with surroundings(cluster, tmp_path, SMALL.trainings, {}) as here:
        try:
            stage = OneCluster(here)
            rows = [row for part in PARTS.values() for row in await part(stage, SMALL)]
        finally:
            sweep(here)
    assert len({row.what for row in rows}) == len(rows)
    assert all(any(character.isdigit() for character in row.measured) for row in rows)
    [answered] = [row.measured for row in rows if row.what.endswith("answered")]
    assert answered.endswith(", 0 refused")
