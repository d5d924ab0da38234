"""Faults, one after the other, chosen by a seed; after the last, everything is whole again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from local_cluster import faults
from sandbox.api_proxy import CUT, ApiProxy
from sandbox.clock import Clock
from sandbox.kube import ApiError
from sandbox.operator_process import OperatorProcess
from sandbox.wire import Wire

CODES = (409, 429, 500, 503)
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
BROKEN = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "as the storm says"}
SHARE = 0.3
BACKGROUND = {"propagationPolicy": "Background"}
WATCH_S = 0.2
JUMP_S = 3600


@dataclass(slots=True)
class Storm:
    """What can go wrong, and how to make it so."""

    cluster: str
    namespace: str
    wire: Wire
    proxy: ApiProxy
    operator: OperatorProcess
    clock: Clock
    """The operator's."""
    chance: random.Random

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return every fault by its name."""
        return {
            "kill the operator": self.kill,
            "cut the operator's traffic": self.cut,
            "answer with errors": self.refuse,
            "end the watches": self.end_watches,
            "answer slowly": self.slow,
            "jump the operator's clock": self.jump,
            "restart the API server": lambda: self.restart("kube-apiserver"),
            "restart etcd": lambda: self.restart("etcd"),
            "delete Jobs": lambda: self.delete("/apis/batch/v1", "jobs"),
            "delete pods": lambda: self.delete("/api/v1", "pods"),
        }

    async def keep_operator(self) -> None:
        """Start the operator whenever it has ended, as Kubernetes does, until cancelled."""
        while True:
            if not self.operator.is_running():
                self.operator.start()
            await asyncio.sleep(WATCH_S)

    async def kill(self) -> None:
        """Kill the operator as a power failure does."""
        await asyncio.to_thread(self.operator.kill)
        await self._pass(8)

    async def cut(self) -> None:
        """Part the operator from the API server; what it had asked is not answered."""
        self.proxy.refuse(lambda _plural, _watch: CUT)
        self.proxy.interrupt_watches()
        await self._pass(10)
        self.calm()

    async def refuse(self) -> None:
        """Answer a share of all requests with errors."""
        code = self.chance.choice(CODES)
        self.proxy.refuse(lambda _plural, _watch: code if self.chance.random() < SHARE else 0)
        await self._pass(10)
        self.calm()

    async def end_watches(self) -> None:
        """End the watches, too old or broken or without a word."""
        self.proxy.interrupt_watches(self.chance.choice([GONE, BROKEN, None]))
        await self._pass(2)

    async def slow(self) -> None:
        """Answer everything later."""
        self.proxy.delay_s = self.chance.uniform(0.1, 1.0)
        await self._pass(10)
        self.calm()

    async def jump(self) -> None:
        """Let the operator's clock be wrong by up to an hour, and right again a while later.

        While it is slow, the API server's certificate is not valid yet.
        """
        self.clock.set(self.chance.randint(-JUMP_S, JUMP_S))
        await self._pass(10)
        self.clock.set(0)

    async def restart(self, program: str) -> None:
        """Kill a program of the control plane and let it come back a while later."""
        faults.stop_program(self.cluster, program)
        await self._pass(5)
        faults.start_program(self.cluster, program)
        await self._pass(5)

    async def delete(self, group: str, plural: str) -> None:
        """Delete some objects behind the operator's back."""
        path = f"{group}/namespaces/{self.namespace}/{plural}"
        try:
            found = [item["metadata"]["name"] async for item in self.wire.items(path)]
            for name in self.chance.sample(found, min(len(found), 5)):
                await self.wire.send(
                    "DELETE", f"{path}/{name}", {"propagationPolicy": "Background"}
                )
        except (aiohttp.ClientError, ApiError, TimeoutError):
            # The API server is on its way back, or another took the object first.
            return
        await self._pass(4)

    def calm(self) -> None:
        """End what the proxy does."""
        self.proxy.refuse(lambda _plural, _watch: 0)
        self.proxy.delay_s = 0.0

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(self.chance.uniform(0.3, 1.0) * seconds)
