"""Faults, one after another, chosen by a seed; after the last, everything is repaired."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import urllib3

from local_cluster import faults
from sandbox.faults.api_proxy import BROKEN, CUT, GONE, ApiProxy
from sandbox.faults.clock import Clock
from sandbox.processes.operator_process import OperatorProcess
from sandbox.site.kube import ApiError, AsyncKube

CODES = (409, 410, 429, 500, 503)
SHARE = 0.3
BACKGROUND = {"propagationPolicy": "Background"}
WATCH_S = 0.2
JUMP_S = 3600

Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Replica:
    """One of the operators that elect a leader, with its own proxy and clock."""

    operator: OperatorProcess
    proxy: ApiProxy
    clock: Clock


@dataclass(slots=True)
class Storm:
    """The possible faults, and how to cause them."""

    cluster: str
    namespace: str
    client: AsyncKube
    replicas: list[Replica]
    chance: random.Random
    pace: float = 1.0
    """How long each fault lasts, as a fraction of its usual time."""
    spared: frozenset[str] = frozenset()
    """Faults that are left out."""

    def kinds(self) -> dict[str, Fault]:
        """Return every fault by its name."""
        return {
            "kill a replica": self.kill,
            "cut the leader's traffic": self.cut,
            "answer with errors": self.refuse,
            "end the watches": self.end_watches,
            "answer slowly": self.slow,
            "jump a replica's clock": self.jump,
            "restart the API server": lambda: self.restart("kube-apiserver"),
            "restart etcd": lambda: self.restart("etcd"),
            "delete Jobs": lambda: self.delete("/apis/batch/v1", "jobs"),
            "delete pods": lambda: self.delete("/api/v1", "pods"),
        }

    def faults(self) -> Iterator[tuple[str, Fault]]:
        """Yield faults without end: every kind in a random order, then again."""
        kinds = self.kinds()
        while True:
            names = [name for name in kinds if name not in self.spared]
            self.chance.shuffle(names)
            for name in names:
                yield name, kinds[name]

    async def keep_operators(self) -> None:
        """Start each operator whenever it has ended, as Kubernetes does, until cancelled."""
        while True:
            for replica in self.replicas:
                if not replica.operator.is_running():
                    replica.operator.start()
            await asyncio.sleep(WATCH_S)

    async def kill(self) -> None:
        """Kill an operator as a power failure does."""
        await asyncio.to_thread(self.chance.choice(self.replicas).operator.kill)
        await self._pass(8)

    async def cut(self) -> None:
        """Disconnect the leader from the API server; its open requests get no answer.

        It lasts longer than the Lease, so that another replica leads beside it.
        """
        leader = await asyncio.to_thread(self._leader)
        leader.proxy.refuse(lambda _plural, _watch: CUT)
        leader.proxy.interrupt_watches()
        await self._pass(30)
        self.calm()

    def _leader(self) -> Replica:
        """Return the replica that reports that it leads; any replica if none does."""
        for replica in self.replicas:
            with suppress(urllib3.exceptions.HTTPError):
                if replica.operator.leads():
                    return replica
        return self.chance.choice(self.replicas)

    async def refuse(self) -> None:
        """Answer a share of all requests with errors."""
        code, dice = self.chance.choice(CODES), random.Random(self.chance.random())  # noqa: S311
        for replica in self.replicas:
            replica.proxy.refuse(lambda _plural, _watch: code if dice.random() < SHARE else 0)
        await self._pass(10)
        self.calm()

    async def end_watches(self) -> None:
        """End the watches: too old, broken or without an event."""
        error = self.chance.choice([GONE, BROKEN, None])
        for replica in self.replicas:
            replica.proxy.interrupt_watches(error)
        await self._pass(2)

    async def slow(self) -> None:
        """Delay every answer."""
        delay_s = self.chance.uniform(0.1, 1.0)
        for replica in self.replicas:
            replica.proxy.delay_s = delay_s
        await self._pass(10)
        self.calm()

    async def jump(self) -> None:
        """Set a clock wrong by up to an hour, and right again a while later.

        While it is slow, the API server's certificate is not valid yet.
        """
        clock = self.chance.choice(self.replicas).clock
        clock.set(self.chance.randint(-JUMP_S, JUMP_S))
        await self._pass(10)
        clock.set(0)

    async def restart(self, program: str) -> None:
        """Kill a program of the control plane and start it again later."""
        faults.stop_program(self.cluster, program)
        await self._pass(5)
        faults.start_program(self.cluster, program)
        await self._pass(5)

    async def delete(self, group: str, plural: str) -> None:
        """Delete some objects without the operator."""
        path = f"{group}/namespaces/{self.namespace}/{plural}"
        try:
            found = [item["metadata"]["name"] async for item in self.client.items(path)]
            for name in self.chance.sample(found, min(len(found), 5)):
                await self.client.send("DELETE", f"{path}/{name}", BACKGROUND)
        except (aiohttp.ClientError, ApiError, TimeoutError):
            # The API server is still starting, or another deleted the object first.
            return
        await self._pass(4)

    def calm(self) -> None:
        """End the faults of the proxies."""
        for replica in self.replicas:
            replica.proxy.refuse(lambda _plural, _watch: 0)
            replica.proxy.delay_s = 0.0

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(self.chance.uniform(0.3, 1.0) * seconds * self.pace)
