"""`make bench-operator`: measures each part, prints its table, writes it into the docs."""

import argparse
import asyncio
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import processor
from benchmarks.operator.parts import PARTS, Scale
from benchmarks.page import PAGE, write_part
from benchmarks.rounds import table
from detection_operator.settings import Settings
from local_cluster import lifecycle
from local_cluster.binaries import KUBERNETES_VERSION
from local_cluster.processes import CLIENT_RATE
from sandbox.simulation.parallel import CONNECTIONS
from sandbox.simulation.surroundings import Surroundings, fresh_cluster, surroundings


@dataclass(frozen=True, slots=True)
class FreshClusters:
    """The clusters of each part: a new one each time, removed after the part."""

    name: str
    folder: Path
    pods: int

    @asynccontextmanager
    async def open(self, *, audited: bool = False) -> AsyncIterator[Surroundings]:
        """Provide one more cluster."""
        cluster = fresh_cluster(self.name, audited=audited)
        try:
            async with surroundings(cluster, self.folder, self.pods, {}) as here:
                yield here
        finally:
            lifecycle.down(self.name)


def conditions(scale: Scale) -> str:
    """Return the conditions of the measurement."""
    workers = Settings.model_fields["workers"].default
    interval = Settings.model_fields["status_interval_s"].default
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores of {processor()} for "
        f"everything together, load {load:.1f} at the start. Kubernetes {KUBERNETES_VERSION} with "
        f"etcd without fsync; controller manager and scheduler with `{' '.join(CLIENT_RATE)}` and "
        "5 Jobs at once (the default); KWOK 0.7.0 plays the kubelets. The operator is one process "
        f"beside the cluster with the chart's defaults ({workers} workers, progress at most every "
        f"{interval:.0f} s), Python {platform.python_version()}, Kopf {version('kopf')}, aiohttp "
        f"{version('aiohttp')}. The client holds {CONNECTIONS} connections. {scale.rounds} rounds "
        "where a figure has a range: median (smallest … largest)."
    )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--cluster", default="bench", help="taken down and made anew")
    parser.add_argument("--record", action="store_true", help=f"write the tables into {PAGE.name}")
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    options = parser.parse_args()
    # Half an hour without output would be long. To standard error: the tables are the output.
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    scale = Scale(options.trainings, options.rounds, options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        stage = FreshClusters(options.cluster, Path(folder), 3 * scale.trainings)
        for name in options.part:
            text = measure(name, stage, scale)
            if options.record:
                write_part(PAGE, f"bench-operator: {name}", text)


def measure(name: str, stage: FreshClusters, scale: Scale) -> str:
    """Measure one part, print its table and return it."""
    above, began = conditions(scale), time.monotonic()
    rows = asyncio.run(PARTS[name](stage, scale))
    lines = table(["", "measured", "goal"], [[row.what, row.measured, row.goal] for row in rows])
    text = f"{above}\n\n{lines}"
    sys.stdout.write(f"\n## {name}, in {time.monotonic() - began:.0f} s\n\n{text}\n")
    sys.stdout.flush()
    return text


if __name__ == "__main__":
    main()
