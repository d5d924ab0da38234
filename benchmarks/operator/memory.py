"""Trainings with large specs: what the operator takes, beside the formula of docs/operations.md."""

import asyncio
import json
import random
import string
from dataclasses import dataclass
from typing import Any

from benchmarks.operator.bursts import operated
from benchmarks.operator.documents import training
from benchmarks.operator.restarts import cold_start, settled, standing
from benchmarks.operator.sightings import wait_phase
from sandbox.simulation.parallel import in_parallel
from sandbox.simulation.surroundings import OPERATED, Surroundings
from sandbox.site.kube import TRAININGS

Object = dict[str, Any]
CONSTANT_MIB, EACH_KIB, SHARE = 256, 4, 0.8
"""Of the formula."""
VARIABLES, VALUE_CHARACTERS = 64, 1500
"""Of `env`: about 100 KB of texts that zlib cannot make much smaller."""
LETTERS = string.ascii_letters + string.digits + "+/"
CONNECTIONS = 8
"""For bodies of 100 KB."""
TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What the operator took beside so many trainings."""

    trainings: int
    size: int
    """Of a training's JSON in bytes, with its status."""
    resident_mb: float
    """At rest."""
    peak_mb: float
    """Since the process began."""

    @property
    def formula_mb(self) -> float:
        """The memory limit that the formula gives."""
        return limit_bytes(self.trainings, self.size) / 1e6


def limit_bytes(trainings: int, size: float) -> float:
    """Return the memory limit that docs/operations.md states for trainings of `size` bytes."""
    return CONSTANT_MIB * 2**20 + trainings * (EACH_KIB * 2**10 + SHARE * size)


def large(name: str) -> Object:
    """Return a training of 100 KB that cannot be compressed well."""
    body, chance = training(name), random.Random(name)  # noqa: S311 - to be repeated
    body["spec"]["podTemplate"]["env"] = [
        {"name": f"V{n}", "value": "".join(chance.choices(LETTERS, k=VALUE_CHARACTERS))}
        for n in range(VARIABLES)
    ]
    return body


async def running(here: Surroundings, names: list[str]) -> Taken:
    """Measure beside large trainings that run, each with its Job and pod."""
    await operated(here, names, large)
    await standing(here, OPERATED, len(names))
    return await _taken(here, len(names))


async def suspended(here: Surroundings, names: list[str], beside: int) -> Taken:
    """Measure beside more large trainings, which are suspended."""
    path = TRAININGS.format(namespace=OPERATED)

    async def apply(name: str) -> None:
        body = large(name)
        body["spec"]["suspend"] = True
        await here.client.create(path, json.dumps(body).encode())

    await in_parallel(apply, names, CONNECTIONS)
    async with asyncio.timeout(TIMEOUT_S):
        await wait_phase(here.client, path, "Suspended", set(names).issubset)
    return await _taken(here, beside + len(names))


async def after_restart(here: Surroundings, trainings: int) -> Taken:
    """Measure a process that finds all of them at its start."""
    await asyncio.to_thread(cold_start, here, trainings)
    return await _taken(here, trainings)


async def _taken(here: Surroundings, trainings: int) -> Taken:
    await settled(here.operator)
    memory = here.operator.memory_mb(), here.operator.peak_memory_mb()
    return Taken(trainings, await _mean_size(here), *memory)


async def _mean_size(here: Surroundings) -> int:
    """Return the mean size of some trainings as compact JSON, without `managedFields`."""
    page = await here.client.get(f"{TRAININGS.format(namespace=OPERATED)}?limit=20")
    for item in page["items"]:
        item["metadata"].pop("managedFields", None)
    sizes = [len(json.dumps(item, separators=(",", ":"))) for item in page["items"]]
    return sum(sizes) // len(sizes)
