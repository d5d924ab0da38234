"""A steady stream of applies beside many existing trainings: how long until each has its Job."""

import asyncio
import json
import time
from dataclasses import dataclass

from benchmarks.operator.documents import training
from benchmarks.operator.sightings import sightings
from sandbox.simulation.surroundings import OPERATED, Surroundings
from sandbox.site.kube import JOBS, TRAININGS


@dataclass(frozen=True, slots=True)
class Stream:
    """For each apply: the API server's time for it, and the time until its Job was seen (s)."""

    create_s: list[float]
    job_s: list[float]


async def steady(here: Surroundings, prefix: str, rate: float, seconds: float) -> Stream:
    """Apply `rate` trainings a second, whether or not earlier ones have ended."""
    path = TRAININGS.format(namespace=OPERATED)
    names = [f"{prefix}-{number}" for number in range(max(int(rate * seconds), 1))]
    begun: dict[str, float] = {}
    create_s: list[float] = []

    async def apply(name: str) -> None:
        body = json.dumps(training(name)).encode()
        begun[name] = time.monotonic()
        await here.client.create(path, body)
        create_s.append(time.monotonic() - begun[name])

    async with sightings(here.client, JOBS.format(namespace=OPERATED)) as jobs:
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(names):
                await asyncio.sleep(max(started + number / rate - time.monotonic(), 0))
                group.create_task(apply(name))
        await jobs.wait(names)
    return Stream(create_s, [jobs.at[name] - begun[name] for name in names])
