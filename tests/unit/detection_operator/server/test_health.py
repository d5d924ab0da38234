"""Probes: alive as long as a restart would not help, ready when the cluster is seen."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from detection_operator.server import health
from detection_operator.server.health import HealthEndpoints, LoopLag, Startup
from detection_operator.server.site import open_site


class Scene:
    def __init__(self) -> None:
        self.now = 1000.0
        self.tried_at: float | None = None
        self.problems: list[str] = []
        self.lag, self.startup = LoopLag(), Startup()
        self.endpoints = HealthEndpoints(
            lag=self.lag,
            startup=self.startup,
            resync_tried_at=lambda: self.tried_at,
            resync_interval_s=600.0,
            problems=lambda _tolerated_s: self.problems,
            clock=lambda: self.now,
        )
        self.address = ""

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.address + path) as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    site = await open_site(made.endpoints.routes(), "127.0.0.1", 0)
    made.address = f"http://127.0.0.1:{site.port}"
    yield made
    await site.close()


async def test_at_the_start_it_is_alive_but_not_ready(scene: Scene) -> None:
    assert await scene.get("/healthz") == (200, "ok\n")
    scene.startup.waits_for = "the CustomResourceDefinition is not installed"
    assert await scene.get("/readyz") == (503, "the CustomResourceDefinition is not installed\n")


async def test_it_is_ready_while_the_watches_work(scene: Scene) -> None:
    scene.startup.waits_for = ""
    assert await scene.get("/readyz") == (200, "ok\n")
    scene.problems = ["jobs cannot be watched: 403 Forbidden"]
    assert await scene.get("/readyz") == (503, "jobs cannot be watched: 403 Forbidden\n")
    assert await scene.get("/healthz") == (200, "ok\n"), "a restart would not help"


async def test_a_resync_that_is_never_attempted_is_a_health_problem(scene: Scene) -> None:
    scene.tried_at = 1000.0
    scene.now += 1800
    assert scene.endpoints.ailments() == []
    scene.now += 1
    assert await scene.get("/healthz") == (503, "the last resync was begun 1801 s ago\n")


def test_a_late_event_loop_is_a_health_problem_until_it_recovers() -> None:
    scene = Scene()
    scene.lag.tick(12.0)
    assert scene.endpoints.ailments() == ["the event loop was 12.0 s late"]
    for _ in range(60):
        scene.lag.tick(-0.001)
    assert scene.endpoints.ailments() == []
    assert 0 <= scene.lag.worst_s < 1


async def test_the_lag_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TICK_S", 0.0)
    ticks = iter([0.0, 0.0, 2.5])
    lag = LoopLag(clock=lambda: next(ticks, 5.0))
    running = asyncio.create_task(lag.run())
    for _ in range(5):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert lag.worst_s > 1
