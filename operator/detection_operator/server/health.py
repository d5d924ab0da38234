"""`/healthz`: does the event loop run; `/readyz`: does the operator see the cluster."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

TICK_S = 1.0
MAX_LAG_S = 10.0
MAX_RESYNC_INTERVALS = 3.0
TOLERATED_OUTAGE_S = 60.0
"""Seconds that a watch may fail before the operator reports that it is not ready."""


class LoopLag:
    """The delay of the event loop: the longest of the last ticks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure with `clock`."""
        self._clock = clock
        self.worst_s = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            before = self._clock()
            await asyncio.sleep(TICK_S)
            self.tick(self._clock() - before - TICK_S)

    def tick(self, lag_s: float) -> None:
        """Record one measurement; old ones fade within about a minute."""
        self.worst_s = max(lag_s, self.worst_s * 0.9, 0.0)


class Startup:
    """What the operator still waits for at its start; empty once it is ready."""

    def __init__(self) -> None:
        """Begin with all steps of the start."""
        self.waits_for = "it has just started"


class HealthEndpoints:
    """Answers the kubelet's probes."""

    def __init__(  # noqa: PLR0913 - what it judges by
        self,
        *,
        lag: LoopLag,
        startup: Startup,
        resync_tried_at: Callable[[], float | None],
        resync_interval_s: float,
        problems: Callable[[float], list[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from these measurements."""
        self._lag, self._startup = lag, startup
        self._resync_tried_at, self._resync_interval_s = resync_tried_at, resync_interval_s
        self._problems, self._clock = problems, clock

    def routes(self) -> list[web.RouteDef]:
        """Return the server's routes."""
        return [web.get("/healthz", self.healthz), web.get("/readyz", self.readyz)]

    async def healthz(self, _request: web.Request) -> web.Response:
        """Fail only if a restart helps: an API server that is down is no reason."""
        return _answer(self.ailments())

    async def readyz(self, _request: web.Request) -> web.Response:
        """Fail while the operator cannot see the cluster; whether it plans does not matter."""
        waits = self._startup.waits_for
        return _answer([waits] if waits else self._problems(TOLERATED_OUTAGE_S))

    def ailments(self) -> list[str]:
        """Return what a restart would fix."""
        found = []
        if self._lag.worst_s > MAX_LAG_S:
            found.append(f"the event loop was {self._lag.worst_s:.1f} s late")
        tried_at = self._resync_tried_at()
        if tried_at is not None:
            age_s = self._clock() - tried_at
            if age_s > MAX_RESYNC_INTERVALS * self._resync_interval_s:
                found.append(f"the last resync was begun {age_s:.0f} s ago")
        return found


def _answer(problems: list[str]) -> web.Response:
    if problems:
        return web.Response(status=503, text="\n".join(problems) + "\n")
    return web.Response(text="ok\n")
