"""`make bench-operator`: measures all parts, prints the table, writes it into the docs."""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.operator.bursts import CONNECTIONS
from benchmarks.operator.figures import Row
from benchmarks.operator.parts import PARTS, Scale
from benchmarks.operator.surroundings import fresh_cluster, surroundings
from benchmarks.page import PAGE, write_part
from benchmarks.rounds import table
from detection_operator.settings import Settings
from local_cluster import lifecycle
from local_cluster.binaries import KUBERNETES_VERSION
from local_cluster.processes import CLIENT_RATE


async def measure(scale: Scale, cluster_name: str, folder: Path) -> list[Row]:
    """Return the rows of all parts, each measured in a fresh cluster."""
    rows: list[Row] = []
    for part, audited in PARTS:
        cluster = fresh_cluster(cluster_name, audited=audited)
        async with surroundings(cluster, folder, 3 * scale.trainings, {}) as here:
            found = await part(here, scale)
        for row in found:
            sys.stderr.write(f"{row.what}: {row.measured}\n")
        rows += found
    lifecycle.down(cluster_name)
    return rows


def conditions(scale: Scale) -> str:
    """Return what the figures were measured with."""
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


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--cluster", default="bench", help="taken down and made anew")
    parser.add_argument("--record", action="store_true", help=f"write the table into {PAGE.name}")
    said = parser.parse_args()
    scale = Scale(said.trainings, said.rounds, said.seconds)
    above = conditions(scale)
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(scale, said.cluster, Path(folder)))
    text = table(["", "measured", "goal"], [[row.what, row.measured, row.goal] for row in rows])
    sys.stdout.write(f"{above}\n\n{text}\n")
    if said.record:
        write_part(PAGE, "bench-operator", f"{above}\n\n{text}")


if __name__ == "__main__":
    main()
