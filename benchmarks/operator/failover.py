"""Two replicas: how long no replica plans after the leader is killed, or is terminated."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.operator.documents import training
from benchmarks.operator.restarts import settled
from benchmarks.operator.sightings import sightings
from sandbox.processes.operator_process import OperatorProcess
from sandbox.simulation.surroundings import OPERATED, Surroundings, replica
from sandbox.site.kube import JOBS, TRAININGS

POLL_S = 0.05
TIMEOUT_S = 60.0


@contextmanager
def replicas(here: Surroundings, count: int = 2) -> Iterator[list[OperatorProcess]]:
    """Provide `count` replicas that elect a leader by a Lease."""
    with ExitStack() as stack:
        yield [stack.enter_context(replica(here, number)) for number in range(count)]


async def first_job_without(
    here: Surroundings, processes: list[OperatorProcess], how: signal.Signals, name: str
) -> float:
    """Return the time from a signal to the leader to the Job of a training applied then (s).

    The leader is started again afterwards, as the standby.
    """
    leader = await _leader(processes)
    await settled(leader)
    async with sightings(here.client, JOBS.format(namespace=OPERATED)) as jobs:
        started = time.monotonic()
        leader.send(how)
        await here.client.create(
            TRAININGS.format(namespace=OPERATED), json.dumps(training(name)).encode()
        )
        seen = await jobs.wait([name])
    await asyncio.to_thread(leader.wait_end)
    leader.start()
    await asyncio.to_thread(leader.wait_ready)
    return seen - started


async def _leader(processes: list[OperatorProcess]) -> OperatorProcess:
    """Wait until one leads; only the new holder of a Lease knows at once that it leads."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            for process in processes:
                if process.leads():
                    return process
            await asyncio.sleep(POLL_S)
