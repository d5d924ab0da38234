"""`make chaos-operator`: a storm over many trainings; then the audit log is judged."""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from chaos.operator.checker import SEEN, Violation, check
from chaos.operator.storm import Replica, Storm
from chaos.operator.trainers import Trainers, training
from local_cluster import lifecycle
from local_cluster.topology import Cluster
from sandbox.faults.api_proxy import ApiProxy
from sandbox.faults.clock import Clock
from sandbox.simulation.audit import read_audit
from sandbox.simulation.parallel import in_parallel
from sandbox.simulation.surroundings import (
    OPERATED,
    Surroundings,
    fresh_cluster,
    replica,
    surroundings,
)
from sandbox.site.kube import TRAININGS, ApiError

ENDS = ("Complete",) * 7 + ("Failed", "Refused")
SETTLED = frozenset({"Complete", "Failed", "Refused"})
SETTINGS = {"BACKOFF_BASE_S": "1", "BACKOFF_CAP_S": "5", "RESYNC_S": "30", "STATUS_INTERVAL_S": "2"}
REPLICAS = 2
SETTLE_S = 600.0
AGE_S = 1.5
"""Ages have whole seconds: the owner of a folder must be older than a training that requests it."""


def print_line(text: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a storm; a seed determines its faults and what each trainer does."""

    trainings: int
    seconds: float
    seed: int
    pace: float = 1.0
    spared: frozenset[str] = frozenset()

    def dice(self, what: str) -> random.Random:
        """Return a random generator for `what` only; it does not affect those of others."""
        return random.Random(f"{self.seed} {what}")  # noqa: S311 - to be repeated


@contextmanager
def replicas(here: Surroundings, folder: Path) -> Iterator[list[Replica]]:
    """Prepare two operators, each with its own proxy and clock; they are not started yet."""
    with ExitStack() as stack:
        made = []
        for number in range(REPLICAS):
            own = folder / f"replica-{number}"
            own.mkdir()
            clock = Clock.right(own)
            proxy = stack.enter_context(ApiProxy(here.cluster.kubeconfig, own))
            operator = replica(here, number)
            operator.kubeconfig, operator.environment = proxy.kubeconfig, clock.environment
            stack.callback(operator.kill)
            made.append(Replica(operator, proxy, clock))
        yield made


async def storm_over(here: Surroundings, folder: Path, plan: Plan) -> None:
    """Cause faults over many trainings for a while, and wait until all have settled.

    Raises:
        TimeoutError: they do not settle.
    """
    with replicas(here, folder) as made:
        urls = [each.operator.url for each in made]
        trainers = Trainers(here.client, urls, here.signer, OPERATED, plan.dice("trainers"))
        storm = Storm(
            cluster=here.cluster.name,
            namespace=OPERATED,
            client=here.client,
            replicas=made,
            chance=plan.dice("faults"),
            pace=plan.pace,
            spared=plan.spared,
        )
        tasks = [asyncio.create_task(trainers.run()), asyncio.create_task(storm.keep_operators())]
        try:
            ends = await _apply(here, plan)
            began = time.monotonic()
            for name, fault in storm.faults():
                passed = time.monotonic() - began
                if passed >= plan.seconds:
                    break
                print_line(f"{passed:5.0f} s {name}")
                await fault()
            storm.calm()
            print_line("calm")
            await _settle(here, set(ends))
            await _show(here, list(ends))
        finally:
            for task in (*tasks, *trainers.playing.values()):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _apply(here: Surroundings, plan: Plan) -> dict[str, str]:
    path, chance = TRAININGS.format(namespace=OPERATED), plan.dice("ends")
    ends = {f"t{number}": chance.choice(ENDS) for number in range(plan.trainings)}
    await here.client.create(path, json.dumps(training("taken", "Complete")).encode())
    await asyncio.sleep(AGE_S)

    async def apply(name: str) -> None:
        await here.client.create(path, json.dumps(training(name, ends[name])).encode())

    await in_parallel(apply, list(ends))
    return ends | {"taken": "Complete"}


async def _settle(here: Surroundings, waiting: set[str]) -> None:
    deadline = time.monotonic() + SETTLE_S
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not settled in {SETTLE_S:.0f} s: {', '.join(sorted(waiting))}")
        with suppress(aiohttp.ClientError, ApiError, TimeoutError):
            async for found in here.client.items(TRAININGS.format(namespace=OPERATED)):
                if (found.get("status") or {}).get("phase") in SETTLED:
                    waiting.discard(found["metadata"]["name"])
        await asyncio.sleep(1)


async def _show(here: Surroundings, names: list[str]) -> None:
    """Make the audit log show the end of each training, by one more write."""
    path = TRAININGS.format(namespace=OPERATED)

    async def mark(name: str) -> None:
        await here.client.merge(f"{path}/{name}", {"metadata": {"annotations": {SEEN: "true"}}})

    await in_parallel(mark, names)


async def run(cluster_name: str, folder: Path, plan: Plan) -> list[Violation]:
    """Return the violations of one storm that the audit log proves."""
    cluster = fresh_cluster(cluster_name, audited=True)
    try:
        async with surroundings(cluster, folder, plan.trainings, SETTINGS) as here:
            await storm_over(here, folder, plan)
    except TimeoutError:
        keep_audit_log(cluster)
        raise
    found = violations(cluster)
    if found:
        keep_audit_log(cluster)
    lifecycle.down(cluster_name)
    return found


def keep_audit_log(cluster: Cluster) -> None:
    """Copy the audit log to where it outlives the cluster, and print its place."""
    kept = Path(tempfile.mkdtemp(prefix="chaos-operator-")) / "audit.log"
    shutil.copy(cluster.audit_log, kept)
    print_line(f"the audit log is kept: {kept}")


def violations(cluster: Cluster, since: str = "") -> list[Violation]:
    """Return the violations after a time (as the log writes times) that the audit log proves."""
    written = (entry for entry in read_audit(cluster.audit_log) if entry.namespace == OPERATED)
    return check(entry for entry in written if entry.time >= since)


def main() -> int:
    """Read the arguments, run the storm, and print the violations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=None, help="of an earlier storm, to repeat it")
    parser.add_argument("--cluster", default="bench", help="taken down and made anew")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed  # noqa: S311
    plan = Plan(options.trainings, options.seconds, seed)
    print_line(f"seed {seed}: {plan.trainings} trainings, {plan.seconds:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = asyncio.run(run(options.cluster, Path(folder), plan))
        except TimeoutError:
            for log in sorted(Path(folder).glob("replica-*.log")):
                print_line(f"the end of {log.name}: {log.read_text(errors='replace')[-4000:]}")
            raise
    for violation in found:
        print_line(str(violation))
    print_line(f"{len(found)} violations")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
