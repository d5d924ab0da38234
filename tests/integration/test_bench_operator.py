"""The benchmark of the operator, scaled down to seconds: every part gives its figures."""

from pathlib import Path

import pytest

from benchmarks.operator.parts import PARTS, Scale
from benchmarks.operator.surroundings import surroundings, sweep
from local_cluster import lifecycle

SMALL = Scale(trainings=10, rounds=1, seconds=1.0, lives=2)


async def test_every_part_gives_figures(kubeconfig: Path | None, tmp_path: Path) -> None:
    if kubeconfig is None:
        pytest.skip("it needs the local cluster's own signing key")
    cluster = lifecycle.load_up(kubeconfig.parent.name).cluster
    async with surroundings(cluster, tmp_path, SMALL.trainings, {}) as here:
        try:
            rows = [row for part, _ in PARTS for row in await part(here, SMALL)]
        finally:
            sweep(here)
    assert len({row.what for row in rows}) == len(rows)
    assert all(any(character.isdigit() for character in row.measured) for row in rows)
    [answered] = [row.measured for row in rows if row.what.endswith("answered")]
    assert answered.endswith(", 0 refused")
