"""`make chaos-operator`: a storm over many trainings, then the audit log is judged."""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp

from benchmarks.operator.bursts import in_parallel
from benchmarks.operator.documents import API
from benchmarks.operator.surroundings import OPERATED, Surroundings, fresh_cluster, surroundings
from chaos.operator.checker import SEEN, Violation, check
from chaos.operator.storm import Storm
from chaos.operator.trainers import Trainers, training
from local_cluster import lifecycle
from sandbox.api_proxy import ApiProxy
from sandbox.audit import read_audit
from sandbox.clock import Clock
from sandbox.kube import ApiError

ENDS = ("Complete",) * 7 + ("Failed", "Refused")
SETTLED = frozenset({"Complete", "Failed", "Refused"})
SETTINGS = {"BACKOFF_BASE_S": "1", "BACKOFF_CAP_S": "5", "RESYNC_S": "30", "STATUS_INTERVAL_S": "2"}
SETTLE_S = 600.0
AGE_S = 1.5
"""Ages have whole seconds: who owns a folder must be older than who asks for it."""


def say(text: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def storm_over(
    here: Surroundings, folder: Path, count: int, seconds: float, seed: int
) -> None:
    """Let faults pass over `count` trainings for a while, and wait until all have settled.

    Raises:
        TimeoutError: they do not settle.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    clock = Clock.right(folder)
    with ApiProxy(here.cluster.kubeconfig, folder) as proxy:
        here.operator.kubeconfig, here.operator.environment = proxy.kubeconfig, clock.environment
        trainers = Trainers(here.wire, here.operator.url, here.signer, OPERATED, chance)
        storm = Storm(here.cluster.name, OPERATED, here.wire, proxy, here.operator, clock, chance)
        tasks = [asyncio.create_task(trainers.run()), asyncio.create_task(storm.keep_operator())]
        try:
            ends = await _apply(here, count, chance)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                name = chance.choice(list(storm.kinds()))
                say(f"{seconds - (until - time.monotonic()):5.0f} s {name}")
                await storm.kinds()[name]()
            storm.calm()
            say("calm")
            await _settle(here, set(ends))
            await _show(here, list(ends))
        finally:
            for task in (*tasks, *trainers.playing.values()):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            here.operator.kill()


async def _apply(here: Surroundings, count: int, chance: random.Random) -> dict[str, str]:
    path = API.format(namespace=OPERATED)
    ends = {f"t{number}": chance.choice(ENDS) for number in range(count)}
    await here.wire.create(path, json.dumps(training("taken", "Complete")).encode())
    await asyncio.sleep(AGE_S)

    async def apply(name: str) -> None:
        await here.wire.create(path, json.dumps(training(name, ends[name])).encode())

    await in_parallel(apply, list(ends))
    return ends | {"taken": "Complete"}


async def _settle(here: Surroundings, waiting: set[str]) -> None:
    deadline = time.monotonic() + SETTLE_S
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not settled in {SETTLE_S:.0f} s: {', '.join(sorted(waiting))}")
        with suppress(aiohttp.ClientError, ApiError, TimeoutError):
            async for found in here.wire.items(API.format(namespace=OPERATED)):
                if (found.get("status") or {}).get("phase") in SETTLED:
                    waiting.discard(found["metadata"]["name"])
        await asyncio.sleep(1)


async def _show(here: Surroundings, names: list[str]) -> None:
    """Have the audit log show the end of each, by a write of our own."""
    path = API.format(namespace=OPERATED)

    async def mark(name: str) -> None:
        await here.wire.merge(f"{path}/{name}", {"metadata": {"annotations": {SEEN: "true"}}})

    await in_parallel(mark, names)


async def run(
    cluster_name: str, folder: Path, count: int, seconds: float, seed: int
) -> list[Violation]:
    """Return what the audit log proves of one storm."""
    cluster = fresh_cluster(cluster_name, audited=True)
    async with surroundings(cluster, folder, count, SETTINGS) as here:
        await storm_over(here, folder, count, seconds, seed)
    found = check(entry for entry in read_audit(cluster.audit_log) if entry.namespace == OPERATED)
    lifecycle.down(cluster_name)
    return found


def main() -> int:
    """Read the arguments, let the storm pass, and say what it broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=None, help="of an earlier storm, to repeat it")
    parser.add_argument("--cluster", default="bench", help="taken down and made anew")
    said = parser.parse_args()
    seed = random.randrange(10**6) if said.seed is None else said.seed  # noqa: S311
    say(f"seed {seed}: {said.trainings} trainings, {said.seconds:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = asyncio.run(run(said.cluster, Path(folder), said.trainings, said.seconds, seed))
        except TimeoutError:
            say(Path(folder, "operator.log").read_text(errors="replace")[-4000:])
            raise
    for violation in found:
        say(str(violation))
    say(f"{len(found)} violations")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
