"""The operator ends and starts again: how long until everything is in order."""

import asyncio
import json
import time

from benchmarks.operator.documents import report, training
from benchmarks.operator.sightings import sightings, training_of, wait_phase
from sandbox.processes.operator_process import OperatorProcess
from sandbox.simulation.fake_nodes import end_of
from sandbox.simulation.parallel import in_parallel
from sandbox.simulation.surroundings import OPERATED, Surroundings
from sandbox.site.kube import JOBS, PODS, TRAININGS

RECONCILES = "detection_operator_reconcile_duration_seconds_count"
DEPTH = "detection_operator_queue_depth"
POLL_S = 0.1
TIMEOUT_S = 1800.0
"""The control plane of a small machine takes a quarter of an hour to create ten thousand pods."""


def cold_start(here: Surroundings, trainings: int) -> float:
    """Return how long a new process takes until it has reconciled every training (s)."""
    here.operator.terminate()
    started = time.monotonic()
    here.operator.start()
    here.operator.wait_ready()
    deadline = started + TIMEOUT_S
    while here.operator.metric(RECONCILES) < trainings or here.operator.metric(DEPTH) > 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{trainings} trainings were not looked at in {TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)
    return time.monotonic() - started


async def first_job_after_restart(here: Surroundings, name: str) -> float:
    """Return the time from SIGTERM to the Job of a training that was applied at that moment (s)."""
    path = TRAININGS.format(namespace=OPERATED)
    async with sightings(here.client, JOBS.format(namespace=OPERATED)) as jobs:
        started = time.monotonic()
        ending = asyncio.create_task(asyncio.to_thread(here.operator.terminate))
        await asyncio.sleep(POLL_S)
        await here.client.create(path, json.dumps(training(name)).encode())
        await ending
        here.operator.start()
        return await jobs.wait([name]) - started


async def finish(here: Surroundings, names: list[str], *, kill: bool) -> float:
    """Let the trainers of `names` complete; return the time until every status shows it (s).

    With `kill`, the operator is killed and started again when half of them have.
    """
    pods = {}
    async for pod in here.client.items(PODS.format(namespace=OPERATED)):
        pods[training_of(pod)] = f"{PODS.format(namespace=OPERATED)}/{pod['metadata']['name']}"
    left = iter(range(len(names)))
    kill_at = len(names) // 2 if kill else -1

    async def end(name: str) -> None:
        if next(left) == kill_at:
            here.operator.kill()
            here.operator.start()
        await here.client.merge(pods[name], end_of(0, report(name, 10_000, ends=True).decode()))

    started = time.monotonic()
    await in_parallel(end, names)
    async with asyncio.timeout(TIMEOUT_S):
        path = TRAININGS.format(namespace=OPERATED)
        await wait_phase(here.client, path, "Complete", set(names).issubset)
    return time.monotonic() - started


async def standing(here: Surroundings, namespace: str, count: int) -> None:
    """Wait until `count` pods run in `namespace`: until then the control plane is busy."""
    async with asyncio.timeout(TIMEOUT_S):
        path = PODS.format(namespace=namespace)
        await wait_phase(here.client, path, "Running", lambda seen: len(seen) >= count)


async def idle_share(here: Surroundings, seconds: float) -> float:
    """Return the share of one core that the operator uses while nothing happens."""
    before = here.operator.cpu_s()
    await asyncio.sleep(seconds)
    return (here.operator.cpu_s() - before) / seconds


async def settled(operator: OperatorProcess, seconds: float = 2.0) -> None:
    """Wait until the operator has had nothing to do for `seconds`."""
    seen = -1.0
    async with asyncio.timeout(TIMEOUT_S):
        while (found := operator.metric(RECONCILES)) != seen:
            seen = found
            await asyncio.sleep(seconds)
